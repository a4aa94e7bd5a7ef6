package cloudlink_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/internal/vector"
	"github.com/farreach/farreach/oic"
)

// A device of IoTivity classic uses other paths, another field for the code,
// content format 60, and looks for the type of the token.
func TestClassicVectors(t *testing.T) {
	r := dialRaw(t, serve(t, cloudlink.ServerConfig{Backend: newCloud()}, nil))
	for _, test := range []struct{ name, want string }{
		{"C1", `{"accesstoken":"at-1","refreshtoken":"rt-1","expiresin":-1,"uid":"u-1","tokentype":"bearer"}`},
		{"C2", `{"expiresin":-1}`},
	} {
		m := r.ask(test.name)
		if f, _ := m.Options.Uint(coap.ContentFormat); m.Code != coap.Changed || f != 60 || m.Options.Has(coap.OCFContentFormatVersion) {
			t.Errorf("%s is answered %v %s", test.name, m, m.Payload)
		}
		if got, err := oic.ToJSON(oic.CBOR, m.Payload); err != nil || string(got) != test.want {
			t.Errorf("%s is answered %s, %v\nwant %s", test.name, got, err, test.want)
		}
	}
}

// The refresh and the sign-out of IoTivity classic: the latter has an empty
// answer, and the connection ends 0.5 s later.
func TestClassicRefreshAndSignOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := newPipes(), newCloud()
		defer serveOn(t, p, cloudlink.ServerConfig{Backend: c, AllowPlain: true, KeepAlive: -1}, nil)()
		nc, err := p.DialContext(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		r := rawOn(t, nc)
		r.ask("C1")
		r.ask("C2")
		m := classic(t, "/oic/account/tokenrefresh", map[string]any{
			"uid": account, "di": device1, "granttype": "refresh_token", "refreshtoken": "rt-1"})
		answer := r.do(m)
		got, err := oic.ToJSON(oic.CBOR, answer.Payload)
		if want := `{"accesstoken":"at-2","refreshtoken":"rt-2","expiresin":-1,"uid":"u-1","tokentype":"bearer"}`; err != nil || string(got) != want {
			t.Errorf("refresh: %s, %v\nwant %s", got, err, want)
		}
		start := time.Now()
		answer = r.do(classic(t, "/oic/account/session", map[string]any{
			"uid": account, "di": device1, "accesstoken": "at-2", "login": false}))
		if answer.Code != coap.Changed || len(answer.Payload) != 0 {
			t.Errorf("sign-out: %v", answer)
		}
		r.closed()
		if d := time.Since(start); d != 500*time.Millisecond {
			t.Errorf("closed after %v, want 0.5 s", d)
		}
	})
}

// classic is a POST in content format 60.
func classic(t testing.TB, path string, doc map[string]any) *coap.Message {
	t.Helper()
	m := request(t, coap.POST, path, "")
	var err error
	if m.Payload, err = oic.Encode(oic.CBOR, doc); err != nil {
		t.Fatal(err)
	}
	m.AddUint(coap.ContentFormat, 60)
	return m
}

// frames is a peer that sees the bytes of each message.
type frames struct {
	t   testing.TB
	nc  net.Conn
	buf []byte
}

// ask writes a vector and returns the frame of the answer; nothing for a CSM,
// which has none.
func (r *frames) ask(name string) []byte {
	r.t.Helper()
	wire := vector.Get(name).Wire
	if _, err := r.nc.Write(wire); err != nil {
		r.t.Fatal(err)
	}
	if name[0] == 'S' {
		return nil
	}
	for {
		var m coap.Message
		n, err := m.Parse(coap.TCP, r.buf, 1<<20)
		if err == nil {
			frame := r.buf[:n:n]
			r.buf = r.buf[n:]
			if m.Code != coap.CSM {
				return frame
			}
			continue
		}
		some := make([]byte, 512)
		n, err = r.nc.Read(some)
		if err != nil {
			r.t.Fatal(err)
		}
		r.buf = append(r.buf, some[:n]...)
	}
}

