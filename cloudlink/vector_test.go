package cloudlink_test

import (
	"testing"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/vector"
)

// exchanges are what a device says to a cloud, in an order in which it may,
// and what it needs to hear. What is mandatory is so for iotivity-lite.
var exchanges = []struct {
	name      string
	code      coap.Code
	mandatory []string
}{
	{"O1", coap.Changed, []string{"accesstoken", "refreshtoken", "expiresin", "uid"}},
	{"O3", coap.Changed, []string{"expiresin"}},
	{"O9", coap.Changed, []string{"di", "links"}},
	{"O7", coap.Changed, []string{"accesstoken", "refreshtoken", "expiresin"}},
	{"O3-lite", coap.Changed, []string{"expiresin"}},
	{"O11", coap.Deleted, nil},
	{"O21", coap.Deleted, nil},
}

// A device is found in order that speaks as real ones were seen to do, each
// message in two pieces, wherever it may be cut (rule 9 among others: O3-lite).
func TestDeviceVectorsInPieces(t *testing.T) {
	longest := 0
	for _, e := range exchanges {
		longest = max(longest, len(vector.Get(e.name).Wire))
	}
	p := newPipes()
	c := newCloud()
	defer serveOn(t, p, cloudlink.ServerConfig{Backend: c, AllowPlain: true}, nil)()
	for cut := range longest {
		nc, err := p.DialContext(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		replay(t, rawOn(t, nc), func(r *raw, wire []byte) {
			n := cut % len(wire)
			if n > 0 {
				r.write(wire[:n])
			}
			r.write(wire[n:])
		})
		c.reset()
		if t.Failed() {
			t.Fatalf("cut at byte %d", cut)
		}
	}
}

// The same over TCP, whole and one byte at a time.
func TestDeviceVectors(t *testing.T) {
	t.Run("whole", func(t *testing.T) {
		r := dialRaw(t, serve(t, cloudlink.ServerConfig{Backend: newCloud()}, nil))
		replay(t, r, (*raw).write)
	})
	t.Run("bytes", func(t *testing.T) {
		r := dialRaw(t, serve(t, cloudlink.ServerConfig{Backend: newCloud()}, nil))
		replay(t, r, func(r *raw, wire []byte) {
			for i := range wire {
				r.write(wire[i : i+1])
			}
		})
	})
}

func replay(t *testing.T, r *raw, write func(r *raw, wire []byte)) {
	t.Helper()
	for _, e := range exchanges {
		write(r, vector.Get(e.name).Wire)
		m := r.observed(e.name)
		if m.Code != e.code {
			t.Fatalf("%s is answered %v %s", e.name, m.Code, m.Payload)
		}
		if len(e.mandatory) == 0 {
			continue
		}
		doc := fields(t, m)
		for _, f := range e.mandatory {
			if v, ok := doc[f]; !ok || v == "" {
				t.Errorf("%s: the answer lacks %s: %v", e.name, f, doc)
			}
		}
		if e.name == "O9" {
			checkLinks(t, doc)
		}
	}
	r.closed()
}

// observed is answer, past the requests with which the cloud observes what was
// published (vector O14, but for the query).
func (r *raw) observed(name string) *coap.Message {
	r.t.Helper()
	want := coap.MakeToken(vector.Get(name).Message.Token)
	for {
		m, err := r.next()
		if err != nil {
			r.t.Fatalf("answer to %s: %v", name, err)
		}
		if m.Token == want {
			return m
		}
		if m.Code != coap.GET || m.Options.Path() != "/light/1" || m.Token.Len() != 8 {
			r.t.Fatalf("while waiting for the answer to %s: %v", name, m)
		}
	}
}

// checkLinks looks for what iotivity-lite looks for: each href, and an ins.
func checkLinks(t *testing.T, doc map[string]any) {
	links, _ := doc["links"].([]any)
	if len(links) != 1 {
		t.Fatalf("links %v, want one", links)
	}
	l := links[0].(map[string]any)
	if l["href"] != "/light/1" || l["ins"] != 42.0 {
		t.Errorf("link %v, want /light/1 with the ins of the cloud", l)
	}
}
