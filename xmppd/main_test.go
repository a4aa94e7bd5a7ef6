package xmppd_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/xmpp/sasl"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmpp/stream"
	"github.com/farreach/farreach/xmppd"
)

// TestMain fails the package if a test leaves a goroutine behind.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

const (
	domain   = "home.example"
	password = secret.String("correct horse battery")
)

// people are the accounts of a test, all with the same password.
type people struct {
	mu     sync.Mutex // guards what follows
	exist  map[string]bool
	since  time.Time           // of all accounts
	end    map[string][]func() // of their sessions
	failed int
	wait   time.Duration // before each try
}

func newPeople(names ...string) *people {
	p := &people{exist: map[string]bool{}, end: map[string][]func(){}}
	for _, n := range names {
		p.exist[n] = true
	}
	return p
}

var salt = []byte("a salt of 16 byt")

// verifiers are derived once for all tests.
var verifiers = sync.OnceValue(func() map[sasl.Mechanism]sasl.Verifier {
	all := map[sasl.Mechanism]sasl.Verifier{}
	for _, m := range []sasl.Mechanism{sasl.ScramSHA256, sasl.ScramSHA1} {
		v, err := sasl.Derive(m, password, salt, sasl.MinIterations)
		if err != nil {
			panic(err)
		}
		all[m] = v
	}
	return all
})

func (p *people) Begin(ctx context.Context, _ netip.Addr, name string) (xmppd.LogIn, error) {
	p.mu.Lock()
	wait := p.wait
	p.mu.Unlock()
	if wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return &entry{p: p, name: name}, nil
}

func (p *people) Since(name string) (time.Time, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.since, p.exist[name]
}

// revoke ends all sessions of an account.
func (p *people) revoke(name string) {
	p.mu.Lock()
	ends := p.end[name]
	p.end[name] = nil
	p.mu.Unlock()
	for _, end := range ends {
		end()
	}
}

type entry struct {
	p    *people
	name string
	lamp bool // the password is the lamp's
}

func (e *entry) Verifier(m sasl.Mechanism) sasl.Verifier {
	if _, ok := e.p.Since(e.name); ok {
		v := verifiers()[m]
		if e.name == "ann" {
			v.Others = []sasl.Pair{lampPairs()[m]}
		}
		return v
	}
	return sasl.Fake([]byte("key"), m, e.name, sasl.MinIterations)
}

// lampPairs are those of the password that ann's lamp has, for its resource
// alone.
var lampPairs = sync.OnceValue(func() map[sasl.Mechanism]sasl.Pair {
	all := map[sasl.Mechanism]sasl.Pair{}
	for _, m := range []sasl.Mechanism{sasl.ScramSHA256, sasl.ScramSHA1} {
		v, err := sasl.Derive(m, lampPassword, salt, sasl.MinIterations)
		if err != nil {
			panic(err)
		}
		all[m] = sasl.Pair{StoredKey: v.StoredKey, ServerKey: v.ServerKey}
	}
	return all
})

const (
	lampPassword = "what only the lamp has"
	lampResource = "OIC/1.0/oic.d.light/0685b960-736f-46f7-bec0-9e6cbd61adc1"
)

func (e *entry) Proved(which int) xmppd.Pass {
	return &entry{e.p, e.name, which == 1}
}

func (e *entry) May(resource string) bool { return !e.lamp || resource == lampResource }

func (e *entry) Failed() {
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	e.p.failed++
}

func (e *entry) Enter(end func()) (func(), error) {
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	if !e.p.exist[e.name] {
		return nil, errors.New("gone")
	}
	name := e.name
	if e.lamp {
		name += "'s lamp" // which revoke may be told
	}
	e.p.end[name] = append(e.p.end[name], end)
	return func() {}, nil
}

// certificate is for domain and 127.0.0.1, valid for ever.
var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{domain},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
})

func serverTLS() *tls.Config { return &tls.Config{Certificates: []tls.Certificate{certificate()}} }

func clientTLS(protos ...string) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(certificate().Leaf)
	return &tls.Config{RootCAs: roots, ServerName: domain, NextProtos: protos}
}

// world is a server and those who talk to it.
type world struct {
	t      testing.TB
	srv    *xmppd.Server
	people *people
	logs   *syncBuffer
	addr   string          // where it listens
	dial   func() net.Conn // in clear
	direct func() net.Conn // for TLS from the first byte; nil: there is none
	web    *tls.Config     // of the HTTP server of WebSockets; nil: httptest's
	stop   func()
}

// syncBuffer is a log that may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// newWorld starts a server on loopback. The accounts are ann, bob and eve.
func newWorld(t testing.TB, cfg xmppd.Config) *world {
	w := prepare(t, cfg)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var tlsLn net.Listener
	if cfg.TLS != nil {
		if tlsLn, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	dial := func(ln net.Listener) func() net.Conn {
		return func() net.Conn {
			nc, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { nc.Close() })
			return nc
		}
	}
	w.addr, w.dial = ln.Addr().String(), dial(ln)
	if tlsLn != nil {
		w.direct = dial(tlsLn)
	}
	w.serve(ln, tlsLn)
	return w
}

