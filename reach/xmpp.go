package reach

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stanza"
)

// XMPP is an account by which devices are reached, and who we are there. Of
// Config, only JID and Password have no default; of JID the account counts.
type XMPP struct {
	xmpp.Config

	// ID is our own device id, a UUID, which must be nobody else's at the same
	// time: who logs in with it throws out who did before. "": a random one.
	ID string

	// Memory is the file that keeps which devices a gateway spoke for, for the time
	// when it does not any more; "": they are remembered until Close.
	Memory string
}

// xmppWay is the way over XMPP: a client endpoint, which is started when it is
// needed for the first time and stays until close.
type xmppWay struct {
	e   *rae.Endpoint
	log *slog.Logger
	ctx context.Context // ends with close
	end context.CancelFunc

	tasks sync.WaitGroup
	start sync.Once
	names names

	behind *behind // proxies
	memory memory

	mu      sync.Mutex               // guards what follows
	call    <-chan struct{}          // the latest Complete that was closed
	known   time.Time                // since when it is known who is there
	heard   time.Time                // when somebody came or went last
	final   error                    // of Run: there will be no other state
	changed map[string]chan struct{} // closed when there is news of a di, or with "" of us
}

func newXMPPWay(cfg XMPP, log *slog.Logger) (*xmppWay, error) {
	x := &xmppWay{log: log, changed: map[string]chan struct{}{}, memory: memory{file: cfg.Memory}}
	x.behind = newBehind(x)
	var err error
	x.e, err = rae.New(rae.Config{
		XMPP: cfg.Config, ID: cmp.Or(cfg.ID, uuid.NewString()), Log: log,
		OnState:  func(rae.State) { x.bump("") },
		OnDevice: x.met,
	})
	if err != nil {
		return nil, &Error{Kind: Usage, Err: err, Hint: "the account of --xmpp is written like ann@example.org"}
	}
	x.ctx, x.end = context.WithCancel(context.Background())
	return x, nil
}

// met takes notice of a device that has come or gone.
func (x *xmppWay) met(d rae.Device) {
	x.mu.Lock()
	x.heard = time.Now()
	x.mu.Unlock()
	if d.Name.Type == typeBridge {
		x.behind.met(d)
		x.bump("") // it is news of all behind it
		return
	}
	x.bump(d.Name.Device())
}

func (x *xmppWay) close() {
	if isClosed(x.e.Complete()) {
		x.memory.note(append(x.present(), x.behind.present()...))
	}
	if err := x.memory.save(); err != nil {
		x.log.Warn("which devices were there is not remembered", "err", err)
	}
	x.behind.close()
	x.tasks.Wait()
}

// wake starts the endpoint, unless that has been done.
func (x *xmppWay) wake() {
	x.start.Do(func() {
		x.tasks.Go(func() {
			err := x.e.Run(x.ctx)
			x.mu.Lock()
			x.final = err
			x.mu.Unlock()
			x.bump("")
		})
		x.tasks.Go(x.follow)
	})
}

// follow tells whenever the endpoint has learnt who is there.
func (x *xmppWay) follow() {
	for {
		complete := x.e.Complete()
		select {
		case <-complete:
		case <-x.ctx.Done():
			return
		}
		x.complete(complete)
		x.bump("")
		for x.e.Complete() == complete {
			select {
			case <-x.news(""):
			case <-x.ctx.Done():
				return
			}
		}
	}
}

// news is closed when there is some of the device di, or of ourselves.
func (x *xmppWay) news(di string) <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.changed[di] == nil {
		x.changed[di] = make(chan struct{})
	}
	return x.changed[di]
}

// bump tells of news: of ourselves is news of everybody.
func (x *xmppWay) bump(di string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for id, c := range x.changed {
		if di == "" || di == id {
			close(c)
			delete(x.changed, id)
		}
	}
}

