package rae

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/ibb"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/ping"
	"github.com/farreach/farreach/xmpp/stanza"
)

// Remote is an endpoint somewhere else, or a device behind it, as an
// oic.Observer:
//
//	Handle, Observe ── is it there? ── Call ──▶ exchange ──▶ peer
//	     ▲                 presence               │ lost: GET, PUT, DELETE once more
//	     └── Response, *oic.StatusError ◀── Answer ┘
//
// A refusal is a *oic.StatusError. That nobody answered is an *UnansweredError,
// unless ctx has ended. Its methods may be called from several goroutines.
type Remote struct {
	e      *Endpoint
	peer   jid.JID
	device string // di, as URLs name it; "": whoever is asked
}

// Open returns what is at peer, a full address. It asks nobody: whether peer is
// there shows when it is asked.
func (e *Endpoint) Open(peer jid.JID) *Remote {
	name, _ := ParseName(peer.Resource())
	return &Remote{e, peer, name.Device()}
}

// Account is the account of the endpoint, a bare address.
func (e *Endpoint) Account() jid.JID { return e.own }

// Ping asks the endpoint's server for a sign of life and returns how long that
// took. The error is ErrNotConnected, or that of asking.
func (e *Endpoint) Ping(ctx context.Context) (time.Duration, error) {
	s := e.session()
	if s == nil {
		return 0, ErrNotConnected
	}
	return ping.Send(ctx, s, jid.JID{})
}

// Behind returns the device di that is reached through r, a proxy.
func (r *Remote) Behind(di string) *Remote { return &Remote{r.e, r.peer, di} }

// Peer is the full address of r.
func (r *Remote) Peer() jid.JID { return r.peer }

// UnansweredError says why nobody answered. In its chain is
//
//	oic.ErrOffline            the peer is not there, or we are not
//	ErrNotConnected           we are not
//	context.DeadlineExceeded  no answer in time: a 5.04 on a wire
//	*stanza.Error             who refuses a session, or the server for it
//	oic.ErrNotSent            besides: the peer has certainly not got the request
type UnansweredError struct {
	Peer jid.JID
	Why  string // what came in the way
	Try  string // what may help; "": nothing is known that does
	Err  error
}

func (e *UnansweredError) Error() string { return e.Peer.String() + ": " + e.Why }

// Unwrap returns what is behind the error.
func (e *UnansweredError) Unwrap() error { return e.Err }

// ErrNotConnected says that the endpoint has no session on its server.
var ErrNotConnected = errors.New("rae: not connected")

// Handle implements oic.Handler. It waits for Config.Timeout at most.
//
// If the session with the peer is lost before the answer has come, with our
// connection or without, a Retrieve, Replace or Delete is sent once more over
// another one; what else changes something never is (4.8).
func (r *Remote) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	c := r.call(req)
	start := time.Now()
	s, err := r.session()
	if err != nil {
		return nil, err
	}
	a, err := r.e.x.ask(ctx, s, r.peer, c)
	if errors.Is(err, errLost) && req.Op != oic.Update && req.Op != oic.Create && ctx.Err() == nil {
		within, cancel := context.WithDeadline(ctx, start.Add(r.e.cfg.Timeout))
		defer cancel()
		if again, gone := r.regain(within); gone == nil {
			a, err = r.e.x.ask(within, again, r.peer, c)
		}
	}
	if err != nil {
		return nil, r.unanswered(ctx, err)
	}
	if a.Refusal != nil {
		return nil, a.Refusal
	}
	return a.Response, nil
}

// call is req as it is sent.
func (r *Remote) call(req *oic.Request) *Call {
	c := &Call{Request: *req, Device: r.device}
	if c.Accept == oic.NoFormat {
		c.Accept = oic.OCF
	}
	path, query := oic.SplitHref(c.Href)
	if c.Op == oic.Create && oic.QueryValue(query, "if") != oic.IfCreate {
		if query != "" {
			query = "&" + query
		}
		c.Href = path + "?if=" + oic.IfCreate + query
	}
	return c
}

