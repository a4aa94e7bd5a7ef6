package device

import (
	"context"
	"slices"

	"github.com/farreach/farreach/oic"
)

// Remote is the host for those who come through a cloud or by Remote Access: it
// refuses with 4.03, and does not list, what is for somebody near only. That is
// maintenance, by which a device is wiped, the choice of its cloud, and the
// password of its XMPP account.
func (h *Host) Remote() oic.Observer { return remote{h} }

type remote struct{ h *Host }

// Handle is Host.Handle.
func (r remote) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	return r.h.handle(ctx, req, true)
}

// Prompt implements oic.Prompt: what a resource that is Prompt answers.
func (r remote) Prompt(req *oic.Request) bool {
	path, _ := oic.SplitHref(req.Href)
	e, err := r.h.find(path)
	return err == nil && e.prompt
}

// Observe is Host.Observe.
func (r remote) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	return r.h.observe(ctx, req, true, each)
}

// The resources by which a device is led to an XMPP server. Package rae has them.
const (
	typeRAXMPP = "oic.ra.xmpp"
	typeRAUser = "oic.ra.user"
)

// nearTypes are the types of resources that Remote refuses.
var nearTypes = []string{"oic.wk.mnt", typeCloudConf, typeRAUser}

func isNear(link *oic.Link) bool {
	return slices.ContainsFunc(link.Types, func(t string) bool { return slices.Contains(nearTypes, t) })
}
