package cloudlink_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/internal/vector"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
)

// What becomes of every vector of the sheet: which half it is said to, and what
// must come back. The vectors that are answers are said by the scripted half.
var (
	// saidToServer are requests and signals of devices and clients, each with the
	// code of the answer; and with the vector that it must be, byte by byte.
	saidToServer = map[string]struct {
		code  coap.Code
		exact string
	}{
		"S1": {}, "S2": {}, "S3": {}, "S4": {}, "S12": {}, // no answer; a Ping shows that all is well
		"S5": {coap.Pong, "S6"}, "S7": {coap.Pong, "S8"},
		"S9": {}, "S10": {}, "S11": {}, // the end of the connection
		"O1": {coap.Changed, ""}, "O3": {coap.Changed, "O5"}, "O3-lite": {coap.Changed, ""}, "O7": {coap.Changed, ""},
		"O9": {coap.Changed, ""}, "O11": {coap.Deleted, "O12"}, "O18": {coap.Content, ""}, "O21": {coap.Deleted, ""},
		"C1": {coap.Changed, ""}, "C2": {coap.Changed, ""}, "C3": {coap.Content, "C4"}, "C5": {coap.Valid, "C6"},
		"C7": {coap.Content, ""}, "W1": {coap.Unauthorized, ""}, "W2": {},
	}

	// saidToDevice are requests and signals of clouds and clients.
	saidToDevice = map[string]coap.Code{
		"O13": coap.Content, "O14": coap.Content, "O14-cancel": coap.Content, "O16": coap.Changed,
		"O20": coap.Forbidden, // not through a cloud; near by: device.TestOnboardingO20
		"U1":  coap.Changed,
	}

	// answers are those of clouds, which our device must understand, and of
	// devices, which ours must give.
	answers = []string{"S6", "S8", "O2", "O4", "O5", "O6", "O8", "O10", "O12", "O15", "O17", "O19", "C4", "C6"}
)

func TestSheetIsCovered(t *testing.T) {
	ofSheet := regexp.MustCompile(`^[SOCWU]\d`)
	for _, v := range vector.All() {
		_, server := saidToServer[v.Name]
		_, device := saidToDevice[v.Name]
		if ofSheet.MatchString(v.Name) && !server && !device && !slices.Contains(answers, v.Name) {
			t.Errorf("%s is replayed nowhere", v.Name)
		}
	}
}

const device2 = "00000000-cafe-4bad-8000-000000000002"

// second is a vector as a second device says it, with a code and tokens of its
// own, of the same lengths.
func second(wire []byte) []byte {
	for old, new := range map[string]string{device1: device2, "code-1": "code-2", "at-1": "at-2", "rt-1": "rt-2"} {
		wire = bytes.ReplaceAll(wire, []byte(old), []byte(new))
	}
	return wire
}

// sheet is a peer of the server that says vectors, and answers what the server
// asks meanwhile as a switch does that is on.
type sheet struct {
	t    *testing.T
	nc   net.Conn
	as   func(wire []byte) []byte // whose vectors it says
	got  chan []byte              // frames that are no requests, and no CSM; closed at the end
	said map[string]bool
}

func newSheet(t *testing.T, nc net.Conn, said map[string]bool, as func([]byte) []byte) *sheet {
	s := &sheet{t, nc, as, make(chan []byte, 16), said}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer close(s.got)
		s.read()
	}()
	t.Cleanup(func() {
		nc.Close()
		<-ended
	})
	return s
}

func (s *sheet) read() {
	var buf []byte
	for {
		var m coap.Message
		if n, err := m.Parse(coap.TCP, buf, 1<<20); err == nil {
			switch {
			case m.Code == coap.GET:
				s.light(&m)
			case m.Code != coap.CSM:
				s.got <- bytes.Clone(buf[:n])
			}
			buf = bytes.Clone(buf[n:])
			continue
		}
		some := make([]byte, 4096)
		n, err := s.nc.Read(some)
		if err != nil {
			return
		}
		buf = append(buf, some[:n]...)
	}
}

// light answers a GET of the server.
func (s *sheet) light(req *coap.Message) {
	a := &coap.Message{Code: coap.Content, Token: req.Token, Payload: []byte("\xa1\x65value\xf5")}
	if req.Options.Path() == "/oic/res" {
		a.Payload = []byte("\x80") // no batch
	}
	oiccoap.SetFormat(a, oic.OCF)
	s.send(a)
}

func (s *sheet) send(m *coap.Message) {
	b, err := m.Append(coap.TCP, nil)
	if err != nil {
		s.t.Error(err)
	}
	s.nc.Write(b) // where it ends early, an answer is missing
}

