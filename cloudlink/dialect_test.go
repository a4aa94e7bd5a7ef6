package cloudlink_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/vector"
	"github.com/farreach/farreach/oic"
)

// java is a cloud of IoTivity classic, as cloud-interface section 5 tells of it:
// its answers are in content format 60, it keeps silent on Pings, and sends a CSM
// only to those who sent one, if at all.
type java struct {
	t        *testing.T
	listener *pipes
	age      string // "2019": knows /oic/sec/account; "2017": 4.01 to it; "2016": and no CSM
	refuse   coap.Code

	mu     sync.Mutex
	asked  []string                 // "POST /oic/account 60 {…}"
	wire   map[string]*coap.Message // by the same, but for the body
	quiet  bool                     // it does not answer pings
	peer   net.Conn                 // the latest connection
	hear   chan *coap.Message       // answers to what it asked
	served sync.WaitGroup
}

func newJava(t *testing.T, age string) *java {
	j := &java{t: t, listener: newPipes(), age: age, wire: map[string]*coap.Message{}, hear: make(chan *coap.Message, 16)}
	j.served.Go(func() {
		for {
			nc, err := j.listener.Accept()
			if err != nil {
				return
			}
			j.mu.Lock()
			j.peer = nc
			j.mu.Unlock()
			j.served.Go(func() { j.serve(nc) })
		}
	})
	return j
}

func (j *java) stop() {
	j.listener.Close()
	j.served.Wait()
}

func (j *java) serve(nc net.Conn) {
	defer nc.Close()
	var buf []byte
	for {
		var m coap.Message
		n, err := m.Parse(coap.TCP, buf, 1<<20)
		if err == nil {
			buf = bytes.Clone(buf[n:])
			if a := j.answer(m.Clone()); a != nil {
				j.send(nc, a)
			}
			continue
		}
		some := make([]byte, 4096)
		if n, err = nc.Read(some); err != nil {
			return
		}
		buf = append(buf, some[:n]...)
	}
}

func (j *java) send(nc net.Conn, m *coap.Message) {
	b, err := m.Append(coap.TCP, nil)
	if err != nil {
		j.t.Error(err)
	}
	nc.Write(b) // a device that has gone is no failure
}

// answer is what the cloud says to m; nil: nothing.
func (j *java) answer(m *coap.Message) *coap.Message {
	switch {
	case m.Code == coap.CSM && j.age != "2016":
		csm := &coap.Message{Code: coap.CSM, Token: coap.TokenFrom(7)}
		csm.AddUint(coap.CSMMaxMessageSize, 1<<32-1)
		return csm
	case m.Code.IsSignal():
		return nil
	case !m.Code.IsRequest():
		j.hear <- m
		return nil
	}
	doc, _ := oic.ToJSON(oic.CBOR, m.Payload)
	f, _ := m.Options.Uint(coap.ContentFormat)
	what := strings.TrimRight(fmt.Sprintf("%v %s", m.Code, href(m)), " ")
	j.mu.Lock()
	j.wire[what] = m
	j.asked = append(j.asked, strings.TrimRight(fmt.Sprintf("%s %d %s", what, f, doc), " "))
	silent := j.quiet && m.Options.Path() == "/oic/ping"
	j.mu.Unlock()
	if silent {
		return nil
	}
	code, body := j.say(m)
	a := &coap.Message{Code: code, Token: m.Token}
	if body != "" {
		var err error
		if a.Payload, err = oic.FromJSON(oic.CBOR, []byte(body)); err != nil {
			j.t.Error(err)
		}
		a.AddUint(coap.ContentFormat, 60)
	}
	a.AddUint(2049, 2048) // it adds these to whatever it sends
	a.AddUint(2053, 2048)
	return a
}

