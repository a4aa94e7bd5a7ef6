package cloudlink_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/internal/vector"
	"github.com/farreach/farreach/oic"
)

// offer answers the question for the links as a device does that can be
// observed as a batch (rule 30).
func (r *raw) offer() {
	r.t.Helper()
	q := r.links()
	if got, want := q.Options, (vector.Get("O13").Message.Options); len(got) != len(want) {
		r.t.Errorf("asked with %d options, vector O13 has %d", len(got), len(want))
	}
	m := content(q.Token, "", false)
	var err error
	m.Payload, err = oic.Encode(oic.OCF, []oic.Link{{Href: "/oic/res", Types: []string{"oic.wk.res"},
		Interfaces: []string{oic.IfLinkList, oic.IfBatch, oic.IfBaseline}, Policy: oic.Policy{Mask: 3}}})
	if err != nil {
		r.t.Fatal(err)
	}
	r.send(m)
}

// batch is the request to observe all.
func (r *raw) batch() *coap.Message {
	r.t.Helper()
	m := r.must()
	if v, ok := m.Options.Uint(coap.Observe); m.Options.Path() != "/oic/res" || m.Options.Query() != "if=oic.if.b" || !ok || v != 0 {
		r.t.Fatalf("want the observation of a batch, got %v %s", m, m.Options.Path())
	}
	return m
}

func batchOf(t testing.TB, token coap.Token, observed bool, items ...string) *coap.Message {
	t.Helper()
	type item struct {
		Href string         `json:"href"`
		Rep  map[string]int `json:"rep"`
	}
	all := []item{}
	for i, href := range items {
		all = append(all, item{href, map[string]int{"v": i}})
	}
	m := content(token, "", observed)
	var err error
	if m.Payload, err = oic.Encode(oic.OCF, all); err != nil {
		t.Fatal(err)
	}
	return m
}

func (c *cloud) reportedHrefs() (all []string) {
	for _, r := range c.seen() {
		all = append(all, r.href+r.body)
	}
	return all
}

// A device that offers a batch is observed by one request; what the batch
// leaves out is observed by itself, and what was not published is not reported
// (rule 30, cloud-interface 4.2 and 4.3).
func TestBatchObservation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		r, _, stop := signedIn(t, c, observable(3)...)
		defer stop()
		r.offer()
		b := r.batch()
		r.send(batchOf(t, b.Token, true, "ocf://"+device1+"/r/0", "/r/1", "/x", "ocf://"+device1))
		one := r.must()
		if one.Options.Path() != "/r/2" || !one.Options.Has(coap.Observe) {
			t.Errorf("what is not in the batch: %v %s", one, one.Options.Path())
		}
		r.send(content(one.Token, "\xf5", true))
		r.send(batchOf(t, b.Token, true, "/r/1"))
		synctest.Wait()
		want := []string{`/r/0{"v":0}`, `/r/1{"v":1}`, "/r/2true", `/r/1{"v":0}`}
		if got := c.reportedHrefs(); !slices.Equal(got, want) {
			t.Errorf("reported %q\n    want %q", got, want)
		}
		// The device ends the batch: the resources are observed one by one.
		r.send(&coap.Message{Code: coap.NotFound, Token: b.Token})
		paths := []string{r.must().Options.Path(), r.must().Options.Path()}
		slices.Sort(paths)
		if !slices.Equal(paths, []string{"/r/0", "/r/1"}) {
			t.Errorf("observed then: %q", paths)
		}
	})
}

// A batch that is refused, malformed or not answered leaves nothing
// unobserved.
func TestBatchRefused(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer func(t *testing.T, r *raw, token coap.Token)
		wait   time.Duration
	}{
		{"refused", func(_ *testing.T, r *raw, token coap.Token) {
			r.send(&coap.Message{Code: coap.BadRequest, Token: token})
		}, 0},
		{"malformed", func(_ *testing.T, r *raw, token coap.Token) { r.send(content(token, "\xa1", true)) }, 0},
		{"no array", func(_ *testing.T, r *raw, token coap.Token) { r.send(content(token, "\xa0", true)) }, 0},
		{"silent", func(*testing.T, *raw, coap.Token) {}, 10 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, _, stop := signedIn(t, newCloud(), observable(2)...)
				defer stop()
				r.offer()
				start := time.Now()
				test.answer(t, r, r.batch().Token)
				var paths []string
				for len(paths) < 2 {
					m := r.must()
					if v, _ := m.Options.Uint(coap.Observe); v == 1 {
						continue // the end of the batch
					}
					paths = append(paths, m.Options.Path())
				}
				if !slices.Equal(paths, []string{"/r/0", "/r/1"}) {
					t.Errorf("observed %q", paths)
				}
				if d := time.Since(start); d != test.wait {
					t.Errorf("after %v, want %v", d, test.wait)
				}
			})
		})
	}
}

// counter is a resource of a real host.
type counter struct {
	href string
	n    atomic.Int32
}

func (r *counter) Link() oic.Link {
	return oic.Link{Href: r.href, Types: []string{"x.counter"}, Interfaces: []string{oic.IfRead, oic.IfBaseline},
		Policy: oic.Policy{Mask: oic.Discoverable | oic.Observable}}
}

func (r *counter) Retrieve(context.Context, string) (any, error) {
	return map[string]int32{"n": r.n.Load()}, nil
}

// Our own device offers the batch, and our cloud takes it.
func TestBatchOfHost(t *testing.T) {
	c := newCloud()
	uri := "coap+tcp://" + serve(t, cloudlink.ServerConfig{Backend: c}, nil)
	h := device.NewHost(device.Config{ID: device1, Name: "Counters", Log: quiet})
	var all [5]counter
	for i := range all {
		all[i].href = fmt.Sprintf("/c/%d", i)
		h.Add(&all[i])
	}
	run(t, cloudlink.Config{Servers: []string{uri}, Device: device1, Code: "code-1", Handler: h, Links: h.Links}).registered(t)
	for len(c.seen()) < 6 { // and /oic/con
		<-c.reported
	}
	all[3].n.Store(7)
	h.Changed("/c/3")
	for len(c.seen()) < 7 {
		<-c.reported
	}
	if got := c.reportedHrefs(); got[6] != `/c/3{"n":7}` {
		t.Errorf("reported %q", got)
	}
}
