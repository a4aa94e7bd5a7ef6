package sasl

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/internal/localca"
)

func format(b []byte) string {
	if b == nil {
		return "<nil>"
	}
	return fmt.Sprint(b)
}

func condition(err error) string {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f.Condition
	}
	return ""
}

// TestBad14Authzid: whoever knows a password does not become somebody else by
// it; naming oneself is fine.
func TestBad14Authzid(t *testing.T) {
	for authzid, want := range map[string]string{
		"":                                  "",
		"a=ann@home.example":                "",
		"a=bob@home.example":                InvalidAuthzid,
		"a=ann@home.example/OIC":            InvalidAuthzid,
		"a=ann":                             InvalidAuthzid,
		"a=":                                MalformedRequest,
		"ann@home.example":                  MalformedRequest,
		"a=ann@home.example,a=bob@home.xyz": MalformedRequest,
	} {
		s, _ := accounts("venus").Start(ScramSHA256)
		_, _, err := s.Step(t.Context(), []byte("n,"+authzid+",n=ann,r=abcdefgh"))
		if condition(err) != want {
			t.Errorf("authzid %q: %v, want %q", authzid, err, want)
		}
		if s.User() != "" {
			t.Errorf("authzid %q: User = %q", authzid, s.User())
		}
	}
}

// TestBad15First: first messages that the server refuses.
func TestBad15First(t *testing.T) {
	for _, c := range []struct {
		m           Mechanism
		bound       bool
		text, want  string
		explanation string
	}{
		{ScramSHA256, true, "y,,n=ann,r=abc", NotAuthorized, "y, and -PLUS was offered"},
		{ScramSHA256, false, "y,,n=ann,r=abc", "", "y, and no -PLUS was offered"},
		{ScramSHA256, true, "n,,n=ann,r=abc", "", "cannot bind"},
		{ScramSHA256, true, "p=tls-exporter,,n=ann,r=abc", MalformedRequest, "p= in a plain mechanism"},
		{ScramSHA256, false, "p=tls-exporter,,n=ann,r=abc", MalformedRequest, "p= in a plain mechanism"},
		{ScramSHA256Plus, true, "p=tls-exporter,,n=ann,r=abc", "", "bound"},
		{ScramSHA256Plus, true, "p=tls-unique,,n=ann,r=abc", NotAuthorized, "a type not offered"},
		{ScramSHA256Plus, true, "p=TLS-EXPORTER,,n=ann,r=abc", NotAuthorized, "another case"},
		{ScramSHA256Plus, true, "p=,,n=ann,r=abc", MalformedRequest, "no type"},
		{ScramSHA256Plus, true, "n,,n=ann,r=abc", MalformedRequest, "n in a -PLUS mechanism"},
		{ScramSHA256Plus, true, "y,,n=ann,r=abc", MalformedRequest, "y in a -PLUS mechanism"},
		{ScramSHA256, false, "", MalformedRequest, "empty"},
		{ScramSHA256, false, "n,,", MalformedRequest, "a header only"},
		{ScramSHA256, false, "n,,n=,r=abc", MalformedRequest, "no name"},
		{ScramSHA256, false, "n,,n=ann", MalformedRequest, "no nonce"},
		{ScramSHA256, false, "n,,n=ann,r=", MalformedRequest, "an empty nonce"},
		{ScramSHA256, false, "n,,n=ann,r=a b", MalformedRequest, "a space in the nonce"},
		{ScramSHA256, false, "n,,n=ann,r=ä", MalformedRequest, "a nonce that is not ASCII"},
		{ScramSHA256, false, "n,,r=abc,n=ann", MalformedRequest, "the wrong order"},
		{ScramSHA256, false, "n,,m=x,n=ann,r=abc", MalformedRequest, "a mandatory extension"},
		{ScramSHA256, false, "n,,n=ann,r=abc,m=x", MalformedRequest, "a mandatory extension behind"},
		{ScramSHA256, false, "n,,n=ann,r=abc,x=y", "", "an extension"},
		{ScramSHA256, false, "n,,n=ann,r=abc,", MalformedRequest, "an empty extension"},
		{ScramSHA256, false, "n,,n=ann,r=abc,n=bob", MalformedRequest, "a second name"},
		{ScramSHA256, false, "n,,n=a=n,r=abc", MalformedRequest, "a name with a bare ="},
		{ScramSHA256, false, "n,,n=a=2cn,r=abc", MalformedRequest, "a name with =2c"},
		{ScramSHA256, false, "n,,n=a\x00n,r=abc", MalformedRequest, "a name with NUL"},
		{ScramSHA256, false, "n,,n=a\xffn,r=abc", MalformedRequest, "a name that is not UTF-8"},
		{ScramSHA256, false, "N,,n=ann,r=abc", MalformedRequest, "a flag that does not exist"},
		{ScramSHA256, false, "n,,n=ann,r=" + strings.Repeat("a", MaxMessage), MalformedRequest, "too long"},
		{ScramSHA256, false, "n,,n=down,r=abc", TemporaryAuthFailure, "the store is away"},
	} {
		o := accounts("venus")
		if c.bound {
			o.Bindings = someBindings
		}
		s, err := o.Start(c.m)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Step(t.Context(), []byte(c.text)); condition(err) != c.want {
			t.Errorf("%s: %q: %v, want %q", c.explanation, c.text, err, c.want)
		}
	}
}

