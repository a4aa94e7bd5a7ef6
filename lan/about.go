package lan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/farreach/farreach/oic"
)

// errOdd says that somebody answered what no device answers. Asking again would
// not help.
var errOdd = errors.New("odd answer")

// info is what /oic/d says.
type info struct {
	id, name, release string
	types             []string
}

// askInfo asks the device behind h who it is: with types, if it tells them.
func askInfo(ctx context.Context, h oic.Handler, types bool) (info, error) {
	href := "/oic/d"
	if types {
		href += "?if=" + oic.IfBaseline // rt is in no other
	}
	resp, err := h.Handle(ctx, &oic.Request{Href: href})
	if refused, ok := errors.AsType[*oic.StatusError](err); ok && types && refused.Status.Class() == 4 {
		return askInfo(ctx, h, false) // no such interface
	}
	if err != nil {
		return info{}, err
	}
	return parseInfo(resp.Format, resp.Body)
}

// parseInfo reads /oic/d in the form of any generation: di may be 16 bytes, rt
// one text. The error has errOdd in its chain.
func parseInfo(f oic.ContentFormat, b []byte) (info, error) {
	b, err := oic.ToJSON(f, b)
	if err != nil {
		return info{}, fmt.Errorf("%w: /oic/d: %w", errOdd, err)
	}
	var d struct {
		ID      string          `json:"di"`
		Name    string          `json:"n"`
		Release string          `json:"icv"`
		Types   json.RawMessage `json:"rt"`
	}
	if err := json.Unmarshal(b, &d); err != nil {
		return info{}, fmt.Errorf("%w: /oic/d: %w", errOdd, err)
	}
	id := strings.ToLower(d.ID)
	if !isUUID(id) {
		return info{}, fmt.Errorf("%w: the di is %.40q", errOdd, d.ID)
	}
	var types []string
	var joined string
	if json.Unmarshal(d.Types, &joined) == nil {
		types = strings.Fields(joined)
	} else {
		_ = json.Unmarshal(d.Types, &types) // none, if it is something else
	}
	types = slices.DeleteFunc(types, func(t string) bool { return t == "oic.wk.d" || t == "" || len(t) > maxName })
	return info{id, plain(d.Name), plain(d.Release), types[:min(len(types), maxTypes)]}, nil
}

// isUUID reports whether id is a UUID in small letters: what a di is in every
// generation, and what is safe as a part of other names.
func isUUID(id string) bool {
	if len(id) != 36 {
		return false
	}
	for i, c := range []byte(id) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (c == '-') || !dash && !strings.ContainsRune("0123456789abcdef", rune(c)) {
			return false
		}
	}
	return true
}

// plain is a text for people, without what terminals obey, of a bounded length.
func plain(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
	if len(text) > maxName {
		text = strings.ToValidUTF8(text[:maxName], "")
	}
	return text
}

// report is what somebody at an address says.
type report struct {
	device  Device
	others  []netip.AddrPort // at the same host, where its links say that other devices are
	foreign int              // links to other hosts, which are left out
}

// about asks who is at an address, behind h, what it is and what it has; with
// rt, what it has of that type. The error has errOdd in its chain if what came
// was no answer of a device.
func about(ctx context.Context, h oic.Handler, scheme string, at netip.AddrPort, rt string) (report, error) {
	who, err := askInfo(ctx, h, true)
	if err != nil {
		return report{}, err
	}
	r := report{device: Device{ID: who.id, Name: who.name, Types: who.types, Release: who.release, Address: at}}
	href := "/oic/res"
	if rt != "" {
		href += "?rt=" + url.QueryEscape(rt)
	}
	resp, err := h.Handle(ctx, &oic.Request{Href: href})
	if refused, ok := errors.AsType[*oic.StatusError](err); ok && rt != "" && refused.Status.Class() == 4 {
		return r, nil // it has none
	}
	if err != nil {
		return report{}, err
	}
	sets, err := oic.ParseDiscovery(resp.Format, resp.Body, scheme, at)
	if err != nil {
		return report{}, fmt.Errorf("%w: /oic/res: %w", errOdd, err)
	}
	for _, set := range sets {
		if err := r.take(set); err != nil {
			return report{}, err
		}
	}
	return r, nil
}

// take sorts links: those of the device itself, with the endpoints that are
// its host's; and those of other devices, of which only the addresses at the
// same host count (a bridge has one port for each).
func (r *report) take(set oic.LinkSet) error {
	host := r.device.Address.Addr()
	for _, l := range set.Links {
		l.Endpoints = slices.DeleteFunc(l.Endpoints, func(e oic.Endpoint) bool { return !isAt(host, e) })
		if len(l.Endpoints) == 0 {
			r.foreign++
			continue
		}
		if set.Device != "" && !strings.EqualFold(set.Device, r.device.ID) {
			r.elsewhere(l.Endpoints)
			continue
		}
		if len(r.device.Links) == maxLinks {
			return fmt.Errorf("%w: more than %d links", errOdd, maxLinks)
		}
		l.Anchor = "ocf://" + r.device.ID
		r.device.join(l)
	}
	return nil
}

// isAt reports whether an endpoint is one of a host.
func isAt(host netip.Addr, e oic.Endpoint) bool {
	_, at, ok := e.AddrPort()
	return ok && at.Addr() == host
}

func (r *report) elsewhere(eps []oic.Endpoint) {
	for _, e := range eps {
		scheme, at, ok := e.AddrPort()
		if ok && scheme == "coap" && at != r.device.Address && !slices.Contains(r.others, at) && len(r.others) < maxHostAsks {
			r.others = append(r.others, at)
		}
	}
}

// join adds a link, or its endpoints if the link is there.
func (d *Device) join(l oic.Link) {
	d.Endpoints = union(d.Endpoints, l.Endpoints)
	for _, e := range l.Endpoints {
		if scheme, at, ok := e.AddrPort(); ok && scheme == "coaps" && !d.Secure.IsValid() {
			d.Secure = at
		}
	}
	for i := range d.Links {
		if d.Links[i].Href == l.Href {
			d.Links[i].Endpoints = union(d.Links[i].Endpoints, l.Endpoints)
			return
		}
	}
	if len(d.Links) < maxLinks {
		d.Links = append(d.Links, l)
	}
}

func union(list, more []oic.Endpoint) []oic.Endpoint {
	for _, e := range more {
		if len(list) < 64 && !slices.ContainsFunc(list, func(o oic.Endpoint) bool { return o.URI == e.URI }) {
			list = append(list, e)
		}
	}
	return list
}
