package cloudlink_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
)

// lamp is a device with one resource, /a/light.
type lamp struct {
	mu       sync.Mutex // guards what follows
	on       bool
	watchers map[chan struct{}]bool
}

type lightState struct {
	Value bool `json:"value"`
}

func (l *lamp) state() (*oic.Response, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, err := oic.Encode(oic.OCF, lightState{l.on})
	return &oic.Response{Status: oic.Content, Format: oic.OCF, Body: b}, err
}

func (l *lamp) set(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.on = on
	for w := range l.watchers {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

func (l *lamp) Handle(_ context.Context, req *oic.Request) (*oic.Response, error) {
	if path, _ := oic.SplitHref(req.Href); path != "/a/light" {
		return nil, oic.Errorf(oic.NotFound, "no %s", path)
	}
	if req.Op == oic.Retrieve {
		return l.state()
	}
	var to lightState
	if err := oic.Decode(req.Format, req.Body, &to); err != nil {
		return nil, err
	}
	l.set(to.Value)
	return &oic.Response{Status: oic.Changed}, nil
}

func (l *lamp) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	w := make(chan struct{}, 1)
	l.mu.Lock()
	if l.watchers == nil {
		l.watchers = map[chan struct{}]bool{}
	}
	l.watchers[w] = true
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.watchers, w)
		l.mu.Unlock()
	}()
	for {
		rep, err := l.state()
		if err != nil {
			return err
		}
		each(rep)
		select {
		case <-w:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func lampLinks() []oic.Link {
	return []oic.Link{{
		Href: "/a/light", Types: []string{"oic.r.switch.binary"}, Interfaces: []string{oic.IfActuator, oic.IfBaseline},
		Policy: oic.Policy{Mask: oic.Discoverable | oic.Observable},
	}}
}

// running is a Client in its Run.
type running struct {
	changes chan cloudlink.Status
	stop    func() error
}

// run runs a device until the test ends or stop is called.
func run(t testing.TB, cfg cloudlink.Config) *running {
	t.Helper()
	r := &running{changes: make(chan cloudlink.Status, 1024)}
	if cfg.Device == "" {
		cfg.Device, cfg.Code = device1, "code-1"
	}
	if cfg.Handler == nil {
		cfg.Handler = new(lamp)
	}
	if cfg.Links == nil {
		cfg.Links = lampLinks
	}
	if cfg.Log == nil {
		cfg.Log = quiet
	}
	cfg.OnChange = func(s cloudlink.Status) { r.changes <- s }
	c, err := cloudlink.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	r.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { r.stop() })
	return r
}

// registered waits until the device is.
func (r *running) registered(t testing.TB) cloudlink.Status {
	t.Helper()
	for {
		select {
		case s := <-r.changes:
			if s.Registered {
				return s
			}
		case <-time.After(time.Minute):
			t.Fatal("not registered in 60 s")
		}
	}
}

// person is a link signed in for a person.
func person(t testing.TB, c *cloud, info cloudlink.ServerInfo) *cloudlink.Link {
	t.Helper()
	const token = "fut_1"
	c.person(token)
	if info.Log == nil {
		info.Log = quiet
	}
	l, err := cloudlink.Connect(t.Context(), info)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if _, err := l.SignIn(t.Context(), cloudlink.Login{Account: account, Access: secret.String(token)}); err != nil {
		t.Fatal(err)
	}
	return l
}

// light reads or sets a lamp.
func light(ctx context.Context, d oic.Handler, set *bool) (on bool, err error) {
	req := &oic.Request{Op: oic.Retrieve, Href: "/a/light", Accept: oic.OCF}
	if set != nil {
		body, err := oic.Encode(oic.OCF, lightState{*set})
		if err != nil {
			return false, err
		}
		req.Op, req.Format, req.Body = oic.Update, oic.OCF, body
	}
	resp, err := d.Handle(ctx, req)
	if err != nil || set != nil {
		return false, err
	}
	var s lightState
	err = oic.Decode(resp.Format, resp.Body, &s)
	return s.Value, err
}

// authority makes certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

func (a *authority) issue(t testing.TB, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
