// Package xcproxy is the XC-Proxy: devices that know nothing but CoAP on their
// local network are found, read and commanded from anywhere, each under its own
// di and as it is (section 6 of the wire profile of Remote Access).
//
//	who asks ── rae ────────┐
//	                        ├──▶ mirror ── policy ──▶ fan-in ──▶ oiccoap ──▶ device on the LAN
//	cloud ──── cloudlink ───┘       └── links without addresses
//
//	lan ── Found, Lost ──▶ Proxy.Run ── starts, ends ──▶ an endpoint and a registration for each device
//
// A mirror is an oic.Observer that asks another one; nothing is translated. The
// first devices have a stream, and so an address, of their own; those beyond
// Config.Streams are behind the address of the proxy, which is a device too, of
// the type oic.d.bridge, and are named by the authority of URLs. Each says
// that the proxy speaks for it: when that is gone, its devices are not known to be
// offline, but not known to be anything.
//
// What is not to be seen outside is not there: who asks for it is answered as if
// he had asked for what does not exist.
package xcproxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/internal/kept"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/sasl"
)

// Config says what is shown, and where. Without XMPP and Cloud nobody sees it.
type Config struct {
	Name   string // of the proxy, for people; "": "proxy"
	Policy Policy // what is shown; nil: nothing

	// XMPP is how to log in, for the proxy and for all devices: of its JID the
	// account counts. The zero JID: not on XMPP.
	XMPP    xmpp.Config
	Streams int         // devices with a stream of their own; 0: 64; negative: none
	Shares  []rae.Share // accounts beside our own of which somebody may ask
	Rate    int         // requests of one peer per second; as that of rae.Config

	Cloud *Cloud // nil: no cloud

	State StateStore      // which device has which address; nil: kept in memory
	Retry backoff.Backoff // of streams and registrations that were refused; a zero one waits for 10 s, up to 5 min

	OnChange func(Change) // called after each change, must return soon; nil: nobody is told
	Log      *slog.Logger // nil: slog.Default()
}

// Cloud says how devices join a cloud, each for itself.
type Cloud struct {
	// Client is how the device di, or the proxy by its own, stays registered:
	// Servers, TLS, State and the like. Device, Name, Links, Gateway, Handler and
	// Code are filled in.
	Client func(di string) cloudlink.Config

	// Code returns a pairing code for a device that has none yet, nor a grant.
	Code func(ctx context.Context, di string) (secret.String, error)

	// Connected reports whether the device di is connected to the cloud now, by
	// whomever; the error is an oic.NotFound if the account does not have it. nil: a
	// device whose grant was revoked, as by another proxy that has shown it since, is
	// not asked for anew.
	Connected func(ctx context.Context, di string) (bool, error)
}

// Found is a device of the local network.
type Found struct {
	ID    string     // di, a UUID
	Name  string     // for people; may be empty
	Types []string   // of the device: "oic.d.light", without oic.wk.d
	Links []oic.Link // its own, and no others; addresses in them stay here

	// Device asks it. It is compared: when it is another one, observations go
	// on there. Its errors have a *dtls.HandshakeError or coap.ErrSilent in their
	// chain if that is what is wrong.
	Device oic.Observer
}

// Change is how a device stands outside.
type Change struct {
	Device string // di
	Name   string
	Here   bool             // it is there on the local network
	XMPP   rae.State        // of its own stream; zero: it has none
	Cloud  cloudlink.Status // zero: no cloud
}

// Bounds of what a network can make us keep.
const (
	maxDevices  = 1000
	maxStreams  = 64
	maxLinks    = 512 // of a device
	maxWatchers = 256 // of a device
	maxWatched  = 64  // resources of a device that are observed at a time
)

// Proxy shows devices of the local network outside.
type Proxy struct {
	cfg   Config
	id    string // its own di
	log   *slog.Logger
	wake  chan struct{} // has one when Run has something to start or to end
	state State         // of Run and New only

	mu      sync.Mutex // guards what follows
	policy  Policy
	mirrors map[string]*mirror // by di
	streams []string           // the di's that have, or had, a stream of their own
	full    bool               // that was logged
	changed chan struct{}      // closed when /oic/res of the proxy may be another
}