// say says vectors, and checks what comes back.
func (s *sheet) say(names ...string) {
	s.t.Helper()
	for _, name := range names {
		s.said[name] = true
		wire := vector.Get(name).Wire
		switch name { // the connection speaks the framing of WebSockets itself
		case "W1":
			wire = vector.Get("O16").Wire
		case "W2":
			wire = vector.Get("S1").Wire
		}
		if _, err := s.nc.Write(s.as(wire)); err != nil {
			s.t.Fatal(err)
		}
		if want := saidToServer[name]; want.code != 0 {
			s.answered(name, want.code, want.exact)
		}
	}
}

func (s *sheet) answered(name string, code coap.Code, exact string) {
	s.t.Helper()
	frame, ok := <-s.got
	if !ok {
		s.t.Fatalf("%s is not answered", name)
	}
	var m coap.Message
	if _, err := m.Parse(coap.TCP, frame, 1<<20); err != nil {
		s.t.Fatal(err)
	}
	if m.Code != code || m.Token != coap.MakeToken(vector.Get(name).Message.Token) {
		s.t.Errorf("%s is answered %v %s", name, &m, m.Payload)
	}
	if exact == "" {
		return
	}
	if want := vector.Get(exact).Wire; !bytes.Equal(frame, want) {
		s.t.Errorf("%s is answered\n%x, want %s\n%x", name, frame, exact, want)
	}
}

// over waits for the end of the connection.
func (s *sheet) over() {
	for range s.got {
		s.nc.Close() // a Release or an Abort: the peer closes
	}
}

