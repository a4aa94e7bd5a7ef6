package sasl

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/farreach/farreach/internal/secret"
)

// exchange is one of testdata/scram.txt.
type exchange struct {
	m              Mechanism
	user, password string
	first          string
	challenge      string
	final, success string
}

func exchanges(t testing.TB) (all []exchange) {
	t.Helper()
	b, err := os.ReadFile("testdata/scram.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range strings.Split(strings.TrimSpace(string(b)), "\n\n")[1:] {
		lines := strings.Split(block, "\n")
		who := strings.Fields(lines[0])
		all = append(all, exchange{Mechanism(who[0]), who[1], who[2], lines[1], lines[2], lines[3], lines[4]})
	}
	return all
}

func (e exchange) verifier(t testing.TB) Verifier {
	t.Helper()
	m, err := parseServerFirst(e.challenge)
	if err != nil {
		t.Fatal(err)
	}
	v, err := Derive(e.m, secret.String(e.password), m.salt, m.iterations)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// client returns a Client that has sent the first message of the example.
func (e exchange) client(t testing.TB, k *Keys) *Client {
	t.Helper()
	l := &Login{User: e.user, Password: secret.String(e.password), Keys: k}
	c, err := l.Client([]Mechanism{e.m}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.First()
	c.bare = strings.TrimPrefix(e.first, c.header)
	_, c.nonce, _ = strings.Cut(c.bare, "r=")
	return c
}

// server returns a Server that has sent the challenge of the example.
func (e exchange) server(t testing.TB) *Server {
	t.Helper()
	v := e.verifier(t)
	o := &Offer{Verifier: func(context.Context, Mechanism, string) (Verifier, error) { return v, nil }}
	s, err := o.Start(e.m)
	if err != nil {
		t.Fatal(err)
	}
	if _, done, err := s.Step(t.Context(), []byte(e.first)); done || err != nil {
		t.Fatalf("Step = %v, %v", done, err)
	}
	m, _ := parseServerFirst(e.challenge)
	s.nonce = m.nonce
	s.signed = strings.TrimPrefix(e.first, "n,,") + "," + e.challenge
	return s
}

// TestExamplesOfTheRFCs runs both halves through RFC 5802, section 5, and RFC
// 7677, section 3, byte for byte.
func TestExamplesOfTheRFCs(t *testing.T) {
	var k Keys
	for _, e := range exchanges(t) {
		for range 2 { // the second time from memory
			c := e.client(t, &k)
			if final, err := c.Step([]byte(e.challenge)); string(final) != e.final || err != nil {
				t.Errorf("%s: client says %q, %v; want %q", e.m, final, err, e.final)
			}
			if err := c.Success([]byte(e.success)); err != nil {
				t.Errorf("%s: client: %v", e.m, err)
			}
		}
		s := e.server(t)
		if success, done, err := s.Step(t.Context(), []byte(e.final)); string(success) != e.success || !done || err != nil {
			t.Errorf("%s: server says %q, %v, %v; want %q", e.m, success, done, err, e.success)
		}
		if s.User() != e.user {
			t.Errorf("%s: User = %q", e.m, s.User())
		}
	}
}

// accounts is where the tests' servers look names up.
func accounts(password secret.String) *Offer {
	return &Offer{
		Verifier: func(_ context.Context, m Mechanism, name string) (Verifier, error) {
			switch name {
			case "ann", "a=n,n":
				return Derive(m, password, []byte("0123456789abcdef"), MinIterations)
			case "down":
				return Verifier{}, errors.New("the store is away")
			}
			return Fake([]byte("key"), m, name, MinIterations), nil
		},
		Authorize: func(name, authzid string) bool { return authzid == name+"@home.example" },
	}
}

var bothTypes = []string{TLSServerEndPoint, TLSExporter}

var someBindings = []Binding{{TLSExporter, []byte("exported")}, {TLSServerEndPoint, []byte("hash")}}

// run lets a client log in at a server and returns the error of each.
func run(t *testing.T, l *Login, o *Offer, bindings []Binding, types []string) (s *Server, client, server error) {
	t.Helper()
	c, err := l.Client(o.Mechanisms(), bindings, types)
	if err != nil {
		return nil, err, nil
	}
	s, err = o.Start(c.Mechanism())
	if err != nil {
		return nil, nil, err
	}
	answer, done, err := s.Step(t.Context(), c.First())
	if err != nil {
		return s, nil, err
	}
	final, err := c.Step(answer)
	if err != nil || done {
		return s, err, nil
	}
	answer, done, err = s.Step(t.Context(), final)
	if err != nil {
		return s, nil, err
	}
	if !done {
		t.Fatal("the server wants more")
	}
	return s, c.Success(answer), nil
}

func TestStrongestFirst(t *testing.T) {
	all := []Mechanism{Plain, "X-OAUTH2", ScramSHA1, ScramSHA256, ScramSHA1Plus, ScramSHA256Plus}
	for _, c := range []struct {
		name     string
		offered  []Mechanism
		bindings []Binding
		types    []string
		login    Login
		want     Mechanism // "": ErrTooWeak
		header   string
	}{
		{"all", all, someBindings, bothTypes, Login{}, ScramSHA256Plus, "p=tls-exporter,,"},
		{"a type that the server takes (XEP-0440)", all, someBindings, []string{"tls-unique", TLSServerEndPoint}, Login{}, ScramSHA256Plus, "p=tls-server-end-point,,"},
		{"no type in common", all, someBindings, []string{"tls-unique"}, Login{}, ScramSHA256, "n,,"},
		{"-PLUS of a type that the server does not name", all, someBindings, nil, Login{}, ScramSHA256, "n,,"},
		{"cannot bind", all, nil, nil, Login{}, ScramSHA256, "n,,"},
		{"only SHA-1 is bound", []Mechanism{ScramSHA256, ScramSHA1, ScramSHA1Plus}, someBindings, bothTypes, Login{}, ScramSHA1Plus, "p=tls-exporter,,"},
		{"no -PLUS seen", []Mechanism{ScramSHA1, ScramSHA256}, someBindings, nil, Login{}, ScramSHA256, "y,,"},
		{"SHA-1 is the least (RA-062)", []Mechanism{Plain, ScramSHA1}, nil, nil, Login{}, ScramSHA1, "n,,"},
		{"PLAIN only (RA-062)", []Mechanism{Plain, "DIGEST-MD5", "ANONYMOUS", "EXTERNAL", "X-OAUTH2"}, nil, nil, Login{}, "", ""},
		{"PLAIN where the owner asked for it", []Mechanism{Plain, "DIGEST-MD5"}, nil, nil, Login{AllowPlain: true}, Plain, "n,,"},
		{"PLAIN is the last choice", all, nil, nil, Login{AllowPlain: true}, ScramSHA256, "n,,"},
		{"less than before", []Mechanism{ScramSHA1, ScramSHA256}, someBindings, nil, Login{Least: ScramSHA256Plus}, "", ""},
		{"less than before, PLAIN", []Mechanism{Plain}, nil, nil, Login{Least: ScramSHA1, AllowPlain: true}, "", ""},
		{"nothing", nil, nil, nil, Login{}, "", ""},
	} {
		got, err := c.login.Client(c.offered, c.bindings, c.types)
		if c.want == "" {
			if !errors.Is(err, ErrTooWeak) {
				t.Errorf("%s: %v, want ErrTooWeak", c.name, err)
			}
			continue
		}
		if err != nil || got.Mechanism() != c.want || got.header != c.header {
			t.Errorf("%s: %+v, %v; want %s and %s", c.name, got, err, c.want, c.header)
		}
	}
}

func TestBothHalves(t *testing.T) {
	for _, c := range []struct {
		name                   string
		user                   string
		client, server         []Binding
		types                  []string
		least                  Mechanism
		password               secret.String
		wantClient, wantServer bool // whether each fails
	}{
		{name: "no binding"},
		{name: "tls-exporter", client: someBindings, server: someBindings, least: ScramSHA256Plus},
		{name: "tls-server-end-point", client: someBindings, server: someBindings, types: []string{TLSServerEndPoint}, least: ScramSHA256Plus},
		{name: "the client cannot bind", server: someBindings},
		{name: "the server does not say how", client: someBindings, server: someBindings, types: []string{}},
		{name: "the server cannot bind", client: someBindings},
		{name: "a name to be escaped", user: "a=n,n"},
		{name: "another channel", client: []Binding{{TLSExporter, []byte("theirs")}}, server: someBindings, wantServer: true},
		{name: "wrong password", password: "mars", wantServer: true},
		{name: "unknown account", user: "eve", wantServer: true},
		{name: "the store is away", user: "down", wantServer: true},
		{name: "forbidden characters", password: "\x07", wantClient: true},
	} {
		o := accounts("venus")
		o.Bindings = c.server
		if c.types == nil && c.server != nil {
			c.types = bothTypes
		}
		l := &Login{User: "ann", Password: "venus", Least: c.least}
		if c.user != "" {
			l.User = c.user
		}
		if c.password != "" {
			l.Password = c.password
		}
		s, client, server := run(t, l, o, c.client, c.types)
		if (client != nil) != c.wantClient || (server != nil) != c.wantServer {
			t.Errorf("%s: client %v, server %v", c.name, client, server)
		}
		if good := client == nil && server == nil; good != (s.User() == l.User) {
			t.Errorf("%s: User = %q", c.name, s.User())
		}
	}
}

// TestUnknownAccount: one without an account gets the same salt each time, the
// same iterations, and the same error as a wrong password.
func TestUnknownAccount(t *testing.T) {
	o := accounts("venus")
	challenge := func(name string) (salt, iterations string, failure error) {
		s, _ := o.Start(ScramSHA256)
		b, _, err := s.Step(t.Context(), []byte("n,,n="+name+",r=abcdefgh"))
		if err != nil {
			t.Fatal(err)
		}
		f := strings.Split(string(b), ",")
		_, _, failure = s.Step(t.Context(), []byte("c=biws,"+f[0]+",p="+encode64(make([]byte, 32))))
		return f[1], f[2], failure
	}
	salt1, n, err1 := challenge("eve")
	salt2, _, _ := challenge("eve")
	other, _, _ := challenge("eva")
	_, known, err2 := challenge("ann")
	if salt1 != salt2 || salt1 == other || n != known {
		t.Errorf("salts %q, %q and %q, iterations %q and %q", salt1, salt2, other, n, known)
	}
	if err1 == nil || err1.Error() != err2.Error() {
		t.Errorf("unknown: %v, wrong password: %v", err1, err2)
	}
}

func TestEncode(t *testing.T) {
	for text, want := range map[string]string{"": "<nil>", "=": "[]", "biws": "[110 44 44]"} {
		b, err := Decode(text)
		if got := format(b); got != want || err != nil {
			t.Errorf("Decode(%q) = %s, %v; want %s", text, got, err, want)
		}
		if text != "" && Encode(b) != text {
			t.Errorf("Encode(%v) = %q, want %q", b, Encode(b), text)
		}
	}
	for _, bad := range []string{"biw", "biw=s", "bi\nws", "biws\r\n", "bix=", "====", " biws", strings.Repeat("A", 11000)} {
		if b, err := Decode(bad); err == nil {
			t.Errorf("Decode(%q) = %q, want an error", bad, b)
		}
	}
}

// each password of an account opens it after the same challenge, the
// proof tells which it was, and none that is not among them does.
func TestOthers(t *testing.T) {
	passwords := []secret.String{"the account's own", "of the lamp", "of the door", "of nobody"}
	o := &Offer{Verifier: func(_ context.Context, m Mechanism, _ string) (all Verifier, err error) {
		for i, p := range passwords[:3] {
			v, err := Derive(m, p, []byte("0123456789abcdef"), MinIterations)
			if err != nil {
				return v, err
			}
			if i == 0 {
				all = v
			} else {
				all.Others = append(all.Others, Pair{v.StoredKey, v.ServerKey})
			}
		}
		return all, nil
	}}
	for i, p := range passwords {
		s, client, server := run(t, &Login{User: "ann", Password: p}, o, nil, nil)
		if i < 3 && (client != nil || server != nil || s.Which() != i || s.User() != "ann") {
			t.Errorf("%d: %v, %v, it was %d of %q", i, client, server, s.Which(), s.User())
		} else if i == 3 && (condition(server) != NotAuthorized || s.User() != "") {
			t.Errorf("the wrong password: %v, %v", client, server)
		}
	}
}

// What is made without crypto/hmac is the same.
func TestMAC(t *testing.T) {
	for _, m := range []Mechanism{ScramSHA256, ScramSHA1} {
		mac := newMAC(m.hash(), "a text")
		for n := range 65 {
			key := bytes.Repeat([]byte{byte(n), 1}, n)[:n]
			if got, want := mac.of(key), hmacOf(m.hash(), key, "a text"); !bytes.Equal(got, want) {
				t.Fatalf("%s, key of %d bytes: %x, want %x", m, n, got, want)
			}
			if got, want := mac.sum(key), m.sum(key); !bytes.Equal(got, want) {
				t.Fatalf("%s: %x, want %x", m, got, want)
			}
		}
	}
}

// BenchmarkProve is what an account with as many passwords as may be costs at
// each log-in.
func BenchmarkProve(b *testing.B) {
	v := Fake([]byte("key"), ScramSHA256, "ann", MinIterations)
	for range 64 {
		v.Others = append(v.Others, Pair{v.StoredKey, v.ServerKey})
	}
	signed, proof := strings.Repeat("x", 200), make([]byte, 32)
	b.ReportAllocs()
	for b.Loop() {
		if v.prove(ScramSHA256, signed, proof) >= 0 {
			b.Fatal("a proof of nothing")
		}
	}
}
