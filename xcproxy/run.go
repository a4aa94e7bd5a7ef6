package xcproxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
)

// Run shows what is found until ctx ends, and takes leave of every server then.
// It returns ctx.Err(), or an error if there is nobody to show anything to. Run
// is called once.
func (p *Proxy) Run(ctx context.Context) error {
	if p.cfg.XMPP.JID.IsZero() && p.cfg.Cloud == nil {
		return errNowhere
	}
	var legs sync.WaitGroup
	r := &runner{p: p, legs: map[legKey]*leg{}, left: map[string]bool{}, ended: make(chan *leg)}
	p.beBridge(ctx, &legs)
	for ctx.Err() == nil {
		r.settle(ctx, &legs)
		select {
		case <-p.wake:
		case l := <-r.ended:
			r.took(l)
		case <-ctx.Done():
		}
	}
	r.drain()
	legs.Wait()
	p.mu.Lock()
	all := p.sorted()
	p.mu.Unlock()
	for _, m := range all {
		m.tasks.Wait()
	}
	return ctx.Err()
}

// remember saves which devices have a stream of their own, if that has changed.
func (p *Proxy) remember() {
	p.mu.Lock()
	streams := slices.Clone(p.streams)
	p.mu.Unlock()
	if slices.Equal(p.state.Streams, streams) {
		return
	}
	next := p.state
	next.Streams = streams
	if err := p.cfg.State.Save(next); err != nil {
		p.log.Error("state not saved: devices may have other addresses after a restart", "err", err)
		return
	}
	p.state = next
}

// keep shows a device by one way until ctx ends, whatever goes wrong; or until
// there is no more to do. Most goroutines of a proxy wait inside show: there is to
// be little on the stack then.
func (p *Proxy) keep(ctx context.Context, l *leg, m *mirror, show func(*Proxy, context.Context, *mirror) error) {
	for ctx.Err() == nil && !l.done {
		err := l.refused
		if err == nil {
			err = show(p, ctx, m)
		}
		if l.done = err == nil; l.done || ctx.Err() != nil {
			break
		}
		if l.key.cloud && !l.leaves {
			err = p.reclaim(ctx, l, m, err)
		}
		if err != nil {
			p.pause(ctx, l, m, err)
		}
	}
	p.tell(m, func(c *Change) { c.clear(l.key) })
}

// pause says what went wrong, and waits until the next attempt or the end of ctx.
// A server that has refused a device, or the device itself, is not asked soon.
func (p *Proxy) pause(ctx context.Context, l *leg, m *mirror, err error) {
	where := "XMPP"
	if l.key.cloud {
		where = "cloud"
	}
	if text := fmt.Sprint(err); text != l.wrong {
		l.wrong = text
		p.log.Warn("device not shown", "device", m.id, "by", where, "err", err)
	}
	if l.wait == nil {
		l.wait = new(p.cfg.Retry)
		l.wait.Base, l.wait.Steady = cmp.Or(l.wait.Base, 10*time.Second), true
	}
	_ = backoff.Sleep(ctx, l.wait.Next())
}

func (c *Change) clear(key legKey) {
	if key.cloud {
		c.Cloud = cloudlink.Status{}
	} else {
		c.XMPP = rae.State{}
	}
}

// tell says how a device stands after a change.
func (p *Proxy) tell(m *mirror, how func(*Change)) {
	m.telling.Lock()
	defer m.telling.Unlock()
	how(&m.stands)
	c := m.stands
	c.Device, c.Name, c.Here = m.id, m.name(), m.present()
	p.cfg.OnChange(c)
}

// endpoint is a stream in the proxy's account for device.
func (p *Proxy) endpoint(device oic.Handler, changed func(rae.State)) rae.Config {
	return rae.Config{XMPP: p.cfg.XMPP, Device: device, Shares: p.cfg.Shares, Rate: p.cfg.Rate, OnState: changed, Log: p.log}
}

// stream shows a device at an address of its own (RA-025).
func (p *Proxy) stream(ctx context.Context, m *mirror) error {
	e, err := p.spokenFor(m)
	if err != nil {
		return err
	}
	return e.Run(ctx)
}

func (p *Proxy) spokenFor(m *mirror) (*rae.Endpoint, error) {
	cfg := p.endpoint(m, func(s rae.State) { p.tell(m, func(c *Change) { c.XMPP = s }) })
	cfg.Gateway = p.id
	return rae.New(cfg)
}

// register shows a device in the cloud, under its own di.
func (p *Proxy) register(ctx context.Context, m *mirror) error {
	client, err := p.member(ctx, m, func(cfg *cloudlink.Config) {
		cfg.Handler, cfg.Name, cfg.Links, cfg.Gateway = m, m.name, m.links, p.id
	})
	if err != nil {
		return err
	}
	m.follow(client.Republish)
	err = client.Run(ctx)
	m.follow(nil)
	return err
}

// leave takes a device out of the cloud, if it is there.
func (p *Proxy) leave(ctx context.Context, m *mirror) error {
	cfg := p.cfg.Cloud.Client(m.id)
	if cfg.State == nil {
		return nil
	}
	state, err := cfg.State.Load()
	if err != nil || state.Grant.Account == "" {
		return err
	}
	cfg.Device, cfg.Handler = m.id, oic.HandlerFunc(func(_ context.Context, req *oic.Request) (*oic.Response, error) {
		path, _ := oic.SplitHref(req.Href)
		return nil, errAbsent(path)
	})
	cfg.Log = cmp.Or(cfg.Log, p.log)
	client, err := cloudlink.New(cfg)
	if err == nil {
		err = client.Leave(ctx)
	}
	if err != nil {
		return fmt.Errorf("take it out of the cloud: %w", err)
	}
	p.log.Info("device taken out of the cloud: the policy does not show it any more", "device", m.id)
	return nil
}

// member is the client of a device, or of the proxy itself, that keeps it
// registered in the cloud. as says who that is.
func (p *Proxy) member(ctx context.Context, m *mirror, as func(*cloudlink.Config)) (*cloudlink.Client, error) {
	cfg := p.cfg.Cloud.Client(m.id)
	cfg.Device = m.id
	as(&cfg)
	cfg.Log = cmp.Or(cfg.Log, p.log)
	if cfg.State == nil {
		return nil, errors.New("xcproxy: Cloud.Client gives no State: the device would need a new code for each connection")
	}
	state, err := cfg.State.Load()
	if err != nil {
		return nil, err
	}
	if state.Grant.Account == "" {
		if cfg.Code, err = p.cfg.Cloud.Code(ctx, m.id); err != nil {
			return nil, fmt.Errorf("pairing code: %w", err)
		}
	}
	told := cfg.OnChange
	cfg.OnChange = func(s cloudlink.Status) {
		if told != nil {
			told(s)
		}
		p.tell(m, func(c *Change) { c.Cloud = s })
	}
	return cloudlink.New(cfg)
}
