package xmppd_test

import (
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmppd"
)

// resume resumes a session on a new connection and returns the answer.
func (w *world) resume(user, id, h string) (*peer, stanza.Element) {
	w.t.Helper()
	p := w.connect()
	p.authenticate(user, password)
	p.say("<resume xmlns='urn:xmpp:sm:3' previd='" + id + "' h='" + h + "'/>")
	it := p.item()
	e, err := stanza.Parse(it.Raw, "jabber:client")
	if err != nil {
		w.t.Fatal(err)
	}
	return p, e
}

// A session that has lost its connection goes on where it was: what it has not
// got comes again, what it got does not, and nobody saw it go (XEP-0198, section
// 5).
func TestResume(t *testing.T) {
	w := newWorld(t, xmppd.Config{})
	a, b := w.appear("ann", "a"), w.appear("ann", "b")
	a.sync()
	b.sync()
	b.say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
	enabled := b.expect("enabled", "resume", "true", "max", "60")
	b.say("<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq><r xmlns='urn:xmpp:sm:3'/>")
	b.expect("iq")
	b.expect("a", "h", "1")
	b.nc.Close()
	a.sync()
	for _, id := range []string{"m1", "m2", "m3"} {
		a.say("<message to='ann@home.example/b' id='" + id + "'/>")
	}
	if got := a.sync(); len(got) > 0 {
		t.Errorf("told %+v", got)
	}
	if _, e := w.resume("bob", enabled.Attr("id"), "0"); e.Name != "failed" {
		t.Errorf("another account: %+v", e)
	}
	if _, e := w.resume("ann", "wrong", "0"); e.Name != "failed" || e.Children[0].Name != "item-not-found" {
		t.Errorf("wrong id: %+v", e)
	}
	b, e := w.resume("ann", enabled.Attr("id"), "2") // the answer, and m1
	if e.Name != "resumed" || e.Attr("h") != "1" || e.Attr("previd") != enabled.Attr("id") {
		t.Fatalf("answer %+v", e)
	}
	b.expect("message", "id", "m2")
	b.expect("message", "id", "m3")
	a.say("<message to='ann@home.example/b' id='m4'/>")
	b.expect("message", "id", "m4")

	// Another connection takes over one that the server believes to be there.
	c, e := w.resume("ann", enabled.Attr("id"), "5")
	if e.Name != "resumed" {
		t.Fatalf("answer %+v", e)
	}
	b.ends("conflict")
	a.say("<message to='ann@home.example/b' id='m5'/>")
	c.expect("message", "id", "m5")
	c.say("<a xmlns='urn:xmpp:sm:3' h='9999'/>")
	c.ends("undefined-condition")
}

// What a session never got goes back to whoever sent it, when it is not resumed
// in time; until then siblings believe it to be there: not for long, and
// not for longer than the client asked for (XEP-0198, section 5).
func TestNotResumed(t *testing.T) {
	for enable, want := range map[string]time.Duration{
		"resume='1'": time.Minute, "resume='true' max='10'": 10 * time.Second, "resume='true' max='600'": time.Minute, "resume='true' max='x'": time.Minute,
	} {
		t.Run(enable, func(t *testing.T) { notResumed(t, enable, want) })
	}
}

// notResumed checks for how long a session is kept that was enabled so.
func notResumed(t *testing.T, enable string, want time.Duration) {
	inBubble(t, xmppd.Config{}, func(w *world) {
		a, b := w.appear("ann", "a"), w.appear("ann", "b")
		a.sync()
		b.sync()
		b.say("<enable xmlns='urn:xmpp:sm:3' " + enable + "/>")
		b.expect("enabled", "max", strconv.Itoa(int(want/time.Second)))
		b.nc.Close()
		synctest.Wait()
		a.say("<message to='ann@home.example/b' id='m1'><body>x</body></message><message to='ann@home.example/b' id='m2' type='error'/><iq to='ann@home.example/b' type='get' id='q'><x xmlns='y'/></iq>")
		start := time.Now()
		a.wait = 2 * time.Minute
		go func() { // a sign of life now and then
			for range 3 {
				time.Sleep(15 * time.Second)
				a.nc.Write([]byte(" "))
			}
		}()
		for {
			it := a.item()
			e, _ := stanza.Parse(it.Raw, "jabber:client")
			if e.Name == "iq" && e.Attr("type") == "get" {
				continue // a ping of the server
			}
			if e.Name != "presence" || e.Attr("type") != "unavailable" || e.Attr("from") != "ann@home.example/b" {
				t.Fatalf("told %s", it.Raw)
			}
			break
		}
		if d := time.Since(start); d != want {
			t.Errorf("gone after %v", d)
		}
		if e := a.expect("message", "id", "m1", "type", "error", "from", "ann@home.example/b"); condition(e) != stanza.ServiceUnavailable {
			t.Errorf("told %+v", e)
		}
		a.expect("iq", "id", "q", "type", "error")
	})
}