// TestBad15Final: each change of a client's last message is a failure, and
// ends the exchange.
func TestBad15Final(t *testing.T) {
	for _, e := range exchanges(t) {
		good := strings.Split(e.final, ",")
		c, r, p := good[0], good[1], good[2]
		proof, _ := parse64(p, "p=")
		bare := func(m Mechanism) string { // what goes without the proof of another length
			return "p=" + encode64(append(proof, 0))
		}
		for _, bad := range []string{
			"",
			"c=eSws," + r + "," + p,                // y,,
			"c=biwsYQ==," + r + "," + p,            // n,, and data
			"c=," + r + "," + p,                    // nothing
			"c=biw," + r + "," + p,                 // no base64
			c + "," + r + "x," + p,                 // nonce too long
			c + "," + r[:len(r)-1] + "," + p,       // too short
			c + "," + strings.ToLower(r) + "," + p, // altered
			c + "," + r[:len(r)-2] + "," + p,
			c + "," + r + "," + p[:len(p)-4], // proof too short
			c + "," + r + "," + bare(e.m),    // too long
			c + "," + r + ",p=" + encode64(make([]byte, len(proof))),
			c + "," + r,
			c + "," + r + "," + p + ",x=y",
			c + ",m=x," + r + "," + p,
			c + "," + r + ",m=x," + p,
			c + "," + r + ",x=y," + p, // allowed, but not what was signed
			r + "," + c + "," + p,
			e.final + "\n",
		} {
			s := e.server(t)
			if _, done, err := s.Step(t.Context(), []byte(bad)); err == nil || done || s.User() != "" {
				t.Errorf("%s: %q was taken", e.m, bad)
			}
			if _, _, err := s.Step(t.Context(), []byte(e.final)); err == nil {
				t.Errorf("%s: the right message was taken after %q", e.m, bad)
			}
		}
	}
}

// TestBad16Challenge: what a client does not answer, and how little it costs.
func TestBad16Challenge(t *testing.T) {
	e := exchanges(t)[1]
	f := strings.Split(e.challenge, ",")
	r, s, i := f[0], f[1], f[2]
	ours := e.first[strings.Index(e.first, "r="):]
	start := time.Now()
	for _, bad := range []string{
		r + "," + s + ",i=1", r + "," + s + ",i=0", r + "," + s + ",i=-5", r + "," + s + ",i=4095", r + "," + s + ",i=+4096", r + "," + s + ",i=04096",
		r + "," + s + ",i=2147483647", r + "," + s + ",i=50000000", r + "," + s + ",i=1000001", r + "," + s + ",i=99999999999999999999999999",
		r + "," + s + ",i=", r + "," + s + ",i=4096.0", r + "," + s + ",i=0x1000", r + "," + s,
		r + ",s=," + i, r + ",s=QUJDREVGRw==," + i, r + ",s=QSXC R+Q6," + i, r + ",s=W22ZaJ0SNY7soEsUEjb6gQ=," + i,
		"r=somethingelse123456789," + s + "," + i, // a nonce that is not ours
		ours + "," + s + "," + i,                  // ours alone
		ours + "abcdefghijk," + s + "," + i,       // 11 characters more
		"m=x," + r + "," + s + "," + i, r + "," + s + "," + i + ",m=x", r + "," + s + "," + i + ",i=4096",
		s + "," + r + "," + i, "", "e=other-error", e.success,
	} {
		c := e.client(t, nil)
		if answer, err := c.Step([]byte(bad)); err == nil || answer != nil {
			t.Errorf("challenge %q was answered with %q", bad, answer)
		}
		if _, err := c.Step([]byte(e.challenge)); err == nil {
			t.Errorf("the right challenge was answered after %q", bad)
		}
		if err := c.Success([]byte(e.success)); err == nil {
			t.Errorf("success was taken after %q", bad)
		}
	}
	if took := time.Since(start); took > 20*time.Second { // 2,147,483,647 rounds take minutes
		t.Errorf("refusing took %v", took)
	}
}

