package coap_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/vector"
)

// seeds adds all vectors in the framing of one transport, and its refusals.
func seeds(f *testing.F, name string) {
	for _, v := range vector.All() {
		wire, err := fromVector(v.Message).Append(transports[name], nil)
		if err != nil {
			f.Fatal(err)
		}
		if len(wire) < 4096 {
			f.Add(wire)
		}
	}
	for _, r := range vector.Refusals() {
		if r.Transport == name {
			f.Add(r.Wire)
		}
	}
}

// checkParse parses b, and checks what must hold of any bytes: nothing is kept
// of what is refused, all that is kept is inside b and bounded, and a message
// comes back as the bytes it was parsed from.
func checkParse(t *testing.T, transport coap.Transport, b []byte, limit int) (m coap.Message, n int, ok bool) {
	n, err := m.Parse(transport, b, limit)
	if n < 0 || n > len(b) {
		t.Fatalf("took %d bytes of %d", n, len(b))
	}
	if err != nil {
		if len(m.Options) != 0 || m.Payload != nil {
			t.Fatalf("kept %v of a message refused for %v", &m, err)
		}
		e, refused := errors.AsType[*coap.FormatError](err)
		if transport != coap.TCP && !refused || !refused && (err != coap.ErrShort || n != 0) {
			t.Fatalf("Parse = %d, %v", n, err)
		}
		if refused && (e.Off < 0 || e.Off > len(b) || e.Why == "" || e.Spec == "") {
			t.Fatalf("refused %d bytes with %+v", len(b), e)
		}
		return m, n, false
	}
	size := len(m.Payload)
	for i, o := range m.Options {
		if i > 0 && o.Number < m.Options[i-1].Number || len(o.Value) > coap.MaxOptionValue {
			t.Fatalf("options %v", m.Options)
		}
		size += 1 + len(o.Value)
	}
	if size > limit || size > n || len(m.Options) > coap.MaxOptions || cap(m.Options) > 2*coap.MaxOptions {
		t.Fatalf("%v from %d bytes, limit %d", &m, n, limit)
	}
	wire, err := m.Append(transport, nil)
	if err != nil || !bytes.Equal(wire, b[:n]) {
		t.Fatalf("%x came back as %x (%v)", b[:n], wire, err)
	}
	return m, n, true
}

func FuzzParseTCP(f *testing.F) {
	seeds(f, "tcp")
	f.Fuzz(func(t *testing.T, b []byte) {
		_, n, ok := checkParse(t, coap.TCP, b, limit)
		if !ok {
			return
		}
		for cut := range n { // every prefix asks for more
			if n, err := new(coap.Message).Parse(coap.TCP, b[:cut], limit); n != 0 || err != coap.ErrShort {
				t.Fatalf("%d bytes of %x: %d, %v", cut, b, n, err)
			}
		}
		checkParse(t, coap.TCP, b[n:], limit)
		checkParse(t, coap.TCP, b, n/2)
	})
}

func FuzzParseUDP(f *testing.F) {
	seeds(f, "udp")
	f.Fuzz(func(t *testing.T, b []byte) {
		m, n, ok := checkParse(t, coap.UDP, b, 8192)
		if ok && n != len(b) {
			t.Fatalf("took %d of %d bytes", n, len(b))
		}
		if ok {
			checkOver(t, &m, coap.TCP, coap.WebSocket)
		}
	})
}

func FuzzParseWebSocket(f *testing.F) {
	seeds(f, "ws")
	f.Fuzz(func(t *testing.T, b []byte) {
		m, n, ok := checkParse(t, coap.WebSocket, b, limit)
		if ok && n != len(b) {
			t.Fatalf("took %d of %d bytes", n, len(b))
		}
		if ok && m.Code != coap.Empty { // which on a datagram has nothing in it
			checkOver(t, &m, coap.TCP, coap.UDP)
		}
	})
}

// checkOver checks that m is the same over other transports.
func checkOver(t *testing.T, m *coap.Message, transports ...coap.Transport) {
	for _, transport := range transports {
		wire, err := m.Append(transport, nil)
		if err != nil {
			t.Fatalf("Append %v to %v: %v", m, transport, err)
		}
		back, _, ok := checkParse(t, transport, wire, limit)
		if !ok || !same(&back, m) {
			t.Fatalf("%v over %v came back as %v", m, transport, &back)
		}
	}
}

// FuzzOptions reads the bytes as options of a GET, and sends their path and
// query on, as a proxy does: a path must arrive as the same text and options,
// a query as the same pairs.
func FuzzOptions(f *testing.F) {
	for _, v := range vector.All() {
		m := coap.Message{Code: coap.GET, Options: fromVector(v.Message).Options}
		wire, err := m.Append(coap.WebSocket, nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire[2:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, _, ok := checkParse(t, coap.WebSocket, append([]byte{0, byte(coap.GET)}, b...), limit)
		if !ok {
			return
		}
		known := func(coap.Number) bool { return true }
		path, query := m.Options.Path(), m.Options.Query()
		u, err := coap.ParseURI("coap://h" + path + "?" + query)
		if err != nil || u.Path != path || u.Query != query {
			// A URI is held to the lengths of RFC 7252, section 5.10, and pairs
			// that came in one option are counted one by one.
			if _, bad := m.Options.Unacceptable(known); bad || strings.Count(query, "&") > coap.MaxURISegments/2 {
				return
			}
			t.Fatalf("path %q, query %q: %+v, %v", path, query, u, err)
		}
		var next coap.Message
		next.SetPath(path)
		segments := strs(m.Options, coap.URIPath)
		if path == "/" { // one empty segment is as good as none (RFC 7252, section 6.5)
			segments = ""
		}
		if got := strs(next.Options, coap.URIPath); got != segments {
			t.Fatalf("path %s arrives as %s", segments, got)
		}
		next.SetQuery(query)
		if next.Options.Path() != path {
			t.Fatalf("%q came back as %q", path, next.Options.Path())
		}
		pairs := slices.DeleteFunc(strings.Split(query, "&"), func(pair string) bool { return pair == "" })
		if again := next.Options.Query(); again != strings.Join(pairs, "&") {
			t.Fatalf("%q came back as %q", query, again)
		}
	})
}

func FuzzParseURI(f *testing.F) {
	for _, s := range []string{
		"coap://h/", "coaps+tcp://[2001:db8::1]:5683/a//b/?if=oic.if.rw&x=%20", "coap+ws://h:00080", "coaps+ws://H:",
		"coap+tcp://[fe80::1%25eth0]/a%2Fb", "coap://h/%2e%2e", "coap://u@h", "coap://h#", "coap://[::1", "coap://h?/%00",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := coap.ParseURI(s)
		if err != nil {
			if u != (coap.URI{}) || len(err.Error()) > 400 {
				t.Fatalf("ParseURI(%q) = %+v, %v", s, u, err)
			}
			return
		}
		if u.Host == "" || len(u.Host) > 255 || u.Port == 0 || u.Path[0] != '/' {
			t.Fatalf("ParseURI(%q) = %+v", s, u)
		}
		if again, err := coap.ParseURI(u.String()); err != nil || again != u {
			t.Fatalf("%q became %q: %+v, %v; want %+v", s, u.String(), again, err, u)
		}
		m := coap.Message{Code: coap.GET}
		m.SetPath(u.Path)
		m.SetQuery(u.Query)
		checkOver(t, &m, coap.UDP, coap.TCP, coap.WebSocket)
	})
}
