package lan

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/farreach/farreach/oic"
)

// Described is a CoAP server that knows nothing of OIC, and what somebody has
// written down of it. It is there if it answers a ping of CoAP; /oic/res and
// /oic/d are answered for it.
type Described struct {
	Address string     `json:"address"` // "192.0.2.7", "host:5683", "coap://host"; "coaps://host" with credentials
	ID      string     `json:"di"`      // a UUID
	Name    string     `json:"n"`
	Types   []string   `json:"rt"` // "oic.d.light"
	Links   []oic.Link `json:"links"`
}

func (d *Described) check() error {
	switch {
	case !isUUID(d.ID):
		return fmt.Errorf("description of %.80q: the di %.40q is not a UUID in small letters", d.Address, d.ID)
	case d.Address == "":
		return fmt.Errorf("description of %s: no address", d.ID)
	case len(d.Links) > maxLinks:
		return fmt.Errorf("description of %s: more than %d links", d.ID, maxLinks)
	}
	for _, l := range d.Links {
		if !strings.HasPrefix(l.Href, "/") {
			return fmt.Errorf("description of %s: the href %.80q does not begin with /", d.ID, l.Href)
		}
	}
	return nil
}

// ping asks a described device whether it is there.
func (w *watcher) ping(ctx context.Context, e *entry, d *Described) error {
	u, err := parseAddress(d.Address)
	if err != nil {
		return err
	}
	at, err := Lookup(ctx, u.Host, u.Port)
	if err != nil {
		return err
	}
	w.mu.Lock()
	dev, learnt := d.at(e.device, at, u.Secure), w.learnt
	w.mu.Unlock()
	l, fresh, err := w.foreignLine(e, dev, u.Secure)
	if err != nil {
		return err
	}
	if _, err := l.peer.Ping(ctx); err != nil {
		if fresh {
			l.close()
		}
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.told()
	if learnt != w.learnt { // it may be described in another way
		if fresh {
			w.drop(l)
		}
		return nil
	}
	now := time.Now()
	if fresh {
		w.drop(e.line)
		e.line = l
		w.table.put(dev, now)
	}
	w.proved(e, now)
	return nil
}

// at is the device as it is described, at a place.
func (d *Described) at(dev Device, at netip.AddrPort, secure bool) Device {
	scheme := "coap"
	dev.Address, dev.Secure = at, netip.AddrPort{}
	if secure {
		scheme, dev.Secure = "coaps", at
	}
	dev.Endpoints = []oic.Endpoint{{URI: oic.EndpointURI(scheme, at)}}
	dev.Links = slices.Clone(dev.Links)
	for i := range dev.Links {
		dev.Links[i].Endpoints = dev.Endpoints
	}
	return dev
}

// foreignLine is the line by which a described device is asked at its place, or a
// fresh one. After a check without an answer a session of DTLS is not trusted any
// more: the device may have restarted.
func (w *watcher) foreignLine(e *entry, dev Device, secure bool) (l *line, fresh bool, err error) {
	w.mu.Lock()
	l, missed, secrets := e.line, e.missed, w.known.Credentials[dev.ID]
	w.mu.Unlock()
	if l != nil && l.peer.Addr() == dev.Address && (!secure || missed == 0) {
		return l, false, nil
	}
	if secure {
		l, err = w.secure(dev, secrets)
		if err != nil {
			return nil, false, err
		}
	} else if p := w.socks.peer(dev.Address); p != nil {
		l = newLine(p, nil)
	} else {
		return nil, false, fmt.Errorf("no way to %v", dev.Address)
	}
	l.device = foreign{simple(l.peer)}
	return l, true, nil
}

// trusts is an error for a description that is to be asked by coaps, and there are
// no credentials for that, or the other way round.
func (d *Described) trusts(all map[string]Credentials) error {
	u, err := parseAddress(d.Address)
	if err != nil {
		return fmt.Errorf("description of %s: %w", d.ID, err)
	}
	if _, owned := all[d.ID]; u.Secure != owned {
		return fmt.Errorf("description of %s: coaps:// and credentials go together", d.ID)
	}
	return nil
}

// answer answers what the device cannot; ok is false if it is for the device.
func (d *Described) answer(req *oic.Request) (resp *oic.Response, err error, ok bool) {
	path, query := oic.SplitHref(req.Href)
	var rep any
	switch path {
	case "/oic/res":
		rep = d.found(oic.QueryValues(query, "rt"))
	case "/oic/d":
		rep = map[string]any{"di": d.ID, "n": d.Name, "icv": "ocf.2.2.5", "dmv": "ocf.res.1.3.0",
			"rt": append(slices.Clone(d.Types), "oic.wk.d"), "if": []string{oic.IfRead, oic.IfBaseline}}
	default:
		return nil, nil, false
	}
	if req.Op != oic.Retrieve {
		return nil, oic.Errorf(oic.MethodNotAllowed, "%s can only be read", path), true
	}
	body, err := oic.Encode(oic.OCF, rep)
	return &oic.Response{Status: oic.Content, Format: oic.OCF, Body: body}, err, true
}

func (d *Described) found(rt []string) []oic.Link {
	links := []oic.Link{}
	for _, l := range d.Links {
		if l.Matches(rt) {
			l.Anchor = "ocf://" + d.ID
			links = append(links, l)
		}
	}
	return links
}
