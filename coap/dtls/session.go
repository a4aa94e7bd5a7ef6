package dtls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	pion "github.com/pion/dtls/v3"
	"github.com/pion/logging"
	"github.com/pion/transport/v5/deadline"

	"github.com/farreach/farreach/coap"
)

// session is a handshake and what follows it with one peer.
type session struct {
	c    *Conn
	addr netip.AddrPort
	link *link

	// Conn.mu guards what follows, until established is set: then conn and
	// security do not change any more.
	conn        *pion.Conn
	security    *coap.Security
	established bool
	heard       time.Time
	waiting     [][]byte // to be sent after the handshake
	old, next   *session // at the same address: the one that this replaces, or is replaced by
}

// open begins a session. c.mu is held.
func (c *Conn) open(peer netip.AddrPort, client bool) *session {
	s := &session{c: c, addr: peer, heard: time.Now(), link: &link{
		c: c, to: peer, in: make(chan []byte, maxInbound), done: make(chan struct{}), deadline: deadline.New()}}
	if !client {
		c.half[s] = true
	}
	c.talks.Go(func() { s.run(client) })
	return s
}

// push hands a datagram to the session. c.mu is held.
func (s *session) push(b []byte) {
	s.heard = time.Now()
	select {
	case s.link.in <- append([]byte(nil), b...):
	default: // as if it had got lost
	}
}

// end has run end.
func (s *session) end() { s.link.end() }

// run is the session's goroutine.
func (s *session) run(client bool) {
	c := s.c
	err := s.shake(client)
	if err == nil {
		err = s.read()
	} else {
		err = &HandshakeError{err}
	}
	if s.conn != nil {
		s.conn.Close()
	}
	s.end()
	c.mu.Lock()
	delete(c.half, s)
	listed := c.sessions[s.addr] == s
	c.unlist(s)
	c.mu.Unlock()
	if listed {
		c.cfg.Log.Debug("dtls session ended", "remote", s.addr, "error", err)
		c.ended(s.addr, err)
	}
}

// HandshakeError says that there is no session: the two ends do not trust each
// other, have nothing in common by which they could, or one of them is silent.
type HandshakeError struct{ Err error }

func (e *HandshakeError) Error() string { return "dtls: handshake: " + e.Err.Error() }

// Unwrap returns what is behind the error.
func (e *HandshakeError) Unwrap() error { return e.Err }

// shake makes the session usable.
func (s *session) shake(client bool) error {
	conn, err := s.connect(client)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), handshake)
	defer cancel()
	s.c.talks.Go(func() {
		<-s.link.done
		cancel()
		conn.SetReadDeadline(longAgo)
	})
	s.conn = conn
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	security, err := s.c.identify(conn, client)
	if err != nil {
		return err
	}
	s.establish(security)
	return nil
}

// establish makes this the session of the peer, and sends what waited for it.
func (s *session) establish(security *coap.Security) {
	c := s.c
	c.mu.Lock()
	delete(c.half, s)
	old := s.old
	if old != nil && c.sessions[s.addr] == old {
		c.sessions[s.addr] = s
		old.next = nil
	}
	s.old = nil
	s.security, s.established = security, true
	waiting := s.waiting
	s.waiting = nil
	c.mu.Unlock()
	if old != nil {
		old.end()
		c.ended(s.addr, errReplaced)
	}
	for _, b := range waiting {
		s.conn.Write(b)
	}
}

var errReplaced = errors.New("dtls: the peer began another session")

// longAgo is a deadline that ends whatever waits. A link that ends in the moment
// in which the handshake is over ends no Read of pion's by itself.
var longAgo = time.Unix(1, 0)

// read hands on what the peer sends.
func (s *session) read() error {
	b := make([]byte, maxPlain)
	for {
		s.conn.SetReadDeadline(time.Now().Add(idle))
		select {
		case <-s.link.done: // longAgo may have come before
			return net.ErrClosed
		default:
		}
		n, err := s.conn.Read(b)
		if err != nil {
			return err
		}
		select {
		case s.c.read <- datagram{s.addr, append([]byte(nil), b[:n]...)}:
		case <-s.link.done:
			return net.ErrClosed
		}
	}
}