// open starts the endpoint and waits until it is connected and knows who is
// there. The error is a *Error, or that of ctx; nothing was sent then.
func (x *xmppWay) open(ctx context.Context) error {
	x.wake()
	for {
		news := x.news("")
		x.mu.Lock()
		final := x.final
		x.mu.Unlock()
		state := x.e.State()
		switch {
		case x.ctx.Err() != nil:
			return notSent(errClosed)
		case state.Status == rae.Error || final != nil:
			return notSent(x.stateError(state, final))
		}
		complete := x.e.Complete()
		select {
		case <-complete:
			x.complete(complete)
			return nil
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// How long presence may come behind the answer that says it is complete: some
// servers, ejabberd among them, have each resource tell of itself.
const (
	lateFor = time.Second            // at most
	quiet   = 300 * time.Millisecond // without any: that was all
)

// complete notes since when it is known who is there.
func (x *xmppWay) complete(call <-chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.call != call {
		x.call, x.known = call, time.Now()
	}
}

// settle waits, where somebody is missed, until nobody comes late any more.
func (x *xmppWay) settle(ctx context.Context) {
	for {
		x.mu.Lock()
		known, heard := x.known, x.heard
		x.mu.Unlock()
		if heard.Before(known) {
			heard = known
		}
		left := min(time.Until(known.Add(lateFor)), time.Until(heard.Add(quiet)))
		if left <= 0 || backoff.Sleep(ctx, left) != nil {
			return
		}
	}
}

// stateError is why we are not connected, and what may help.
func (x *xmppWay) stateError(s rae.State, final error) error {
	e := &Error{Kind: NoConnect, Err: fmt.Errorf("not connected to %s: %s", x.account().Domain(), cmp.Or(s.Reason, fmt.Sprint(final)))}
	word, _, _ := strings.Cut(strings.TrimPrefix(s.Reason, "reconnecting: "), ":")
	switch word {
	case "auth-failed":
		e.Kind, e.Hint = NotAllowed, "is this the password of "+x.account().String()+"?"
	case "tls-failed":
		e.Kind, e.Hint = NotAllowed, "is this the right server, and its certificate one that is trusted here?"
	case "conflict":
		e.Hint = "does another program run with the same client id?"
	default:
		e.Hint = "is the XMPP server running, and is this its address?"
	}
	return e
}

func (x *xmppWay) account() jid.JID { return x.e.Account() }

// device is the endpoint of a di: one that is here, and of our own account, goes
// before others.
func (x *xmppWay) device(di string) (best rae.Device, ok bool) {
	rank := func(d rae.Device) (n int) {
		if d.Available {
			n += 2
		}
		if d.Account() == x.account() {
			n++
		}
		return n
	}
	for _, d := range x.e.Devices() {
		if d.Name.Speaks() && d.Name.Device() == strings.ToLower(di) && (!ok || rank(d) > rank(best)) {
			best, ok = d, true
		}
	}
	return best, ok
}

// xmppRoute is the way to one device: that with a di, or an endpoint that was
// named.
type xmppRoute struct {
	*xmppWay
	di   string
	peer jid.JID // of who has the di, or of the proxy that it is behind; zero: whoever there is
}

func (r xmppRoute) via() string {
	if peer, ok := r.place(); ok {
		return xmppURI(peer, r.hiddenAt(peer), "")
	}
	return xmppURI(r.account(), "", "")
}

// place is the endpoint to ask: the peer, the device itself if it is there, else
// the proxy that it is behind, else the device that was there.
func (r xmppRoute) place() (jid.JID, bool) {
	if !r.peer.IsZero() {
		return r.peer, true
	}
	d, ok := r.device(r.di)
	if !ok || !d.Available {
		if peer, where := r.behind.place(r.di); where == here {
			return peer, true
		}
	}
	return d.JID, ok
}

// hiddenAt is the di if peer is not the device itself but a proxy, else "".
func (r xmppRoute) hiddenAt(peer jid.JID) string {
	if name, _ := rae.ParseName(peer.Resource()); !strings.EqualFold(name.Device(), r.di) {
		return strings.ToLower(r.di)
	}
	return ""
}

// remote is the endpoint to ask, once it is known who is there.
func (r xmppRoute) remote(ctx context.Context) (*rae.Remote, error) {
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	peer, ok := r.place()
	if !ok {
		r.behind.seek()
		r.settle(ctx)
		r.behind.settle(ctx)
		peer, ok = r.place()
	}
	if !ok {
		return nil, notSent(r.notListed())
	}
	if di := r.hiddenAt(peer); di != "" {
		return r.e.Open(peer).Behind(di), nil
	}
	return r.e.Open(peer), nil
}

// notListed is why there is nobody to ask.
func (r xmppRoute) notListed() error {
	if s, ok := r.memory.of(r.di); ok && s.Gateway != "" {
		return &Error{Kind: Offline, Err: fmt.Errorf("%s: its gateway is gone, and nobody else knows how it is; last seen %s", r.di, s.Seen.UTC().Format(time.RFC3339)),
			Hint: "when the gateway is back"}
	}
	return &Error{Kind: Offline, Err: fmt.Errorf("%s is not at %s: %w", r.di, r.account(), errNotListed)}
}

func (r xmppRoute) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	remote, err := r.remote(ctx)
	if err != nil {
		return nil, err
	}
	resp, err := remote.Handle(ctx, req)
	return resp, unanswered(err)
}

func (r xmppRoute) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	remote, err := r.remote(ctx)
	if err != nil {
		return err
	}
	return unanswered(remote.Observe(ctx, req, each))
}

// unanswered gives what package rae says a kind and a hint.
func unanswered(err error) error {
	e, ok := errors.AsType[*rae.UnansweredError](err)
	if !ok {
		return err
	}
	kind := Failed
	_, refused := errors.AsType[*stanza.Error](err)
	switch {
	case errors.Is(err, rae.ErrNotConnected):
		kind = NoConnect
	case errors.Is(err, oic.ErrOffline):
		kind = Offline
	case errors.Is(err, context.DeadlineExceeded):
		kind = Timeout
	case refused:
		kind = NotAllowed
	}
	return &Error{Kind: kind, Err: e, Hint: e.Try}
}

func (r xmppRoute) ping(ctx context.Context) (time.Duration, error) {
	if err := r.open(ctx); err != nil {
		return 0, err
	}
	took, err := r.e.Ping(ctx)
	if err != nil && ctx.Err() == nil {
		err = &Error{Kind: NoConnect, Err: err}
	}
	return took, err
}

func (r xmppRoute) presence() (presence, <-chan struct{}) {
	news := r.news(r.di)
	d, known := r.device(r.di)
	state := r.e.State()
	switch {
	case known && d.Available:
		return here, news
	case state.Status == rae.Error:
		return away, news
	case known, isClosed(r.e.Complete()):
		r.behind.seek()
		_, where := r.behind.place(r.di)
		return where, news
	}
	return unknown, news
}
