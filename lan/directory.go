package lan

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
)

// Of publications (OCF core, /oic/rd).
const (
	bias       = 60 // how much we want to be chosen as directory, to 100
	defaultTTL = 24 * time.Hour
	maxTTL     = 7 * 24 * time.Hour
)

// publishers makes who answers one peer: what it publishes is a rumour of
// itself.
func (w *watcher) publishers(p *coap.Peer) coap.Handler {
	asks := new(oiccoap.Server)
	return coap.HandlerFunc(func(x *coap.Exchange) { asks.Serve(x, directory{w, p.Addr()}, oic.Identity{}) })
}

// directory is /oic/rd for one peer, and what leads there. A publication can be
// forged, and so can its end: the first has us ask who is at the sender's
// address, the second whether the device is there still.
type directory struct {
	w    *watcher
	from netip.AddrPort
}

// Handle answers the peer.
func (d directory) Handle(_ context.Context, req *oic.Request) (*oic.Response, error) {
	path, query := oic.SplitHref(req.Href)
	if path == "/oic/rd" {
		switch req.Op {
		case oic.Update, oic.Replace:
			return d.publish(req)
		case oic.Delete:
			d.w.leaving(strings.ToLower(oic.QueryValue(query, "di")))
			return &oic.Response{Status: oic.Deleted}, nil
		}
	}
	if req.Op != oic.Retrieve {
		return nil, oic.Errorf(oic.MethodNotAllowed, "%s can only be read", path)
	}
	rep, err := d.rep(path, oic.QueryValues(query, "rt"))
	if err != nil {
		return nil, err
	}
	body, err := oic.Encode(oic.OCF, rep)
	return &oic.Response{Status: oic.Content, Format: oic.OCF, Body: body}, err
}

func (d directory) rep(path string, rt []string) (any, error) {
	id := d.w.cfg.Directory
	link := func(href, t string, ifs ...string) oic.Link {
		return oic.Link{Href: href, Anchor: "ocf://" + id, Types: []string{t}, Interfaces: ifs, Policy: oic.Policy{Mask: oic.Discoverable}}
	}
	switch path {
	case "/oic/rd":
		return map[string]any{"rt": []string{"oic.wk.rd"}, "if": []string{oic.IfBaseline}, "sel": bias}, nil
	case "/oic/d":
		return map[string]any{"di": id, "n": "Farreach", "icv": "ocf.2.2.5", "dmv": "ocf.res.1.3.0",
			"rt": []string{"oic.d.bridge", "oic.wk.d"}, "if": []string{oic.IfRead, oic.IfBaseline}}, nil
	case "/oic/res":
		links := slices.DeleteFunc([]oic.Link{
			link("/oic/res", "oic.wk.res", oic.IfLinkList, oic.IfBaseline),
			link("/oic/d", "oic.wk.d", oic.IfRead, oic.IfBaseline),
			link("/oic/rd", "oic.wk.rd", oic.IfBaseline),
		}, func(l oic.Link) bool { return !l.Matches(rt) })
		if len(links) > 0 {
			return links, nil
		}
	}
	return nil, oic.Errorf(oic.NotFound, "nothing of this here")
}

// publish takes the links of a device.
func (d directory) publish(req *oic.Request) (*oic.Response, error) {
	sets, err := oic.ParseLinks(req.Format, req.Body)
	if err != nil {
		return nil, err
	}
	if len(sets) != 1 || !isUUID(strings.ToLower(sets[0].Device)) {
		return nil, oic.Errorf(oic.BadRequest, "a publication is that of one device, whose di is a UUID")
	}
	set := sets[0]
	if len(set.Links) > maxLinks {
		return nil, oic.Errorf(oic.TooLarge, "more than %d links", maxLinks)
	}
	ttl := time.Duration(set.TTL) * time.Second
	if ttl <= 0 {
		ttl = defaultTTL
	}
	places := []netip.AddrPort{d.from}
	for i := range set.Links {
		set.Links[i].Instance = int64(i + 1)
		for _, e := range set.Links[i].Endpoints {
			scheme, at, ok := e.AddrPort()
			if ok && scheme == "coap" && at.Addr() == d.from.Addr().WithZone("") && len(places) < maxPlaces {
				places = append(places, netip.AddrPortFrom(d.from.Addr(), at.Port()))
			}
		}
	}
	for _, at := range places {
		d.w.rumoured(rumour{at: at, ttl: min(ttl, maxTTL)})
	}
	body, err := oic.Encode(oic.OCF, set)
	return &oic.Response{Status: oic.Changed, Format: oic.OCF, Body: body}, err
}

// leaving has a device asked whether it is there: once, before it counts as gone.
func (w *watcher) leaving(di string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e := w.table.devices[di]; e != nil && e.here {
		w.doubt(e)
	}
}

// doubt notes that a device has said that it goes, or has not published itself
// again. w.mu is held.
func (w *watcher) doubt(e *entry) {
	e.expires, e.missed, e.next = time.Time{}, maxMissed-1, time.Time{}
}
