package cloudlink

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/farreach/farreach/coap"
)

// ServerConfig says how a cloud meets its devices. Only Backend has no default.
type ServerConfig struct {
	Backend Backend

	// AllowPlain lets a peer that is not on this machine sign in without TLS:
	// its token can then be read on the way.
	AllowPlain bool

	// Address is the host:port that people reach this server at by TCP, for
	// the endpoints in /oic/res; empty: where each connection came in.
	Address string

	SignIn    time.Duration // until a connection must be signed in; 0: 30 s
	Request   time.Duration // for a device to answer; 0: 10 s
	KeepAlive time.Duration // silence before a Ping; 0: 20 s; negative: never
	SignIns   int           // of devices that are let in, each second; 0: 300; negative: all
	Log       *slog.Logger  // nil: slog.Default()
}

// The limits of docs/threats.md, section 3.2.
const (
	maxUnsigned = 16_384  // message, before sign-in, bytes
	maxSigned   = 262_144 // message, after sign-in, bytes

	signInTime     = 30 * time.Second // until signed in
	requestTime    = 10 * time.Second // for a device to answer
	maxRequestTime = 60 * time.Second // when the caller is more patient
	maxObserved    = 256              // observations of a device
	maxLinks       = 512              // published by a device
	maxPublication = 64 << 10         // a device's entry in the directory, bytes
)

// Server is the cloud's half. It may serve several listeners at once.
type Server struct {
	cfg  ServerConfig
	log  *slog.Logger
	room *semaphore.Weighted // bytes of the reports that wait

	admission  *rate.Limiter // of devices that sign up or in
	succession succession
	stats      stats
}

// NewServer returns a Server for cfg.
func NewServer(cfg ServerConfig) *Server {
	cfg.SignIn = cmp.Or(cfg.SignIn, signInTime)
	cfg.Request = min(cmp.Or(cfg.Request, requestTime), maxRequestTime)
	return &Server{cfg: cfg, log: cmp.Or(cfg.Log, slog.Default()), room: semaphore.NewWeighted(maxReportBytes),
		admission: newAdmission(cfg.SignIns)}
}

// Serve accepts devices and people from ln until ctx ends: over TLS if
// tlsConfig is not nil. A *coap.WebSocketListener takes none: its connections
// know by themselves whether they are secure. It then says goodbye to all,
// waits at most 10 s for what is under way with them, and returns after the last of its goroutines has
// ended.
func (s *Server) Serve(ctx context.Context, ln net.Listener, tlsConfig *tls.Config) error {
	if tlsConfig != nil {
		tlsConfig = serverTLS(tlsConfig)
	}
	q := &reports{backend: s.cfg.Backend, log: s.log, room: s.room}
	defer q.wait()
	return coap.Serve(ctx, ln, func(nc net.Conn) *coap.Conn {
		return s.accept(nc, tlsConfig, q)
	})
}

// serverTLS is cfg with what the protocol asks for: a peer that offers other
// protocols than coap is refused, one that offers none is not, for most
// devices do not (rule 21).
func serverTLS(cfg *tls.Config) *tls.Config {
	cfg = cfg.Clone()
	cfg.MinVersion = max(cfg.MinVersion, tls.VersionTLS12)
	if !slices.Contains(cfg.NextProtos, alpn) {
		cfg.NextProtos = append(slices.Clone(cfg.NextProtos), alpn)
	}
	return cfg
}

// alpn is the name of CoAP in TLS (RFC 8323, section 8.2).
const alpn = "coap"

func (s *Server) accept(nc net.Conn, tlsConfig *tls.Config, q *reports) *coap.Conn {
	ss := newSession(s, q, nc.RemoteAddr())
	ss.conn = coap.Server(nc, coap.Config{
		Handler:    ss,
		TLS:        tlsConfig,
		MaxMessage: maxUnsigned,
		BlockWise:  true, // towards whoever announces it, too (rule 7)
		KeepAlive:  s.cfg.KeepAlive,
		Log:        s.log,
		Settle:     ss.custody,
		Introduce:  ss.introduce,
		Ended:      ss.ended,
	})
	s.stats.opened()
	ss.begin()
	return ss.conn
}

// addrOf is the address of a peer, without its port; zero for what has none.
func addrOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