// prepare makes a server that listens to nobody.
func prepare(t testing.TB, cfg xmppd.Config) *world {
	w := &world{t: t, people: newPeople("ann", "bob", "eve"), logs: &syncBuffer{}}
	cfg.Domain, cfg.Accounts = domain, w.people
	cfg.Insecure = cfg.Insecure || cfg.TLS == nil
	cfg.Log = slog.New(slog.NewTextHandler(w.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	srv, err := xmppd.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.srv = srv
	return w
}

// serve serves until the test ends or stop is called.
func (w *world) serve(ln, tlsLn net.Listener) {
	ctx, cancel := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	tasks.Go(func() {
		if err := w.srv.Serve(ctx, ln); err != context.Canceled {
			w.t.Errorf("Serve = %v", err)
		}
	})
	if tlsLn != nil {
		tasks.Go(func() {
			if err := w.srv.ServeTLS(ctx, tlsLn); err != context.Canceled {
				w.t.Errorf("ServeTLS = %v", err)
			}
		})
	}
	w.stop = sync.OnceFunc(func() {
		cancel()
		tasks.Wait()
		w.srv.Close()
	})
	w.t.Cleanup(w.stop)
}

// peer is a client that says what the test says.
type peer struct {
	t    testing.TB
	nc   net.Conn
	ws   *websocket.Conn // instead of nc; nil: nc
	scan stream.Scanner
	buf  []byte
	tls  *tls.ConnectionState
	wait time.Duration // for each item; 0: a minute
}

func (w *world) connect() *peer { return &peer{t: w.t, nc: w.dial()} }

// login opens a stream in clear, logs in and binds the resource.
func (w *world) login(user, resource string) *peer {
	w.t.Helper()
	p := w.connect()
	p.authenticate(user, password)
	p.bind(resource)
	return p
}

// appear is login of a session that becomes available.
func (w *world) appear(user, resource string) *peer {
	w.t.Helper()
	p := w.login(user, resource)
	p.say("<presence/>")
	p.expect("presence", "from", user+"@"+domain+"/"+resource)
	return p
}

func (p *peer) say(text string) {
	p.t.Helper()
	if p.ws != nil {
		if err := p.ws.Write(p.t.Context(), websocket.MessageText, []byte(text)); err != nil {
			p.t.Fatalf("write: %v", err)
		}
		return
	}
	if _, err := io.WriteString(p.nc, text); err != nil {
		p.t.Fatalf("write: %v", err)
	}
}

// header opens a stream and returns the features.
func (p *peer) header() stanza.Element {
	p.t.Helper()
	p.scan.Reset()
	h := stream.Header{To: domain, Version: "1.0", Namespace: stream.NSClient}
	if p.ws != nil {
		p.say(string(h.AppendOpen(nil)))
	} else {
		p.say(string(h.Append(nil)))
	}
	it := p.item()
	if it.Kind != stream.Opening {
		p.t.Fatalf("no header but %q", it.Raw)
	}
	return p.expect("features")
}

// item returns the next item that is no white space.
func (p *peer) item() stream.Item {
	p.t.Helper()
	it, err := p.next()
	if err != nil {
		p.t.Fatalf("read: %v", err)
	}
	return it
}

func (p *peer) next() (stream.Item, error) {
	if p.ws != nil {
		return p.nextMessage()
	}
	for {
		it, n, err := p.scan.Next(p.buf)
		if err == nil {
			it.Raw = bytes.Clone(it.Raw)
			p.buf = p.buf[n:]
			if it.Kind == stream.Space {
				continue
			}
			return it, nil
		}
		if err != stream.ErrShort {
			return it, fmt.Errorf("%w: %q", err, p.buf)
		}
		wait := p.wait
		if wait == 0 {
			wait = time.Minute
		}
		p.nc.SetReadDeadline(time.Now().Add(wait))
		chunk := make([]byte, 4096)
		n, err = p.nc.Read(chunk)
		p.buf = append(p.buf, chunk[:n]...)
		if n == 0 && err != nil {
			return it, err
		}
	}
}

// expect returns the next element, which must have that name and attributes.
func (p *peer) expect(name string, attrs ...string) stanza.Element {
	p.t.Helper()
	it := p.item()
	if it.Kind != stream.Stanza {
		p.t.Fatalf("want %s, got %q", name, it.Raw)
	}
	e, err := stanza.Parse(it.Raw, stream.NSClient)
	if err != nil || e.Name != name {
		p.t.Fatalf("want %s, got %s (%v)", name, it.Raw, err)
	}
	for i := 0; i < len(attrs); i += 2 {
		if got := e.Attr(attrs[i]); got != attrs[i+1] {
			p.t.Fatalf("%s is %q, want %q: %s", attrs[i], got, attrs[i+1], it.Raw)
		}
	}
	return e
}

// ends expects a stream error and the end of the connection.
func (p *peer) ends(condition string) {
	p.t.Helper()
	for {
		it, err := p.next()
		if err != nil {
			p.t.Fatalf("want %s, got %v", condition, err)
		}
		if it.Kind == stream.Stanza && string(it.Name) == "error" && string(it.NS) == stream.NS {
			if got := stream.ParseError(it.Raw).Condition; got != condition {
				p.t.Fatalf("stream error is %s, want %s: %s", got, condition, it.Raw)
			}
			break
		}
	}
	p.closed()
}

// closed expects nothing but the end of the connection.
func (p *peer) closed() {
	p.t.Helper()
	for {
		it, err := p.next()
		switch {
		case err == nil && it.Kind == stream.Closing:
		case err == nil:
			p.t.Fatalf("want the end, got %q", it.Raw)
		case errors.Is(err, os.ErrDeadlineExceeded):
			p.t.Fatal("the connection is open still")
		default:
			return
		}
	}
}

// sync waits until the server has handled what was sent: a ping is answered.
func (p *peer) sync() []stanza.Element {
	p.t.Helper()
	p.say("<iq xmlns='jabber:client' type='get' id='sync'><ping xmlns='urn:xmpp:ping'/></iq>")
	var before []stanza.Element
	for {
		it := p.item()
		e, err := stanza.Parse(it.Raw, stream.NSClient)
		if err != nil {
			p.t.Fatal(err)
		}
		if e.Name == "iq" && e.Attr("id") == "sync" {
			return before
		}
		before = append(before, e)
	}
}

// startTLS goes on with TLS.
func (p *peer) startTLS() {
	p.t.Helper()
	p.header()
	p.say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
	p.expect("proceed")
	p.handshake()
}

func (p *peer) handshake(protos ...string) {
	p.t.Helper()
	c := tls.Client(p.nc, clientTLS(protos...))
	if err := c.HandshakeContext(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	state := c.ConnectionState()
	p.nc, p.tls = c, &state
}

// authenticate opens a stream, logs in and opens it again.
func (p *peer) authenticate(user string, pw secret.String) stanza.Element {
	p.t.Helper()
	if condition := p.try(user, pw); condition != "" {
		p.t.Fatalf("log-in failed: %s", condition)
	}
	return p.header()
}

// try opens a stream and logs in; it returns the condition of the failure.
func (p *peer) try(user string, pw secret.String) string {
	p.t.Helper()
	return p.exchange(p.header(), user, pw)
}

var keys sasl.Keys

// exchange logs in with what features offer.
func (p *peer) exchange(features stanza.Element, user string, pw secret.String) string {
	p.t.Helper()
	var offered []sasl.Mechanism
	var bindings []sasl.Binding
	var types []string
	if e := features.Child(nsSASL, "mechanisms"); e != nil {
		for _, m := range e.Children {
			offered = append(offered, sasl.Mechanism(m.Text))
		}
	}
	if e := features.Child("urn:xmpp:sasl-cb:0", "sasl-channel-binding"); e != nil {
		for _, b := range e.Children {
			types = append(types, b.Attr("type"))
		}
	}
	if p.tls != nil {
		bindings = sasl.ClientBindings(p.tls)
	}
	login := sasl.Login{User: user, Password: pw, Keys: &keys}
	c, err := login.Client(offered, bindings, types)
	if err != nil {
		p.t.Fatal(err)
	}
	p.say("<auth xmlns='" + nsSASL + "' mechanism='" + string(c.Mechanism()) + "'>" + sasl.Encode(c.First()) + "</auth>")
	for {
		it := p.item()
		e, err := stanza.Parse(it.Raw, stream.NSClient)
		if err != nil {
			p.t.Fatal(err)
		}
		message, err := sasl.Decode(e.Text)
		switch {
		case err != nil:
			p.t.Fatal(err)
		case e.Name == "failure":
			return e.Children[0].Name
		case e.Name == "success":
			if err := c.Success(message); err != nil {
				p.t.Fatal(err)
			}
			return ""
		}
		answer, err := c.Step(message)
		if err != nil {
			p.t.Fatal(err)
		}
		p.say("<response xmlns='" + nsSASL + "'>" + sasl.Encode(answer) + "</response>")
	}
}

const nsSASL = "urn:ietf:params:xml:ns:xmpp-sasl"

// bind binds a resource and returns the full address.
func (p *peer) bind(resource string) string {
	p.t.Helper()
	p.askBind(resource)
	e := p.expect("iq", "type", "result", "id", "bind")
	return e.Children[0].Children[0].Text
}

func (p *peer) askBind(resource string) {
	p.t.Helper()
	p.say("<iq xmlns='jabber:client' type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>" + resource + "</resource></bind></iq>")
}

// condition is that of an error stanza.
func condition(e stanza.Element) string {
	if c := e.Child(stream.NSClient, "error"); c != nil && len(c.Children) > 0 {
		return c.Children[0].Name
	}
	return strings.TrimSpace("no error: " + e.Text)
}