// New returns a Proxy. It does not touch the network.
func New(cfg Config) (*Proxy, error) {
	cfg.Log = cmp.Or(cfg.Log, slog.Default())
	cfg.Name = cmp.Or(cfg.Name, "proxy")
	cfg.Streams = cmp.Or(cfg.Streams, maxStreams)
	if cfg.State == nil {
		cfg.State = new(kept.Memory[State])
	}
	if cfg.XMPP.Keys == nil {
		cfg.XMPP.Keys = new(sasl.Keys) // one password, computed once
	}
	if cfg.OnChange == nil {
		cfg.OnChange = func(Change) {}
	}
	if err := cfg.Policy.check(); err != nil {
		return nil, err
	}
	state, err := cfg.State.Load()
	if err != nil {
		return nil, fmt.Errorf("xcproxy: state: %w", err)
	}
	if state.ID == "" {
		state.ID = uuid.NewString()
		if err := cfg.State.Save(state); err != nil {
			return nil, fmt.Errorf("xcproxy: state: %w", err)
		}
	}
	return &Proxy{cfg: cfg, id: state.ID, log: cfg.Log, wake: make(chan struct{}, 1), state: state, policy: cfg.Policy,
		mirrors: map[string]*mirror{}, streams: state.Streams, changed: make(chan struct{})}, nil
}

// ID is the di of the proxy itself.
func (p *Proxy) ID() string { return p.id }

// Found says that a device is there, or is there again, or has something else to
// tell than before. It does not wait. A device beyond 1,000 is passed over.
func (p *Proxy) Found(f Found) {
	id, err := uuid.Parse(f.ID)
	if err != nil || len(f.ID) != 36 || f.Device == nil {
		p.log.Warn("a device without a di, or whom nobody can ask, is not shown", "device", f.ID)
		return
	}
	f.ID = id.String()
	if f.ID == p.id {
		p.log.Warn("somebody on the local network has the di of this proxy")
		return
	}
	p.mu.Lock()
	m := p.mirrors[f.ID]
	if m == nil && len(p.mirrors) >= maxDevices {
		full := p.full
		p.full = true
		p.mu.Unlock()
		if !full {
			p.log.Warn("too many devices: the others are not shown", "devices", maxDevices)
		}
		return
	}
	if m == nil {
		m = newMirror(f.ID, p.log)
		p.mirrors[f.ID] = m
	}
	policy := p.policy
	p.mu.Unlock()
	m.found(f, policy)
	p.stir()
}

// Lost says that a device does not answer any more. It does not wait. What is
// known of it is kept: it may come back.
func (p *Proxy) Lost(di string) {
	if m := p.mirror(di); m != nil {
		m.lost()
		p.stir()
	}
}

// SetPolicy changes what is shown, at once: what may not be seen any more ends
// where it is under way. A policy that makes no sense changes nothing.
func (p *Proxy) SetPolicy(policy Policy) error {
	if err := policy.check(); err != nil {
		return err
	}
	p.mu.Lock()
	p.policy = policy
	all := p.sorted()
	p.mu.Unlock()
	for _, m := range all {
		m.permit(policy)
	}
	p.stir()
	return nil
}

// Behind is the device di as it is shown outside; nil if there is none to see.
func (p *Proxy) Behind(di string) oic.Handler {
	if m := p.mirror(di); m != nil && m.shown() {
		return m
	}
	return nil // not m, which is not nil as a Handler
}

func (p *Proxy) mirror(di string) *mirror {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mirrors[strings.ToLower(di)]
}

// sorted is all mirrors, in the order of their di's. p.mu is held.
func (p *Proxy) sorted() []*mirror {
	all := make([]*mirror, 0, len(p.mirrors))
	for _, m := range p.mirrors {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b *mirror) int { return cmp.Compare(a.id, b.id) })
	return all
}

// stir has Run look at everything, and tells who watches /oic/res of the proxy.
func (p *Proxy) stir() {
	p.mu.Lock()
	close(p.changed)
	p.changed = make(chan struct{})
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// hasStream reports whether the device di has an address of its own, which it
// keeps for ever. The first that come get one.
func (p *Proxy) hasStream(di string) bool {
	if p.cfg.XMPP.JID.IsZero() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.streams, di); i >= 0 {
		return i < p.cfg.Streams
	}
	if len(p.streams) >= p.cfg.Streams {
		return false
	}
	p.streams = append(slices.Clip(p.streams), di)
	return true
}

// errNowhere refuses a proxy that nobody would see anything of.
var errNowhere = errors.New("xcproxy: neither an XMPP account nor a cloud: nobody would see anything")
