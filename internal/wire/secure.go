package wire

import (
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"
)

// Secure is the link through TLS. While nothing arrives it holds no buffer: the
// inner link waits, tls.Conn gets the ciphertext out of a borrowed buffer, and
// believes that its transport timed out when that is empty.
//
//	inner.Next ──▶ cipher ──▶ shim.Read ──▶ tls.Conn ──▶ Next
//	inner.Try  ◀── shim.out ◀── shim.Write ◀── tls.Conn ◀── Try
type Secure struct {
	nc    net.Conn
	inner Link
	tls   *tls.Conn
	shim  *shim

	cipher *Buffer // borrowed, holds shim.in; nil: none
	dry    bool    // tls.Conn has said that it needs more ciphertext
}

// Client returns the link through TLS over inner, the link of nc, for the end
// that opened the connection. Nothing happens before Handshake.
func Client(nc net.Conn, inner Link, cfg *tls.Config) *Secure {
	s := &Secure{nc: nc, inner: inner, shim: &shim{Conn: nc}}
	s.tls = tls.Client(s.shim, cfg)
	return s
}

// Server is Client for the end that accepted the connection.
func Server(nc net.Conn, inner Link, cfg *tls.Config) *Secure {
	s := &Secure{nc: nc, inner: inner, shim: &shim{Conn: nc}}
	s.tls = tls.Server(s.shim, cfg)
	return s
}

// Handshake shakes hands within the time given, on a goroutine that ends with
// it, for the handshake needs a large stack and a connection may live long on a
// small one.
func (s *Secure) Handshake(within time.Duration) error {
	s.nc.SetDeadline(time.Now().Add(within))
	done := make(chan error, 1)
	go func() { done <- s.tls.Handshake() }()
	if err := <-done; err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	s.shim.records = true
	return s.nc.SetDeadline(time.Time{})
}

// Inner is the link that carries the ciphertext.
func (s *Secure) Inner() Link { return s.inner }

// State describes the session, after Handshake.
func (s *Secure) State() tls.ConnectionState { return s.tls.ConnectionState() }

// Next returns what the ciphertext at hand holds, and waits for more when it
// holds nothing: also the first time, since plaintext may have come with the
// last record of the handshake.
func (s *Secure) Next() (*Buffer, error) {
	for {
		if !s.dry {
			if b, err := s.decrypt(); b != nil || err != nil {
				return b, err
			}
		}
		s.cipher.Free()
		s.cipher, s.dry = nil, false
		b, err := s.inner.Next()
		if err != nil {
			s.shim.inErr = err // tls.Conn judges whether the peer may stop here
			continue
		}
		s.cipher, s.shim.in = b, b.B
	}
}

// decrypt returns the plaintext in all ciphertext at hand, or as much of it as
// one buffer holds; nil if there is none.
func (s *Secure) decrypt() (*Buffer, error) {
	b := Borrow()
	for len(b.B) < cap(b.B) {
		n, err := s.tls.Read(b.B[len(b.B):cap(b.B)])
		b.B = b.B[:len(b.B)+n]
		if err == nil {
			continue
		}
		if len(b.B) > 0 {
			s.dry = err == error(errNoCiphertext)
			return b, nil // another error comes again
		}
		b.Free()
		if err == error(errNoCiphertext) {
			return nil, nil
		}
		s.cipher.Free()
		s.cipher = nil
		return nil, err
	}
	return b, nil
}

// Try encrypts all of b, unless something is still pending, and writes what
// can be written without waiting.
func (s *Secure) Try(b []byte) (int, error) {
	if err := s.push(); err != nil || s.Pending() {
		return 0, err
	}
	if _, err := s.tls.Write(b); err != nil {
		return 0, err
	}
	return len(b), s.push()
}

// push writes as much ciphertext as can be written without waiting.
func (s *Secure) push() error {
	out := s.shim.take()
	if out == nil {
		return nil
	}
	n, err := s.inner.Try(out.B)
	if err != nil || n == len(out.B) {
		out.Free()
		return err
	}
	out.B = out.B[:copy(out.B, out.B[n:])]
	s.shim.putBack(out)
	return nil
}

func (s *Secure) Pending() bool {
	s.shim.mu.Lock()
	defer s.shim.mu.Unlock()
	return s.shim.out != nil
}

func (s *Secure) WriteBefore(b []byte, deadline time.Time) error {
	if err := s.pushAll(deadline); err != nil || len(b) == 0 {
		return err
	}
	if _, err := s.tls.Write(b); err != nil {
		return err
	}
	return s.pushAll(deadline)
}

// pushAll writes all ciphertext.
func (s *Secure) pushAll(deadline time.Time) error {
	out := s.shim.take()
	if out == nil {
		return nil
	}
	defer out.Free()
	return s.inner.WriteBefore(out.B, deadline)
}

// CloseNotify tells the peer that no more will come, if that takes no waiting.
func (s *Secure) CloseNotify() {
	if s.tls.CloseWrite() == nil {
		s.push()
	}
}

// shim is the transport that tls.Conn sees. It passes the handshake through;
// afterwards it only moves bytes between tls.Conn and buffers.
type shim struct {
	net.Conn
	records bool // the handshake is over

	in    []byte // ciphertext that tls.Conn has not taken
	inErr error  // what comes behind it

	mu  sync.Mutex // guards out: tls.Conn answers a KeyUpdate while it reads
	out *Buffer    // ciphertext not yet written; nil: none
}

func (s *shim) Read(b []byte) (int, error) {
	switch {
	case !s.records:
		return s.Conn.Read(b)
	case len(s.in) > 0:
		n := copy(b, s.in)
		s.in = s.in[n:]
		return n, nil
	case s.inErr != nil:
		return 0, s.inErr
	}
	return 0, errNoCiphertext
}

func (s *shim) Write(b []byte) (int, error) {
	if !s.records {
		return s.Conn.Write(b)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.out == nil {
		s.out = Borrow()
	}
	s.out.B = append(s.out.B, b...)
	return len(b), nil
}

// take takes all ciphertext that waits; nil if none does.
func (s *shim) take() *Buffer {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.out
	s.out = nil
	return out
}

// putBack puts ciphertext in front of what waits by now.
func (s *shim) putBack(out *Buffer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.out != nil {
		out.B = append(out.B, s.out.B...)
		s.out.Free()
	}
	s.out = out
}

// SetDeadline and its like belong to whoever waits, and here nobody does.
func (s *shim) SetDeadline(time.Time) error      { return nil }
func (s *shim) SetReadDeadline(time.Time) error  { return nil }
func (s *shim) SetWriteDeadline(time.Time) error { return nil }

// errNoCiphertext makes tls.Conn stop reading and stay fit to go on: it
// forgives exactly the net.Errors that are Temporary.
var errNoCiphertext = &noCiphertext{}

type noCiphertext struct{}

func (*noCiphertext) Error() string   { return "no ciphertext at hand" }
func (*noCiphertext) Timeout() bool   { return true }
func (*noCiphertext) Temporary() bool { return true }