func (j *java) say(m *coap.Message) (coap.Code, string) {
	const tokens = `"accesstoken":"at-1","refreshtoken":"rt-1","tokentype":"bearer","expiresin":-1`
	switch m.Options.Path() {
	case "/oic/sec/account":
		if j.age == "2019" {
			return coap.Code(oic.PreconditionFailed), ""
		}
		return coap.Unauthorized, ""
	case "/oic/account":
		if m.Code == coap.DELETE {
			return coap.Deleted, ""
		}
		if j.refuse != 0 {
			return j.refuse, ""
		}
		return coap.Changed, `{` + tokens + `,"uid":"u-1","redirecturi":"coap+tcp://127.0.0.1:5683","certificate":"","sid":"x"}`
	case "/oic/account/session":
		return coap.Changed, `{"expiresin":-1}`
	case "/oic/account/tokenrefresh":
		return coap.Changed, `{` + tokens + `}`
	case "/oic/rd":
		if m.Code == coap.DELETE {
			return coap.Deleted, ""
		}
		return coap.Changed, `{"di":"` + device1 + `","links":[{"href":"/a/light","rt":["x"],"if":["y"],"ins":7,"p":{"bm":3}}]}`
	case "/oic/ping":
		if m.Code == coap.GET {
			return coap.Content, `{"inarray":[4,2,8]}`
		}
		return coap.Valid, ""
	}
	return coap.InternalServerError, ""
}

func href(m *coap.Message) string {
	path := m.Options.Path()
	if q := string(m.Options.AppendQuery(nil)); q != "" {
		path += "?" + q
	}
	return path
}

func (j *java) heard() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.asked)
}

// heardAs is the message that said what, latest.
func (j *java) heardAs(what string) *coap.Message {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.wire[what].Clone()
}

const (
	javaSignUp  = `POST /oic/account 60 {"di":"` + device1 + `","authprovider":"github","authcode":"code-1"}`
	javaSignIn  = `POST /oic/account/session 60 {"uid":"u-1","di":"` + device1 + `","accesstoken":"at-1","login":true}`
	javaSignOut = `POST /oic/account/session 60 {"uid":"u-1","di":"` + device1 + `","accesstoken":"at-1","login":false}`
	javaPublish = `POST /oic/rd?rt=oic.wk.rdpub 60 {"di":"` + device1 + `","n":"","ttl":0,"links":[{"href":"/a/light",` +
		`"rt":["oic.r.switch.binary"],"if":["oic.if.a","oic.if.baseline"],"ins":0,"p":{"bm":3}}]}`
	ocfSignUp = `POST /oic/sec/account 10000 {"di":"` + device1 + `","authprovider":"github","accesstoken":"code-1","devicetype":"device"}`
)

// A device in the classic dialect says to the Java cloud what vectors C1, C2, C3
// and C5 say, byte by byte but for the tokens, which are of 8 bytes, and does
// without its CSM and its Pongs (rules 25, 26 and 28).
func TestClassicDevice(t *testing.T) {
	for _, age := range []string{"2016", "2019"} {
		t.Run(age, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := newJava(t, age)
				defer j.stop()
				d := run(t, cloudlink.Config{Servers: []string{"coap+tcp://java"}, Dialect: cloudlink.Classic, Provider: "github",
					Dial: j.listener.DialContext})
				if s := d.registered(t); s.Account != "u-1" || s.Server != "coap+tcp://java" {
					t.Errorf("status %+v", s)
				}
				synctest.Wait()
				want := []string{javaSignUp, javaSignIn, javaPublish, "GET /oic/ping 0", `POST /oic/ping 60 {"in":2}`}
				if got := j.heard(); !slices.Equal(got, want) {
					t.Errorf("asked\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
				for what, name := range map[string]string{
					"POST /oic/account": "C1", "POST /oic/account/session": "C2", "GET /oic/ping": "C3", "POST /oic/ping": "C5"} {
					sameBytes(t, j.heardAs(what), name)
				}
				time.Sleep(time.Hour + time.Second) // pings, and nothing else
				if n := len(j.heard()) - len(want); n != 30 {
					t.Errorf("%d pings in an hour, want 30", n)
				}
				d.stop()
				if got := j.heard(); got[len(got)-1] != javaSignOut {
					t.Errorf("at the end it says %s", got[len(got)-1])
				}
			})
		})
	}
}