// All that devices and clients say is said to one server, by a device of OCF, one
// of IoTivity classic and a client, which are there at the same time.
func TestSheetAtServer(t *testing.T) {
	c := newCloud()
	c.pair("code-2")
	c.person("fut_1")
	addr := serve(t, cloudlink.ServerConfig{Backend: c}, nil)
	said := map[string]bool{}
	dial := func(as func([]byte) []byte) *sheet {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		return newSheet(t, nc, said, as)
	}
	same := func(wire []byte) []byte { return wire }

	ocf, classic, client := dial(same), dial(second), dial(same)
	ocf.say("O1")
	classic.say("S4", "C1", "C2", "C3", "C5")
	ocf.say("S3", "O3", "O9", "S5", "S7", "S12", "S5")

	client.send(request(t, coap.POST, "/oic/sec/session", `{"uid":"u-1","accesstoken":"fut_1","login":true}`))
	<-client.got
	client.say("O18")
	client.as = second
	client.say("C7")

	classic.say("C5")
	ocf.say("O7", "O3-lite", "O11", "O21")
	ocf.over()

	for _, csm := range []string{"S1", "S2"} {
		dial(same).say(csm, "S5")
	}
	for _, end := range []string{"S9", "S10", "S11"} {
		s := dial(same)
		s.say(end)
		s.over()
	}
	two := dial(same) // one Ping and the beginning of a second
	two.say("S1")
	two.nc.Write([]byte("\x01\xe2\x42\x01\xe2"))
	two.answered("S5", coap.Pong, "S6")
	two.nc.Write([]byte("\x42"))
	two.answered("S5", coap.Pong, "S6")

	u, err := coap.ParseURI("coap+ws://" + serveWeb(t, cloudlink.ServerConfig{Backend: c}, nil, ""))
	if err != nil {
		t.Fatal(err)
	}
	nc, err := coap.DialWebSocket(t.Context(), u, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	newSheet(t, nc, said, same).say("W2", "W1")

	for name := range saidToServer {
		if !said[name] {
			t.Errorf("%s was not said", name)
		}
	}
}

// light1 is the resource of which the sheet tells.
type light1 struct{ on bool }

func (l *light1) Link() oic.Link {
	return oic.Link{Href: "/light/1", Types: []string{"oic.r.switch.binary"}, Interfaces: []string{oic.IfWrite, oic.IfBaseline},
		Policy: oic.Policy{Mask: oic.Discoverable | oic.Observable}}
}

func (l *light1) Retrieve(context.Context, string) (any, error) { return lightState{l.on}, nil }

func (l *light1) Update(_ context.Context, _ string, rep []byte) (any, error) {
	var to lightState
	err := oic.Decode(oic.OCF, rep, &to)
	l.on = to.Value
	return nil, err
}

// scripted is a cloud that answers with vectors: those named for a path, the
// last of them again and again.
type scripted struct {
	t       *testing.T
	listens *pipes
	answers map[string][]string // by "POST /oic/rd"

	mu   sync.Mutex // guards what follows
	nc   net.Conn
	used map[string]bool
	said map[string]*coap.Message // by the device, the first of each
	got  chan []byte              // frames of the device that are no requests
}

func (s *scripted) serve() {
	nc, err := s.listens.Accept()
	if err != nil {
		return
	}
	s.mu.Lock()
	s.nc = nc
	s.mu.Unlock()
	defer close(s.got)
	var buf []byte
	for {
		var m coap.Message
		n, err := m.Parse(coap.TCP, buf, 1<<20)
		if err == nil {
			if frame := bytes.Clone(buf[:n]); m.Code.IsRequest() {
				s.answer(&m)
			} else if m.Code != coap.CSM {
				s.got <- frame
			}
			buf = bytes.Clone(buf[n:])
			continue
		}
		some := make([]byte, 4096)
		if n, err = nc.Read(some); err != nil {
			return
		}
		buf = append(buf, some[:n]...)
	}
}

func (s *scripted) answer(req *coap.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	what := req.Code.String() + " " + req.Options.Path()
	names := s.answers[what]
	if len(names) == 0 {
		s.t.Errorf("the device asks %s", what)
		return
	}
	if len(names) > 1 {
		s.answers[what] = names[1:]
	}
	s.used[names[0]] = true
	if s.said[what] == nil {
		s.said[what] = req.Clone()
	}
	var m coap.Message
	if _, err := m.Parse(coap.TCP, vector.Get(names[0]).Wire, 1<<20); err != nil {
		s.t.Error(err)
	}
	m.Token = req.Token
	b, err := m.Append(coap.TCP, nil)
	if err != nil {
		s.t.Error(err)
	}
	s.nc.Write(b)
}

// ask says a vector to the device, and returns the frame that comes back.
func (s *scripted) ask(name string) (frame []byte, m coap.Message) {
	s.t.Helper()
	s.used[name] = true
	if _, err := s.nc.Write(vector.Get(name).Wire); err != nil {
		s.t.Fatal(err)
	}
	frame, ok := <-s.got
	if !ok {
		s.t.Fatalf("%s ends the connection", name)
	}
	if _, err := m.Parse(coap.TCP, frame, 1<<20); err != nil {
		s.t.Fatal(err)
	}
	return frame, m
}

// All that a cloud says is said to a device of ours: it is refused at first (O6),
// refreshes, publishes, and is then asked and let go. What it says itself are O1,
// O3 and O7, byte by byte but for the token, before any CSM has come (rules 23
// and 24).
func TestSheetAtDevice(t *testing.T) {
	s := &scripted{t: t, listens: newPipes(), used: map[string]bool{}, said: map[string]*coap.Message{}, got: make(chan []byte, 16), answers: map[string][]string{
		"POST /oic/sec/account":      {"O2"},
		"POST /oic/sec/session":      {"O6", "O4", "O5"},
		"POST /oic/sec/tokenrefresh": {"O8"},
		"POST /oic/rd":               {"O10"},
		"DELETE /oic/rd":             {"O12"},
		"GET /oic/res":               {"O19"},
	}}
	served := make(chan struct{})
	go func() { defer close(served); s.serve() }()
	host := device.NewHost(device.Config{ID: device1, Log: quiet})
	lamp := &light1{on: true}
	host.Add(lamp)
	host.AddCloudConf(device.CloudConf{})
	link := lamp.Link()
	l, err := cloudlink.Connect(t.Context(), cloudlink.ServerInfo{URI: "coap+tcp://cloud", Handler: host.Remote(), Log: quiet,
		Dial: s.listens.DialContext, KeepAlive: -1})
	if err != nil {
		t.Fatal(err)
	}
	r := cloudlink.Registration{Device: device1, Code: "code-1", Provider: "test", Links: []oic.Link{link}}
	r.Save = func(st cloudlink.State) error { r.State = st; return nil }
	if _, _, err := l.Register(t.Context(), r); status(err) != oic.Unauthorized { // the new token is refused, too
		t.Errorf("sign-up and O6: %v", err)
	}
	st, until, err := l.Register(t.Context(), r)
	if err != nil || st.Grant.Account != "u-1" || st.Published["/light/1"].Instance != 42 || until.IsZero() {
		t.Fatalf("registered as %+v until %v, %v", st, until, err)
	}
	if st.Grant, err = l.Refresh(t.Context(), cloudlink.Refresh{Account: "u-1", Device: device1, Token: st.Grant.Refresh}); err != nil || st.Grant.Access != "at-2" {
		t.Errorf("refresh: %v, %v", st.Grant.Access.Reveal(), err)
	}
	if until, err := l.SignIn(t.Context(), cloudlink.Login{Account: "u-1", Device: device1, Access: st.Grant.Access}); err != nil || !until.IsZero() {
		t.Errorf("O5: until %v, %v", until, err)
	}
	if err := l.Unpublish(t.Context(), device1, []int64{42}); err != nil {
		t.Error(err)
	}
	all, err := l.Discover(t.Context())
	if err != nil || len(all) != 1 || all[0].Device != device1 || all[0].Links[0].Href != "/light/1" {
		t.Errorf("O19: %+v, %v", all, err)
	}
	for what, name := range map[string]string{ // rule 24: content format 10000 and both versions
		"POST /oic/sec/account": "O1", "POST /oic/sec/session": "O3", "POST /oic/sec/tokenrefresh": "O7"} {
		sameBytes(t, s.said[what], name)
	}
	s.asksDevice(t)

	s.nc.Write(vector.Get("S9").Wire)
	<-l.Done()
	if e, ok := errors.AsType[*coap.ReleaseError](l.Err()); !ok || e.HoldOff != 10*time.Second || !slices.Equal(e.Alternatives, []string{"192.0.2.7:5683"}) {
		t.Errorf("S9: %v", l.Err())
	}
	l.Close()
	<-served
}

// asksDevice says what is asked of a device.
func (s *scripted) asksDevice(t *testing.T) {
	s.nc.Write(vector.Get("S1").Wire) // from now on short answers will do
	for _, ping := range [][2]string{{"S5", "S6"}, {"S7", "S8"}} {
		if frame, _ := s.ask(ping[0]); !bytes.Equal(frame, vector.Get(ping[1]).Wire) {
			t.Errorf("%s is answered %x", ping[0], frame)
		}
	}
	s.nc.Write(vector.Get("S12").Wire)
	for _, name := range []string{"O13", "O20"} {
		if _, m := s.ask(name); m.Code != saidToDevice[name] {
			t.Errorf("%s is answered %v %s", name, &m, m.Payload)
		}
	}
	_, first := s.ask("O14")
	doc, _ := oic.ToJSON(oic.OCF, first.Payload)
	if want := `{"rt":["oic.r.switch.binary"],"if":["oic.if.rw","oic.if.baseline"],"value":true}`; string(doc) != want || !first.Options.Has(coap.Observe) {
		t.Errorf("O14 is answered %v %s", &first, doc)
	}
	frame, m := s.ask("O16")
	notified := <-s.got
	if m.Code == coap.Content { // the notification came first
		frame, notified = notified, frame
	}
	if !bytes.Equal(frame, vector.Get("O17").Wire) {
		t.Errorf("O16 is answered %x, want O17", frame)
	}
	sameForm(t, notified, vector.Get("O15"))
	if _, m := s.ask("O14-cancel"); m.Code != coap.Content || m.Options.Has(coap.Observe) {
		t.Errorf("O14-cancel is answered %v", &m)
	}
}

// sameForm compares a notification with a vector: all but the number of the
// notification and what it tells, which is the baseline here.
func sameForm(t *testing.T, frame []byte, v vector.Vector) {
	t.Helper()
	var m coap.Message
	if _, err := m.Parse(coap.TCP, frame, 1<<20); err != nil {
		t.Fatal(err)
	}
	ok := m.Code == coap.Code(v.Message.Code) && m.Token == coap.MakeToken(v.Message.Token) && len(m.Options) == len(v.Message.Options)
	for i, o := range v.Message.Options {
		ok = ok && m.Options[i].Number == coap.Number(o.Number) && (o.Number == 6 || bytes.Equal(m.Options[i].Value, o.Value))
	}
	if !ok || !bytes.Contains(m.Payload, []byte("\x65value\xf4")) {
		t.Errorf("notification %v %x, want the form of %s", &m, m.Payload, v.Name)
	}
}

// U1 is O16 for a device on the local network.
func TestSheetByDatagram(t *testing.T) {
	pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	host := device.NewHost(device.Config{ID: device1, Log: quiet})
	host.Add(&light1{on: true})
	e := coap.NewEndpoint(pc, coap.EndpointConfig{Log: quiet, Accept: func(*coap.Peer) coap.Handler {
		asks := new(oiccoap.Server)
		return coap.HandlerFunc(func(x *coap.Exchange) { asks.Serve(x, host, oic.Identity{}) })
	}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	nc, err := net.Dial("udp", pc.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(time.Minute))
	v := vector.Get("U1")
	nc.Write(v.Wire)
	b := make([]byte, 100)
	n, err := nc.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	var m coap.Message
	if _, err := m.Parse(coap.UDP, b[:n], 1<<10); err != nil || m.Code != saidToDevice["U1"] || m.Type != coap.Acknowledgement || m.ID != v.Message.ID {
		t.Errorf("U1 is answered %x, %v", b[:n], err)
	}
}
