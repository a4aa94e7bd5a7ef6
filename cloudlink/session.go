package cloudlink

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
)

// optionBearer carries an API token that proves who sends this one request,
// for clients that send a single request and go. It is elective, and unsafe to
// forward (RFC 7252, section 5.4.6), of the range for experiments.
const optionBearer coap.Number = 65002

// session is one connection to the server: a device's, or a person's.
//
// Requests to the account and directory resources change what the connection
// may do, so they are served one after the other, in order; those behind one
// of them wait for it.
type session struct {
	srv     *Server
	conn    *coap.Conn
	peer    netip.Addr
	asks    oiccoap.Server  // the peer's requests
	client  *oiccoap.Client // our requests to the peer
	watch   watch           // our observations of the peer
	outbox  outbox          // what they brought, on its way to the Backend
	reports *reports
	events  atomic.Int32 // under way: Link.Report

	tail chan struct{} // closed after the latest ordered request; only for Serve

	classic atomic.Bool // the peer has used a path of IoTivity classic

	mu        sync.Mutex // guards what follows
	who       oic.Identity
	until     time.Time // of who; zero: for ever
	deadline  *time.Timer
	announced *time.Timer // ends a device that does not send the /oic/ping it announced; nil: none
	detach    func()      // nil: not attached
	over      bool
}

func newSession(srv *Server, q *reports, remote net.Addr) *session {
	s := &session{
		srv:     srv,
		peer:    addrOf(remote),
		tail:    make(chan struct{}),
		reports: q,
	}
	close(s.tail)
	s.watch.session = s
	return s
}

// begin starts the clock of a connection that is not signed in.
func (s *session) begin() {
	s.client = oiccoap.NewClient(s.conn)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setDeadline(s.srv.cfg.SignIn, "not signed in in time")
}

// setDeadline ends the connection after d. s.mu is held.
func (s *session) setDeadline(d time.Duration, reason string) {
	s.stopDeadline()
	s.deadline = time.AfterFunc(d, func() { s.Close(reason) })
}

// stopDeadline takes the deadline back. s.mu is held.
func (s *session) stopDeadline() {
	if s.deadline != nil {
		s.deadline.Stop()
		s.deadline = nil
	}
}

// log tells who is at the other end. It is made when something is said: most
// sessions are idle.
func (s *session) log() *slog.Logger { return s.srv.log.With("remote", s.conn.RemoteAddr()) }

// Serve implements coap.Handler: it decides which requests wait for which.
func (s *session) Serve(x *coap.Exchange) {
	m := x.Request()
	before := s.tail
	path := m.Options.Path()
	switch path {
	case pathPing:
		s.ping(x)
		return
	case pathTime:
		s.time(x)
		return
	}
	if ordered(path) {
		after := make(chan struct{})
		s.tail = after
		x.Go(func(ctx context.Context) {
			defer close(after)
			<-before
			s.serveOrdered(ctx, x)
		})
		return
	}
	q := &routed{session: s, before: before, bearer: bearerOf(m)}
	if q.bearer == "" && done(before) && s.identity().Anonymous() {
		x.Go(func(context.Context) { s.turnAway(x) })
		return
	}
	s.asks.Serve(x, q, oic.Identity{})
}

// turnAway answers a request of someone who has not signed in, and closes.
func (s *session) turnAway(x *coap.Exchange) {
	s.log().Debug("request before sign-in", "path", x.Request().Options.Path())
	oiccoap.Reply(x, nil, errSignIn)
	s.Close(errSignIn.Diag)
}

var errSignIn = oic.Errorf(oic.Unauthorized, "sign in first")

// ordered reports whether requests for path are served one after the other.
func ordered(path string) bool {
	switch today(path) {
	case pathAccount, pathSession, pathRefresh, pathRD, pathSearch:
		return true
	}
	return false
}

// serveOrdered answers a request for an account or directory resource.
func (s *session) serveOrdered(ctx context.Context, x *coap.Exchange) {
	var out outcome
	req, err := oiccoap.ToRequest(x.Request())
	if err == nil {
		req.From, err = s.prove(ctx, bearerOf(x.Request()))
	}
	if err == nil {
		s.spoken(req)
		out, err = s.control(ctx, req)
	}
	if err != nil {
		s.log().Debug("refused", "path", x.Request().Options.Path(), "err", err)
	}
	oiccoap.Reply(x, out.resp, err)
	if out.then != nil {
		out.then()
	}
}