// The keep-alive of IoTivity classic, byte by byte (cloud-interface 5.9): the
// vectors C3 to C6. An answer of three bytes is for those who sent a CSM; for
// others it is longer (rule 3).
func TestClassicPingVectors(t *testing.T) {
	for _, csm := range []bool{false, true} {
		name := map[bool]string{false: "no CSM", true: "CSM"}[csm]
		t.Run(name, func(t *testing.T) {
			nc, err := net.Dial("tcp", serve(t, cloudlink.ServerConfig{Backend: newCloud()}, nil))
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			r := &frames{t: t, nc: nc}
			if csm {
				r.ask("S4")
			}
			if got, want := r.ask("C3"), vector.Get("C4").Wire; !bytes.Equal(got, want) {
				t.Errorf("C3 is answered\n%x, want\n%x", got, want)
			}
			got, want := r.ask("C5"), vector.Get("C6").Wire
			if csm && !bytes.Equal(got, want) {
				t.Errorf("C5 is answered %x, want %x", got, want)
			}
			var m coap.Message
			if _, err := m.Parse(coap.TCP, got, 1<<10); err != nil || m.Code != coap.Valid || !csm && len(got) < 6 {
				t.Errorf("C5 is answered %x, want a 2.03 of six bytes or more", got)
			}
		})
	}
}

// A device that announced a ping and does not send it is dropped a tenth of
// the time later; one that sent no CSM gets no Pings either (cloud-interface
// 5.9 and section 6: devices of classic 1.x know none).
func TestClassicPingWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := newPipes(), newCloud()
		defer serveOn(t, p, cloudlink.ServerConfig{Backend: c, AllowPlain: true}, nil)()
		nc, err := p.DialContext(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		r := rawOn(t, nc)
		r.ask("C1")
		r.ask("C2")
		r.ask("C5") // in 2 minutes
		for range 3 {
			time.Sleep(2 * time.Minute)
			r.ask("C5")
		}
		last := time.Now()
		time.Sleep(2 * time.Minute)
		r.closed()
		if d := time.Since(last); d != 132*time.Second {
			t.Errorf("dropped after %v, want 2 min and a tenth", d)
		}
	})
}

// What makes no sense as a ping is refused.
func TestClassicPingRefused(t *testing.T) {
	r := dialRaw(t, serve(t, cloudlink.ServerConfig{Backend: newCloud()}, nil))
	for _, in := range []any{0, -1, 1 << 40, 1441, "2", nil} {
		if got := r.do(classic(t, "/oic/ping", map[string]any{"in": in})); got.Code != coap.BadRequest {
			t.Errorf("in %v: %v, want 4.00", in, got)
		}
	}
	if got := r.do(request(t, coap.DELETE, "/oic/ping", "")); got.Code != coap.MethodNotAllowed {
		t.Errorf("DELETE: %v, want 4.05", got)
	}
}

// A device is reached at /oic/route/<di>/<href> too, as vector C7 asks.
func TestClassicRoute(t *testing.T) {
	c := newCloud()
	addr := serve(t, cloudlink.ServerConfig{Backend: c}, nil)
	run(t, cloudlink.Config{Servers: []string{"coap+tcp://" + addr}}).registered(t)
	c.person("fut_1")
	r := dialRaw(t, addr)
	if got := r.do(classic(t, "/oic/account/session", map[string]any{"uid": account, "accesstoken": "fut_1", "login": true})); got.Code != coap.Changed {
		t.Fatalf("sign-in: %v %s", got, got.Payload)
	}
	m := r.ask("C7")
	if got, err := oic.ToJSON(oic.CBOR, m.Payload); m.Code != coap.Content || err != nil || string(got) != `{"value":false}` {
		t.Errorf("C7 is answered %v %s, %v", m, got, err)
	}
	for _, path := range []string{"/oic/route", "/oic/route/" + device1, "/oic/route/oic/route/x", "/oic/routes/" + device1 + "/a/light"} {
		if got := r.do(request(t, coap.GET, path, "")); got.Code != coap.NotFound {
			t.Errorf("%s: %v, want 4.04", path, got)
		}
	}
}

