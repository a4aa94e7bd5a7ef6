package rae

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/disco"
	"github.com/farreach/farreach/xmpp/ibb"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/ping"
	"github.com/farreach/farreach/xmpp/roster"
	"github.com/farreach/farreach/xmpp/sasl"
	"github.com/farreach/farreach/xmpp/stanza"
)

// Config says who an Endpoint is, and whom it serves. XMPP has no default, nor
// has one of Device and ID.
type Config struct {
	// XMPP is how to log in. Of its JID the account counts: the resource is made
	// of Device or ID. Handlers, Online and OnChange must be nil, and AllowPlain
	// false (D18).
	XMPP xmpp.Config

	Device oic.Handler // what others may ask of us, as those from afar see it; /oic/d tells type and di (RA-057). nil: this is a client and nothing else
	ID     string      // of a client: its own device id, a UUID, for life (RA-055, A-20)

	// Gateway is the di of the endpoint of this account, of type oic.d.bridge, that
	// speaks for the device: when both are gone, that is why. "": none does.
	Gateway string

	// Behind returns a device that is reached through this one and named by the
	// authority of URLs; nil, or if it returns nil: 4.04.
	Behind func(di string) oic.Handler

	Shares []Share // accounts beside our own of which somebody may ask

	// Allow says whether peer may do what c asks; it is called for each request,
	// and again before each notification. Its error should be a *oic.StatusError.
	// nil: the own account may, others may not. The resources of security and of
	// maintenance, and that with the password, are refused whatever it says.
	Allow func(peer Peer, c *Call) error

	// LegacyPeers are asked in raw CoAP, as IoTivity speaks; everybody else is only
	// answered in it (D20). They are full addresses.
	LegacyPeers []jid.JID
	LegacyChat  bool // also what comes from the own account as chat, as another build of IoTivity has it

	Chat    bool          // the same stream is used for chat, too: other priorities (D16)
	Timeout time.Duration // of a request, either way; 0: 30 s
	Rate    int           // requests of one peer per second, twice as many at once; 0: 50; negative: any

	OnState  func(State)  // called after each change, must return soon; nil: nobody is told
	OnDevice func(Device) // somebody came, went or changed: as OnState
	Log      *slog.Logger // nil: slog.Default()
}

// Peer is an endpoint as the server stamps its address.
type Peer struct {
	JID  jid.JID // full
	Name Name    // what JID tells; zero if it is not of the scheme
	Own  bool    // of the own account
}

// Endpoint is one stream to an XMPP server that serves a device, asks others, or
// both (RA-058).
type Endpoint struct {
	cfg      Config
	own      jid.JID // the account
	log      *slog.Logger
	handlers xmpp.Handlers
	info     disco.Info
	contacts contacts
	dir      *directory
	server   *server
	x        *exchange

	telling sync.Mutex // held while OnState is called

	mu     sync.Mutex // guards what follows
	state  State
	name   Name
	client *xmpp.Client  // that runs; nil: none
	there  *xmpp.Session // whose presence was sent; nil: none yet
	next   chan struct{} // closed when there is another; nil: nobody waits
}

// New returns an Endpoint. It does not touch the network.
func New(cfg Config) (*Endpoint, error) {
	x := &cfg.XMPP
	switch {
	case x.JID.Local() == "":
		return nil, errors.New("rae: XMPP.JID must be an account, local@domain")
	case x.Handlers != nil || x.Online != nil || x.OnChange != nil:
		return nil, errors.New("rae: Handlers, Online and OnChange of XMPP are the endpoint's own")
	case x.AllowPlain:
		return nil, errors.New("rae: SCRAM-SHA-1 is the least that proves a login, PLAIN does not (RA-062)")
	}
	if cfg.Device == nil {
		if _, err := ClientName(cfg.ID); err != nil {
			return nil, err
		}
	}
	if x.Keys == nil {
		x.Keys = new(sasl.Keys)
	}
	x.Resume = cmp.Or(x.Resume, resumeTime)
	x.Log = cmp.Or(x.Log, cfg.Log) // before cfg is copied
	cfg.Timeout = cmp.Or(cfg.Timeout, 30*time.Second)
	cfg.Rate = cmp.Or(cfg.Rate, perSecond)
	own := x.JID.Bare()
	e := &Endpoint{cfg: cfg, own: own, log: cmp.Or(cfg.Log, slog.Default()).With("account", own.String())}
	e.contacts = contacts{own: own, shares: cfg.Shares}
	e.server = newServer(e)
	e.x = newExchange(exchangeConfig{serve: e.server.serve, prompt: e.server.prompt, allow: e.admits, legacy: e.isLegacy, timeout: cfg.Timeout, log: e.log})
	e.dir = newDirectory(own, e.met, e.log)
	e.handle()
	return e, nil
}

