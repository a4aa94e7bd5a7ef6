package xmppd_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/xmpp/sasl"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmppd"
)

const open = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='home.example' version='1.0'>"

// still checks that an honest session, opened before something bad happened,
// is served, and not only when that is over; a busy machine takes its time.
func still(t *testing.T, p *peer) {
	t.Helper()
	start := time.Now()
	p.sync()
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("an honest session waited for %v", d)
	}
}

// What comes before a log-in ends with the stream error that the RFC names, and
// the connection with it.
func TestBadBeforeLogIn(t *testing.T) {
	w := newWorld(t, xmppd.Config{})
	honest := w.login("bob", "honest")
	for _, tt := range []struct{ name, says, condition string }{
		{"Bad01 entities", open + `<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><auth/>`, "restricted-xml"},
		{"Bad01 before the header", `<?xml version='1.0'?><!DOCTYPE x []>` + open, "restricted-xml"},
		{"Bad02 external entity", open + `<!DOCTYPE x SYSTEM "file:///etc/passwd">`, "restricted-xml"},
		{"Bad03 endless header", "<stream:stream " + strings.Repeat("a", 300), "policy-violation"},
		{"Bad03 endless attribute", "<stream:stream xmlns='" + strings.Repeat("a", 20_000), "policy-violation"},
		{"Bad03 endless text", open + "<auth xmlns='" + nsSASL + "'>" + strings.Repeat("a", 10_001), "policy-violation"},
		{"Bad03 comment", open + "<!-- " + strings.Repeat("a", 5000), "restricted-xml"},
		{"Bad04 elements", open + "<a>" + strings.Repeat("<b/>", 65), "policy-violation"},
		{"Bad04 attributes", open + "<a" + manyAttributes(65) + "/>", "policy-violation"},
		{"Bad06 depth", open + strings.Repeat("<a>", 129), "policy-violation"},
		{"Bad07 overlong", open + "<a>\xc0\x80</a>", "unsupported-encoding"},
		{"Bad07 surrogate", open + "<a>\xed\xa0\x80</a>", "unsupported-encoding"},
		{"Bad07 truncated", open + "<a>\xe2\x82</a>", "unsupported-encoding"},
		{"Bad08 control", open + "<a xmlns='x\x01'/>", "not-well-formed"},
		{"Bad10 prefix on the header", strings.Replace(open, " to=", " xmlns:x='y' to=", 1), "bad-namespace-prefix"},
		{"Bad17 stanza", open + "<message to='bob@home.example/honest'><body>x</body></message>", "not-authorized"},
		{"bind", open + "<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>", "not-authorized"},
		{"white space", open + strings.Repeat(" ", 2000), "policy-violation"},
		{"text", open + "hello", "bad-format"},
		{"two headers", open + open, "bad-format"},
		{"other domain", strings.Replace(open, "home.example", "evil.example", 1), "host-unknown"},
		{"no domain", strings.Replace(open, "to='home.example'", "", 1), "host-unknown"},
		{"no version", strings.Replace(open, "version='1.0'", "", 1), "unsupported-version"},
		{"server's namespace", strings.Replace(open, "jabber:client", "jabber:server", 1), "invalid-namespace"},
	} {
		p := w.connect()
		p.say(tt.says)
		t.Run(tt.name, func(t *testing.T) {
			p.t = t
			p.ends(tt.condition)
		})
		p.nc.Close()
	}
	still(t, honest)
}

func manyAttributes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " a%d=''", i)
	}
	return b.String()
}

