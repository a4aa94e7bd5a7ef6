// Package dtls is a socket for datagrams whose peers shake hands first (DTLS
// 1.2, RFC 6347): what a coap.Endpoint needs for coaps URIs. One socket holds
// any number of sessions, begun by either side.
//
//	coap.Endpoint ──▶ Conn.Write ──▶ session of the peer ──▶ socket
//	coap.Endpoint ◀── Conn.Read ◀── queue ◀── session ◀── by address ◀── socket
//
// Writing to a peer without a session begins one; what is written meanwhile
// waits for the handshake. The records and the handshake are pion's.
package dtls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	pion "github.com/pion/dtls/v3"

	"github.com/farreach/farreach/coap"
)

// Config says who we are and whom we trust. A Conn needs certificates or a
// key that is shared with the peer.
type Config struct {
	// TLS is read as crypto/tls does, of which these fields count:
	// Certificates, RootCAs, ClientCAs, ClientAuth, ServerName,
	// InsecureSkipVerify and VerifyPeerCertificate. Nil: no certificates.
	TLS *tls.Config

	// PSK returns the key that is shared with a peer, by the identity that the
	// peer names as client, or by its hint as server. An error refuses it. Nil:
	// no shared keys.
	PSK         func(identity []byte) (key []byte, err error)
	PSKIdentity []byte // what we name as client

	// Listen has peers begin sessions too.
	Listen bool

	Log *slog.Logger // nil: slog.Default()
}

// Bounds of sessions.
const (
	maxSessions  = 8192
	maxHalfOpen  = 256              // handshakes that peers began
	handshake    = 15 * time.Second // for the whole of it
	halfOpenLeft = 2 * time.Second  // silence after which one may be given up for another
	idle         = time.Hour        // without a record from the peer
	maxWaiting   = 16               // datagrams of ours that wait for the handshake
	maxInbound   = 64               // records that wait for their session
	maxRead      = 256              // datagrams that wait to be read
	maxRecord    = 8192             // bytes of a datagram, sealed
	maxPlain     = 2048             // bytes in it
	mtu          = 1472             // bytes that we send at most
	maxFails     = 100              // errors of the socket in a row
)

// ErrRefused says that there are too many sessions.
var ErrRefused = errors.New("dtls: too many sessions")

var errNoName = errors.New("dtls: neither TLS.ServerName nor TLS.InsecureSkipVerify is set")

// Conn is a socket with sessions. It is a coap.SecureConn. All methods may be
// called from several goroutines.
type Conn struct {
	pc    coap.PacketConn
	cfg   Config
	read  chan datagram
	done  chan struct{}
	once  sync.Once
	tasks sync.WaitGroup // of the socket
	talks sync.WaitGroup // of sessions
	ended func(netip.AddrPort, error)

	mu       sync.Mutex // guards what follows
	started  bool
	closed   bool
	sessions map[netip.AddrPort]*session
	half     map[*session]bool // handshakes that peers began
}

type datagram struct {
	from netip.AddrPort
	b    []byte
}

// New returns a Conn on pc, which it closes at the end.
func New(pc coap.PacketConn, cfg Config) *Conn {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.TLS == nil {
		cfg.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return &Conn{pc: pc, cfg: cfg, read: make(chan datagram, maxRead), done: make(chan struct{}),
		ended: func(netip.AddrPort, error) {}, sessions: map[netip.AddrPort]*session{}, half: map[*session]bool{}}
}

// OnEnd is coap.SecureConn's.
func (c *Conn) OnEnd(ended func(peer netip.AddrPort, err error)) { c.ended = ended }

// LocalAddr is the address of the socket.
func (c *Conn) LocalAddr() net.Addr { return c.pc.LocalAddr() }

// Security is what the peer has proved; nil: there is no session.
func (c *Conn) Security(peer netip.AddrPort) *coap.Security {
	c.mu.Lock()
	s := c.sessions[peer]
	if s == nil || !s.established {
		c.mu.Unlock()
		return nil
	}
	c.mu.Unlock()
	return s.security
}

// Close ends all sessions, tells the peers, and closes the socket.
func (c *Conn) Close() error {
	c.once.Do(func() {
		c.mu.Lock()
		c.closed = true
		var open []*session
		for _, s := range c.sessions {
			open = append(open, s)
			if s.next != nil {
				open = append(open, s.next)
			}
		}
		c.mu.Unlock()
		close(c.done)
		for _, s := range open {
			s.end()
		}
		c.talks.Wait() // so that the peers hear of it
		c.pc.Close()
		c.tasks.Wait()
	})
	return nil
}

// start has the socket read. c.mu is held.
func (c *Conn) start() {
	if !c.started && !c.closed {
		c.started = true
		c.tasks.Go(c.receive)
	}
}

// ReadFromUDPAddrPort returns what a peer sent inside its session.
func (c *Conn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	c.mu.Lock()
	c.start()
	c.mu.Unlock()
	select {
	case d := <-c.read:
		return copy(b, d.b), d.from, nil
	case <-c.done:
		return 0, netip.AddrPort{}, net.ErrClosed
	}
}

// WriteToUDPAddrPort sends b inside the session of the peer, which it begins if
// there is none.
func (c *Conn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return 0, net.ErrClosed
	}
	c.start()
	s := c.sessions[to]
	if s == nil {
		if len(c.sessions) >= maxSessions {
			c.mu.Unlock()
			return 0, ErrRefused
		}
		s = c.open(to, true)
		c.sessions[to] = s
	}
	if !s.established {
		if len(s.waiting) < maxWaiting {
			s.waiting = append(s.waiting, append([]byte(nil), b...))
		}
		c.mu.Unlock()
		return len(b), nil
	}
	c.mu.Unlock()
	return s.conn.Write(b)
}

