package coap

import (
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"
)

// ALPN is the name of CoAP in TLS's protocol negotiation (RFC 8323, section
// 8.2). A client offers it. A server chooses it, goes on with a client that
// offers nothing, and refuses one that offers only other names.
const ALPN = "coap"

// handshakeTimeout is how long the TLS handshake may take.
const handshakeTimeout = 15 * time.Second

// secure is the link through TLS. While nothing arrives it holds no buffer: the
// inner link waits, tls.Conn gets the ciphertext out of a borrowed buffer, and
// believes that its transport timed out when that is empty.
//
//	inner.read ──▶ cipher ──▶ shim.Read ──▶ tls.Conn ──▶ read
//	inner.try  ◀── shim.out ◀── shim.Write ◀── tls.Conn ◀── try
type secure struct {
	nc    net.Conn
	inner link
	tls   *tls.Conn
	shim  *shim

	cipher *buffer // borrowed, holds shim.in; nil: none
	dry    bool    // tls.Conn has said that it needs more ciphertext
}

func newSecure(nc net.Conn, inner link, cfg *tls.Config, client bool) *secure {
	if len(cfg.NextProtos) == 0 {
		cfg = cfg.Clone()
		cfg.NextProtos = []string{ALPN}
	}
	s := &secure{nc: nc, inner: inner, shim: &shim{Conn: nc}}
	if client {
		s.tls = tls.Client(s.shim, cfg)
	} else {
		s.tls = tls.Server(s.shim, cfg)
	}
	return s
}

// handshake shakes hands on a goroutine that ends with it, for the handshake
// needs a large stack and a connection may live long on a small one.
func (s *secure) handshake() error {
	s.nc.SetDeadline(time.Now().Add(handshakeTimeout))
	done := make(chan error, 1)
	go func() { done <- s.tls.Handshake() }()
	if err := <-done; err != nil {
		return fmt.Errorf("coap: TLS handshake: %w", err)
	}
	s.shim.records = true
	return s.nc.SetDeadline(time.Time{})
}

// read returns what the ciphertext at hand holds, and waits for more when it
// holds nothing: also the first time, since plaintext may have come with the
// last record of the handshake.
func (s *secure) read() (*buffer, error) {
	for {
		if !s.dry {
			if b, err := s.decrypt(); b != nil || err != nil {
				return b, err
			}
		}
		s.cipher.free()
		s.cipher, s.dry = nil, false
		b, err := s.inner.read()
		if err != nil {
			s.shim.inErr = err // tls.Conn judges whether the peer may stop here
			continue
		}
		s.cipher, s.shim.in = b, b.b
	}
}

// decrypt returns the plaintext in all ciphertext at hand, or as much of it as
// one buffer holds; nil if there is none.
func (s *secure) decrypt() (*buffer, error) {
	b := borrow()
	for len(b.b) < cap(b.b) {
		n, err := s.tls.Read(b.b[len(b.b):cap(b.b)])
		b.b = b.b[:len(b.b)+n]
		if err == nil {
			continue
		}
		if len(b.b) > 0 {
			s.dry = err == error(errNoCiphertext)
			return b, nil // another error comes again
		}
		b.free()
		if err == error(errNoCiphertext) {
			return nil, nil
		}
		s.cipher.free()
		s.cipher = nil
		return nil, err
	}
	return b, nil
}

// try encrypts all of b, unless something is still pending, and writes what
// can be written without waiting.
func (s *secure) try(b []byte) (int, error) {
	if err := s.push(); err != nil || s.pending() {
		return 0, err
	}
	if _, err := s.tls.Write(b); err != nil {
		return 0, err
	}
	return len(b), s.push()
}

// push writes as much ciphertext as can be written without waiting.
func (s *secure) push() error {
	out := s.shim.take()
	if out == nil {
		return nil
	}
	n, err := s.inner.try(out.b)
	if err != nil || n == len(out.b) {
		out.free()
		return err
	}
	out.b = out.b[:copy(out.b, out.b[n:])]
	s.shim.putBack(out)
	return nil
}

func (s *secure) pending() bool {
	s.shim.mu.Lock()
	defer s.shim.mu.Unlock()
	return s.shim.out != nil
}

func (s *secure) write(b []byte, deadline time.Time) error {
	if err := s.pushAll(deadline); err != nil || len(b) == 0 {
		return err
	}
	if _, err := s.tls.Write(b); err != nil {
		return err
	}
	return s.pushAll(deadline)
}

// pushAll writes all ciphertext.
func (s *secure) pushAll(deadline time.Time) error {
	out := s.shim.take()
	if out == nil {
		return nil
	}
	defer out.free()
	return s.inner.write(out.b, deadline)
}

// closeNotify tells the peer that no more will come, if that takes no waiting.
func (s *secure) closeNotify() {
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
	out *buffer    // ciphertext not yet written; nil: none
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
		s.out = borrow()
	}
	s.out.b = append(s.out.b, b...)
	return len(b), nil
}

// take takes all ciphertext that waits; nil if none does.
func (s *shim) take() *buffer {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.out
	s.out = nil
	return out
}

// putBack puts ciphertext in front of what waits by now.
func (s *shim) putBack(out *buffer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.out != nil {
		out.b = append(out.b, s.out.b...)
		s.out.free()
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

func (*noCiphertext) Error() string   { return "coap: no ciphertext at hand" }
func (*noCiphertext) Timeout() bool   { return true }
func (*noCiphertext) Temporary() bool { return true }
