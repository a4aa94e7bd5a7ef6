package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/internal/localca"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
	"github.com/farreach/farreach/xmpp/jid"
)

// household are the devices of the simulated home. They join by the same door
// as any other, over sockets of this machine.
var household = []struct {
	name string
	by   door
}{
	{"door", byTCP},
	{"lamp", byTLS},
	{"meter", byLAN},
	{"thermostat", byXMPP},
}

// door is how a device of the home joins.
type door int

const (
	byTLS  door = iota // the cloud, coaps+tcp
	byTCP              // the cloud, coap+tcp if that is on
	byXMPP             // the XMPP account alone
	byLAN              // none: an XC-Proxy shows it
)

// settleTime is the longest that a start waits for the simulated home. That takes a
// fraction of a second, but for a machine that does much else; what is said of the
// home is true then, too.
const settleTime = 30 * time.Second

// demo is the simulated home; its zero value is an empty one.
type demo struct {
	tasks sync.WaitGroup

	mu         sync.Mutex // guards what follows
	registered map[string]bool
	lan        string        // where the device answers that knows the local network alone
	all        chan struct{} // closed when all have registered once, or one never will
}

// startDemo starts the simulated home if it is wanted. It ends with ctx.
func (b *booted) startDemo(ctx context.Context) *demo {
	d := &demo{registered: map[string]bool{}, all: make(chan struct{})}
	if !b.cfg.demo {
		return d
	}
	pool, err := localca.Pool(b.ca.CAFile())
	if err != nil {
		b.log.Error("simulated home", "err", err)
		return d
	}
	if err := b.addDemoRule(ctx); err != nil {
		b.log.Error("rule of the simulated home", "err", err)
	}
	where := b.where()
	for _, h := range household {
		m := member{
			kind: h.name, name: h.name, servers: []string{where.Cloud()},
			trust: func([]string) (*tls.Config, error) { return trusting(pool), nil },
			state: cloudlink.FileState(b.file(filepath.Join("demo", h.name+".json"))),
			code: func(ctx context.Context) (secret.String, error) {
				code, _, err := b.cloud.NewPairingCode(ctx, owner)
				return code, err
			},
			changed: func(s cloudlink.Status) { d.changed(h.name, s.Registered) },
			log:     b.log,
		}
		if h.by == byTCP && where.CoAPTCP != "" {
			m.servers = []string{"coap+tcp://" + where.CoAPTCP}
		}
		d.changed(h.name, false)
		d.tasks.Go(func() {
			if err := b.beAtHome(ctx, d, h.by, m, pool); err != nil && !errors.Is(err, context.Canceled) {
				b.log.Error("simulated device", "name", m.name, "err", err)
			}
			d.settled() // nobody waits for one that has ended
		})
	}
	return d
}

// beAtHome is a device of the home until ctx ends.
func (b *booted) beAtHome(ctx context.Context, d *demo, by door, m member, pool *x509.CertPool) error {
	err := b.rejoin(ctx, m.state)
	if err != nil {
		return err
	}
	switch by {
	case byXMPP:
		m.servers = nil
		m.remote, err = b.demoRemote(ctx, m, pool, b.demoOnXMPP(d, m))
	case byLAN:
		return b.beBehindProxy(ctx, d, m, pool)
	}
	if err != nil {
		return err
	}
	return m.run(ctx)
}

// demoOnXMPP is told whether a device of the home is on XMPP. It is there when it
// takes part in the cloud, too, if it is to.
func (b *booted) demoOnXMPP(d *demo, m member) func(there bool) {
	if b.bridge == nil {
		return func(there bool) { d.changed(m.name, there) }
	}
	partakes := func(di string, here bool) {
		if state, err := m.state.Load(); err == nil && state.Device == di {
			d.changed(m.name, here)
		}
	}
	b.partaking.Store(&partakes)
	return func(there bool) {
		if !there {
			d.changed(m.name, false)
		}
	}
}

// demoRemote is how a simulated device joins by XMPP: with a log-in of its own,
// that opens nothing but its own address.
func (b *booted) demoRemote(ctx context.Context, m member, pool *x509.CertPool, changed func(there bool)) (*remote, error) {
	state, err := m.identity()
	if err != nil {
		return nil, err
	}
	password, err := b.login(ctx, filepath.Join("demo", m.name+".password"), m.name+" "+state.Device, "OIC/1.0/*/"+state.Device)
	if err != nil {
		return nil, err
	}
	where := b.where()
	account, err := jid.Parse(where.JID())
	if err != nil {
		return nil, err
	}
	addr, direct := where.XMPPAddr()
	server, err := parseServer(addr)
	return &remote{
		chosen: rae.Settings{Account: account, Password: password, Server: server}, direct: direct,
		trust:   func(jid.JID) (*tls.Config, error) { return trusting(pool), nil },
		changed: func(_ jid.JID, s rae.State) { changed(s.Status == rae.Connected) },
	}, err
}

// rejoin makes a simulated device forget what a cloud once gave it that does
// not know it now, because the store is a new one: it joins with a new code
// then.
func (b *booted) rejoin(ctx context.Context, file cloudlink.FileState) error {
	state, err := file.Load()
	if err != nil || state.Grant.Account == "" {
		return err
	}
	if _, err := b.cloud.DeviceInfo(ctx, owner, state.Device); !isNotFound(err) {
		return nil // what else is wrong, the device finds out itself
	}
	return file.Save(cloudlink.State{Device: state.Device})
}

func isNotFound(err error) bool {
	refusal, ok := errors.AsType[*oic.StatusError](err)
	return ok && refusal.Status == oic.NotFound
}

// changed notes whether a device is registered.
func (d *demo) changed(name string, registered bool) {
	d.mu.Lock()
	d.registered[name] = registered
	there := 0
	for _, is := range d.registered {
		if is {
			there++
		}
	}
	d.mu.Unlock()
	if there == len(household) {
		d.settled()
	}
}

// settled ends the wait for the home.
func (d *demo) settled() {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.all: // not the first time
	default:
		close(d.all)
	}
}

// settle waits until all devices are there, but not for ever.
func (d *demo) settle(ctx context.Context) {
	if len(d.names()) == 0 {
		return
	}
	timer := time.NewTimer(settleTime)
	defer timer.Stop()
	select {
	case <-d.all:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// names lists the devices of the home.
func (d *demo) names() (names []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, h := range household {
		if _, ok := d.registered[h.name]; ok {
			names = append(names, h.name)
		}
	}
	return names
}

// online counts the devices that are registered now.
func (d *demo) online() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, there := range d.registered {
		if there {
			n++
		}
	}
	return n
}

// wait returns after all devices have ended.
func (d *demo) wait() { d.tasks.Wait() }