// What the classic cloud says to a request that lacks something, and to one with
// a method that its resource does not have; without a sign-in, and with one.
func TestClassicRefusals(t *testing.T) {
	refused := func(r *raw, code coap.Code, path, doc string, want string) {
		t.Helper()
		if got := r.do(request(t, code, path, doc)); got.Code.String()[:4] != want {
			t.Errorf("%v %s %s: %v %s, want %s", code, path, doc, got.Code, got.Payload, want)
		}
	}
	r := dialRaw(t, serve(t, cloudlink.ServerConfig{Backend: newCloud()}, nil))
	refused(r, coap.POST, "/oic/account", `{"di":"`+device1+`","authprovider":"github"}`, "4.12")
	refused(r, coap.POST, "/oic/account", `{"authcode":"code-1"}`, "4.12")
	refused(r, coap.POST, "/oic/account", "", "4.00")
	refused(r, coap.PUT, "/oic/account", `{"di":"x"}`, "4.00")
	refused(r, coap.POST, "/oic/account/session", `{"uid":"u-1","di":"`+device1+`","login":true}`, "4.12")
	refused(r, coap.GET, "/oic/account/session", "", "4.00")
	refused(r, coap.POST, "/oic/account/tokenrefresh", `{"uid":"u-1","di":"`+device1+`"}`, "4.12")
	refused(r, coap.DELETE, "/oic/account?uid=u-1", "", "4.12")
	refused(r, coap.POST, "/oic/sec/account", `{"di":"`+device1+`"}`, "4.00") // OCF's way
	refused(r, coap.PUT, "/oic/sec/account", `{"di":"x"}`, "4.05")
	r.ask("C1")
	r.ask("C2")
	refused(r, coap.POST, "/oic/rd?rt=oic.wk.rdpub", `{"di":"`+device1+`","n":"x","ttl":0}`, "4.12")
	refused(r, coap.GET, "/oic/res?rt=nothing", "", "4.04")
	refused(r, coap.GET, "/oic/account", "", "4.12")
	refused(r, coap.PUT, "/oic/account/search", `{"di":"x"}`, "4.05")
	refused(dialRaw(t, r.nc.RemoteAddr().String()), coap.GET, "/oic/account?uid=u-1", "", "4.01")
}

// A client that signed in as those of IoTivity classic do finds devices in
// content format 60 and below /oic/route, and users; of these, itself.
func TestClassicClient(t *testing.T) {
	c := newCloud()
	addr := serve(t, cloudlink.ServerConfig{Backend: c}, nil)
	d := run(t, cloudlink.Config{Servers: []string{"coap+tcp://" + addr}, Name: func() string { return "Lamp" }})
	d.registered(t)
	c.person("fut_1")
	r := dialRaw(t, addr)
	r.do(classic(t, "/oic/account/session", map[string]any{"uid": account, "accesstoken": "fut_1", "login": true}))
	const me = `{"ulist":[{"uid":"u-1","uinfo":{"userid":"u-1"}}]}`
	for _, test := range []struct{ href, want string }{
		{"/oic/res", `[{"di":"` + device1 + `","n":"Lamp","ttl":0,"links":[{"href":"/oic/route/` + device1 + `/a/light",` +
			`"rt":["oic.r.switch.binary"],"if":["oic.if.a","oic.if.baseline"],"p":{"bm":3}}]}]`},
		{"/oic/account?uid=u-1", me},
		{"/oic/account?search=userid:u-1", me},
		{"/oic/account/search?search=userid:u-1", me},
		{"/oic/account?search=userid:u-1,userid:other", `{"ulist":[]}`},
		{"/oic/account?search=userid:other;search=userid:u-1", me},
		{"/oic/account?uid=other", `{"ulist":[]}`},
	} {
		m := r.do(request(t, coap.GET, test.href, ""))
		f, _ := m.Options.Uint(coap.ContentFormat)
		if got, err := oic.ToJSON(oic.CBOR, m.Payload); m.Code != coap.Content || f != 60 || err != nil || string(got) != test.want {
			t.Errorf("%s: %v\n got %d %s, %v\nwant %s", test.href, m, f, got, err, test.want)
		}
	}
	d.stop()
	for {
		if got := r.do(request(t, coap.GET, "/oic/route/"+device1+"/a/light", "")); got.Code == coap.NotFound {
			break // once the server has noticed
		}
	}
}