// resumeTime is for how long a server is asked to keep a lost session: while it
// does, everybody takes the endpoint for reachable (RA-083).
const resumeTime = 10 * time.Second

// handle fills the handlers. Those who may not ask anything learn nothing: to
// them this is an entity without features (section 4.7, rule 6).
func (e *Endpoint) handle() {
	h := &e.handlers
	h.Allow(func(s *xmpp.Session, from jid.JID) bool {
		server := from.IsZero() || from == e.own || from.Local() == "" && from.Domain() == e.own.Domain()
		return server || from == s.JID() || e.admits(s, from)
	})
	e.info = capabilities(e.cfg.Device != nil)
	disco.Handle(h, node, &e.info)
	ping.Handle(h)
	e.x.handle(h)
	if e.cfg.LegacyChat {
		h.OtherMessage(func(s *xmpp.Session, m *stanza.Message) { e.x.chat(s, m) })
	}
	e.dir.handle(h)
	h.Presence(func(_ *xmpp.Session, p *stanza.Presence) {
		if p.Type == "unavailable" || p.Type == "error" { // RA-066
			e.x.gone(p.From, ibb.ErrGone)
		}
	})
	roster.Handle(h, func(_ *xmpp.Session, it roster.Item) {
		e.contacts.pushed(it)
		e.dir.pushed(it)
		e.Recheck()
	})
}

// admits reports whether somebody may talk to us: who may ask something here
// (step 1 of section 7), and who may have to answer us over a session of its own.
// Nobody talks to himself.
func (e *Endpoint) admits(s ibb.Session, from jid.JID) bool {
	return from != s.JID() && (e.contacts.admit(from) || e.x.awaits(s, from))
}

// isLegacy reports whether a peer is asked in raw CoAP.
func (e *Endpoint) isLegacy(peer jid.JID) bool { return slices.Contains(e.cfg.LegacyPeers, peer) }

// met passes on what the directory learns.
func (e *Endpoint) met(d Device) {
	if e.cfg.OnDevice != nil {
		e.cfg.OnDevice(d)
	}
}

// errRenamed ends a stream because the device has another name now.
var errRenamed = errors.New("rae: /oic/d tells another name")

// Run keeps the endpoint at its server until ctx ends, through any number of
// lost connections, and takes leave then. A device whose di changes comes back
// under its new name (RA-057).
//
// It returns ctx.Err(), or another error when trying again would not help: one
// with a *xmpp.AuthError in its chain if the server refuses the account, and one
// of Device if /oic/d tells no name. Run is called once.
func (e *Endpoint) Run(ctx context.Context) error {
	defer e.server.tasks.Wait()
	defer e.x.close()
	for {
		name, err := e.identify(ctx)
		if err != nil {
			e.setState(State{Error, "failed: " + shortly(err)})
			return err
		}
		if err := e.runAs(ctx, name); !errors.Is(err, errRenamed) {
			if ctx.Err() != nil {
				e.setState(State{})
				return ctx.Err()
			}
			return err
		}
		e.log.Info("device has another name now")
	}
}

