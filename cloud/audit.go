package cloud

import (
	"context"
	"net/netip"
	"strings"

	"github.com/farreach/farreach/cloud/audit"
	"github.com/farreach/farreach/oic"
)

// Audit lists what was done about accounts and rights, and who was refused,
// newest first: of the account that f names, or of everybody, which is for
// admins as what is the server's is.
func (c *Cloud) Audit(ctx context.Context, who oic.Identity, f audit.Filter) ([]audit.Entry, error) {
	on := target{account: f.Account}
	if f.Everybody {
		on = target{}
	}
	ctx, release, err := c.hold(ctx, who, opAudit, on)
	if err != nil {
		return nil, err
	}
	defer release()
	list, err := c.audit.List(ctx, f)
	return list, failed("read the audit log", lost(ctx, err))
}

// note writes down that who did what to something of an account; "" is the
// server's. It was done, even if nobody can write it down.
func (c *Cloud) note(ctx context.Context, who oic.Identity, name, what, on string) {
	e := audit.Entry{Account: name, By: by(who), What: what, On: on}
	if err := c.audit.Add(context.WithoutCancel(ctx), e); err != nil {
		c.log.Error("not in the audit log", "account", name, "what", what, "on", on, "by", who.Account, "err", err)
	}
}

// by is who, as it is told later.
func by(who oic.Identity) audit.By {
	b := audit.By{Account: who.Account, Kind: "server", ID: who.Token, Name: who.Name}
	if kind, _, _ := strings.Cut(who.Credential, ":"); kind != "" {
		b.Kind = kind
	}
	if who.Device != "" {
		b.Kind, b.ID = "device", who.Device
	}
	return b
}

// refused is told what account.Config.Refused says.
func (c *Cloud) refused(principal string, peer netip.Addr) {
	name := ""
	if info, ok := c.accounts.Get(principal); ok {
		name = info.Name
	} else if dev, ok := c.directory.Get(principal); ok {
		name = dev.Account
	}
	c.audit.Refused(name, principal, peer)
}