// Through /oic/route the links that a device lists have hrefs that lead there.
func TestClassicRouteLinks(t *testing.T) {
	c := newCloud()
	addr := serve(t, cloudlink.ServerConfig{Backend: c}, nil)
	h := device.NewHost(device.Config{ID: device1, Log: quiet})
	run(t, cloudlink.Config{Servers: []string{"coap+tcp://" + addr}, Handler: h}).registered(t)
	c.person("fut_1")
	l, err := cloudlink.Connect(t.Context(), cloudlink.ServerInfo{URI: "coap+tcp://" + addr, Dialect: cloudlink.Classic, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := l.SignIn(t.Context(), cloudlink.Login{Account: account, Access: "fut_1"}); err != nil {
		t.Fatal(err)
	}
	resp, err := l.Device(device1).Handle(t.Context(), &oic.Request{Href: "/oic/res?if=oic.if.ll&rt=oic.wk.p"})
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"href":"/oic/route/` + device1 + `/oic/p","rt":["oic.wk.p"],"if":["oic.if.r","oic.if.baseline"],"anchor":"ocf://` + device1 + `","p":{"bm":1}}]`
	if got, err := oic.ToJSON(resp.Format, resp.Body); err != nil || string(got) != want {
		t.Errorf("links %s, %v\nwant %s", got, err, want)
	}
	if all, err := l.Discover(t.Context()); err != nil || len(all) != 1 || all[0].Links[0].Href != "/a/light" {
		t.Errorf("Discover = %v, %v", all, err)
	}
}

// A device of IoTivity classic is asked in content format 60 and without the
// options of OCF: by the server that observes it, and on behalf of people who ask
// in the way of OCF. One without CSM gets no Pings and is not dropped.
func TestClassicDeviceIsAskedInFormat60(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := newPipes(), newCloud()
		defer serveOn(t, p, cloudlink.ServerConfig{Backend: c, AllowPlain: true}, nil)()
		nc, err := p.DialContext(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		r := rawOn(t, nc)
		r.ask("C1")
		r.ask("C2")
		plain := func(m *coap.Message) {
			t.Helper()
			accept, _ := m.Options.Uint(coap.Accept)
			f, named := m.Options.Uint(coap.ContentFormat)
			if accept != 60 || named && f != 60 || m.Options.Has(coap.OCFAcceptVersion) || m.Options.Has(coap.OCFContentFormatVersion) {
				t.Errorf("it is asked %v", m)
			}
		}
		publish := classic(t, "/oic/rd", map[string]any{"di": device1, "n": "Lamp", "ttl": 0, "links": []any{
			map[string]any{"href": "/a", "rt": []string{"x"}, "if": []string{"oic.if.a"}, "ins": 0, "p": map[string]any{"bm": 3}},
			map[string]any{"href": "/b", "rt": []string{"x"}, "if": []string{"oic.if.a"}, "ins": 0, "p": map[string]any{"bm": 3}}}})
		publish.AddString(coap.URIQuery, "rt=oic.wk.rdpub")
		r.do(publish)
		for range 2 { // observations of each, and no question for a batch
			m, err := r.next()
			if err != nil || !m.Options.Has(coap.Observe) {
				t.Fatalf("it is asked %v, %v", m, err)
			}
			plain(m)
			m.Code, m.Options, m.Payload = coap.Content, nil, []byte("\xa0")
			m.AddUint(coap.Observe, 2)
			m.AddUint(coap.ContentFormat, 60)
			b, _ := m.Append(coap.TCP, nil)
			r.write(b)
		}
		time.Sleep(time.Hour)
		go func() {
			c.mu.Lock()
			s := c.devices[device1].session
			c.mu.Unlock()
			s.Handle(context.Background(), &oic.Request{Op: oic.Update, Href: "/a", Format: oic.OCF, Accept: oic.OCF, Body: []byte("\xa0")})
		}()
		m, err := r.next()
		if err != nil || m.Code != coap.POST {
			t.Fatalf("after an hour: %v, %v", m, err)
		}
		plain(m)
		m.Code, m.Options, m.Payload = coap.Changed, nil, nil
		b, _ := m.Append(coap.TCP, nil)
		r.write(b)
		synctest.Wait()
	})
}

// The time is told to devices that have not signed in, as they need it to begin.
func TestTime(t *testing.T) {
	r := dialRaw(t, serve(t, cloudlink.ServerConfig{Backend: newCloud()}, nil))
	m := request(t, coap.GET, "/x.plgd.dev/time", "")
	m.AddUint(coap.Accept, 10000)
	at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(fields(t, r.do(m))["time"]))
	if d := time.Since(at); err != nil || d < 0 || d > time.Minute {
		t.Errorf("the time is %v, %v", at, err)
	}
	if got := r.do(request(t, coap.POST, "/x.plgd.dev/time", `{}`)); got.Code != coap.MethodNotAllowed {
		t.Errorf("POST: %v", got.Code)
	}
	if got := r.ask("O1"); got.Code != coap.Changed {
		t.Errorf("sign-up afterwards: %v", got.Code)
	}
}
