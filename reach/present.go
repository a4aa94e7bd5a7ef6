package reach

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
	"github.com/farreach/farreach/xmpp/jid"
)

// Present is a device that is, or was, there over XMPP. All but its name is told
// by its address.
type Present struct {
	ID     string  // di; "" if it is none
	Name   string  // "" if it has not told
	Type   string  // "oic.d.light"
	Peer   jid.JID // that of the device, or of the proxy that it is behind
	Behind bool    // it is behind a proxy, and has no address of its own
	Here   bool
	Since  time.Time // since when

	// Gone says that the gateway which spoke for the device is not there either, so
	// that nobody knows how it is.
	Gone    bool
	Gateway string // di of who speaks for the device; "": nobody
}

// Target is the device as something to be reached.
func (p Present) Target() Target {
	t := Target{Peer: p.Peer}
	if p.Behind {
		t.Device = p.ID
	}
	return t
}

// OnXMPP lists who is there over XMPP, and who was, in the order of addresses,
// and after them those behind proxies. The
// first time it waits until that is known; names are asked for once. The
// error is a *Error, or that of ctx.
func (w *Ways) OnXMPP(ctx context.Context) ([]Present, error) {
	if w.xmpp == nil {
		return nil, usagef("--xmpp, or a profile with an XMPP account", "there is no XMPP account")
	}
	if err := w.xmpp.open(ctx); err != nil {
		return nil, err
	}
	w.xmpp.settle(ctx)
	list := w.xmpp.everybody(ctx)
	return append(list, w.xmpp.missing(list)...), nil
}

// everybody is who has an address, and who is behind a proxy and has none.
func (x *xmppWay) everybody(ctx context.Context) []Present {
	x.behind.seek()
	x.names.learn(ctx, x.e, x.e.Devices())
	x.behind.settle(ctx)
	list := x.present()
	for _, p := range x.behind.present() {
		if !slices.ContainsFunc(list, func(have Present) bool { return have.ID == p.ID && (have.Here || !p.Here) }) {
			list = append(list, p)
		}
	}
	x.memory.note(list)
	return list
}

// missing is who was there when a gateway spoke for him that is gone, if list is
// everybody.
func (x *xmppWay) missing(list []Present) []Present {
	return x.memory.missing(list, x.behind.listed)
}

// present is who has an address, with the names that were asked for.
func (x *xmppWay) present() []Present {
	devices := x.e.Devices()
	list := make([]Present, len(devices))
	for i, d := range devices {
		list[i] = Present{ID: d.Name.Device(), Name: x.names.of(d), Type: d.Name.Type, Peer: d.JID, Here: d.Available, Since: d.Since, Gone: d.GatewayGone, Gateway: d.Gateway}
	}
	return list
}

// named is a list for find. Of what only can be shown nothing is said.
func named(list []Present) (all []known) {
	for _, p := range list {
		if p.ID != "" {
			all = append(all, known{ID: p.ID, Name: p.Name})
		}
	}
	return all
}

// names is what devices call themselves: asked for when they are there, and
// again when they have come back, because somebody may have renamed them.
type names struct {
	mu    sync.Mutex // guards known
	known map[jid.JID]nameOf
}

type nameOf struct {
	name  string    // "" if it did not tell
	since time.Time // since when the device that told was there
}

// nameTime is how long a device has to tell its name.
const nameTime = time.Second

// of is the name of d, or was, "" if it is not known.
func (n *names) of(d rae.Device) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.known[d.JID].name
}

// learn asks those who are there for their names, unless they have been asked.
func (n *names) learn(ctx context.Context, e *rae.Endpoint, devices []rae.Device) {
	ctx, cancel := context.WithTimeout(ctx, nameTime)
	defer cancel()
	var strangers []rae.Device
	n.mu.Lock()
	for _, d := range devices {
		if got, ok := n.known[d.JID]; d.Available && d.Name.Speaks() && (!ok || !got.since.Equal(d.Since)) {
			strangers = append(strangers, d)
		}
	}
	n.mu.Unlock()
	eachOf(strangers, func(d rae.Device) { n.ask(ctx, e, d) })
}

func (n *names) ask(ctx context.Context, e *rae.Endpoint, d rae.Device) {
	var about struct {
		Name string `json:"n"`
	}
	resp, err := e.Open(d.JID).Handle(ctx, &oic.Request{Href: "/oic/d"})
	if err == nil {
		err = oic.Decode(resp.Format, resp.Body, &about)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known == nil {
		n.known = map[jid.JID]nameOf{}
	}
	if err != nil {
		about.Name = n.known[d.JID].name // as it was
	}
	if len(n.known) < maxNames || n.known[d.JID] != (nameOf{}) {
		n.known[d.JID] = nameOf{strings.TrimSpace(about.Name), d.Since}
	}
}

// maxNames is how many names are kept.
const maxNames = 4096

// maxAtOnce is how many of a list eachOf deals with at once.
const maxAtOnce = 16

// eachOf calls f for all of list, a few at once.
func eachOf[T any](list []T, f func(T)) {
	var running sync.WaitGroup
	places := make(chan struct{}, maxAtOnce)
	for _, one := range list {
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			f(one)
		})
	}
	running.Wait()
}
