package cloudlink

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
)

// ServerInfo says which server to connect to. It comes from the application.
// Only URI has no default.
type ServerInfo struct {
	URI       string        // "coaps+tcp://host[:port]"; or with coap+tcp, coaps+ws, coap+ws
	TLS       *tls.Config   // nil: the system's roots. ALPN and least version are set
	Handler   oic.Handler   // answers the server's requests; nil: 4.04 to all
	Dialect   Dialect       // Auto is OCF
	KeepAlive time.Duration // silence before a Ping; 0: 20 s; negative: never. Classic has none
	Log       *slog.Logger  // nil: slog.Default()

	// Dial opens the TCP connection, also that below a WebSocket; nil: a
	// net.Dialer does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Link is one connection to a server, dialled by us; once it stands, both ends
// may ask. All its methods may be called from several goroutines at once.
type Link struct {
	conn *coap.Conn
	peer *oiccoap.Client // the server's resources
	asks oiccoap.Server  // the server's requests
	info ServerInfo

	ended chan struct{} // closed when the connection's goroutines have ended

	mu sync.Mutex // guards in
	in Login      // who is signed in; zero: nobody
}

// connectTime is how long a dial and the handshake may take together.
const connectTime = 30 * time.Second

// Connect dials the server, within 30 s. After it returned, requests from the
// server are answered with info.Handler; nothing is signed in yet. The caller
// ends the link with Disconnect or Close, whatever else ends it before.
func Connect(ctx context.Context, info ServerInfo) (*Link, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	l, err := connect(ctx, info)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", info.URI, err)
	}
	return l, nil
}

func connect(ctx context.Context, info ServerInfo) (*Link, error) {
	u, err := coap.ParseURI(info.URI)
	if err != nil {
		return nil, err
	}
	info.Log = cmp.Or(info.Log, slog.Default())
	nc, err := dial(ctx, u, info)
	if err != nil {
		return nil, err
	}
	l := newLink(nc, u, info)
	select {
	case <-l.conn.Ready(): // the first request need not wait for the server's CSM (rule 23)
		return l, nil
	case <-l.conn.Done():
		err = l.conn.Err()
	case <-ctx.Done():
		err = ctx.Err()
	}
	l.Close()
	return nil, err
}

var errScheme = errors.New("the scheme must be coap+tcp, coaps+tcp, coap+ws or coaps+ws")

// dial opens what carries the messages. The TLS of a WebSocket is in it already.
func dial(ctx context.Context, u coap.URI, info ServerInfo) (net.Conn, error) {
	switch u.Transport {
	case coap.TCP:
		if info.Dial != nil {
			return info.Dial(ctx, "tcp", u.Addr())
		}
		return new(net.Dialer).DialContext(ctx, "tcp", u.Addr())
	case coap.WebSocket:
		return coap.DialWebSocket(ctx, u, clientTLS(info.TLS, u.Host), info.Dial)
	}
	return nil, errScheme
}

func newLink(nc net.Conn, u coap.URI, info ServerInfo) *Link {
	l := &Link{info: info, ended: make(chan struct{})}
	cfg := coap.Config{BlockWise: true, KeepAlive: info.KeepAlive, Log: info.Log}
	if info.Dialect == Classic {
		cfg.KeepAlive = -1 // the Java cloud does not answer Pings (rule 26)
	}
	if info.Handler != nil {
		cfg.Handler = l
	}
	if u.Secure && u.Transport == coap.TCP {
		cfg.TLS = clientTLS(info.TLS, u.Host)
		cfg.TLS.NextProtos = []string{alpn}
	}
	l.conn = coap.Client(nc, cfg)
	l.peer = oiccoap.NewClient(l.conn)
	if info.Dialect == Classic {
		l.peer.Simplify()
	}
	go func() {
		defer close(l.ended)
		l.conn.Run(context.Background())
	}()
	return l
}

// clientTLS is cfg with what the protocol asks for, but for ALPN.
func clientTLS(cfg *tls.Config, host string) *tls.Config {
	if cfg == nil {
		cfg = &tls.Config{}
	}
	cfg = cfg.Clone()
	cfg.MinVersion = max(cfg.MinVersion, tls.VersionTLS12)
	cfg.NextProtos = nil
	cfg.ServerName = cmp.Or(cfg.ServerName, host)
	return cfg
}

// Serve implements coap.Handler: the server asks. One of IoTivity classic that
// names no content format means 60.
func (l *Link) Serve(x *coap.Exchange) {
	if m := x.Request(); l.info.Dialect == Classic && !m.Options.Has(coap.Accept) {
		m.AddUint(coap.Accept, uint32(oic.CBOR))
	}
	l.asks.Serve(x, l.info.Handler, oic.Identity{Account: l.login().Account})
}

// post sends a document to a resource of the server and reads the answer into
// to, unless that is nil.
func (l *Link) post(ctx context.Context, path string, doc, to any) error {
	return l.exchange(ctx, oic.Update, path, doc, to)
}

// exchange asks a resource of the server, with a document unless that is nil.
func (l *Link) exchange(ctx context.Context, op oic.Op, path string, doc, to any) error {
	content, accept := l.info.Dialect.format()
	req := &oic.Request{Op: op, Href: l.info.Dialect.path(path), Accept: accept}
	if doc != nil {
		body, err := oic.Encode(content, doc)
		if err != nil {
			return err
		}
		req.Format, req.Body = content, body
	}
	resp, err := l.peer.Handle(ctx, req)
	if err != nil || to == nil {
		return err
	}
	if err := oic.Decode(resp.Format, resp.Body, to); err != nil {
		return fmt.Errorf("%w: %v", errAnswer, err) // not a refusal
	}
	return nil
}

func (l *Link) login() Login {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.in
}

func (l *Link) setLogin(in Login) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.in = in
}

// Done is closed when the link has ended.
func (l *Link) Done() <-chan struct{} { return l.conn.Done() }

// Err says why the link ended; nil while it stands.
func (l *Link) Err() error { return l.conn.Err() }

// LastSeen is when the server last gave a sign of life.
func (l *Link) LastSeen() time.Time { return l.conn.LastSeen() }

// Ping asks the server for a sign of life (RFC 8323, section 5.4) and returns
// how long that took.
func (l *Link) Ping(ctx context.Context) (time.Duration, error) { return l.conn.Ping(ctx) }

// Kept returns nil once the cloud has kept all that was reported before. Not
// every cloud tells.
func (l *Link) Kept(ctx context.Context) error {
	switch done, err := l.conn.Custody(ctx); {
	case err != nil:
		return fmt.Errorf("kept: %w", err)
	case !done:
		return errNotKept
	}
	return nil
}

var errNotKept = errors.New("the cloud does not say that it has kept what was reported")

// disconnectTime bounds Disconnect.
const disconnectTime = 5 * time.Second

// Disconnect ends the link properly: it signs out if it is signed in, sends a
// Release, and closes when what is under way is done, all within 5 s. The
// error says what of this did not work; the link is closed in any case.
func (l *Link) Disconnect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, disconnectTime)
	defer cancel()
	var err error
	if l.login() != (Login{}) && l.Err() == nil {
		err = l.SignOut(ctx)
	}
	if err == nil && l.Err() == nil {
		err = l.conn.Shutdown(ctx)
	}
	l.Close()
	return err
}

// Close ends the link at once and without a word.
func (l *Link) Close() error {
	l.conn.Close()
	<-l.ended
	return nil
}
