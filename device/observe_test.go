package device_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/oic"
)

// observed starts an observation. What it saw and how it ended is valid after
// synctest.Wait.
type observed struct {
	seen []string
	err  error
}

func observe(t *testing.T, ctx context.Context, h oic.Observer, href string, hold <-chan struct{}) *observed {
	o := &observed{}
	go func() {
		o.err = h.Observe(ctx, &oic.Request{Href: href}, func(resp *oic.Response) {
			s := text(t, resp)
			if resp.Last {
				s += " last"
			}
			o.seen = append(o.seen, s)
			if hold != nil {
				<-hold
			}
		})
	}()
	synctest.Wait()
	return o
}

func (o *observed) check(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	if !slices.Equal(o.seen, want) {
		t.Errorf("observed %q\n    want %q", o.seen, want)
	}
}

const (
	off = `2.05 ocf {"value":false}`
	on  = `2.05 ocf {"value":true}`
)

func TestObserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := newHost()
		ctx, cancel := context.WithCancel(t.Context())
		o := observe(t, ctx, h, "/a/light", nil)
		o.check(t, off) // as it is now
		change := func(line string) {
			if _, err := ask(t, h, line, 0, 0); err != nil {
				t.Fatal(err)
			}
		}
		change(`update /a/light {"value":true}`)
		o.check(t, off, on)
		change(`update /a/light {"value":true}`) // no change
		o.check(t, off, on)
		change(`replace /a/light {"value":false}`)
		o.check(t, off, on, off)
		cancel()
		synctest.Wait()
		if o.err != context.Canceled {
			t.Errorf("err = %v", o.err)
		}
		change(`update /a/light {"value":true}`)
		o.check(t, off, on, off)
	})
}

// While each has not returned, changes are merged, and the newest one is seen.
func TestObserveMerges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, l := newHost()
		hold := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		o := observe(t, ctx, h, "/a/light", hold)
		for range 1001 {
			l.Value = !l.Value
			h.Changed("/a/light")
		}
		o.check(t, off)
		hold <- struct{}{}
		o.check(t, off, on)
		close(hold)
		o.check(t, off, on)
	})
}

func TestObserveEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := newHost()
		o := observe(t, t.Context(), h, "/a/light", nil)
		if _, err := ask(t, h, "delete /a/light", 0, 0); err != nil {
			t.Fatal(err)
		}
		o.check(t, off)
		if s, _ := oic.StatusOf(o.err); s != oic.NotFound {
			t.Errorf("after deletion: %v", o.err)
		}
	})
}

func TestObserveRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := newHost()
		o := observe(t, t.Context(), h, "/a/sensor", nil)
		o.check(t, `2.05 ocf {"x":1} last`)
		if !errors.Is(o.err, oic.ErrNotObservable) {
			t.Errorf("err = %v", o.err)
		}
		for href, want := range map[string]oic.Status{"/a/none": oic.NotFound, "/a/light?if=x": oic.BadRequest, "/a/sensor?if=x": oic.BadRequest} {
			o := observe(t, t.Context(), h, href, nil)
			o.check(t)
			if s, _ := oic.StatusOf(o.err); s != want {
				t.Errorf("%s: %v", href, o.err)
			}
		}
		err := h.Observe(t.Context(), &oic.Request{Op: oic.Update, Href: "/a/light"}, nil)
		if s, _ := oic.StatusOf(err); s != oic.MethodNotAllowed {
			t.Errorf("observing an update: %v", err)
		}
	})
}

// Rule 30: everything at once, by one observation of /oic/res. The list of
// links tells of new ones.
func TestObserveDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := device.NewHost(device.Config{ID: di})
		h.Add(newLight("/a/light"))
		ctx, cancel := context.WithCancel(t.Context())
		batch := observe(t, ctx, h, "/oic/res?if=oic.if.b&rt=oic.r.switch.binary", nil)
		links := observe(t, ctx, h, "/oic/res?rt=oic.r.switch.binary", nil)
		if _, err := ask(t, h, `update /a/light {"value":true}`, 0, 0); err != nil {
			t.Fatal(err)
		}
		item := func(v string) string { return `{"href":"ocf://` + di + `/a/light","rep":{"value":` + v + `}}` }
		batch.check(t, "2.05 ocf ["+item("false")+"]", "2.05 ocf ["+item("true")+"]")
		links.check(t, "2.05 ocf ["+lightEntry+"]")
		h.Add(&light{link: oic.Link{Href: "/b", Types: []string{"oic.r.switch.binary"}, Interfaces: []string{"oic.if.a"}, Policy: oic.Policy{Mask: 1}}})
		links.check(t, "2.05 ocf ["+lightEntry+"]",
			"2.05 ocf ["+lightEntry+`,{"href":"/b","rt":["oic.r.switch.binary"],"if":["oic.if.a"],`+anchor+`{"bm":1}}]`)
		cancel()
		synctest.Wait()
	})
}