// connect returns the session before its handshake.
func (s *session) connect(client bool) (*pion.Conn, error) {
	c, t := s.c, s.c.cfg.TLS
	peer := net.UDPAddrFromAddrPort(s.addr)
	shared := c.options()
	if client {
		if c.cfg.PSK == nil && t.ServerName == "" && !t.InsecureSkipVerify {
			return nil, errNoName
		}
		opts := []pion.ClientOption{}
		for _, o := range shared {
			opts = append(opts, o)
		}
		if t.RootCAs != nil {
			opts = append(opts, pion.WithRootCAs(t.RootCAs))
		}
		if t.ServerName != "" {
			opts = append(opts, pion.WithServerName(t.ServerName))
		}
		opts = append(opts, pion.WithInsecureSkipVerify(t.InsecureSkipVerify))
		return pion.ClientWithOptions(s.link, peer, opts...)
	}
	opts := []pion.ServerOption{pion.WithClientAuth(pion.ClientAuthType(t.ClientAuth))}
	for _, o := range shared {
		opts = append(opts, o)
	}
	if t.ClientCAs != nil {
		opts = append(opts, pion.WithClientCAs(t.ClientCAs))
	}
	return pion.ServerWithOptions(s.link, peer, opts...)
}

// identify returns what a peer has proved. Certificates that nobody verified
// prove nothing.
func (c *Conn) identify(conn *pion.Conn, client bool) (*coap.Security, error) {
	state, ok := conn.ConnectionState()
	if !ok {
		return nil, errors.New("no state")
	}
	t := c.cfg.TLS
	security := &coap.Security{PSKIdentity: state.IdentityHint}
	verified := t.VerifyPeerCertificate != nil || t.ClientAuth >= tls.VerifyClientCertIfGiven
	if client {
		verified = t.VerifyPeerCertificate != nil || !t.InsecureSkipVerify
	}
	if !verified {
		return security, nil
	}
	for _, der := range state.PeerCertificates {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		security.Certificates = append(security.Certificates, cert)
	}
	return security, nil
}

// link is the net.PacketConn that pion reads and writes: one peer's part of the
// socket.
type link struct {
	c        *Conn
	to       netip.AddrPort
	in       chan []byte
	once     sync.Once
	done     chan struct{}
	deadline *deadline.Deadline
}

func (l *link) end() { l.once.Do(func() { close(l.done) }) }

func (l *link) ReadFrom(b []byte) (int, net.Addr, error) {
	if err := l.deadline.Err(); err != nil {
		return 0, nil, timeout{}
	}
	select {
	case d := <-l.in:
		return copy(b, d), net.UDPAddrFromAddrPort(l.to), nil
	case <-l.deadline.Done():
		return 0, nil, timeout{}
	case <-l.done:
		return 0, nil, net.ErrClosed
	}
}

func (l *link) WriteTo(b []byte, _ net.Addr) (int, error) {
	return l.c.pc.WriteToUDPAddrPort(b, l.to)
}

func (l *link) Close() error {
	l.end()
	return nil
}

func (l *link) LocalAddr() net.Addr { return l.c.pc.LocalAddr() }

func (l *link) SetDeadline(t time.Time) error { return l.SetReadDeadline(t) }

func (l *link) SetReadDeadline(t time.Time) error {
	l.deadline.Set(t)
	return nil
}

func (l *link) SetWriteDeadline(time.Time) error { return nil } // it does not wait

// timeout is the error of a Read that took too long.
type timeout struct{}

func (timeout) Error() string   { return "i/o timeout" }
func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return true }

// mute swallows pion's log: what matters of a session comes as an error.
type mute struct{}

func (mute) NewLogger(string) logging.LeveledLogger { return mute{} }
func (mute) Trace(string)                           {}
func (mute) Tracef(string, ...any)                  {}
func (mute) Debug(string)                           {}
func (mute) Debugf(string, ...any)                  {}
func (mute) Info(string)                            {}
func (mute) Infof(string, ...any)                   {}
func (mute) Warn(string)                            {}
func (mute) Warnf(string, ...any)                   {}
func (mute) Error(string)                           {}
func (mute) Errorf(string, ...any)                  {}
