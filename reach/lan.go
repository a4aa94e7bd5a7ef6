package reach

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
)

// LANConfig says where LAN looks for devices. Zero values work.
type LANConfig struct {
	Addresses []string         // "192.0.2.7", "host:5683" or "coap://host": these and no others
	Groups    []netip.AddrPort // to ask if there are no Addresses; nil: coap.AllCoAPNodes
	Type      string           // devices with a resource of this type; "": all
	Wait      time.Duration    // for answers; 0: 5 s, in which a group is asked three times
	Log       *slog.Logger     // nil: slog.Default()
}

// LANDevice is a device on the local network.
type LANDevice struct {
	ID        string         // di; "" if it told none
	Name      string         // "" if it told none
	Types     []string       // of the device: "oic.d.light", without oic.wk.d
	Release   string         // icv: "ocf.2.2.5", "core.1.1.0"
	Address   netip.AddrPort // where it answered
	Endpoints []oic.Endpoint // all that its links name
	Links     []oic.Link     // with Anchor and Endpoints
}

// Bounds of what strangers on the network can make us keep and do.
const (
	lanWait    = 5 * time.Second // for answers to a group: asked at 0, 1 and 3 s, answered within 2 s
	lanAbout   = 3 * time.Second // for /oic/d of all
	maxAnswers = 1024
	maxDevices = 512
	maxAtOnce  = 16 // unicast requests
)

// LAN looks for devices on the local network, over IPv4 and IPv6 on every
// interface, in the ways of OCF and of OIC 1.x, and asks each what it is. They
// come in the order of their names and di's. That takes Wait, and up to 6 s
// more; if ctx ends earlier, what was found until then is returned.
//
// Nothing that it finds is proved: anybody on the network may claim any di. The
// error is a *Error if nobody could be asked.
func LAN(ctx context.Context, cfg LANConfig) ([]LANDevice, error) {
	s := &search{cfg: cfg, log: cmp.Or(cfg.Log, slog.Default()), devices: map[string]*LANDevice{}}
	s.cfg.Wait = cmp.Or(cfg.Wait, lanWait)
	if cfg.Groups == nil {
		s.cfg.Groups = coap.AllCoAPNodes()
	}
	defer s.close()
	if err := s.open(); err != nil {
		return nil, &Error{Kind: NoConnect, Err: err, Hint: "is there a network?"}
	}
	waiting, cancel := context.WithTimeout(ctx, s.cfg.Wait)
	defer cancel()
	var err error
	if len(cfg.Addresses) > 0 {
		err = s.askEach(waiting)
	} else {
		err = s.askGroups(waiting)
	}
	if err != nil {
		return nil, &Error{Kind: NoConnect, Err: err, Hint: "is there a network?"}
	}
	s.read(ctx)
	return s.list(ctx), nil
}

// search is one LAN.
type search struct {
	cfg    LANConfig
	log    *slog.Logger
	v4, v6 *endpoint // nil: the host has no such network

	mu      sync.Mutex // guards what follows
	answers []answer
	devices map[string]*LANDevice // by di, or by address
}

// answer is what somebody said of /oic/res.
type answer struct {
	from netip.AddrPort
	resp *oic.Response // nil: it is to be asked for again
}

func (s *search) open() error {
	four, err4 := listen(netip.IPv4Unspecified())
	if err4 == nil {
		s.v4 = runEndpoint(four, s.log)
	}
	six, err6 := listen(netip.IPv6Unspecified())
	if err6 == nil {
		s.v6 = runEndpoint(six, s.log)
	}
	if s.v4 == nil && s.v6 == nil {
		return errors.Join(err4, err6)
	}
	return nil
}

func (s *search) close() {
	for _, e := range []*endpoint{s.v4, s.v6} {
		if e != nil {
			e.Close()
		}
	}
}

// client asks the device at an address; nil: there is no way to it.
func (s *search) client(at netip.AddrPort) *oiccoap.Client {
	e := s.v6
	if at.Addr().Unmap().Is4() {
		e = s.v4
	}
	if e == nil {
		return nil
	}
	return oiccoap.NewClient(e.Peer(at))
}

// request asks for links; with accept 60 in the way of OIC 1.x, whose devices
// do not answer the other.
func (s *search) request(accept oic.ContentFormat) *coap.Message {
	m := &coap.Message{Code: coap.GET}
	m.SetPath("/oic/res")
	if s.cfg.Type != "" {
		m.AddString(coap.URIQuery, "rt="+s.cfg.Type)
	}
	oiccoap.SetAccept(m, accept)
	return m
}

// askGroups collects answers until ctx ends. The error is nil if somebody
// could be asked.
func (s *search) askGroups(ctx context.Context) error {
	var asking sync.WaitGroup
	var mu sync.Mutex // guards errs and asked
	var errs []error
	asked := false
	for _, e := range []*endpoint{s.v4, s.v6} {
		if e == nil {
			continue
		}
		groups := slices.DeleteFunc(slices.Clone(s.cfg.Groups), func(g netip.AddrPort) bool { return g.Addr().Is4() != (e == s.v4) })
		for _, accept := range []oic.ContentFormat{oic.OCF, oic.CBOR} {
			if len(groups) == 0 {
				continue
			}
			asking.Go(func() {
				err := e.Ask(ctx, groups, s.request(accept), s.heard)
				mu.Lock()
				defer mu.Unlock()
				errs, asked = append(errs, err), asked || err == nil
			})
		}
	}
	asking.Wait()
	if asked {
		return nil
	}
	return fmt.Errorf("ask the groups: %w", errors.Join(errs...))
}

