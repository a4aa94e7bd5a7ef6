package rae

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/xmpp/jid"
)

// Settings say on which XMPP server a device is, and as whom. The zero Settings
// say that it is on none.
type Settings struct {
	Account  jid.JID // bare
	Password secret.String
	Server   Server

	// Before is the server that worked last, as long as one that was set from
	// afar has not; the zero Server: there is none to go back to.
	Before Server
}

// Server is where an XMPP server is.
type Server struct {
	Address string // DNS name or IP address; "": not set
	Port    uint16 // 0: what the DNS says of the domain of the account
}

// String is host:port, "" if that is for the DNS to say.
func (s Server) String() string {
	if s.Address == "" || s.Port == 0 {
		return ""
	}
	return net.JoinHostPort(s.Address, strconv.Itoa(int(s.Port)))
}

// complete reports whether there is all that an attempt needs.
func (s *Settings) complete() bool {
	return !s.Account.IsZero() && s.Password != "" && s.Server.Address != ""
}

// ProvisioningConfig says which device is led to an XMPP server, and how. Host and
// Serve have no default.
type ProvisioningConfig struct {
	Host *device.Host

	// Serve is an endpoint with these settings until ctx ends; tell hears of each
	// of its states. It may return before, if trying again would not help: then
	// it is not called again before something is set anew.
	Serve func(ctx context.Context, s Settings, tell func(State)) error

	Chosen Settings // before the start

	// Keep remembers what is set, the password included, before it is acted upon;
	// the zero Settings forget it. nil: it is remembered as long as the Provisioning.
	Keep func(s Settings) error

	Log *slog.Logger // nil: slog.Default()
}

// Provisioning keeps a device on the XMPP server that its owner has set at
// /XMPPUserResURI and /XMPPResURI (Remote Access, section 6.2), whichever that is at
// the time.
//
//	owner, near ── jid, credential ──▶ user ─┐
//	owner ──────── address, port ────▶ conf ─┴▶ Settings ── 1 s ──▶ Serve ──▶ XMPP server
//	owner ◀─────── status, ErrorReason ─ conf ◀──────── State ────────┘
//
// What is set counts one second after the last change, so that the answer to it
// gets out first, which may go through the stream that ends then (RA-030).
type Provisioning struct {
	cfg ProvisioningConfig
	log *slog.Logger

	mu    sync.Mutex // guards what follows
	set   Settings
	state State
	turn  int           // how often something was set
	other chan struct{} // closed when something is set
}

// NewProvisioning gives the host both resources (RA-033). It does not touch the
// network.
func NewProvisioning(cfg ProvisioningConfig) *Provisioning {
	p := &Provisioning{cfg: cfg, log: cmp.Or(cfg.Log, slog.Default()).With("device", cfg.Host.ID()),
		set: cfg.Chosen, state: State{Status: NotInitialized}, other: make(chan struct{})}
	cfg.Host.Add(conf{p: p})
	cfg.Host.Add(user{p: p})
	return p
}

// Reset forgets everything and ends the stream, as a device does that is reset
// (RA-001). The error says that it could not be forgotten for good.
func (p *Provisioning) Reset() error {
	return p.choose(func(s *Settings) { *s = Settings{} })
}

// State is what /XMPPResURI shows.
func (p *Provisioning) State() State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

// current is what is set now, which turn that is, and what is closed when it
// changes.
func (p *Provisioning) current() (s Settings, turn int, other <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.set, p.turn, p.other
}

// choose changes what is set, or nothing if that cannot be kept.
func (p *Provisioning) choose(change func(s *Settings)) error {
	p.mu.Lock()
	next := p.set
	change(&next)
	err := p.replace(next)
	p.mu.Unlock()
	if err == nil {
		p.changed()
	}
	return err
}

// replace begins a turn with next, if that can be kept. Its state is that of an
// attempt that has not ended, whatever the one before says. p.mu is held.
func (p *Provisioning) replace(next Settings) error {
	if err := p.keep(next); err != nil {
		return err
	}
	p.set, p.state = next, State{Status: NotInitialized}
	p.turn++
	close(p.other)
	p.other = make(chan struct{})
	return nil
}

// changed tells who observes the resources. p.mu is not held.
func (p *Provisioning) changed() {
	p.cfg.Host.Changed(hrefConf)
	p.cfg.Host.Changed(hrefUser)
}

func (p *Provisioning) keep(s Settings) error {
	if p.cfg.Keep == nil {
		return nil
	}
	if err := p.cfg.Keep(s); err != nil {
		p.log.Error("what is set of remote access is not kept", "err", err)
		return oic.Errorf(oic.Unavailable, "the settings cannot be kept")
	}
	return nil
}

// Run keeps the device on the server that is set, until ctx ends; it returns
// ctx.Err() then. Run is called once.
func (p *Provisioning) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		s, turn, other := p.current()
		if s.complete() {
			p.serve(ctx, s, turn, other)
			continue
		}
		select {
		case <-other:
			p.settle(ctx)
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

// serve is an endpoint with s until something else is set.
func (p *Provisioning) serve(ctx context.Context, s Settings, turn int, other <-chan struct{}) {
	p.log.Info("remote access", "account", s.Account, "server", s.Server.String())
	running, stop := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	tasks.Go(func() {
		err := p.cfg.Serve(running, s, func(state State) { p.tell(turn, state) })
		if running.Err() == nil {
			p.log.Warn("remote access given up until something is set anew", "err", err)
		}
	})
	p.await(ctx, s, turn, other)
	p.settle(ctx)
	stop()
	tasks.Wait()
}

// debounce is how long nothing must have been set before it counts.
const debounce = time.Second

// settle waits until nothing was set for a while. What makes an end waits for
// nothing.
func (p *Provisioning) settle(ctx context.Context) {
	timer := time.NewTimer(debounce)
	defer timer.Stop()
	for {
		s, _, other := p.current()
		if !s.complete() {
			return
		}
		select {
		case <-other:
			timer.Reset(debounce)
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// tell takes a state that belongs to what was set in this turn.
func (p *Provisioning) tell(turn int, state State) {
	p.mu.Lock()
	if turn != p.turn || state == p.state {
		p.mu.Unlock()
		return
	}
	p.state = state
	if state.Status == Connected {
		p.proved()
	}
	p.mu.Unlock()
	p.log.Info("remote access", "status", state.Status, "reason", state.Reason)
	p.cfg.Host.Changed(hrefConf)
}