// receive hands what arrives to the sessions.
func (c *Conn) receive() {
	buf := make([]byte, maxRecord+1)
	for fails := 0; fails < maxFails; {
		n, from, err := c.pc.ReadFromUDPAddrPort(buf)
		if err != nil {
			select {
			case <-c.done:
				return
			default:
			}
			if fails++; errors.Is(err, net.ErrClosed) {
				fails = maxFails
			}
			continue
		}
		fails = 0
		if n <= maxRecord {
			c.sort(netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), buf[:n])
		}
	}
	go c.Close() // which waits for this goroutine
}

// sort hands a datagram to the session it belongs to. A peer that has lost its
// session begins another one at the same address: the old one is kept until the
// new one is proved (RFC 6347, section 4.2.8).
func (c *Conn) sort(from netip.AddrPort, b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sessions[from]
	hello := isClientHello(b)
	switch {
	case c.closed:
	case s == nil:
		if hello && c.cfg.Listen && len(c.sessions) < maxSessions && c.admit() {
			s = c.open(from, false)
			c.sessions[from] = s
			s.push(b)
		}
	case s.established && epoch(b) == 0:
		if s.next == nil && hello && c.cfg.Listen && c.admit() {
			s.next = c.open(from, false)
			s.next.old = s
		}
		if s.next != nil {
			s.next.push(b)
		}
	default:
		s.push(b)
		if s.next != nil {
			s.next.push(b)
		}
	}
}

// admit reports whether a peer may begin a handshake; for that another one,
// which makes no progress, may have to give way. c.mu is held.
func (c *Conn) admit() bool {
	if len(c.half) < maxHalfOpen {
		return true
	}
	var oldest *session
	for s := range c.half {
		if oldest == nil || s.heard.Before(oldest.heard) {
			oldest = s
		}
	}
	if time.Since(oldest.heard) < halfOpenLeft {
		return false
	}
	delete(c.half, oldest)
	c.unlist(oldest)
	oldest.end()
	return true
}

// unlist takes a session out of the table. c.mu is held.
func (c *Conn) unlist(s *session) {
	switch at := c.sessions[s.addr]; {
	case at == s:
		delete(c.sessions, s.addr)
		if s.next != nil {
			s.next.old = nil
			c.sessions[s.addr] = s.next
		}
	case at != nil && at.next == s:
		at.next = nil
	}
}

// Offsets in a record of DTLS 1.2 (RFC 6347, section 4.1 and 4.2.2).
const (
	recordHandshake = 22
	recordHeader    = 13
	clientHello     = 1
)

// epoch is the epoch of the first record in b; -1: it is none.
func epoch(b []byte) int {
	if len(b) < recordHeader {
		return -1
	}
	return int(b[3])<<8 | int(b[4])
}

func isClientHello(b []byte) bool {
	return len(b) > recordHeader && b[0] == recordHandshake && epoch(b) == 0 && b[recordHeader] == clientHello
}

// The suites that we take: those of RFC 7252, section 9.1.3, of OCF, and of TLS
// 1.2 as far as they are AEAD. OCF's one for shared keys is the exception. Its
// one without any proof (0xFF00, by which a device is taken over for the first
// time) is not there: pion has no key exchange for it.
var (
	certificateSuites = []pion.CipherSuiteID{
		pion.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, pion.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		pion.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, pion.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		pion.TLS_ECDHE_ECDSA_WITH_AES_128_CCM, pion.TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8,
	}
	pskSuites = []pion.CipherSuiteID{
		pion.TLS_ECDHE_PSK_WITH_AES_128_CBC_SHA256, pion.TLS_PSK_WITH_AES_128_GCM_SHA256,
		pion.TLS_PSK_WITH_AES_128_CCM, pion.TLS_PSK_WITH_AES_128_CCM_8,
	}
)

// options are those of both roles.
func (c *Conn) options() []pion.Option {
	t := c.cfg.TLS
	certified := len(t.Certificates) > 0 || t.RootCAs != nil || t.InsecureSkipVerify || c.cfg.PSK == nil
	opts := []pion.Option{pion.WithMTU(mtu), pion.WithLoggerFactory(mute{}),
		pion.WithExtendedMasterSecret(pion.RequestExtendedMasterSecret)}
	var suites []pion.CipherSuiteID
	if certified {
		suites = append(suites, certificateSuites...)
	}
	if c.cfg.PSK != nil {
		suites = append(suites, pskSuites...)
		opts = append(opts, pion.WithPSK(c.cfg.PSK), pion.WithPSKIdentityHint(c.cfg.PSKIdentity))
	}
	opts = append(opts, pion.WithCipherSuites(suites...))
	if len(t.Certificates) > 0 {
		opts = append(opts, pion.WithCertificates(t.Certificates...))
	}
	if t.VerifyPeerCertificate != nil {
		opts = append(opts, pion.WithVerifyPeerCertificate(func(raw [][]byte, chains [][]*x509.Certificate) error {
			return t.VerifyPeerCertificate(raw, chains)
		}))
	}
	return opts
}
