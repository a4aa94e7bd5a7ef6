package cloudlink_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/vector"
	"github.com/farreach/farreach/oic"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const device1 = "00000000-cafe-4bad-8000-000000000001" // the device of the vectors

// serve runs a server for the life of the test, and returns its address.
func serve(t testing.TB, cfg cloudlink.ServerConfig, tlsConfig *tls.Config) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop := serveOn(t, ln, cfg, tlsConfig)
	t.Cleanup(stop)
	return ln.Addr().String()
}

// pipes is a listener whose connections are in memory and synchronous: each
// piece that a peer writes is read alone.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case nc := <-p.conns:
		return nc, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return new(net.UnixAddr) }

// DialContext connects to the listener, whatever the address.
func (p *pipes) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-p.done:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serveOn runs a server on ln until stop is called.
func serveOn(t testing.TB, ln net.Listener, cfg cloudlink.ServerConfig, tlsConfig *tls.Config) (stop func()) {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = quiet
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- cloudlink.NewServer(cfg).Serve(ctx, ln, tlsConfig) }()
	return func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Serve = %v", err)
		}
	}
}

var quiet = slog.New(slog.DiscardHandler)

// raw is a peer that writes the bytes that a test gives it.
type raw struct {
	t   testing.TB
	nc  net.Conn
	got chan *coap.Message // what came in; closed at the end
	err error              // why, once got is closed
}

func dialRaw(t testing.TB, addr string) *raw {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return rawOn(t, nc)
}

func rawOn(t testing.TB, nc net.Conn) *raw {
	r := &raw{t: t, nc: nc, got: make(chan *coap.Message, 16)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer close(r.got)
		r.err = r.read()
	}()
	t.Cleanup(func() {
		nc.Close()
		for range r.got {
		}
		<-ended
	})
	return r
}

// read puts what comes in into got, but for CSMs.
func (r *raw) read() error {
	var buf []byte
	for {
		var m coap.Message
		n, err := m.Parse(coap.TCP, buf, 1<<20)
		switch {
		case err == nil:
			if m.Code != coap.CSM {
				r.got <- m.Clone()
			}
			buf = buf[n:]
			continue
		case err != coap.ErrShort:
			return err
		}
		some := make([]byte, 4096)
		n, err = r.nc.Read(some)
		if buf = append(buf, some[:n]...); n == 0 {
			return err
		}
	}
}

func (r *raw) write(b []byte) {
	r.t.Helper()
	if _, err := r.nc.Write(b); err != nil {
		r.t.Fatalf("write: %v", err)
	}
}

// next returns the next message that is not a CSM.
func (r *raw) next() (*coap.Message, error) {
	select {
	case m, ok := <-r.got:
		if !ok {
			return nil, r.err
		}
		return m, nil
	case <-r.t.Context().Done():
		return nil, r.t.Context().Err()
	case <-time.After(2 * time.Minute):
		return nil, errors.New("no message in 2 min")
	}
}

// answer returns the answer to the request that is the vector called name.
func (r *raw) answer(name string) *coap.Message {
	r.t.Helper()
	want := vector.Get(name).Message
	m, err := r.next()
	if err != nil {
		r.t.Fatalf("answer to %s: %v", name, err)
	}
	if m.Token != coap.MakeToken(want.Token) {
		r.t.Fatalf("answer to %s is %v", name, m)
	}
	return m
}

// ask sends a vector and returns the answer.
func (r *raw) ask(name string) *coap.Message {
	r.t.Helper()
	r.write(vector.Get(name).Wire)
	return r.answer(name)
}

// closed fails unless the server ends the connection: after an Abort it closes,
// after a Release it leaves that to the peer.
func (r *raw) closed() {
	r.t.Helper()
	for {
		m, err := r.next()
		switch {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			r.t.Fatalf("want the server to close: %v", err)
		case m.Code == coap.Release:
			r.nc.Close()
			return
		case m.Code != coap.Abort:
			r.t.Fatalf("want the server to close, got %v", m)
		}
	}
}

// fields returns the body of an answer in content format 10000.
func fields(t testing.TB, m *coap.Message) map[string]any {
	t.Helper()
	if f, _ := m.Options.Uint(coap.ContentFormat); f != 10000 {
		t.Errorf("content format %d (rule 5)", f)
	}
	if v, _ := m.Options.Uint(coap.OCFContentFormatVersion); v != 2048 {
		t.Errorf("version %d of the content format", v)
	}
	text, err := oic.ToJSON(oic.OCF, m.Payload)
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}