// What is wrong with a stanza ends its stream, and nobody else gets any of it
// (threats rules 10 and 11).
func TestBadStanzas(t *testing.T) {
	w := newWorld(t, xmppd.Config{Limits: xmppd.Limits{Stanza: 1 << 17}})
	honest := w.login("ann", "honest")
	message := "<message to='ann@home.example/honest'>"
	for _, tt := range []struct{ name, says, condition string }{
		{"Bad01 entity", message + "<body>&a;</body></message>", "restricted-xml"},
		{"Bad01 DTD", message + "<!DOCTYPE a []></message>", "restricted-xml"},
		{"Bad04 elements", message + strings.Repeat("<b/>", 8200) + "</message>", "policy-violation"},
		{"Bad06 depth", message + strings.Repeat("<b>", 20_000) + strings.Repeat("</b>", 20_000) + "</message>", "policy-violation"},
		{"Bad07 UTF-8", message + "<body>\xff</body></message>", "unsupported-encoding"},
		{"Bad09 nested stream", message + "</stream:stream>", "not-well-formed"},
		{"Bad09 stream element inside", message + "<stream:error/></message>", "bad-namespace-prefix"},
		{"Bad10 undeclared prefix", message + "<x:y/></message>", "not-well-formed"},
		{"Bad11 wrong end", message + "<a></b></message>", "not-well-formed"},
		{"Bad20 from twice", "<message from='x' from='y' to='ann@home.example/honest'/>", "not-well-formed"},
		{"oversize", message + "<body>" + strings.Repeat("a", 1<<17) + "</body></message>", "policy-violation"},
		{"white space", strings.Repeat(" ", 70_000), "policy-violation"},
		{"unknown stanza", "<presents/>", "unsupported-stanza-type"},
		{"other namespace", "<message xmlns='jabber:server' to='ann@home.example/honest'/>", "unsupported-stanza-type"},
		{"Bad17 log-in again", "<auth xmlns='" + nsSASL + "' mechanism='SCRAM-SHA-1'>=</auth>", "unsupported-stanza-type"},
		{"Bad13 TLS again", "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "unsupported-stanza-type"},
		{"header again", open, ""},
	} {
		p := w.login("ann", "bad")
		// in the background: the server does not read on when it has found out
		go io.WriteString(p.nc, tt.says)
		t.Run(tt.name, func(t *testing.T) {
			p.t = t
			if tt.condition == "" {
				p.closedInError()
				return
			}
			p.ends(tt.condition)
		})
		p.nc.Close()
	}
	if got := honest.sync(); len(got) > 0 {
		t.Errorf("arrived: %+v", got)
	}
	still(t, honest)
}

// closedInError expects the end after any stream error.
func (p *peer) closedInError() {
	p.t.Helper()
	if e := p.expect("error"); e.NS != "http://etherx.jabber.org/streams" {
		p.t.Errorf("got %+v", e)
	}
	p.closed()
}

// What looks like markup arrives as the text that it is, in one stanza (Bad09).
func TestBad09Smuggling(t *testing.T) {
	w := newWorld(t, xmppd.Config{})
	a, b := w.login("ann", "a"), w.login("ann", "b")
	text := "</body></message><message from='boss@home.example'>"
	a.say("<message to='ann@home.example/b' id='1'><body><![CDATA[" + text + "]]></body></message>" +
		"<message to='ann@home.example/b' id='2'><body>" + strings.ReplaceAll(text, "<", "&lt;") + "</body></message>" +
		"<message to='ann@home.example/b' id='3'><message from='boss@home.example' xmlns='jabber:client'/></message>")
	for _, id := range []string{"1", "2"} {
		e := b.expect("message", "id", id, "from", "ann@home.example/a")
		if got := e.Child("jabber:client", "body").Text; got != text {
			t.Errorf("text is %q", got)
		}
	}
	b.expect("message", "id", "3", "from", "ann@home.example/a")
	if got := b.sync(); len(got) > 0 {
		t.Errorf("more arrived: %+v", got)
	}
}

// However from is written, one arrives and it is true (Bad20, Bad21).
func TestBad20ForgedFrom(t *testing.T) {
	w := newWorld(t, xmppd.Config{})
	a, b := w.login("ann", "a"), w.login("ann", "b")
	for _, from := range []string{
		"from='boss@home.example'", `from="boss@home.example"`, "from = 'boss'", "from\n=\n'boss'", "from='&#98;oss'", "from=''",
		"from='ann@home.example/b'", "xmlns:f='jabber:client' f:from='boss'", "from='a&apos;b'", `from='a"b'`,
	} {
		for _, text := range []string{
			"<message " + from + " to='ann@home.example/b'/>", "<message to='ann@home.example/b' " + from + " />",
			"<message to=\"ann@home.example/b\" " + from + "><from/></message>", "<message\t" + from + "\tto='ann@home.example/b' ></message >",
		} {
			a.say(text)
			it := b.item()
			e, err := stanza.Parse(it.Raw, "jabber:client")
			if err != nil || e.Attr("from") != "ann@home.example/a" || bytes.Count(it.Raw, []byte("ann@home.example/a")) != 1 {
				t.Errorf("%s\narrived as %s", text, it.Raw)
			}
		}
	}
}

// Bytes in clear behind <starttls/> end the connection before anything is
// encrypted; so does what is no TLS (Bad12, Bad13).
func TestBad12ClearTextBehindStartTLS(t *testing.T) {
	w := newWorld(t, xmppd.Config{TLS: serverTLS()})
	const start = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
	p := w.connect()
	p.header()
	p.say(start + "<auth xmlns='" + nsSASL + "' mechanism='SCRAM-SHA-1'>=</auth>")
	p.ends("policy-violation")
	p = w.connect()
	p.header()
	p.say(start)
	p.expect("proceed")
	p.say(open)
	p.closed()
	p = w.connect()
	p.header()
	p.say("<auth xmlns='" + nsSASL + "' mechanism='SCRAM-SHA-256'>biws</auth>") // in clear
	p.ends("not-authorized")
	p = w.connect()
	p.startTLS()
	p.header()
	p.say(start) // again
	p.expect("failure")
	p.closed()
	if w.people.failed != 0 {
		t.Error("somebody could try to log in in clear")
	}
}

// Log-ins that cannot be (Bad14, 15, 17).
func TestBad15LogIns(t *testing.T) {
	w := newWorld(t, xmppd.Config{TLS: serverTLS()})
	secured := func() *peer {
		p := w.connect()
		p.startTLS()
		p.header()
		return p
	}
	auth := func(mechanism, message string) string {
		return "<auth xmlns='" + nsSASL + "' mechanism='" + mechanism + "'>" + sasl.Encode([]byte(message)) + "</auth>"
	}
	for _, tt := range []struct{ name, says, condition string }{
		{"PLAIN", auth("PLAIN", "\x00ann\x00"+password.Reveal()), "invalid-mechanism"},
		{"ANONYMOUS", auth("ANONYMOUS", ""), "invalid-mechanism"},
		{"Bad14 as another", auth("SCRAM-SHA-256", "n,a=bob@home.example,n=ann,r=abcdefghijkl"), "invalid-authzid"},
		{"y with -PLUS offered", auth("SCRAM-SHA-256", "y,,n=ann,r=abcdefghijkl"), "not-authorized"},
		{"p= in a plain mechanism", auth("SCRAM-SHA-256", "p=tls-exporter,,n=ann,r=abcdefghijkl"), "malformed-request"},
		{"unknown binding", auth("SCRAM-SHA-256-PLUS", "p=tls-unique,,n=ann,r=abcdefghijkl"), "not-authorized"},
		{"extension", auth("SCRAM-SHA-256", "n,,m=x,n=ann,r=abcdefghijkl"), "malformed-request"},
		{"no name", auth("SCRAM-SHA-256", "n,,n=,r=abcdefghijkl"), "malformed-request"},
		{"too long", auth("SCRAM-SHA-256", "n,,n=ann,r="+strings.Repeat("a", 9000)), ""},
		{"no base64", "<auth xmlns='" + nsSASL + "' mechanism='SCRAM-SHA-256'>!</auth>", "incorrect-encoding"},
		{"response first", "<response xmlns='" + nsSASL + "'>biws</response>", "malformed-request"},
	} {
		p := secured()
		p.say(tt.says)
		if tt.condition == "" {
			p.ends("policy-violation") // 10,000 bytes
			continue
		}
		if e := p.expect("failure"); e.Children[0].Name != tt.condition {
			t.Errorf("%s: %s, want %s", tt.name, e.Children[0].Name, tt.condition)
		}
		p.nc.Close()
	}

	p := secured()
	p.say(auth("SCRAM-SHA-256", "n,a=ann@home.example,n=ann,r=abcdefghijkl"))
	p.expect("challenge")
	p.say("<response xmlns='" + nsSASL + "'>" + sasl.Encode([]byte("c=biws,r=other,p=AAAA")) + "</response>")
	p.expect("failure")
	for i := range 4 { // five failures in all
		p.say(auth("SCRAM-SHA-256", "n,,n=ann,r=abcdefghijkl"))
		p.expect("challenge")
		p.say("<abort xmlns='" + nsSASL + "'/>")
		if e := p.expect("failure"); e.Children[0].Name != "aborted" {
			t.Errorf("%d: %+v", i, e)
		}
	}
	p.ends("policy-violation")
	if w.people.failed < 5 {
		t.Errorf("%d failures were told", w.people.failed)
	}
	for _, said := range []string{password.Reveal(), sasl.Encode([]byte(password.Reveal()))} {
		if strings.Contains(w.logs.String(), said) {
			t.Error("the password is in the log")
		}
	}
}

// A wrong password and an unknown account are the same to whoever tries.
func TestUnknownAccount(t *testing.T) {
	w := newWorld(t, xmppd.Config{})
	for _, who := range []string{"ann", "nobody"} {
		if got := w.connect().try(who, "wrong password"); got != "not-authorized" {
			t.Errorf("%s: %s", who, got)
		}
	}
	if w.people.failed != 2 {
		t.Errorf("%d failures were told", w.people.failed)
	}
}

// Binding twice, a bad resource, too long an id, bad addresses (Bad26): the
// stanza is refused and the stream lives.
func TestBad26Refused(t *testing.T) {
	w := newWorld(t, xmppd.Config{})
	p := w.connect()
	p.authenticate("ann", password)
	p.askBind(strings.Repeat("x", 1024))
	if e := p.expect("iq", "type", "error"); condition(e) != stanza.JIDMalformed {
		t.Errorf("long resource: %+v", e)
	}
	p.bind(strings.Repeat("x", 1023))
	p.askBind("again")
	if e := p.expect("iq", "type", "error"); condition(e) != stanza.NotAllowed {
		t.Errorf("bound twice: %+v", e)
	}
	p.say("<message to='ann@home.example' id='" + strings.Repeat("i", 257) + "'/>")
	if e := p.expect("message", "type", "error", "id", ""); condition(e) != stanza.BadRequest {
		t.Errorf("long id: %+v", e)
	}
	for _, to := range []string{"a@b@c", "@home.example", "ann@home.example/", "ann@home.example/&#9;", strings.Repeat("a", 5000)} {
		p.say("<message to='" + to + "'/>")
		if e := p.expect("message", "type", "error"); condition(e) != stanza.JIDMalformed {
			t.Errorf("to %.40s: %+v", to, e)
		}
	}
	p.say("<presence><priority>1000</priority></presence>")
	if e := p.expect("presence", "type", "error"); condition(e) != stanza.BadRequest {
		t.Errorf("priority: %+v", e)
	}
	still(t, p)
}

// A client that never reads costs its own session. Whoever sends to it is held
// up for a second at most, others not at all (Bad25, threats rule 8).
func TestBad25ReceiverThatStopsReading(t *testing.T) {
	w := newWorld(t, xmppd.Config{Limits: xmppd.Limits{StanzaRate: -1, ByteRate: -1}})
	deaf, sender, other := w.login("ann", "deaf"), w.login("ann", "sender"), w.appear("bob", "other")
	before := heap()
	done := make(chan bool)
	go func() {
		defer close(done)
		text := "<message to='ann@home.example/deaf'><body>" + strings.Repeat("x", 60_000) + "</body></message>"
		for range 1000 { // 60 MB
			if _, err := io.WriteString(sender.nc, text); err != nil {
				return
			}
		}
	}()
	grown := int64(0)
	until(t, "who does not read is given up", func() bool {
		still(t, other)
		grown = max(grown, heap()-before)
		return w.srv.Counters.Overflows.Load() == 1
	})
	if grown > 32<<20 {
		t.Errorf("%d MiB more memory", grown>>20)
	}
	if e := sender.expect("message", "type", "error"); condition(e) != stanza.ServiceUnavailable {
		t.Errorf("told %+v", e)
	}
	sender.nc.Close()
	<-done
	deaf.nc.Close()
	if w.srv.Counters.Overflows.Load() != 1 {
		t.Errorf("%d overflows", w.srv.Counters.Overflows.Load())
	}
}

// A client that sends requests and reads no answers is not read (Bad25).
func TestBad25SenderThatNeverReads(t *testing.T) {
	w := newWorld(t, xmppd.Config{Limits: xmppd.Limits{StanzaRate: -1, ByteRate: -1}})
	p, other := w.login("ann", "p"), w.appear("bob", "other")
	before := heap()
	p.nc.SetWriteDeadline(time.Now().Add(2 * time.Second))
	text := strings.Repeat("<iq type='get' id='"+strings.Repeat("x", 250)+"'><ping xmlns='urn:xmpp:ping'/></iq>", 100)
	wrote := 0
	for wrote < 256<<20 {
		n, err := io.WriteString(p.nc, text)
		wrote += n
		if err != nil {
			break
		}
	}
	if wrote >= 256<<20 {
		t.Error("everything was taken")
	}
	if grown := heap() - before; grown > 32<<20 {
		t.Errorf("%d MiB more memory", grown>>20)
	}
	still(t, other)
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// An account has so many sessions and no more, whatever becomes of those before
// (Bad24).
func TestBad24TooManySessions(t *testing.T) {
	w := newWorld(t, xmppd.Config{Limits: xmppd.Limits{Sessions: 12}})
	for i := range 12 {
		w.login("ann", fmt.Sprint(i))
	}
	for range 10 { // one at a time in the place of the same
		w.login("ann", "2")
	}
	p := w.connect()
	p.authenticate("ann", password)
	p.askBind("one too many")
	if e := p.expect("iq", "type", "error"); condition(e) != stanza.ResourceConstraint {
		t.Errorf("got %+v", e)
	}
	if n := w.srv.Counters.Sessions.Load(); n != 12 {
		t.Errorf("%d sessions", n)
	}
	w.login("bob", "free")
}

// Connections that are dropped in every state leave nothing (Bad05).
func TestBad05DroppedInEveryState(t *testing.T) {
	rounds := 200
	if !testing.Short() {
		rounds = 10_000
	}
	if xmppd.RaceEnabled {
		rounds = 1000
	}
	w := newWorld(t, xmppd.Config{TLS: serverTLS(), Insecure: true})
	honest := w.appear("bob", "honest")
	before, files := heap(), openFiles(t)
	states := []func(p *peer){
		func(p *peer) {},
		func(p *peer) { p.say(open[:20]) },
		func(p *peer) { p.header() },
		func(p *peer) {
			p.header()
			p.say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
			p.expect("proceed")
		},
		func(p *peer) {
			p.header()
			p.say("<auth xmlns='" + nsSASL + "' mechanism='SCRAM-SHA-1'>" + sasl.Encode([]byte("n,,n=ann,r=abcdefghijkl")) + "</auth>")
			p.expect("challenge")
		},
		func(p *peer) { p.authenticate("ann", password) },
		func(p *peer) { p.authenticate("ann", password); p.bind("x"); p.say("<presence/><message to='ann") },
		func(p *peer) {
			p.authenticate("ann", password)
			p.bind("y")
			p.say("<enable xmlns='urn:xmpp:sm:3' resume='true'/><presence/></stream:stream>")
			p.expect("enabled")
		},
	}
	for i := range rounds {
		p := w.connectTo()
		states[i%len(states)](p)
		p.nc.Close()
	}
	until(t, "all sessions but one are gone", func() bool { return w.srv.Counters.Sessions.Load() == 1 })
	until(t, "all files are closed", func() bool { return openFiles(t) <= files+2 })
	until(t, "the memory is back", func() bool { return heap()-before < 4<<20 })
	still(t, honest)
}

// connectTo is connect that the test closes itself.
func (w *world) connectTo() *peer {
	w.t.Helper()
	nc, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	return &peer{t: w.t, nc: nc}
}

// until waits for what comes by itself.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("not in time: %s", what)
			return
		}
	}
}