// A session that says goodbye is over at once, resumable or not.
func TestManagedGoodbye(t *testing.T) {
	w := newWorld(t, xmppd.Config{})
	a, b := w.appear("ann", "a"), w.appear("ann", "b")
	a.sync()
	b.say("<enable xmlns='urn:xmpp:sm:3' resume='true'/></stream:stream>")
	for {
		if it, err := b.next(); err != nil || len(it.Raw) == 0 {
			break
		}
	}
	a.expect("presence", "type", "unavailable", "from", "ann@home.example/b")
}

// The client is asked to acknowledge, and one that does not ends (threats 3.1).
func TestUnacknowledged(t *testing.T) {
	w := newWorld(t, xmppd.Config{})
	a, b := w.login("ann", "a"), w.login("ann", "b")
	b.say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
	b.expect("enabled")
	go func() {
		for {
			if _, err := b.next(); err != nil {
				return
			}
		}
	}()
	for range 1001 {
		a.say("<message to='ann@home.example/b' id='m'/>")
	}
	e := a.expect("message", "type", "error")
	if condition(e) != stanza.ServiceUnavailable {
		t.Errorf("told %+v", e)
	}
	until(t, "the session is over", func() bool { return w.srv.Counters.Sessions.Load() == 1 })
}

// inBubble runs f with a server on connections in memory and with time that
// passes at once.
func inBubble(t *testing.T, cfg xmppd.Config, f func(w *world)) {
	verifiers() // not in the bubble
	synctest.Test(t, func(t *testing.T) {
		w := prepare(t, cfg)
		ln := &memory{conns: make(chan net.Conn), ended: make(chan struct{})}
		var far []net.Conn
		w.dial = func() net.Conn {
			a, b := net.Pipe()
			ln.conns <- b
			far = append(far, a)
			return a
		}
		w.serve(ln, nil)
		f(w)
		for _, nc := range far {
			nc.Close()
		}
		w.stop()
		time.Sleep(10 * time.Minute) // whatever waits for time
	})
}

// memory is a listener in memory.
type memory struct {
	conns chan net.Conn
	ended chan struct{}
	once  sync.Once
}

func (m *memory) Addr() net.Addr { return &net.TCPAddr{} }
func (m *memory) Close() error   { m.once.Do(func() { close(m.ended) }); return nil }

func (m *memory) Accept() (net.Conn, error) {
	select {
	case nc := <-m.conns:
		return nc, nil
	case <-m.ended:
		return nil, net.ErrClosed
	}
}

// A session that ended because its client broke the rules is over.
func TestBadStreamIsNotResumed(t *testing.T) {
	w := newWorld(t, xmppd.Config{})
	a, b := w.appear("ann", "a"), w.appear("ann", "b")
	a.sync()
	b.sync()
	b.say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
	enabled := b.expect("enabled")
	b.say("<message></presence>")
	b.ends("not-well-formed")
	a.expect("presence", "type", "unavailable", "from", "ann@home.example/b")
	if _, e := w.resume("ann", enabled.Attr("id"), "0"); e.Name != "failed" {
		t.Errorf("got %+v", e)
	}
}

// Presence is short, for it goes to many.
func TestLongPresence(t *testing.T) {
	w := newWorld(t, xmppd.Config{})
	a := w.appear("ann", "a")
	for _, typ := range []string{"", " type='unavailable'", " to='ann@home.example/a'"} {
		a.say("<presence" + typ + "><status>" + strings.Repeat("x", 17_000) + "</status></presence>")
		if e := a.expect("presence", "type", "error"); condition(e) != stanza.PolicyViolation {
			t.Errorf("%s: %+v", typ, e)
		}
	}
}
