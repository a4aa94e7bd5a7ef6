package rae

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/sasl"
	"github.com/farreach/farreach/xmpp/stream"
	"github.com/farreach/farreach/xmppd/xmppdtest"
)

// dialer counts attempts, and can come between a client and its server.
type dialer struct {
	mu      sync.Mutex
	at      []time.Time
	between func(nc net.Conn) (net.Conn, error) // nil: nothing
}

// on has the connections of cfg made by d.
func (d *dialer) on(cfg xmpp.Config) xmpp.Config {
	inner := cfg.Dial
	cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		d.mu.Lock()
		d.at = append(d.at, time.Now())
		d.mu.Unlock()
		nc, err := inner(ctx, network, addr)
		if err == nil && d.between != nil {
			return d.between(nc)
		}
		return nc, err
	}
	return cfg
}

func (d *dialer) tries() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.at)
}

// altered is a connection on which what comes is changed.
type altered struct {
	net.Conn
	old, fresh string // of one length
}

func (a altered) Read(b []byte) (int, error) {
	n, err := a.Conn.Read(b)
	copy(b, bytes.ReplaceAll(b[:n], []byte(a.old), []byte(a.fresh)))
	return n, err
}

// onlyPlain is a server that knows no other login.
func onlyPlain(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		server.Read(make([]byte, 4096))
		io.WriteString(server, "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='x' version='1.0' from='home.example'>"+
			"<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms></stream:features>")
		io.Copy(io.Discard, server)
	}()
	return client, nil
}

// TestReasons: A-04, RA-031, RA-061 to RA-063, A-09: what does not work is told
// at once, in a word that stays the same, and not tried as if it would heal:
// attempts in six hours.
func TestReasons(t *testing.T) {
	nobody := func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	for name, c := range map[string]struct {
		server xmppdtest.Config
		change func(cfg *xmpp.Config, d *dialer)
		want   string
		tries  [2]int // least and most
		final  bool
	}{
		"wrong password": {
			change: func(cfg *xmpp.Config, _ *dialer) { cfg.Password, cfg.Keys = "another", nil },
			want:   "auth-failed: not-authorized", tries: [2]int{1, 1}, final: true},
		"unknown account": {server: xmppdtest.Config{Accounts: []string{"bob"}},
			want: "auth-failed: not-authorized", tries: [2]int{1, 1}, final: true},
		"PLAIN alone": {
			change: func(cfg *xmpp.Config, _ *dialer) { cfg.Dial = onlyPlain },
			want:   "auth-failed: the server offers no login that is strong enough", tries: [2]int{35, 45}},
		"certificate of another": {server: xmppdtest.Config{Names: []string{"elsewhere.example"}},
			want: "tls-failed: the certificate is for another name", tries: [2]int{35, 45}},
		"certificate of a stranger": {server: xmppdtest.Config{Names: []string{"home.example"}},
			change: func(cfg *xmpp.Config, _ *dialer) { cfg.TLS = &tls.Config{RootCAs: x509.NewCertPool()} },
			want:   "tls-failed: the certificate is from somebody unknown", tries: [2]int{35, 45}},
		"no TLS": {change: func(cfg *xmpp.Config, _ *dialer) { cfg.Insecure = false },
			want: "tls-failed: the server offers no TLS", tries: [2]int{35, 45}},
		"renamed": {
			change: func(_ *xmpp.Config, d *dialer) {
				d.between = func(nc net.Conn) (net.Conn, error) { return altered{nc, lampID + "</jid>", doorID + "</jid>"}, nil }
			},
			want: "jid-changed: the server gave another address than was asked for", tries: [2]int{35, 45}},
		"nobody there": {change: func(cfg *xmpp.Config, _ *dialer) { cfg.Dial = nobody },
			want: "host-unreachable: connection refused", tries: [2]int{70, 260}},
		"silence": {change: func(cfg *xmpp.Config, d *dialer) {
			cfg.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
		}, want: "timeout: the server does not answer", tries: [2]int{70, 260}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.server.Memory = true
				srv := xmppdtest.Run(t, c.server)
				cfg, d := srv.Client("ann", ""), new(dialer)
				if c.change != nil {
					c.change(&cfg, d)
				}
				var told time.Duration
				start := time.Now()
				lamp := begin(t, Config{XMPP: d.on(cfg), Device: newLamp().Remote(), OnState: func(State) { told = time.Since(start) }})
				time.Sleep(6 * time.Hour)
				if st := lamp.State(); st != (State{Error, c.want}) || told > 31*time.Second {
					t.Errorf("state %v after %v, want %s", st, told, c.want)
				}
				if n := d.tries(); n < c.tries[0] || n > c.tries[1] {
					t.Errorf("%d attempts in 6 h, want %v", n, c.tries)
				}
				err := lamp.stop()
				if _, refused := errors.AsType[*xmpp.AuthError](err); refused != c.final || !refused && !errors.Is(err, context.Canceled) {
					t.Errorf("Run = %v", err)
				}
			})
		})
	}
}