func openFiles(t *testing.T) int {
	all, err := os.ReadDir("/proc/self/fd")
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("no /proc")
	}
	return len(all)
}

// When the password has changed or the account is no more, sessions end within
// a second, and cannot be resumed (threats rule 2).
func TestBad44Revoked(t *testing.T) {
	w := newWorld(t, xmppd.Config{})
	p, q, other := w.appear("ann", "p"), w.login("ann", "q"), w.appear("bob", "other")
	q.say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
	enabled := q.expect("enabled")
	id := enabled.Attr("id")
	w.people.revoke("ann")
	p.ends("reset")
	q.ends("reset")
	r := w.connect()
	r.authenticate("ann", password)
	r.say("<resume xmlns='urn:xmpp:sm:3' previd='" + id + "' h='0'/>")
	r.expect("failed")
	still(t, other)
}

// A client that sends more than it may is read more slowly, and loses nothing.
func TestRate(t *testing.T) {
	w := newWorld(t, xmppd.Config{Limits: xmppd.Limits{StanzaRate: 100}})
	p := w.login("ann", "p")
	start := time.Now()
	p.say(strings.Repeat("<message to='ann@home.example/p'/>", 600))
	for range 600 {
		p.expect("message")
	}
	if d := time.Since(start); d > 20*time.Second { // five with none at once
		t.Errorf("it took %v", d)
	}
	p.sync()
	if d := time.Since(start); d < 900*time.Millisecond {
		t.Errorf("600 stanzas at 100 a second and 500 at once took %v", d)
	}
}