// TestBad16Success: a server that does not show that it knows the password.
func TestBad16Success(t *testing.T) {
	e := exchanges(t)[1]
	for _, bad := range []string{"", "v=", "v=AAAA", e.success[:len(e.success)-4], e.success + "\n", "e=other-error", "e=x\x1b[2J", "m=x," + e.success, "x=y," + e.success} {
		c := e.client(t, nil)
		if _, err := c.Step([]byte(e.challenge)); err != nil {
			t.Fatal(err)
		}
		if err := c.Success([]byte(bad)); err == nil || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("success with %q: %v", bad, err)
		}
		if err := c.Success([]byte(e.success)); err == nil {
			t.Errorf("success was taken after %q", bad)
		}
	}
	if err := e.client(t, nil).Success([]byte(e.success)); err == nil {
		t.Error("success was taken without a challenge")
	}
	c := e.client(t, nil) // the signature in a challenge of its own is allowed
	if _, err := c.Step([]byte(e.challenge)); err != nil {
		t.Fatal(err)
	}
	if answer, err := c.Step([]byte(e.success)); err != nil || len(answer) > 0 {
		t.Errorf("signature in a challenge: %q, %v", answer, err)
	}
	if err := c.Success(nil); err != nil {
		t.Errorf("success after it: %v", err)
	}
}

// TestBad17Replay: a last message that was good once is not good again, in
// this exchange or another.
func TestBad17Replay(t *testing.T) {
	e := exchanges(t)[0]
	s := e.server(t)
	if _, done, err := s.Step(t.Context(), []byte(e.final)); !done || err != nil {
		t.Fatal(done, err)
	}
	for _, again := range []string{e.final, e.first, "n,,n=bob,r=abcdefgh"} {
		if _, _, err := s.Step(t.Context(), []byte(again)); condition(err) != MalformedRequest {
			t.Errorf("%q after success: %v", again, err)
		}
	}
	v := e.verifier(t)
	o := &Offer{Verifier: func(context.Context, Mechanism, string) (Verifier, error) { return v, nil }}
	s, _ = o.Start(e.m)
	if _, _, err := s.Step(t.Context(), []byte(e.first)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Step(t.Context(), []byte(e.final)); condition(err) != NotAuthorized {
		t.Errorf("replay: %v", err)
	}
}

func TestMechanismsThatAreNotOffered(t *testing.T) {
	for _, m := range []Mechanism{"", Plain, "DIGEST-MD5", "ANONYMOUS", "EXTERNAL", ScramSHA256Plus, "scram-sha-256"} {
		if _, err := accounts("venus").Start(m); condition(err) != InvalidMechanism {
			t.Errorf("%q: %v", m, err)
		}
	}
}

// TestNoInitialResponse: a client may choose first and speak when it is asked.
func TestNoInitialResponse(t *testing.T) {
	s, _ := accounts("venus").Start(ScramSHA256)
	if b, done, err := s.Step(t.Context(), nil); b == nil || len(b) > 0 || done || err != nil {
		t.Errorf("Step(nil) = %v, %v, %v; want an empty challenge", b, done, err)
	}
	if _, _, err := s.Step(t.Context(), []byte("n,,n=ann,r=abcdefgh")); err != nil {
		t.Error(err)
	}
	if _, _, err := s.Step(t.Context(), nil); err == nil {
		t.Error("no last message was taken")
	}
}

// TestBindingsOfAConnection: both ends of a TLS connection have the same, and
// another connection has others.
func TestBindingsOfAConnection(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		client, server := connect(t, version)
		again, _ := connect(t, version)
		if len(client) != 2 || client[0].Type != TLSExporter || client[1].Type != TLSServerEndPoint {
			t.Fatalf("TLS %x: %v", version, client)
		}
		for i := range client {
			if string(client[i].Data) != string(server[i].Data) || client[i].Type != server[i].Type {
				t.Errorf("TLS %x: %v and %v", version, client[i], server[i])
			}
		}
		if string(client[0].Data) == string(again[0].Data) {
			t.Errorf("TLS %x: two connections export the same", version)
		}
	}
}

func connect(t *testing.T, version uint16) (client, server []Binding) {
	t.Helper()
	ca, err := localca.Open(localca.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	pool, err := localca.Pool(ca.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	cc := tls.Client(a, &tls.Config{RootCAs: pool, ServerName: "localhost", MaxVersion: version})
	sc := tls.Server(b, ca.ServerConfig())
	failed := make(chan error, 1)
	go func() { failed <- sc.HandshakeContext(t.Context()) }()
	if err := cc.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	cs, ss := cc.ConnectionState(), sc.ConnectionState()
	cert, err := ca.ServerConfig().GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return ClientBindings(&cs), ServerBindings(&ss, cert.Leaf)
}