// session is what to ask over. The error says that it is known before that
// nobody would answer; nothing was sent then.
func (r *Remote) session() (*xmpp.Session, error) {
	name, ok := ParseName(r.peer.Resource())
	if ok && !name.Speaks() {
		return nil, r.fail(fmt.Sprintf("speaks version %d.%d of remote access, and this program 1.0", name.Major, name.Minor), "", oic.ErrNotSent)
	}
	s := r.e.session()
	if s == nil {
		return nil, r.notConnected()
	}
	if d, ok := r.e.dir.get(r.peer); ok && !d.Available {
		return nil, r.away(d, oic.ErrNotSent)
	}
	return s, nil
}

// regain is session when one was lost: if our own connection was, it waits until
// that is back and has shown whether the peer is there.
func (r *Remote) regain(ctx context.Context) (*xmpp.Session, error) {
	w := r.e.dir.watch(r.peer)
	defer w.stop()
	lost := false
	for {
		arrival, complete := r.e.arrival(), r.e.Complete()
		s, err := r.session()
		switch {
		case errors.Is(err, ErrNotConnected):
			lost, complete = true, nil
		case err == nil || !lost || isClosed(complete):
			return s, err
		}
		select {
		case <-w.news:
		case <-arrival:
		case <-complete:
		case <-r.e.x.ctx.Done():
			return nil, err
		case <-ctx.Done():
			return nil, err
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (r *Remote) notConnected() error {
	state := r.e.State()
	why := "not connected to " + r.e.own.Domain()
	if state.Reason != "" {
		why += ": " + state.Reason
	}
	return r.fail(why, "again, when "+r.e.own.Domain()+" can be reached", ErrNotConnected, oic.ErrOffline, oic.ErrNotSent)
}

func (r *Remote) away(d Device, more ...error) error {
	if d.GatewayGone {
		return r.fail("its gateway is gone, and nobody else knows how it is", "when the gateway is back", append(more, oic.ErrOffline)...)
	}
	return r.fail("offline since "+d.Since.UTC().Format(time.RFC3339), "when it is back", append(more, oic.ErrOffline)...)
}

// unanswered is an error of the exchange as an oic.Handler has it.
func (r *Remote) unanswered(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	refusal, local := errors.AsType[*oic.StatusError](err)
	late := local && refusal.Status == oic.GatewayTimeout || errors.Is(err, context.DeadlineExceeded)
	d, known := r.e.dir.get(r.peer)
	refused, byXMPP := errors.AsType[*stanza.Error](err)
	switch {
	case late:
		return r.fail(fmt.Sprintf("no answer within %v", r.e.cfg.Timeout), "again: what is lost over XMPP is lost without a word", context.DeadlineExceeded, sent(err))
	case local:
		return refusal // it cannot be asked so, or the answer makes no sense
	case r.e.session() == nil:
		return r.fail("the connection to "+r.e.own.Domain()+" was lost", "again, when it is back", ErrNotConnected, oic.ErrOffline, err)
	case known && !d.Available:
		return r.away(d, err)
	case byXMPP && refused.Condition == stanza.ServiceUnavailable && !known:
		return r.fail("nobody of that name is there who lets this account ask", "farreach discover lists who is there", oic.ErrOffline, err)
	case byXMPP:
		return r.fail("refuses a session: "+refused.Condition, "does it let this account ask?", err)
	case errors.Is(err, ibb.ErrTooMany), errors.Is(err, errCrowded):
		return r.fail("too much is under way with it", "again, when less is", err)
	case errors.Is(err, errLost) && errors.Is(err, oic.ErrNotSent):
		return r.fail("the session was lost before it was asked", "again", err)
	case errors.Is(err, errLost):
		return r.fail("the session was lost before it answered", "read what it did before you ask again", err)
	}
	return r.fail(err.Error(), "", err)
}

func (r *Remote) fail(why, try string, is ...error) error {
	return &UnansweredError{Peer: r.peer, Why: why, Try: try, Err: errors.Join(is...)}
}

// sent keeps of err that nothing was sent.
func sent(err error) error {
	if errors.Is(err, oic.ErrNotSent) {
		return oic.ErrNotSent
	}
	return nil
}
