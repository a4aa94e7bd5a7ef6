package xcproxy

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
)

// typeBridge is the device type of the proxy itself (RA-024).
const typeBridge = "oic.d.bridge"

// beBridge starts what has the proxy be a device of its account until ctx ends, by
// XMPP and in the cloud. Those without a stream of their own are behind it; and
// while it is gone, it is known of the others why they are.
func (p *Proxy) beBridge(ctx context.Context, legs *sync.WaitGroup) {
	host := device.NewHost(device.Config{ID: p.id, Type: typeBridge, Name: p.cfg.Name, Log: p.log,
		Platform: device.Platform{Model: "XC-Proxy"}})
	bridge := &mirror{id: p.id, device: Found{Name: p.cfg.Name}, here: true} // in Changes only
	if !p.cfg.XMPP.JID.IsZero() {
		cfg := p.endpoint(gate{host.Remote(), p}, func(s rae.State) { p.tell(bridge, func(c *Change) { c.XMPP = s }) })
		cfg.Behind = p.Behind
		legs.Go(func() {
			p.keep(ctx, &leg{key: legKey{p.id, false}}, bridge, func(_ *Proxy, ctx context.Context, _ *mirror) error {
				e, err := rae.New(cfg)
				if err != nil {
					return err
				}
				return e.Run(ctx)
			})
		})
	}
	if p.cfg.Cloud != nil {
		legs.Go(func() {
			p.keep(ctx, &leg{key: legKey{p.id, true}}, bridge, func(_ *Proxy, ctx context.Context, _ *mirror) error { return p.join(ctx, bridge, host) })
		})
	}
}

// join keeps the proxy itself registered in the cloud until ctx ends, or it is
// refused.
func (p *Proxy) join(ctx context.Context, bridge *mirror, host *device.Host) error {
	client, err := p.member(ctx, bridge, func(cfg *cloudlink.Config) {
		cfg.Handler, cfg.Name, cfg.Links = host.Remote(), host.Name, host.Links
	})
	if err != nil {
		return err
	}
	following, stop := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	tasks.Go(func() { client.Follow(following, host) })
	defer tasks.Wait()
	defer stop()
	return client.Run(ctx)
}

// gate is the proxy's own device: its /oic/res lists what is behind it, too, with
// the device that each is of in the anchor.
type gate struct {
	oic.Observer
	p *Proxy
}

// Handle is that of an oic.Handler.
func (g gate) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	path, query := oic.SplitHref(req.Href)
	if path != pathRes || req.Op != oic.Retrieve || oic.QueryValue(query, "if") == oic.IfBatch {
		return g.Observer.Handle(ctx, req)
	}
	own, err := g.own(ctx, query)
	if err != nil {
		return nil, err
	}
	return listing(req, query, append(own, g.p.behind(query)...))
}

// Observe is that of an oic.Observer.
func (g gate) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	if path, _ := oic.SplitHref(req.Href); path != pathRes {
		return g.Observer.Observe(ctx, req, each)
	}
	var last []byte
	for {
		g.p.mu.Lock()
		changed := g.p.changed
		g.p.mu.Unlock()
		resp, err := g.Handle(ctx, req)
		if err != nil {
			return err
		}
		if last == nil || string(last) != string(resp.Body) {
			last = resp.Body
			each(resp)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// own are the links of the proxy itself that query asks for.
func (g gate) own(ctx context.Context, query string) ([]oic.Link, error) {
	if di := oic.QueryValues(query, "di"); len(di) > 0 && !slices.ContainsFunc(di, func(s string) bool { return strings.EqualFold(s, g.p.id) }) {
		return nil, nil
	}
	resp, err := g.Observer.Handle(ctx, &oic.Request{Op: oic.Retrieve, Href: pathRes, Accept: oic.OCF})
	if err != nil {
		return nil, err
	}
	sets, err := oic.ParseLinks(resp.Format, resp.Body)
	if err != nil {
		return nil, err
	}
	types := oic.QueryValues(query, "rt")
	var links []oic.Link
	for _, set := range sets {
		for _, l := range set.Links {
			if l.Matches(types) {
				l.Endpoints = nil
				links = append(links, l)
			}
		}
	}
	return links, nil
}

// maxListed is how many links /oic/res of the proxy has: no reader takes more
// than 2,048.
const maxListed = 2000

// behind are the links of the devices that are reached through the proxy, as far
// as query asks for them. If they are too many it is /oic/d of each alone: its
// own /oic/res says the rest.
func (p *Proxy) behind(query string) []oic.Link {
	p.mu.Lock()
	all := p.sorted()
	p.mu.Unlock()
	types, di := oic.QueryValues(query, "rt"), oic.QueryValues(query, "di")
	var links, devices []oic.Link
	for _, m := range all {
		if !m.reachable() || p.hasStream(m.id) || len(di) > 0 && !slices.ContainsFunc(di, func(s string) bool { return strings.EqualFold(s, m.id) }) {
			continue
		}
		for _, l := range m.listed(types) {
			links = append(links, l)
			if l.Href == pathDevice {
				devices = append(devices, l)
			}
		}
	}
	if len(links) > maxListed {
		return devices
	}
	return links
}
