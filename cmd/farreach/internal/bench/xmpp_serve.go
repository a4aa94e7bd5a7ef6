package bench

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/xmpp/sasl"
	"github.com/farreach/farreach/xmppd"
)

// What the server that is measured lets in.
const (
	benchDomain     = "localhost"
	benchPassword   = secret.String("bench in a temporary process")
	benchIterations = 10_000
)

// serveXMPP serves XMPP on ln until the process ends, without the limits that
// keep a client from measuring.
func serveXMPP(ctx context.Context, ln net.Listener, cfg *tls.Config) error {
	all := anybody{}
	for _, m := range []sasl.Mechanism{sasl.ScramSHA256, sasl.ScramSHA1} {
		v, err := sasl.Derive(m, benchPassword, []byte("salt of a bench."), benchIterations)
		if err != nil {
			return err
		}
		all[m] = v
	}
	srv, err := xmppd.New(ctx, xmppd.Config{
		Domain: benchDomain, Accounts: all, TLS: cfg, Insecure: cfg == nil, Ping: -1,
		Limits: xmppd.Limits{StanzaRate: -1, ByteRate: -1}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	go srv.Serve(ctx, ln) // ends with the process
	return nil
}

// anybody lets everybody in who knows the one password.
type anybody map[sasl.Mechanism]sasl.Verifier

func (a anybody) Begin(context.Context, netip.Addr, string) (xmppd.LogIn, error) { return a, nil }
func (a anybody) Since(string) (time.Time, bool)                                 { return time.Time{}, true }
func (a anybody) Verifier(m sasl.Mechanism) sasl.Verifier                        { return a[m] }
func (a anybody) Failed()                                                        {}
func (a anybody) Proved(int) xmppd.Pass                                          { return a }
func (a anybody) May(string) bool                                                { return true }
func (a anybody) Enter(func()) (func(), error)                                   { return func() {}, nil }

// relayPairs copies what comes on each connection to the one after it, and the
// other way round.
func relayPairs(ln net.Listener, cfg *tls.Config) {
	for {
		var pair [2]net.Conn
		for i := range pair {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			secure := tls.Server(nc, cfg)
			go secure.Handshake() // fails as its first read does; its client waits for it before the next comes
			pair[i] = secure
		}
		go copyRecords(pair[0], pair[1])
		go copyRecords(pair[1], pair[0])
	}
}

// copyRecords copies with one buffer for each connection, as simple as can be.
func copyRecords(to io.WriteCloser, from io.Reader) {
	defer to.Close()
	b := make([]byte, 16<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}
