package cloudlink

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
)

// signInAnswer answers a sign-in.
type signInAnswer struct {
	Expires int64 `json:"expiresin"` // seconds; -1: never
}

// SignIn proves who we are, for the life of the link or until the time it
// returns; the zero time is for ever.
func (l *Link) SignIn(ctx context.Context, in Login) (time.Time, error) {
	login := true
	a := signInAnswer{Expires: never}
	err := l.post(ctx, pathSession, accountRequest{
		Device: in.Device, Account: in.Account, Access: in.Access.Reveal(), Login: &login,
	}, &a)
	if err != nil {
		return time.Time{}, fmt.Errorf("sign in: %w", err)
	}
	l.setLogin(in)
	return expiresAt(a.Expires), nil
}

// SignOut takes a SignIn back.
func (l *Link) SignOut(ctx context.Context) error {
	in, login := l.login(), false
	err := l.post(ctx, pathSession, accountRequest{
		Device: in.Device, Account: in.Account, Access: in.Access.Reveal(), Login: &login,
	}, nil)
	if err != nil {
		return fmt.Errorf("sign out: %w", err)
	}
	l.setLogin(Login{})
	return nil
}

func (s *session) signIn(ctx context.Context, req *oic.Request) (outcome, error) {
	doc, err := s.accountRequest(req)
	switch {
	case err != nil:
		return outcome{}, err
	case doc.Login != nil && !*doc.Login:
		return s.signOut(req, doc)
	case doc.Access == "":
		return outcome{}, missing(isClassic(req), "accesstoken is needed")
	}
	if doc.Device != "" && req.From.Anonymous() {
		if err := s.srv.admit(ctx); err != nil {
			return outcome{}, err
		}
	}
	start := time.Now()
	who, until, err := s.srv.cfg.Backend.SignIn(ctx, Login{
		Account: doc.Account, Device: doc.Device, Access: secret.String(doc.Access), Peer: s.peer,
	})
	if err != nil {
		return outcome{}, err
	}
	if !strings.EqualFold(who.Device, doc.Device) {
		return outcome{}, oic.Errorf(oic.Unauthorized, "the token is another's")
	}
	then, err := s.become(ctx, who, until)
	if err != nil {
		return outcome{}, err
	}
	level := slog.LevelInfo
	if !req.From.Anonymous() {
		level = slog.LevelDebug // again, with a new token
	}
	s.log().Log(ctx, level, "signed in", "account", who.Account, "device", who.Device,
		"tls", s.conn.TLS() != nil, "took", time.Since(start))
	out, err := answer(req, oic.Changed, signInAnswer{expiresIn(until)})
	out.then = then
	return out, err
}

// become makes who the one that is at the other end. then is for when the peer
// knows it.
func (s *session) become(ctx context.Context, who oic.Identity, until time.Time) (then func(), err error) {
	s.mu.Lock()
	before, attached := s.who, s.detach != nil
	s.mu.Unlock()
	if !before.Anonymous() && (before.Device != who.Device || before.Account != who.Account) {
		return nil, oic.Errorf(oic.Forbidden, "this connection is signed in for another")
	}
	var detach func()
	var links []oic.Link
	if who.Device != "" && !attached {
		if detach, links, err = s.srv.cfg.Backend.Attach(ctx, who, s); err != nil {
			return nil, err
		}
		s.srv.succession.take(who.Device, &s.outbox)
	}
	if !s.settle(who, until, detach) && detach != nil {
		detach()
		return nil, oic.ErrOffline
	}
	if before.Anonymous() {
		s.conn.Vouch()
		s.conn.SetMaxMessage(maxSigned)
	}
	return func() { s.watch.add(links) }, nil
}

// settle keeps what become found out. It reports false if the connection is
// over by now.
func (s *session) settle(who oic.Identity, until time.Time, detach func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	s.who, s.until = who, until
	if detach != nil {
		s.detach = detach
	}
	s.stopDeadline()
	if !until.IsZero() {
		// A request that comes right at the end is still answered, with 4.01.
		s.setDeadline(time.Until(until)+expiryGrace, "session expired")
	}
	return true
}

// expiryGrace is how long a connection outlives its session.
const expiryGrace = 500 * time.Millisecond

func (s *session) signOut(req *oic.Request, doc accountRequest) (outcome, error) {
	who := s.identity()
	if who.Anonymous() {
		return outcome{}, errSignIn
	}
	if err := same(who, doc.Account, doc.Device); err != nil {
		return outcome{}, err
	}
	if isClassic(req) {
		s.leave(classicGrace)
		return outcome{resp: &oic.Response{Status: oic.Changed}}, nil
	}
	s.leave(s.srv.cfg.SignIn)
	return answer(req, oic.Changed, struct{}{})
}

// classicGrace is how long a connection of IoTivity classic stays after its
// device signed out, as that cloud does it.
const classicGrace = 500 * time.Millisecond

// leave makes the connection one that is not signed in, for at most d.
func (s *session) leave(d time.Duration) {
	s.mu.Lock()
	detach := s.detach
	s.who, s.detach = oic.Identity{}, nil
	if !s.over {
		s.setDeadline(d, "not signed in in time")
	}
	s.mu.Unlock()
	s.watch.drop(nil)
	s.asks.EndObservations(errSignIn)
	if detach != nil {
		detach()
	}
}

// same refuses an account or a device that is named but is not who's.
func same(who oic.Identity, account, device string) error {
	if account != "" && account != who.Account || device != "" && !strings.EqualFold(device, who.Device) {
		return oic.Errorf(oic.Forbidden, "this connection is signed in for another")
	}
	return nil
}

// mayProve refuses secrets that others could read, and a device other than the
// one that the peer's certificate names (rule 22).
func (s *session) mayProve(device string) error {
	if s.plain() && !s.srv.cfg.AllowPlain {
		return oic.Errorf(oic.Forbidden, "connect by TLS: coaps+tcp or coaps+ws")
	}
	state := s.conn.TLS()
	if state == nil || len(state.PeerCertificates) == 0 {
		return nil
	}
	id, ok := strings.CutPrefix(state.PeerCertificates[0].Subject.CommonName, "uuid:")
	if ok && !strings.EqualFold(id, device) {
		return oic.Errorf(oic.Forbidden, "the certificate is another device's")
	}
	return nil
}
