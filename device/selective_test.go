package device_test

import (
	"context"
	"testing"

	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/oic"
)

// door is a resource that says who has asked, and opens to its owner only.
type door struct {
	href, rt string
	who      oic.Identity
	far      bool
}

func (d door) Link() oic.Link {
	return oic.Link{Href: d.href, Types: []string{d.rt}, Interfaces: []string{oic.IfSensor, oic.IfWrite, oic.IfBaseline},
		Policy: oic.Policy{Mask: oic.Discoverable | oic.Observable}}
}

func (d door) For(who oic.Identity, far bool) device.Resource {
	d.who, d.far = who, far
	return d
}

func (d door) Retrieve(context.Context, string) (any, error) {
	return struct {
		Owner bool `json:"owner"`
		Far   bool `json:"far"`
	}{d.who.Owner, d.far}, nil
}

func (d door) Update(context.Context, string, []byte) (any, error) {
	if !d.who.Owner {
		return nil, oic.Errorf(oic.Forbidden, "not yours")
	}
	return nil, nil
}

// A resource knows who asks it, also in a batch, and what it refuses nobody
// gets by another way.
func TestSelective(t *testing.T) {
	h := device.NewHost(device.Config{ID: di})
	h.Add(door{href: "/door", rt: "oic.r.door"})
	as := func(from oic.Observer, who oic.Identity) oic.Handler {
		return oic.HandlerFunc(func(ctx context.Context, req *oic.Request) (*oic.Response, error) {
			req.From = who
			return from.Handle(ctx, req)
		})
	}
	asking(t, as(h, oic.Identity{}),
		"retrieve /door", `2.05 ocf {"owner":false,"far":false}`,
		"update /door?if=oic.if.rw {}", "4.03 Forbidden: not yours")
	asking(t, as(h, oic.Identity{Owner: true}),
		"retrieve /door", `2.05 ocf {"owner":true,"far":false}`,
		"retrieve /oic/res?if=oic.if.b&rt=oic.r.door", `2.05 ocf [{"href":"ocf://`+di+`/door","rep":{"owner":true,"far":false}}]`,
		"update /door?if=oic.if.rw {}", "2.04",
		"delete /door?if=oic.if.rw", "4.05 Method Not Allowed: /door cannot be deleted")
	asking(t, as(h.Remote(), oic.Identity{Account: "ann"}),
		"retrieve /door", `2.05 ocf {"owner":false,"far":true}`,
		"update /door?if=oic.if.rw {}", "4.03 Forbidden: not yours")
}

// the two resources of Remote Access are changed by oic.if.s, which no
// other resource is; and the one with the password is for nobody from afar.
func TestRemoteAccessInterfaces(t *testing.T) {
	h := device.NewHost(device.Config{ID: di})
	h.Add(door{href: "/door", rt: "oic.r.door"})
	h.Add(door{href: "/xmpp", rt: "oic.ra.xmpp"})
	h.Add(door{href: "/user", rt: "oic.ra.user"})
	const denied = "4.03 Forbidden: not yours" // by the resource, so that the interface is not what refuses
	asking(t, h,
		"update /door {}", "4.05 Method Not Allowed: oic.if.s does not take update",
		"update /xmpp {}", denied,
		"update /user {}", denied,
		"update /xmpp?if=oic.if.s {}", denied,
		"update /user?if=oic.if.rw {}", denied,
		"update /user?if=oic.if.baseline {}", denied,
		"replace /xmpp {}", "4.05 Method Not Allowed: oic.if.s does not take replace",
		"replace /xmpp?if=oic.if.rw {}", "4.05 Method Not Allowed: /xmpp cannot be replaced as a whole",
		"delete /user", "4.05 Method Not Allowed: oic.if.s does not take delete")
	asking(t, h.Remote(),
		"update /xmpp {}", denied,
		"retrieve /user", "4.03 Forbidden: /user is for somebody near only")
}

// prompt is a resource that is in memory.
type prompt struct{ door }

func (prompt) Prompt() {}

// Only what says so is prompt.
func TestPrompt(t *testing.T) {
	h := device.NewHost(device.Config{ID: di})
	h.Add(door{href: "/door", rt: "oic.r.door"})
	h.Add(prompt{door{href: "/memory", rt: "oic.r.door"}})
	far := h.Remote().(oic.Prompt)
	for href, want := range map[string]bool{"/door": false, "/memory": true, "/memory?if=oic.if.s": true, "/oic/res": false, "/none": false} {
		if got := far.Prompt(&oic.Request{Href: href}); got != want {
			t.Errorf("%s: %v", href, got)
		}
	}
}