// TestClones: A-09: two devices with one UUID do not throw each other out for
// ever, and both say why they are not there.
func TestClones(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := xmppdtest.Run(t, xmppdtest.Config{Memory: true})
		var d dialer
		cfg := Config{XMPP: d.on(srv.Client("ann", "")), Device: newLamp().Remote()}
		one := start(t, cfg)
		two := start(t, cfg)
		synctest.Wait()
		if got, want := one.State(), (State{Error, "conflict: somebody else has logged in with the same name"}); got != want {
			t.Errorf("state %v, want %v", got, want)
		}
		time.Sleep(24 * time.Hour)
		if n := d.tries(); n > 40 {
			t.Errorf("two clones tried %d times in a day", n)
		}
		one.stop()
		time.Sleep(2 * time.Hour)
		if got := two.State(); got != (State{Status: Connected}) {
			t.Errorf("the other is %v after the one has gone", got)
		}
		two.stop()
	})
}

// TestReconnecting: A-04: a stream that is lost is said to be reconnecting, and
// connected again as soon as it is resumed, which needs no presence.
func TestReconnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := xmppdtest.Run(t, xmppdtest.Config{Memory: true})
		var last atomic.Pointer[net.Conn]
		d := dialer{between: func(nc net.Conn) (net.Conn, error) { last.Store(&nc); return nc, nil }}
		lamp := start(t, Config{XMPP: d.on(srv.Client("ann", "")), Device: newLamp().Remote()})
		s := lamp.session()
		(*last.Load()).Close()
		time.Sleep(10 * time.Second)
		if want := "Connected\nError reconnecting: host-unreachable: connection lost\nConnected"; lamp.states.String() != want {
			t.Errorf("%s\nwant\n%s", &lamp.states, want)
		}
		if lamp.session() != s {
			t.Error("another session")
		}
		lamp.stop()
	})
}

// TestServerGone: a server that shuts down says so.
func TestServerGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := xmppdtest.Run(t, xmppdtest.Config{Memory: true})
		lamp := start(t, Config{XMPP: srv.Client("ann", ""), Device: newLamp().Remote()})
		srv.Stop()
		time.Sleep(20 * time.Minute)
		want := "Connected\nError reconnecting: host-unreachable: the server says system-shutdown\nError host-unreachable: connection lost"
		if lamp.states.String() != want {
			t.Errorf("%s\nwant\n%s", &lamp.states, want)
		}
		lamp.stop()
	})
}

// TestPowerCycle: RA-015: a thousand devices that get power at once, with a
// server that needs a minute longer, do not come at once.
func TestPowerCycle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const devices = 1000
		start, up := time.Now(), time.Now().Add(time.Minute)
		var mu sync.Mutex
		var came []time.Duration
		ctx, cancel := context.WithCancel(t.Context())
		var tasks sync.WaitGroup
		for range devices {
			var once sync.Once
			e, err := New(Config{ID: phoneID, XMPP: xmpp.Config{JID: mustJID(t, "ann@home.example"), Insecure: true, Addr: "h:1", Log: quiet, Password: "x",
				Dial: func(context.Context, string, string) (net.Conn, error) {
					if time.Now().After(up) {
						once.Do(func() {
							mu.Lock()
							defer mu.Unlock()
							came = append(came, time.Since(start))
						})
					}
					return nil, errors.New("not up yet")
				}}, Log: quiet})
			if err != nil {
				t.Fatal(err)
			}
			tasks.Go(func() { e.Run(ctx) })
		}
		time.Sleep(10 * time.Minute)
		cancel()
		tasks.Wait()
		slices.Sort(came)
		if len(came) != devices || came[devices-1]-came[0] < 30*time.Second {
			t.Fatalf("%d came, within %v", len(came), came[len(came)-1]-came[0])
		}
		for i := range devices - 100 { // a tenth of them needs more than a second
			if came[i+100]-came[i] < 500*time.Millisecond {
				t.Errorf("100 came within %v", came[i+100]-came[i])
				break
			}
		}
	})
}

// TestReasonWords: each failure has one of the words of A-04.
func TestReasonWords(t *testing.T) {
	for want, err := range map[string]error{
		"auth-failed: temporary-auth-failure":                        &xmpp.AuthError{Condition: "temporary-auth-failure", Text: "at 10:00"},
		"auth-failed: the server does not know the password itself":  &sasl.Failure{Why: "wrong signature"},
		"tls-failed: the certificate is not valid now":               &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}},
		"tls-failed: the certificate is not valid":                   &tls.CertificateVerificationError{Err: errors.New("odd")},
		"tls-failed: the handshake failed":                           fmt.Errorf("h:1: %w", tls.AlertError(40)),
		"tls-failed: the server offers no TLS":                       xmpp.ErrClearText,
		"timeout: no sign of life from the server":                   xmpp.ErrSilent,
		"host-unreachable: no such host":                             &net.DNSError{IsNotFound: true, Name: "h"},
		"host-unreachable: the name service does not answer":         &net.DNSError{Name: "h"},
		"host-unreachable: the server closed the stream":             xmpp.ErrEnded,
		"host-unreachable: the server says remote-connection-failed": &stream.Error{Condition: "remote-connection-failed", Text: "x"},
		"host-unreachable: network is unreachable":                   &net.OpError{Op: "dial", Err: syscall.ENETUNREACH},
		"conflict: somebody else has logged in with the same name":   &stream.Error{Condition: stream.Conflict},
		"failed: no reason known":                                    nil,
		"failed: one":                                                errors.New("one\ntwo"),
		"failed: " + strings.Repeat("x", maxReason):                  errors.New(strings.Repeat("x", 1000)),
	} {
		if got := reason(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}