// runAs is Run for as long as the endpoint has that name.
func (e *Endpoint) runAs(ctx context.Context, name Name) error {
	cfg := e.cfg.XMPP
	var err error
	if cfg.JID, err = name.JID(e.own); err != nil {
		return err
	}
	cfg.Handlers, cfg.Online, cfg.OnChange = &e.handlers, e.online, e.changed
	client, err := xmpp.New(cfg)
	if err != nil {
		return err
	}
	e.begin(name, client)
	defer e.begin(name, nil)
	until, cancel := context.WithCancelCause(ctx)
	stream, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	var tasks sync.WaitGroup
	tasks.Go(func() {
		e.awaitRenaming(until, name, cancel)
		e.leave()
		hangUp()
	})
	err = client.Run(stream)
	cancel(err)
	tasks.Wait()
	return cmp.Or(context.Cause(until), err)
}

func (e *Endpoint) begin(name Name, client *xmpp.Client) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.name, e.client, e.there = name, client, nil
}

// session is the session that stands, or is being resumed, and whose presence
// was sent; nil if there is none.
func (e *Endpoint) session() *xmpp.Session {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.client == nil || e.there == nil || e.client.Session() != e.there {
		return nil
	}
	return e.there
}

// arrival returns a channel that is closed when there is another session.
func (e *Endpoint) arrival() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.next == nil {
		e.next = make(chan struct{})
	}
	return e.next
}

// Name is what the endpoint is called now; zero before Run knows.
func (e *Endpoint) Name() Name {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.name
}

// online begins a session: roster, then presence, and it is there (RA-065).
func (e *Endpoint) online(ctx context.Context, s *xmpp.Session) error {
	items, err := roster.Get(ctx, s)
	if _, refused := errors.AsType[*stanza.Error](err); err != nil && !refused {
		return err
	}
	e.contacts.set(items)
	e.dir.roster(items)
	if err := s.Send(ctx, e.presence()); err != nil {
		return err
	}
	e.arrived(s)
	if err := e.dir.rollCall(ctx, s); err != nil && ctx.Err() == nil {
		e.log.Warn("server does not say whether all presence has come", "err", err)
	}
	return nil
}

// leaveTime is how long taking leave may take.
const leaveTime = 2 * time.Second

// leave tells the server, and so everybody, that the endpoint goes (RFC 6121,
// section 4.5.1): with that, sessions with peers are over.
func (e *Endpoint) leave() {
	s := e.session()
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	if err := s.Send(ctx, &stanza.Presence{Type: "unavailable"}); err != nil {
		e.log.Debug("leave not taken", "err", err)
	}
}

// nameEvery is how often /oic/d is read while the endpoint is online: it cannot
// be observed as a rule.
const nameEvery = time.Minute

// awaitRenaming returns when ctx ends, or ends it with errRenamed as soon as the
// device has another name than that.
func (e *Endpoint) awaitRenaming(ctx context.Context, name Name, cancel context.CancelCauseFunc) {
	t := time.NewTicker(nameEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if now, err := e.identify(ctx); err == nil && now != name {
			cancel(errRenamed)
			return
		}
	}
}

// identify makes the name of what /oic/d tells, or of a client.
func (e *Endpoint) identify(ctx context.Context) (Name, error) {
	if e.cfg.Device == nil {
		return ClientName(e.cfg.ID)
	}
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Timeout)
	defer cancel()
	resp, err := e.cfg.Device.Handle(ctx, &oic.Request{Op: oic.Retrieve, Href: "/oic/d?if=" + oic.IfBaseline, Accept: oic.OCF})
	if err != nil {
		return Name{}, fmt.Errorf("rae: /oic/d: %w", err)
	}
	var d struct {
		ID    string `json:"di"`
		Types any    `json:"rt"` // an array; in OIC 1.0 a string
	}
	if err := oic.Decode(resp.Format, resp.Body, &d); err != nil {
		return Name{}, fmt.Errorf("rae: /oic/d: %w", err)
	}
	var types []string
	switch rt := d.Types.(type) {
	case string:
		types = append(types, rt)
	case []any:
		for _, t := range rt {
			if s, ok := t.(string); ok {
				types = append(types, s)
			}
		}
	}
	return ServerName(types, d.ID)
}
