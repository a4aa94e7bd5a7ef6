package cloudlink_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/vector"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
)

// request is one message with a body of JSON, sent as content format 10000.
func request(t testing.TB, code coap.Code, href, body string) *coap.Message {
	t.Helper()
	m := &coap.Message{Code: code, Token: coap.TokenFrom(77)}
	path, query := oic.SplitHref(href)
	m.SetPath(path)
	m.SetQuery(query)
	if body != "" {
		b, err := oic.FromJSON(oic.OCF, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		m.Payload = b
		oiccoap.SetFormat(m, oic.OCF)
	}
	return m
}

// do sends a request and returns the answer.
func (r *raw) do(m *coap.Message) *coap.Message {
	r.t.Helper()
	b, err := m.Append(coap.TCP, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	r.write(b)
	for {
		answer, err := r.next()
		if err != nil {
			r.t.Fatalf("%v %s: %v", m.Code, m.Options.Path(), err)
		}
		if answer.Token == m.Token {
			return answer
		}
	}
}

// What may be asked before sign-in, and what comes of it.
func TestUnsigned(t *testing.T) {
	const other = "00000000-cafe-4bad-8000-000000000002"
	for _, test := range []struct {
		name, href, body string
		method, want     coap.Code
		closes           bool
	}{
		{"discovery", "/oic/res", "", coap.GET, coap.Unauthorized, true},
		{"a device", "/" + device1 + "/light/1", "", coap.GET, coap.Unauthorized, true},
		{"command", "/" + device1 + "/light/1", `{"value":true}`, coap.POST, coap.Unauthorized, true},
		{"root", "/", "", coap.GET, coap.Unauthorized, true},
		{"no such thing", "/x/y/z", "", coap.DELETE, coap.Unauthorized, true},
		{"publish", "/oic/rd", `{"di":"` + device1 + `","links":[{"href":"/a"}]}`, coap.POST, coap.Unauthorized, true},
		{"unpublish", "/oic/rd?di=" + device1, "", coap.DELETE, coap.Unauthorized, true},
		{"selector", "/oic/rd", "", coap.GET, coap.Unauthorized, true},

		{"sign-up, wrong code", "/oic/sec/account", `{"di":"` + device1 + `","accesstoken":"code-9"}`, coap.POST, coap.Unauthorized, false},
		{"sign-up, used code", "/oic/sec/account", `{"di":"` + other + `","accesstoken":"code-1"}`, coap.POST, coap.Unauthorized, false},
		{"sign-up, no code", "/oic/sec/account", `{"di":"` + device1 + `"}`, coap.POST, coap.BadRequest, false},
		{"sign-up, no di", "/oic/sec/account", `{"accesstoken":"code-1"}`, coap.POST, coap.BadRequest, false},
		{"sign-up, no map", "/oic/sec/account", `[1]`, coap.POST, coap.BadRequest, false},
		{"sign-up, nothing", "/oic/sec/account", "", coap.POST, coap.BadRequest, false},
		{"sign-up by GET", "/oic/sec/account", "", coap.GET, coap.MethodNotAllowed, false},
		{"sign-up, again within a short time (rule 12)", "/oic/sec/account", `{"di":"` + device1 + `","authcode":"code-1"}`, coap.POST, coap.Changed, false},
		{"sign-in, wrong token", "/oic/sec/session", `{"di":"` + device1 + `","uid":"u-1","accesstoken":"at-9","login":true}`, coap.POST, coap.Unauthorized, false},
		{"sign-in, someone else's di", "/oic/sec/session", `{"di":"` + other + `","uid":"u-1","accesstoken":"at-1"}`, coap.POST, coap.Unauthorized, false},
		{"sign-in, someone else's account", "/oic/sec/session", `{"di":"` + device1 + `","uid":"u-2","accesstoken":"at-1"}`, coap.POST, coap.Unauthorized, false},
		{"sign-in without di", "/oic/sec/session", `{"uid":"u-1","accesstoken":"at-1"}`, coap.POST, coap.Unauthorized, false},
		{"sign-in, no token", "/oic/sec/session", `{"di":"` + device1 + `","uid":"u-1"}`, coap.POST, coap.BadRequest, false},
		{"sign-out", "/oic/sec/session", `{"di":"` + device1 + `","uid":"u-1","login":false}`, coap.POST, coap.Unauthorized, false},
		{"refresh, wrong token", "/oic/sec/tokenrefresh", `{"di":"` + device1 + `","uid":"u-1","refreshtoken":"rt-9"}`, coap.POST, coap.Unauthorized, false},
		{"refresh, someone else's di", "/oic/sec/tokenrefresh", `{"di":"` + other + `","uid":"u-1","refreshtoken":"rt-1"}`, coap.POST, coap.Unauthorized, false},
		{"refresh, other grant type", "/oic/sec/tokenrefresh", `{"di":"` + device1 + `","granttype":"code","refreshtoken":"rt-1"}`, coap.POST, coap.BadRequest, false},
		{"sign-off, nothing", "/oic/sec/account", "", coap.DELETE, coap.BadRequest, false},
		{"sign-off, wrong token", "/oic/sec/account?uid=u-1&di=" + device1 + "&accesstoken=at-9", "", coap.DELETE, coap.Unauthorized, false},
		{"sign-off, pairs joined by ; (rule 19)", "/oic/sec/account?uid=u-1;di=" + device1 + ";accesstoken=at-1", "", coap.DELETE, coap.Deleted, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newCloud()
			addr := serve(t, cloudlink.ServerConfig{Backend: c}, nil)
			dialRaw(t, addr).ask("O1") // the device exists; at-1, rt-1
			r := dialRaw(t, addr)
			if got := r.do(request(t, test.method, test.href, test.body)); got.Code != test.want {
				t.Errorf("answer %v %s, want %v", got.Code, got.Payload, test.want)
			}
			if test.closes {
				r.closed()
			} else if got := r.ask("O3"); got.Code != coap.Changed {
				t.Errorf("sign-in afterwards: %v %s", got.Code, got.Payload)
			}
		})
	}
}

// What a device that is signed in may not do.
func TestSignedInForAnother(t *testing.T) {
	const other = "00000000-cafe-4bad-8000-000000000002"
	c := newCloud()
	c.pair("code-2")
	addr := serve(t, cloudlink.ServerConfig{Backend: c}, nil)
	r2 := dialRaw(t, addr)
	r2.do(request(t, coap.POST, "/oic/sec/account", `{"di":"`+other+`","accesstoken":"code-2"}`)) // at-1
	r := dialRaw(t, addr)
	r.ask("O1") // at-2
	if got := r.do(request(t, coap.POST, "/oic/sec/session", `{"di":"`+device1+`","uid":"u-1","accesstoken":"at-2"}`)); got.Code != coap.Changed {
		t.Fatalf("sign-in: %v", got)
	}
	for _, test := range []struct {
		name, href, body string
		method, want     coap.Code
	}{
		{"publish", "/oic/rd", `{"di":"` + other + `","ttl":0,"links":[{"href":"/a","rt":["x.a"],"if":["oic.if.r"]}]}`, coap.POST, coap.Forbidden},
		{"publish nothing", "/oic/rd", `{"di":"` + device1 + `","ttl":0,"links":[]}`, coap.POST, coap.BadRequest},
		{"publish rubbish", "/oic/rd", `{"di":"` + device1 + `","links":7}`, coap.POST, coap.BadRequest},
		{"unpublish", "/oic/rd?di=" + other + "&ins=42", "", coap.DELETE, coap.Forbidden},
		{"unpublish rubbish", "/oic/rd?di=" + device1 + "&ins=x", "", coap.DELETE, coap.BadRequest},
		{"sign-in", "/oic/sec/session", `{"di":"` + other + `","uid":"u-1","accesstoken":"at-1"}`, coap.POST, coap.Forbidden},
		{"sign-up", "/oic/sec/account", `{"di":"` + other + `","accesstoken":"code-2"}`, coap.POST, coap.Forbidden},
		{"sign-out", "/oic/sec/session", `{"di":"` + other + `","uid":"u-1","login":false}`, coap.POST, coap.Forbidden},
		{"sign-off", "/oic/sec/account?uid=u-1&di=" + other, "", coap.DELETE, coap.Forbidden},
		{"command", "/" + other + "/a", `{"value":true}`, coap.POST, coap.Forbidden},
		{"selector", "/oic/rd", "", coap.GET, coap.Content},
		{"unknown", "/oic/sec/acl2", "", coap.GET, coap.NotFound},
		{"sign-in again (rule 13)", "/oic/sec/session", `{"di":"` + device1 + `","uid":"u-1","accesstoken":"at-2"}`, coap.POST, coap.Changed},
	} {
		if got := r.do(request(t, test.method, test.href, test.body)); got.Code != test.want {
			t.Errorf("%s: answer %v %s, want %v", test.name, got.Code, got.Payload, test.want)
		}
	}
}

// Requests behind a sign-in need not wait for its answer.
func TestPipelined(t *testing.T) {
	r := dialRaw(t, serve(t, cloudlink.ServerConfig{Backend: newCloud()}, nil))
	var all []byte
	for _, name := range []string{"O1", "O3", "O9"} {
		all = append(all, vector.Get(name).Wire...)
	}
	r.write(all)
	for _, name := range []string{"O1", "O3", "O9"} {
		if m := r.observed(name); m.Code != coap.Changed {
			t.Errorf("%s is answered %v %s", name, m.Code, m.Payload)
		}
	}
}

// A token is not taken where others could read it.
func TestPlainFromElsewhere(t *testing.T) {
	for _, test := range []struct {
		allow bool
		want  coap.Code
	}{{false, coap.Forbidden}, {true, coap.Changed}} {
		p := newPipes() // whose connections have no address: not this machine's
		stop := serveOn(t, p, cloudlink.ServerConfig{Backend: newCloud(), AllowPlain: test.allow}, nil)
		nc, err := p.DialContext(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		r := rawOn(t, nc)
		if got := r.ask("O1"); got.Code != test.want {
			t.Errorf("AllowPlain %v: %v %s, want %v", test.allow, got.Code, got.Payload, test.want)
		}
		nc.Close()
		stop()
	}
}

// A connection has 30 s to sign in; a session that expires is answered 4.01
// once more and closed.
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		c := newCloud()
		c.ttl = time.Minute
		stop := serveOn(t, p, cloudlink.ServerConfig{Backend: c, AllowPlain: true, KeepAlive: -1}, nil)
		open := func() *raw {
			nc, err := p.DialContext(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			return rawOn(t, nc)
		}
		start := time.Now()
		r := open()
		r.ask("O1")
		for _, err := r.next(); err == nil; _, err = r.next() { // an Abort
		}
		if d := time.Since(start); d != 30*time.Second {
			t.Errorf("closed after %v without a sign-in", d)
		}
		r = open()
		if got := fields(t, r.ask("O3"))["expiresin"]; got != 30.0 {
			t.Errorf("expiresin %v, want 30", got)
		}
		time.Sleep(29 * time.Second)
		if got := r.do(request(t, coap.GET, "/oic/rd", "")); got.Code != coap.Content {
			t.Errorf("before the session expires: %v", got)
		}
		time.Sleep(time.Second + 100*time.Millisecond)
		if got := r.do(request(t, coap.GET, "/oic/res", "")); got.Code != coap.Unauthorized {
			t.Errorf("after the session expired: %v", got)
		}
		r.closed()
		stop()
	})
}