// heard takes an answer, on an endpoint's goroutine.
func (s *search) heard(from netip.AddrPort, m *coap.Message) {
	if m.Code.Class() != 2 {
		return
	}
	a := answer{from: from}
	if resp, err := oiccoap.FromResponse(m); err == nil { // else in blocks, perhaps
		resp.Body = bytes.Clone(resp.Body)
		a.resp = resp
	}
	s.keep(a)
}

func (s *search) keep(a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.answers) < maxAnswers {
		s.answers = append(s.answers, a)
	}
}

// askEach asks the configured addresses. One that does not answer is no error.
func (s *search) askEach(ctx context.Context) error {
	var targets []netip.AddrPort
	for _, text := range s.cfg.Addresses {
		at, err := s.resolve(ctx, text)
		if err != nil {
			return fmt.Errorf("find %.80q: %w", text, err)
		}
		targets = append(targets, at)
	}
	eachOf(targets, func(at netip.AddrPort) { s.keep(answer{from: at}) })
	return nil
}

func (s *search) resolve(ctx context.Context, text string) (netip.AddrPort, error) {
	if ip, err := netip.ParseAddr(text); err == nil {
		return netip.AddrPortFrom(ip.Unmap(), 5683), nil
	}
	if !strings.Contains(text, "://") {
		text = "coap://" + text
	}
	u, err := coap.ParseURI(text)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if u.Transport != coap.UDP || u.Secure {
		return netip.AddrPort{}, errors.New("only coap:// is asked without knowing who is there")
	}
	return lookup(ctx, u.Host, u.Port)
}

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

// read makes devices of the answers. It asks for what is missing.
func (s *search) read(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lanAbout)
	defer cancel()
	s.mu.Lock()
	answers := slices.Clone(s.answers) // one more may be on its way still
	s.mu.Unlock()
	eachOf(answers, func(a answer) {
		if a.resp == nil {
			a.resp = s.ask(ctx, a.from, "/oic/res", s.cfg.Type)
		}
		if a.resp == nil {
			return
		}
		sets, err := oic.ParseDiscovery(a.resp.Format, a.resp.Body, "coap", a.from)
		if err != nil {
			s.log.Debug("answer to discovery dropped", "remote", a.from, "err", err)
			return
		}
		for _, set := range sets {
			s.add(a.from, set)
		}
	})
}

// ask returns what a device answers to a GET, or nil.
func (s *search) ask(ctx context.Context, at netip.AddrPort, href, rt string) *oic.Response {
	c := s.client(at)
	if c == nil {
		return nil
	}
	if rt != "" {
		href += "?rt=" + url.QueryEscape(rt)
	}
	resp, err := c.Handle(ctx, &oic.Request{Href: href})
	if err != nil {
		s.log.Debug("no answer to discovery", "remote", at, "href", href, "err", err)
		return nil
	}
	return resp
}

// add puts the links of a device to what it has told before: the same again,
// over another address or in another way.
func (s *search) add(from netip.AddrPort, set oic.LinkSet) {
	if len(set.Links) == 0 {
		return
	}
	key := cmp.Or(set.Device, from.String())
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[key]
	if d == nil {
		if len(s.devices) == maxDevices {
			return
		}
		d = &LANDevice{ID: set.Device, Address: from}
		s.devices[key] = d
	}
	for _, l := range set.Links {
		d.join(l)
	}
}

// join adds a link, or its endpoints if the link is there.
func (d *LANDevice) join(l oic.Link) {
	d.Endpoints = union(d.Endpoints, l.Endpoints)
	for i := range d.Links {
		if d.Links[i].Href == l.Href {
			d.Links[i].Endpoints = union(d.Links[i].Endpoints, l.Endpoints)
			return
		}
	}
	if len(d.Links) < maxAnswers {
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

// list is what was found, when all have been asked what they are.
func (s *search) list(ctx context.Context) []LANDevice {
	ctx, cancel := context.WithTimeout(ctx, lanAbout)
	defer cancel()
	var found []*LANDevice
	for _, d := range s.devices {
		found = append(found, d)
	}
	eachOf(found, func(d *LANDevice) { s.about(ctx, d) })
	list := make([]LANDevice, len(found))
	for i, d := range found {
		list[i] = *d
	}
	slices.SortFunc(list, func(a, b LANDevice) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID), a.Address.Compare(b.Address))
	})
	return list
}

// about fills in what /oic/d says of a device, if it is the device that is
// there: others may publish links in its name.
func (s *search) about(ctx context.Context, d *LANDevice) {
	resp := s.ask(ctx, d.Address, "/oic/d", "")
	if resp == nil {
		return
	}
	for _, iface := range []string{"", "?if=" + oic.IfBaseline} { // rt is in the baseline only
		if iface != "" {
			if resp = s.ask(ctx, d.Address, "/oic/d"+iface, ""); resp == nil {
				return
			}
		}
		var info struct {
			ID      string   `json:"di"`
			Name    string   `json:"n"`
			Release string   `json:"icv"`
			Types   []string `json:"rt"`
		}
		if err := oic.Decode(resp.Format, resp.Body, &info); err != nil {
			s.log.Debug("/oic/d dropped", "remote", d.Address, "err", err)
			return
		}
		if d.ID != "" && !strings.EqualFold(info.ID, d.ID) {
			return
		}
		d.ID, d.Name, d.Release = strings.ToLower(info.ID), info.Name, info.Release
		d.Types = slices.DeleteFunc(info.Types, func(t string) bool { return t == "oic.wk.d" })
		if len(d.Types) > 0 {
			return
		}
	}
}
