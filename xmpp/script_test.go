package xmpp_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/farreach/farreach/internal/localca"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/sasl"
	"github.com/farreach/farreach/xmpp/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const password = secret.String("venus and mars")

var ann = mustJID("ann@home.example/OIC/1.0/Client/1")

func mustJID(s string) jid.JID {
	j, err := jid.Parse(s)
	if err != nil {
		panic(err)
	}
	return j
}

// script is a server that says what a test says. Its methods end the script
// when the client has gone.
type script struct {
	t    testing.TB
	nc   net.Conn
	scan stream.Scanner
	buf  []byte
	said bytes.Buffer // all that the client said
}

// gone ends a script.
type gone struct{}

// scripted is the configuration of a client whose n-th connection is served by
// scripts[n], the last one for all further. Everything is in memory and in
// clear text.
func scripted(t testing.TB, scripts ...func(*script)) xmpp.Config {
	var mu sync.Mutex
	var tasks sync.WaitGroup
	t.Cleanup(tasks.Wait)
	n := 0
	return xmpp.Config{
		JID: ann, Password: password, Addr: "server:5222", Insecure: true, Log: slog.New(slog.DiscardHandler), Keys: keys,
		Handlers: new(xmpp.Handlers),
		Dial: func(context.Context, string, string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			run := scripts[min(n, len(scripts)-1)]
			n++
			if run == nil {
				return nil, errors.New("connection refused")
			}
			client, server := net.Pipe()
			tasks.Go(func() { play(t, server, run) })
			return client, nil
		},
	}
}

// keys spare the tests deriving the same again and again.
var keys = new(sasl.Keys)

func play(t testing.TB, nc net.Conn, run func(*script)) {
	defer nc.Close()
	defer func() {
		if p := recover(); p != nil && p != (gone{}) {
			panic(p)
		}
	}()
	run(&script{t: t, nc: nc})
}

func (p *script) say(text string) {
	if _, err := io.WriteString(p.nc, text); err != nil {
		panic(gone{})
	}
}

// item returns the next thing that the client says.
func (p *script) item() stream.Item {
	for {
		it, n, err := p.scan.Next(p.buf)
		if err == nil {
			it.Raw = bytes.Clone(it.Raw)
			p.buf = p.buf[n:]
			return it
		}
		if err != stream.ErrShort {
			p.t.Errorf("the client says %q: %v", p.buf, err)
			panic(gone{})
		}
		b := make([]byte, 4096)
		n, err = p.nc.Read(b)
		if err != nil {
			panic(gone{})
		}
		p.said.Write(b[:n])
		p.buf = append(p.buf, b[:n]...)
	}
}

// expect returns the next item, which must hold text.
func (p *script) expect(text string) stream.Item {
	it := p.item()
	if !strings.Contains(string(it.Raw), text) {
		p.t.Errorf("the client says %s, want %q", it.Raw, text)
		panic(gone{})
	}
	return it
}

const header = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='x' version='1.0' from='home.example'>"

const (
	withTLS  = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>"
	withSASL = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>SCRAM-SHA-256</mechanism><mechanism>PLAIN</mechanism></mechanisms>"
	withBind = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"
	withSM   = "<sm xmlns='urn:xmpp:sm:3'/>"
)

// open answers the client's header with ours and what is offered.
func (p *script) open(features string) {
	p.scan.Reset()
	p.expect("<stream:stream")
	p.say(header + "<stream:features>" + features + "</stream:features>")
}

// verifier is that of ann, derived once.
var verifier = sync.OnceValues(func() (sasl.Verifier, error) {
	return sasl.Derive(sasl.ScramSHA256, password, []byte("salt of 16 bytes"), sasl.MinIterations)
})

// login lets ann in.
func (p *script) login() {
	p.open(withSASL)
	o := &sasl.Offer{Verifier: func(context.Context, sasl.Mechanism, string) (sasl.Verifier, error) { return verifier() }}
	s, err := o.Start(sasl.ScramSHA256)
	if err != nil {
		p.t.Error(err)
		panic(gone{})
	}
	for done := false; !done; {
		it := p.item()
		text := string(it.Raw[bytes.IndexByte(it.Raw, '>')+1 : bytes.LastIndexByte(it.Raw, '<')])
		message, err := sasl.Decode(text)
		var answer []byte
		if err == nil {
			answer, done, err = s.Step(p.t.Context(), message)
		}
		if err != nil {
			p.t.Errorf("login: %v", err)
			panic(gone{})
		}
		name := "challenge"
		if done {
			name = "success"
		}
		p.say("<" + name + " xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" + sasl.Encode(answer) + "</" + name + ">")
	}
}

// bind binds what the client asks for.
func (p *script) bind() { p.bindAs(ann.String()) }

func (p *script) bindAs(j string) {
	it := p.expect("<resource>" + ann.Resource() + "</resource>")
	p.say("<iq type='result' id='" + string(it.ID) + "'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>" + j + "</jid></bind></iq>")
}

// session lets ann in and binds, with stream management if id is not "".
func (p *script) session(id string) {
	p.login()
	if id == "" {
		p.open(withBind)
		p.bind()
		return
	}
	p.open(withBind + withSM)
	p.bind()
	p.expect("<enable")
	p.say("<enabled xmlns='urn:xmpp:sm:3' resume='true' id='" + id + "' max='60'/>")
}

// rest reads what comes until the client goes, and closes with it.
func (p *script) rest() {
	for {
		if p.item().Kind == stream.Closing {
			p.say("</stream:stream>")
			return
		}
	}
}

// hold reads nothing until the client goes or the test ends.
func (p *script) hold() { <-p.t.Context().Done() }

// authority signs for the tests that need TLS.
func authority(t testing.TB, names ...string) (roots, server *tls.Config) {
	ca, err := localca.Open(localca.Config{Dir: t.TempDir(), Hosts: names})
	if err != nil {
		t.Fatal(err)
	}
	pool, err := localca.Pool(ca.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{RootCAs: pool}, ca.ServerConfig()
}

// within fails the test if f takes longer than a deadline in real time.
func within(t testing.TB, d time.Duration, f func()) {
	t.Helper()
	start := time.Now()
	f()
	if took := time.Since(start); took > d {
		t.Errorf("took %v, want at most %v", took, d)
	}
}

// overhear takes what comes until the connection breaks, and listens to none of
// it.
func (p *script) overhear() { io.Copy(io.Discard, p.nc) }