// A session that expires ends by itself.
func TestExpiryCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		c := newCloud()
		c.ttl = time.Minute
		stop := serveOn(t, p, cloudlink.ServerConfig{Backend: c, AllowPlain: true, KeepAlive: -1}, nil)
		nc, err := p.DialContext(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		r := rawOn(t, nc)
		start := time.Now()
		r.ask("O1")
		r.ask("O3")
		r.closed()
		if d := time.Since(start); d < time.Minute || d > time.Minute+time.Second {
			t.Errorf("closed after %v, want 60 s and a little", d)
		}
		stop()
	})
}

// A message of more than 16,384 bytes is for those who signed in.
func TestMessageLimit(t *testing.T) {
	for _, signedIn := range []bool{false, true} {
		t.Run(fmt.Sprintf("signed in %v", signedIn), func(t *testing.T) {
			r := dialRaw(t, serve(t, cloudlink.ServerConfig{Backend: newCloud()}, nil))
			r.ask("O1")
			if signedIn {
				r.ask("O3")
			}
			m := request(t, coap.POST, "/"+device1+"/light/1", "")
			m.Payload = make([]byte, 20_000)
			b, err := m.Append(coap.TCP, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.write(b)
			got, err := r.next()
			switch {
			case err != nil:
				t.Fatal(err)
			case signedIn && got.Code != coap.NotFound:
				t.Errorf("answer %v, want 4.04: not published", got)
			case !signedIn && got.Code != coap.Abort:
				t.Errorf("answer %v, want an Abort", got)
			}
		})
	}
}

// One request may prove by itself who sends it, by option 65002.
func TestBearer(t *testing.T) {
	c := newCloud()
	c.person("fut_1")
	addr := serve(t, cloudlink.ServerConfig{Backend: c}, nil)
	dialRaw(t, addr).ask("O1")
	for token, want := range map[string]coap.Code{"fut_1": coap.Content, "fut_2": coap.Unauthorized, "": coap.Unauthorized} {
		m := request(t, coap.GET, "/oic/res", "")
		m.AddString(65002, token)
		if got := dialRaw(t, addr).do(m); got.Code != want {
			t.Errorf("token %q: %v %s, want %v", token, got.Code, got.Payload, want)
		}
	}
}

// A newer connection of a device takes the place of the older one (rule 13).
func TestReplaced(t *testing.T) {
	c := newCloud()
	addr := serve(t, cloudlink.ServerConfig{Backend: c}, nil)
	old := dialRaw(t, addr)
	old.ask("O1")
	old.ask("O3")
	r := dialRaw(t, addr)
	r.ask("O3")
	old.closed()
	if got := r.do(request(t, coap.GET, "/oic/rd", "")); got.Code != coap.Content {
		t.Errorf("the new connection: %v", got)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.devices[device1].session == nil {
		t.Error("the device is not reachable by its new connection")
	}
}

// A device publishes 512 links and 64 KiB at once, and no more (threats section
// 3.2).
func TestPublicationLimits(t *testing.T) {
	publication := func(links, name int) string {
		s := `{"di":"` + device1 + `","ttl":0,"links":[`
		for i := range links {
			s += fmt.Sprintf(`{"href":"/%0*d","rt":["x"],"if":["oic.if.r"]},`, name, i)
		}
		return strings.TrimSuffix(s, ",") + "]}"
	}
	r := dialRaw(t, serve(t, cloudlink.ServerConfig{Backend: newCloud()}, nil))
	csm := &coap.Message{Code: coap.CSM, Token: coap.TokenFrom(1)}
	csm.AddUint(coap.CSMMaxMessageSize, 1<<20) // the answer is as long
	r.send(csm)
	r.ask("O1")
	r.ask("O3")
	for _, test := range []struct {
		name        string
		links, href int
		want        coap.Code
	}{
		{"512 links", 512, 3, coap.Changed},
		{"513 links", 513, 3, coap.RequestEntityTooLarge},
		{"70 KB", 350, 180, coap.RequestEntityTooLarge},
		{"60 KB", 300, 170, coap.Changed},
	} {
		if got := r.do(request(t, coap.POST, "/oic/rd?rt=oic.wk.rdpub", publication(test.links, test.href))); got.Code != test.want {
			t.Errorf("%s: %v %.80s, want %v", test.name, got, got.Payload, test.want)
		}
	}
}