// outcome is the answer to an ordered request, and what is to be done once the
// peer has it. then is called with an error as well.
type outcome struct {
	resp *oic.Response
	then func()
}

func (s *session) control(ctx context.Context, req *oic.Request) (outcome, error) {
	path, query := oic.SplitHref(req.Href)
	if path == pathSearch || path == Classic.path(pathAccount) && req.Op == oic.Retrieve {
		return s.users(req, query)
	}
	path = today(path)
	switch {
	case path == pathAccount && req.Op == oic.Update:
		return s.signUp(ctx, req)
	case path == pathAccount && req.Op == oic.Delete:
		return s.signOff(ctx, req, query)
	case path == pathSession && req.Op == oic.Update:
		return s.signIn(ctx, req)
	case path == pathRefresh && req.Op == oic.Update:
		return s.refresh(ctx, req)
	case path == pathRD && req.From.Anonymous():
		return outcome{then: func() { s.Close(errSignIn.Diag) }}, errSignIn
	case path == pathRD && req.Op == oic.Update:
		return s.publish(ctx, req)
	case path == pathRD && req.Op == oic.Delete:
		return s.unpublish(ctx, req, query)
	case path == pathRD && req.Op == oic.Retrieve:
		return s.selector(req)
	}
	return outcome{}, wrongMethod(req, path)
}

// prove returns who sends a request: whoever bears the token in it, else
// whoever signed the connection in.
func (s *session) prove(ctx context.Context, bearer secret.String) (oic.Identity, error) {
	if bearer == "" {
		return s.identity(), nil
	}
	who, err := s.srv.cfg.Backend.Bearer(ctx, s.peer, bearer)
	if err != nil {
		return oic.Identity{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.who.Anonymous() {
		s.stopDeadline() // the keep-alive watches over it from now on
		s.conn.Vouch()
	}
	return who, nil
}

// introduce looks for a token in the first block of a body: whose it is has room
// for all of it. Others will hear when they have sent what there is room for.
func (s *session) introduce(_ *coap.Conn, first *coap.Message) {
	bearer := bearerOf(first)
	if bearer == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.srv.cfg.Request)
	defer cancel()
	if _, err := s.prove(ctx, bearer); err != nil {
		s.log().Debug("not introduced", "err", err)
	}
}

// identity is who signed in, until that has expired.
func (s *session) identity() oic.Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.until.IsZero() && !time.Now().Before(s.until) {
		return oic.Identity{}
	}
	return s.who
}

// ended is called once, when the connection is over.
func (s *session) ended(_ *coap.Conn, err error) {
	s.srv.stats.closed()
	s.mu.Lock()
	s.over = true
	s.stopDeadline()
	if s.announced != nil {
		s.announced.Stop()
	}
	detach := s.detach
	who := s.who
	s.detach, s.who = nil, oic.Identity{}
	s.mu.Unlock()
	s.watch.drop(nil)
	s.srv.succession.leave(&s.outbox)
	if detach != nil {
		detach()
	}
	s.log().Debug("connection over", "device", who.Device, "err", err)
}

// LastSeen implements Session.
func (s *session) LastSeen() time.Time { return s.conn.LastSeen() }

// Close implements Session. The peer is told by an Abort; one that does not
// know it, as iotivity-lite (rule 17), sees the connection closed.
func (s *session) Close(reason string) {
	s.log().Debug("closing", "reason", reason)
	s.outbox.close()
	s.conn.Abort(reason)
}

// goodbye ends the connection properly, and does not wait for the end.
func (s *session) goodbye() {
	s.reports.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), goodbyeTime)
		defer cancel()
		s.conn.Shutdown(ctx)
	})
}

// goodbyeTime is how long a peer may take to close after it signed off.
const goodbyeTime = 2 * time.Second

// plain reports whether what the peer sends can be read on the way.
func (s *session) plain() bool {
	return s.conn.TLS() == nil && !s.peer.IsLoopback()
}

func bearerOf(m *coap.Message) secret.String {
	o, _ := m.Options.Get(optionBearer)
	return secret.String(o.Value)
}

func done(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