// sameBytes compares a message with a vector, but for the token.
func sameBytes(t *testing.T, m *coap.Message, name string) {
	t.Helper()
	v := vector.Get(name)
	if m.Token.Len() != 8 {
		t.Errorf("%s: a token of %d bytes (rule 3)", name, m.Token.Len())
	}
	m.Token = coap.MakeToken(v.Message.Token)
	if got, err := m.Append(coap.TCP, nil); err != nil || !bytes.Equal(got, v.Wire) {
		t.Errorf("%s: said\n%x, %v\nwant\n%x", name, got, err, v.Wire)
	}
}

// What the Java cloud asks of the device is answered in content format 60, also
// where it names none: vectors O14 and O16 without the options of OCF, and C7's
// way through it.
func TestClassicDeviceIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJava(t, "2019")
		defer j.stop()
		d := run(t, cloudlink.Config{Servers: []string{"coap+tcp://java"}, Dialect: cloudlink.Classic, Dial: j.listener.DialContext})
		d.registered(t)
		get := request(t, coap.GET, "/a/light", "")
		get.AddUint(2049, 2048)
		observe := request(t, coap.GET, "/a/light", "")
		observe.Token = coap.TokenFrom(78)
		observe.AddUint(coap.Observe, 0)
		post := request(t, coap.POST, "/a/light", "")
		post.Payload = []byte("\xa1\x65value\xf5")
		post.AddUint(coap.ContentFormat, 60)
		for _, test := range []struct {
			ask  *coap.Message
			want string
		}{
			{get, `2.05 60 {"value":false}`},
			{observe, `2.05 60 {"value":false}`},
			{post, `2.04 0 `},
		} {
			j.send(j.peer, test.ask)
			m := <-j.hear
			if m.Token != test.ask.Token { // a notification may come first
				m = <-j.hear
			}
			f, _ := m.Options.Uint(coap.ContentFormat)
			doc, _ := oic.ToJSON(oic.CBOR, m.Payload)
			if got := fmt.Sprintf("%.4s %d %s", m.Code.String(), f, doc); got != test.want {
				t.Errorf("%v %s: %s, want %s", test.ask.Code, href(test.ask), got, test.want)
			}
		}
		d.stop()
	})
}

// A cloud that does not answer a ping has gone.
func TestClassicPingUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJava(t, "2016")
		defer j.stop()
		d := run(t, cloudlink.Config{Servers: []string{"coap+tcp://java"}, Dialect: cloudlink.Classic, Dial: j.listener.DialContext})
		d.registered(t)
		time.Sleep(time.Minute)
		j.mu.Lock()
		j.quiet = true
		j.mu.Unlock()
		start := time.Now()
		s := <-d.changes
		if after := time.Since(start); s.Registered || after != 70*time.Second || !strings.Contains(fmt.Sprint(s.Err), "/oic/ping") {
			t.Errorf("after %v: %+v; want the link lost 10 s after the next ping", after, s)
		}
		j.mu.Lock()
		j.quiet = false
		j.mu.Unlock()
		d.registered(t) // again
		d.stop()
	})
}

