package xmpp_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/sasl"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmpp/stream"
)

// secure is scripted for a client that wants TLS.
func secure(t *testing.T, run func(*script)) xmpp.Config {
	cfg := scripted(t, run)
	cfg.Insecure = false
	cfg.TLS, _ = authority(t, "home.example")
	return cfg
}

// refusedDial dials and expects an error; said is what the client had said.
func refusedDial(t *testing.T, cfg xmpp.Config) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := xmpp.Dial(ctx, cfg)
	if err == nil {
		s.Close()
		t.Fatal("logged in")
	}
	return err
}

// TestBad12ClearText: what comes in clear text behind <proceed/> ends the
// connection before TLS begins.
func TestBad12ClearText(t *testing.T) {
	for _, behind := range []string{"<iq type='set' id='1'/>", header, " ", "\x16"} {
		err := refusedDial(t, secure(t, func(p *script) {
			p.open(withTLS)
			p.expect("<starttls")
			p.say("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>" + behind)
			p.rest()
		}))
		if !errors.Is(err, xmpp.ErrClearText) {
			t.Errorf("%q: %v", behind, err)
		}
	}
}

// TestBad13NoTLS: a server without TLS, or that refuses it, learns nothing.
func TestBad13NoTLS(t *testing.T) {
	for name, run := range map[string]func(p *script){
		"not offered": func(p *script) { p.open(withSASL) },
		"refused": func(p *script) {
			p.open(withTLS + withSASL)
			p.expect("<starttls")
			p.say("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>")
		},
	} {
		err := refusedDial(t, secure(t, func(p *script) {
			defer func() {
				if said := p.said.String(); strings.Contains(said, "<auth") || strings.Contains(said, "ann") {
					t.Errorf("%s: the client said %s", name, said)
				}
			}()
			run(p)
			p.rest()
		}))
		if !errors.Is(err, xmpp.ErrNoTLS) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestBad16Server: a server that asks for too much or too little work, or says
// success without a proof of its own, gets no proof of ours, at once.
func TestBad16Server(t *testing.T) {
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	// answer makes the server's first message of the client's nonce.
	for name, answer := range map[string]func(nonce string) string{
		"i=1": func(n string) string { return "r=" + n + "0123456789ab,s=" + encode("salt of 16 bytes") + ",i=1" },
		"i=50,000,000": func(n string) string {
			return "r=" + n + "0123456789ab,s=" + encode("salt of 16 bytes") + ",i=50000000"
		},
		"i=2^31-1": func(n string) string {
			return "r=" + n + "0123456789ab,s=" + encode("salt of 16 bytes") + ",i=2147483647"
		},
		"no salt":       func(n string) string { return "r=" + n + "0123456789ab,s=,i=4096" },
		"another nonce": func(string) string { return "r=0123456789abcdefghij,s=" + encode("salt of 16 bytes") + ",i=4096" },
		"our nonce":     func(n string) string { return "r=" + n + ",s=" + encode("salt of 16 bytes") + ",i=4096" },
		"mandatory": func(n string) string {
			return "m=x,r=" + n + "0123456789ab,s=" + encode("salt of 16 bytes") + ",i=4096"
		},
	} {
		within(t, 20*time.Second, func() { // 2,147,483,647 rounds take minutes
			err := refusedDial(t, scripted(t, func(p *script) {
				p.open(withSASL)
				auth := p.expect("<auth")
				first, _ := base64.StdEncoding.DecodeString(between(string(auth.Raw), ">", "</auth>"))
				_, nonce, _ := strings.Cut(string(first), ",r=")
				p.say("<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" + encode(answer(nonce)) + "</challenge>")
				p.expect("<abort")
				p.rest()
			}))
			if _, ok := errors.AsType[*sasl.Failure](err); !ok {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	for name, success := range map[string]string{
		"at once":           "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
		"at once, with v=":  "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" + encode("v=AAAA") + "</success>",
		"bare success":      "<success/>",
		"endless challenge": strings.Repeat("<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", 50),
		"broken base64":     "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>!!</challenge>",
	} {
		err := refusedDial(t, scripted(t, func(p *script) {
			p.open(withSASL)
			p.expect("<auth")
			p.say(success)
			p.rest()
		}))
		if strings.Contains(err.Error(), password.Reveal()) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func between(s, from, to string) string {
	_, s, _ = strings.Cut(s, from)
	s, _, _ = strings.Cut(s, to)
	return s
}

// TestBad17AfterLogin: who is logged in stays who he is, whatever is said about
// logins later.
func TestBad17AfterLogin(t *testing.T) {
	alive := make(chan bool, 1)
	s, err := xmpp.Dial(t.Context(), scripted(t, func(p *script) {
		p.session("")
		p.say("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/><challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>cj0=</challenge>")
		p.say("<iq type='result' id='x'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>eve@home.example/x</jid></bind></iq>")
		p.say("<iq type='get' id='alive'><ping xmlns='urn:xmpp:ping'/></iq>")
		p.expect("id='alive'")
		alive <- true
		p.rest()
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	<-alive
	if s.JID() != ann {
		t.Errorf("JID = %s", s.JID())
	}
}

// What comes for a former session of the same address before the answer to bind is
// passed over, but not for ever.
func TestStaleBeforeBind(t *testing.T) {
	const stale = "<message from='bob@home.example/x' type='chat'/><iq type='set' id='1' from='bob@home.example/x'><x xmlns='y'/></iq><iq type='result' id='2'/>"
	s, err := xmpp.Dial(t.Context(), scripted(t, func(p *script) {
		p.login()
		p.open(withBind)
		p.say(stale)
		p.bind()
		p.rest()
	}))
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	refusedDial(t, scripted(t, func(p *script) {
		p.login()
		p.open(withBind)
		p.say(strings.Repeat(stale, 100))
		p.rest()
	}))
}

// TestBad18ForeignAnswers: an answer counts if id, kind and sender are those of
// what was asked.
func TestBad18ForeignAnswers(t *testing.T) {
	lamp := mustJID("ann@home.example/lamp")
	s, err := xmpp.Dial(t.Context(), scripted(t, func(p *script) {
		p.session("")
		for range 2 {
			it := p.expect("<iq")
			id := string(it.ID)
			if len(id) < 22 { // 128 bits in the densest of usual alphabets
				p.t.Errorf("id %q can be guessed", id)
			}
			to := "to='" + ann.String() + "'"
			for _, forged := range []string{
				"<iq type='result' id='" + id + "' from='eve@home.example/x'><x xmlns='forged'/></iq>",
				"<iq type='error' id='" + id + "' from='home.example'><error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>",
				"<iq type='result' id='" + id + "'><x xmlns='forged'/></iq>",
				"<iq type='result' id='" + id + "' from='ann@home.example'><x xmlns='forged'/></iq>",
				"<message id='" + id + "' from='ann@home.example/lamp'><x xmlns='forged'/></message>",
				"<presence id='" + id + "' from='ann@home.example/lamp'/>",
				"<iq type='result' id='" + id + "x' from='ann@home.example/lamp'/>",
			} {
				p.say(forged)
			}
			p.say("<iq type='get' id='" + id + "' from='ann@home.example/lamp' " + to + "><x xmlns='q'/></iq>") // a request of the same id
			p.expect("service-unavailable")
			p.say("<iq type='result' id='" + id + "' from='ann@home.example/lamp' " + to + "><x xmlns='true'/></iq>")
			p.say("<iq type='result' id='" + id + "' from='ann@home.example/lamp'><x xmlns='twice'/></iq>")
		}
		p.rest()
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 2 {
		got, err := s.Ask(t.Context(), stanza.IQ{To: lamp, Type: "get", Payload: &stanza.Element{NS: "q", Name: "x"}})
		if err != nil || got == nil || got.NS != "true" {
			t.Errorf("Ask = %+v, %v", got, err)
		}
	}
}

// TestAnswersOfTheServer: for itself and for the account the server may answer
// without saying who it is (RFC 6120, section 8.1.2.1).
func TestAnswersOfTheServer(t *testing.T) {
	for _, c := range []struct {
		to, from string
		ok       bool
	}{
		{"", "", true}, {"", "ann@home.example", true}, {"", "home.example", true}, {"", ann.String(), true}, {"", "eve@home.example", false}, {"", "ann@home.example/x", false},
		{"home.example", "home.example", true}, {"home.example", "", true}, {"home.example", "ann@home.example", false},
		{"ann@home.example", "", true}, {"ann@home.example", "ann@home.example", true}, {"ann@home.example", "home.example", false},
		{"bob@home.example", "", false}, {"bob@home.example", "bob@home.example/x", false}, {"bob@home.example/x", "bob@home.example", false},
	} {
		s, err := xmpp.Dial(t.Context(), scripted(t, func(p *script) {
			p.session("")
			id := string(p.expect("<iq").ID)
			from := ""
			if c.from != "" {
				from = " from='" + c.from + "'"
			}
			p.say("<iq type='result' id='" + id + "'" + from + "><x xmlns='answer'/></iq><iq type='get' id='end'><x xmlns='q'/></iq>")
			for !strings.Contains(string(p.item().Raw), "id='end'") {
			}
			p.say("</stream:stream>")
			p.rest()
		}))
		if err != nil {
			t.Fatal(err)
		}
		iq := stanza.IQ{Type: "get", Payload: &stanza.Element{NS: "q", Name: "x"}}
		if c.to != "" {
			iq.To = mustJID(c.to)
		}
		got, err := s.Ask(t.Context(), iq)
		if ok := err == nil && got != nil; ok != c.ok || !ok && !errors.Is(err, xmpp.ErrClosed) {
			t.Errorf("asked %q, answered by %q: %+v, %v", c.to, c.from, got, err)
		}
		s.Close()
	}
}

// TestBad29Redirect: a server cannot send the client where its owner did not
// allow it to go.
func TestBad29Redirect(t *testing.T) {
	for _, c := range []struct {
		host  string
		allow []string
		want  string // dialled besides; "": nothing
	}{
		{"127.0.0.1:22", nil, ""},
		{"169.254.169.254", []string{"other.example"}, ""},
		{"other.example.evil.example", []string{"other.example"}, ""},
		{"other.example", []string{"other.example"}, "other.example:5222"},
		{"other.example:9222", []string{"Other.Example"}, "other.example:9222"},
		{"[2001:db8::1]:9222", []string{"2001:db8::1"}, "[2001:db8::1]:9222"},
	} {
		cfg := scripted(t, func(p *script) {
			p.expect("<stream:stream")
			p.say(header + "<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>" + c.host + "</see-other-host></stream:error></stream:stream>")
		})
		cfg.AllowRedirect = c.allow
		var dialled []string
		dial := cfg.Dial
		cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dialled = append(dialled, addr)
			return dial(ctx, network, addr)
		}
		err := refusedDial(t, cfg)
		if e, ok := errors.AsType[*stream.Error](err); !ok || e.Condition != stream.SeeOtherHost {
			t.Errorf("%s: %v", c.host, err)
		}
		want := []string{"server:5222"}
		if c.want != "" {
			want = append(want, c.want)
		}
		if fmt.Sprint(dialled) != fmt.Sprint(want) {
			t.Errorf("%s: dialled %v, want %v", c.host, dialled, want)
		}
	}
}

// records is a DNS that has one answer.
type records []*net.SRV

func (r records) LookupSRV(_ context.Context, service, _, _ string) (string, []*net.SRV, error) {
	if service == "xmpps-client" {
		return "", r, nil
	}
	return "", nil, &net.DNSError{IsNotFound: true}
}

// TestBad30Certificate: the name is that of the address, whatever host the DNS
// names; and an authority nobody knows proves nothing.
func TestBad30Certificate(t *testing.T) {
	roots, good := authority(t, "home.example")
	evilRoots, evil := authority(t, "evil.example")
	for name, c := range map[string]struct {
		client, server *tls.Config
		ok             bool
	}{
		"the host that the DNS names": {evilRoots, evil, false},
		"an unknown authority":        {evilRoots, good, false},
		"the domain":                  {roots, good, true},
	} {
		said := make(chan bool, 1)
		cfg := scripted(t, func(p *script) {
			defer func() { said <- p.said.Len() > 0 }()
			nc := tls.Server(p.nc, c.server)
			if nc.HandshakeContext(t.Context()) != nil {
				return
			}
			p.nc = nc
			p.item()
		})
		cfg.Insecure, cfg.TLS, cfg.Addr = false, c.client, ""
		cfg.Resolver = records{{Target: "evil.example.", Port: 5223}}
		err := refusedDial(t, cfg) // if the name is right, the server goes
		_, checked := errors.AsType[*tls.CertificateVerificationError](err)
		if told := <-said; told != c.ok || checked == c.ok {
			t.Errorf("%s: the client went on: %v (%v)", name, told, err)
		}
	}
}

// TestHostileXML: what a server must not send ends the session with the stream
// error that RFC 6120, section 4.9.3, names, and the server hears it (Bad01, 02,
// 06, 07, 09, 11).
func TestHostileXML(t *testing.T) {
	for _, c := range []struct{ name, text, condition string }{
		{"DTD", "<!DOCTYPE x [<!ENTITY a 'b'>]>", stream.RestrictedXML},
		{"entity", "<message><body>&xxe;</body></message>", stream.RestrictedXML},
		{"comment", "<!-- x --><message/>", stream.RestrictedXML},
		{"processing instruction", "<?x y?><message/>", stream.RestrictedXML},
		{"deep", strings.Repeat("<a>", 200) + strings.Repeat("</a>", 200), stream.PolicyViolation},
		{"invalid UTF-8", "<message><body>\xc0\xaf</body></message>", ""},
		{"unclosed", "<message></presence>", stream.NotWellFormed},
		{"undeclared prefix", "<message><x:y/></message>", ""},
		{"too long", "<message><body>" + strings.Repeat("x", 300_000) + "</body></message>", stream.PolicyViolation},
		{"text", "hello", ""},
	} {
		s, err := xmpp.Dial(t.Context(), scripted(t, func(p *script) {
			p.session("")
			go func() { p.nc.Write([]byte(c.text)) }()
			if it := p.item(); string(it.Name) != "error" || c.condition != "" && !strings.Contains(string(it.Raw), c.condition) {
				p.t.Errorf("%s: the client says %s", c.name, it.Raw)
			}
			p.rest()
		}))
		if err != nil {
			t.Fatal(err)
		}
		<-s.Done()
		if e, ok := errors.AsType[*stream.Error](s.Err()); !ok || c.condition != "" && e.Condition != c.condition {
			t.Errorf("%s: %v", c.name, s.Err())
		}
		s.Close()
	}
}

// TestBad03Endless: before the login 10,000 bytes are the most that one thing
// may have.
func TestBad03Endless(t *testing.T) {
	for name, begin := range map[string]string{
		"header":    "<stream:stream xmlns:stream='http://etherx.jabber.org/streams' a='",
		"features":  header + "<stream:features><x a='",
		"text":      header + "<stream:features>",
		"challenge": header + "<stream:features>" + withSASL + "</stream:features><challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>",
	} {
		var sent atomic.Int64
		err := refusedDial(t, scripted(t, func(p *script) {
			p.expect("<stream:stream")
			go func() {
				for { // the client goes on talking meanwhile
					if _, err := p.nc.Read(make([]byte, 1000)); err != nil {
						return
					}
				}
			}()
			p.say(begin)
			for {
				p.say(strings.Repeat("x", 1000))
				sent.Add(1000)
			}
		}))
		if e, ok := errors.AsType[*stream.Error](err); !ok || e.Condition != stream.PolicyViolation || sent.Load() > 40_000 {
			t.Errorf("%s: %v after %d bytes", name, err, sent.Load())
		}
	}
}

// TestRenamed: a server that binds something else gets no session (RA-063).
func TestRenamed(t *testing.T) {
	for _, j := range []string{"ann@home.example/other", "eve@home.example/" + ann.Resource(), "ann@home.example", "ann@evil.example/" + ann.Resource(), "", "@"} {
		err := refusedDial(t, scripted(t, func(p *script) {
			p.login()
			p.open(withBind)
			p.bindAs(j)
			p.rest()
		}))
		if parsed := strings.Contains(j, "/"); errors.Is(err, xmpp.ErrRenamed) != parsed {
			t.Errorf("%q: %v", j, err)
		}
	}
}

// TestAcknowledgesTooMuch: XEP-0198, section 4.
func TestAcknowledgesTooMuch(t *testing.T) {
	for name, ack := range map[string]string{
		"more than sent": "<a xmlns='urn:xmpp:sm:3' h='2'/>",
		"backwards":      "<a xmlns='urn:xmpp:sm:3' h='1'/><a xmlns='urn:xmpp:sm:3' h='0'/>",
	} {
		s, err := xmpp.Dial(t.Context(), scripted(t, func(p *script) {
			p.session("sm1")
			p.expect("<presence")
			p.say(ack)
			p.expect("handled-count-too-high")
			p.rest()
		}))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Send(t.Context(), &stanza.Presence{}); err != nil {
			t.Error(err)
		}
		<-s.Done()
		if e, ok := errors.AsType[*stream.Error](s.Err()); !ok || e.Condition != stream.UndefinedCondition {
			t.Errorf("%s: %v", name, s.Err())
		}
		s.Close()
	}
}

// TestBad25ServerThatNeverReads: what is sent to it is bounded, and whoever
// sends hears so.
func TestBad25ServerThatNeverReads(t *testing.T) {
	for _, id := range []string{"", "sm1"} {
		synctest.Test(t, func(t *testing.T) {
			s, err := xmpp.Dial(t.Context(), scripted(t, func(p *script) {
				p.session(id)
				p.hold()
			}))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			sent := 0
			for ; err == nil && sent < 100_000; sent++ {
				err = s.Send(ctx, &stanza.Message{Body: strings.Repeat("x", 1000)})
			}
			if !errors.Is(err, context.DeadlineExceeded) || sent > 2100 {
				t.Errorf("resumable %q: %v after %d messages", id, err, sent)
			}
			if _, err = s.Ask(ctx, stanza.IQ{Type: "get", Payload: &stanza.Element{NS: "q", Name: "x"}}); err == nil {
				t.Error("asked")
			}
			<-s.Done() // the write that waits gives up
		})
	}
}

// TestHandlerPanics: it ends its session, and nothing else.
func TestHandlerPanics(t *testing.T) {
	cfg := scripted(t, func(p *script) {
		p.session("")
		p.say("<message><body>boom</body></message>")
		p.rest()
	})
	cfg.Handlers.OtherMessage(func(*xmpp.Session, *stanza.Message) { panic("boom") })
	s, err := xmpp.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if !errors.Is(s.Err(), xmpp.ErrPanic) {
		t.Errorf("Err = %v", s.Err())
	}
	s.Close()
}

// TestSlowHandler: what it has not handled waits within bounds, and then the
// server; nothing is lost, and all is in order.
func TestSlowHandler(t *testing.T) {
	const n = 5000
	sent := make(chan int, n)
	cfg := scripted(t, func(p *script) {
		p.session("")
		for i := range n {
			p.say(fmt.Sprintf("<message id='%d'><body>x</body></message>", i))
			sent <- i
		}
		p.rest()
	})
	begin, got, late := make(chan struct{}), make(chan string, n), 0
	cfg.Handlers.OtherMessage(func(_ *xmpp.Session, m *stanza.Message) {
		<-begin
		got <- m.ID
	})
	s, err := xmpp.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for quiet := false; !quiet; { // until the server stands still
		select {
		case late = <-sent:
		case <-time.After(200 * time.Millisecond):
			quiet = true
		}
	}
	if late > 700 {
		t.Errorf("%d messages were taken that nobody handles", late)
	}
	close(begin)
	for i := range n {
		if id := <-got; id != fmt.Sprint(i) {
			t.Fatalf("message %s, want %d", id, i)
		}
	}
}