// Which dialect a cloud speaks shows at the sign-up, and is remembered. A code
// that a cloud of OCF refuses is not tried twice.
func TestDialectFound(t *testing.T) {
	for _, age := range []string{"2016", "2017", "2019"} {
		t.Run(age, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := newJava(t, age)
				defer j.stop()
				cfg := cloudlink.Config{Servers: []string{"coap+tcp://java"}, Provider: "github", Dial: j.listener.DialContext,
					State: cloudlink.FileState(filepath.Join(t.TempDir(), "state.json"))}
				d := run(t, cfg)
				d.registered(t)
				synctest.Wait()
				want := []string{ocfSignUp, javaSignUp, javaSignIn}
				if got := j.heard(); !slices.Equal(got[:3], want) {
					t.Errorf("asked\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
				d.stop()
				before := len(j.heard())
				d = run(t, cfg)
				d.registered(t)
				if got := j.heard()[before]; got != javaSignIn {
					t.Errorf("at the next start it says %s", got)
				}
				d.stop()
			})
		})
	}
	for _, refused := range []coap.Code{coap.Unauthorized, coap.Code(oic.PreconditionFailed)} {
		t.Run(fmt.Sprintf("refused with %v", refused), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := newJava(t, "2019")
				j.refuse = refused
				defer j.stop()
				d := run(t, cloudlink.Config{Servers: []string{"coap+tcp://java"}, Provider: "github", Dial: j.listener.DialContext})
				s := <-d.changes
				if got := j.heard(); !slices.Equal(got, []string{ocfSignUp, javaSignUp}) || status(s.Err) != oic.PreconditionFailed {
					t.Errorf("asked\n%s\n%+v, want the first refusal", strings.Join(got, "\n"), s)
				}
				d.stop()
			})
		})
	}
	t.Run("wrong code", func(t *testing.T) {
		c := &counting{cloud: newCloud()}
		uri := "coap+tcp://" + serve(t, cloudlink.ServerConfig{Backend: c}, nil)
		d := run(t, cloudlink.Config{Servers: []string{uri}, Device: device1, Code: "wrong"})
		if s := <-d.changes; status(s.Err) != oic.Unauthorized || c.signUps != 1 {
			t.Errorf("%d sign-ups, %+v", c.signUps, s)
		}
		d.stop()
	})
}

// counting counts the sign-ups.
type counting struct {
	*cloud
	signUps int
}

func (c *counting) SignUp(ctx context.Context, s cloudlink.SignUp) (cloudlink.Grant, error) {
	c.signUps++
	return c.cloud.SignUp(ctx, s)
}

// A device in the classic dialect is served by our own server as one of OCF is.
func TestClassicDeviceThroughOurCloud(t *testing.T) {
	c := newCloud()
	uri := "coap+tcp://" + serve(t, cloudlink.ServerConfig{Backend: c}, nil)
	d := run(t, cloudlink.Config{Servers: []string{uri}, Dialect: cloudlink.Classic, Name: func() string { return "Lamp" }})
	d.registered(t)
	commandAndWatch(t, c, person(t, c, cloudlink.ServerInfo{URI: uri}))
	d.stop()
}

// A device in either dialect refreshes its tokens, signs off, and is let go.
func TestClassicSignOff(t *testing.T) {
	c := newCloud()
	uri := "coap+tcp://" + serve(t, cloudlink.ServerConfig{Backend: c}, nil)
	for _, dialect := range []cloudlink.Dialect{cloudlink.OCF, cloudlink.Classic} {
		c.reset()
		l, err := cloudlink.Connect(t.Context(), cloudlink.ServerInfo{URI: uri, Dialect: dialect, Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		st, _, err := l.Register(t.Context(), cloudlink.Registration{Device: device1, Code: "code-1", Links: lampLinks()})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Refresh(t.Context(), cloudlink.Refresh{Account: st.Grant.Account, Device: device1, Token: st.Grant.Refresh}); err != nil {
			t.Errorf("%q: refresh: %v", dialect, err)
		}
		if err := l.Unpublish(t.Context(), device1, []int64{42}); err != nil {
			t.Errorf("%q: unpublish: %v", dialect, err)
		}
		if err := l.SignOff(t.Context()); err != nil {
			t.Errorf("%q: sign-off: %v", dialect, err)
		}
		if len(c.devices) != 0 {
			t.Errorf("%q: the device is still there", dialect)
		}
		<-l.Done()
		l.Close()
	}
}
