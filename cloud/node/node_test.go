package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
	"github.com/farreach/farreach/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// member is a node of a test, with the devices that are connected to it.
type member struct {
	*Nodes
	t *testing.T

	mu       sync.Mutex // guards what follows
	devices  map[string]oic.Observer
	replaced []string
	changed  map[string]int
}

// device answers what it is told to, and tells what changes.
type device struct {
	handle func(ctx context.Context, req *oic.Request) (*oic.Response, error)
	news   chan *oic.Response // closed: the connection is lost
}

func (d *device) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	return d.handle(ctx, req)
}

func (d *device) Observe(ctx context.Context, _ *oic.Request, each func(*oic.Response)) error {
	for {
		select {
		case r, ok := <-d.news:
			if !ok {
				return oic.ErrOffline
			}
			each(r)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func join(t *testing.T, url, name string) *member {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{URL: url, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	m := &member{t: t, devices: map[string]oic.Observer{}, changed: map[string]int{}}
	m.Nodes, err = Open(t.Context(), Config{
		Store: s, Name: name, Log: slog.New(slog.DiscardHandler),
		Serve: func(di string) oic.Observer { m.mu.Lock(); defer m.mu.Unlock(); return m.devices[di] },
		Replaced: func(di string) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.replaced = append(m.replaced, di)
		},
		Changed: func(di string) { m.mu.Lock(); defer m.mu.Unlock(); m.changed[di]++ },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

func (m *member) connect(di string, d oic.Observer) {
	m.mu.Lock()
	m.devices[di] = d
	m.mu.Unlock()
	m.Claim(di, time.Now())
}

// until waits until a device's place is as it is to be.
func (m *member) until(di string, is func(Place, bool) bool) Place {
	m.t.Helper()
	var p Place
	await(m.t, di+" is where it is to be", func() (there bool) {
		p, there = m.Where(di)
		return is(p, there)
	})
	return p
}

// replacedBy is what m was told of devices that are elsewhere now.
func (m *member) replacedBy() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.replaced)
}

// await waits for something.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for start := time.Now(); !is(); <-time.After(time.Millisecond) {
		if time.Since(start) > time.Minute {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

func at(id string) func(Place, bool) bool {
	return func(p Place, ok bool) bool { return ok && p.Node == id && !p.Gone && p.Lost.IsZero() }
}

// TestPlaces: what one node claims all know, those that join later too; the
// newest claim holds; who leaves or falls silent is gone for all.
func TestPlaces(t *testing.T) {
	url := storetest.Server(t)
	a, b := join(t, url, "a"), join(t, url, "b")
	for i := range 2 * maxPage {
		a.Claim("device "+strconv.Itoa(i), time.Now())
	}
	a.connect("lamp", &device{})
	b.until("lamp", at(a.self.ID))
	c := join(t, url, "c")
	c.until("lamp", at(a.self.ID))
	for i := range 2 * maxPage { // in some order
		c.until("device "+strconv.Itoa(i), at(a.self.ID))
	}

	b.connect("lamp", &device{})
	for _, m := range []*member{a, b, c} {
		m.until("lamp", at(b.self.ID))
	}
	await(t, "a is told that its device is elsewhere", func() bool { return len(a.replacedBy()) > 0 })
	if at, bt := a.replacedBy(), b.replacedBy(); len(at) != 1 || at[0] != "lamp" || len(bt) != 0 {
		t.Errorf("replaced at a: %v, at b: %v", at, bt)
	}
	a.Leave("lamp", time.Now()) // its own connection, which is replaced: nothing
	b.Silence("lamp", true, time.Now())
	c.until("lamp", func(p Place, ok bool) bool { return ok && p.Node == b.self.ID && p.Silent })
	b.Silence("lamp", false, time.Now())
	c.until("lamp", func(p Place, ok bool) bool { return ok && !p.Silent })
	b.Leave("lamp", time.Now())
	for _, m := range []*member{a, c} {
		m.until("lamp", func(p Place, ok bool) bool { return ok && p.Gone })
	}
	if c.Session("lamp") != nil || a.Session("lamp") != nil {
		t.Error("a device that has gone can be asked")
	}

	if c.Session("device 1") == nil || a.Session("device 1") != nil {
		t.Error("a device of a is to be asked from c, and not from a itself")
	}
	await(t, "a node that fell silent is missed", func() bool { // as if nothing had been heard for so long; a beat may come in between
		c.miss(time.Now().Add(lostAfter + beatEvery))
		p, ok := c.Where("device 1")
		return ok && !p.Lost.IsZero() && c.Session("device 1") == nil
	})
	c.until("device 1", at(a.self.ID)) // with the next beat
	a.Close()
	c.until("device 1", func(p Place, _ bool) bool { return !p.Lost.IsZero() })
	d := join(t, url, "d") // hears of it from those who are left
	d.until("device 1", func(p Place, ok bool) bool { return ok && !p.Lost.IsZero() })
}

// TestLeft: a node that has left says nothing any more, whatever it still hears of:
// it would be taken for one that is back.
func TestLeft(t *testing.T) {
	url := storetest.Server(t)
	a, b := join(t, url, "a"), join(t, url, "b")
	await(t, "b knows a", func() bool { return len(b.List()) == 2 })
	a.Close()
	a.Claim("ghost", time.Now())
	last, err := json.Marshal(note{Info: Info{ID: "c", Name: "c"}, Seq: 1, Now: time.Now(), Anew: true, Claims: []claim{{Device: "last", Node: "c", Stamp: 1}}})
	if err == nil {
		err = a.cfg.Store.Publish(subjectAll, last)
	}
	if err != nil {
		t.Fatal(err)
	}
	b.until("last", at("c"))
	if p, ok := b.Where("ghost"); ok {
		t.Errorf("a node that has left tells of a device: %+v", p)
	}
	if list := b.List(); len(list) != 2 || list[1].Name != "c" {
		t.Errorf("nodes %+v", list)
	}
}

// TestAfter: of any two claims one is the newer, whatever came first.
func TestAfter(t *testing.T) {
	now := time.Now()
	order := []claim{ // oldest first
		{Stamp: 1, Node: "b", Seen: now.Add(time.Hour)},
		{Stamp: 2, Node: "a", Seen: now},
		{Stamp: 2, Node: "a", Seen: now, Silent: true},
		{Stamp: 2, Node: "a", Seen: now.Add(1)},
		{Stamp: 2, Node: "a", Seen: now, Gone: true},
		{Stamp: 2, Node: "b", Seen: now},
		{Stamp: 3, Node: "a", Seen: now},
	}
	for i := range order {
		for j := range order {
			if got := order[i].after(&order[j]); got != (i > j) {
				t.Errorf("claim %d after claim %d: %v", i, j, got)
			}
		}
		if !order[i].after(nil) {
			t.Errorf("claim %d is not after none", i)
		}
	}
}

// TestFar: requests, answers, refusals and faults arrive as they are; what is
// too long is refused, and who is not there is offline.
func TestFar(t *testing.T) {
	url := storetest.Server(t)
	a, b := join(t, url, "a"), join(t, url, "b")
	lamp := &device{}
	a.connect("lamp", lamp)
	b.until("lamp", at(a.self.ID))
	req := &oic.Request{Op: oic.Create, Href: "/a/light?if=oic.if.create", Accept: oic.OCF, Format: oic.CBOR, Body: []byte{1, 2}, Whole: true,
		From: oic.Identity{Account: "home", Admin: true, Credential: "token:x"}}
	for _, c := range []struct {
		name string
		resp *oic.Response
		err  error
		want func(err error) bool
	}{
		{"answer", &oic.Response{Status: oic.Created, Format: oic.OCF, Body: []byte{3}, Location: "/a/1"}, nil, nil},
		{"refusal", nil, &oic.StatusError{Status: oic.Conflict, Diag: "no", Retry: time.Second, Format: oic.CBOR, Body: []byte{4}}, func(err error) bool {
			e, ok := errors.AsType[*oic.StatusError](err)
			return ok && e.Status == oic.Conflict && e.Diag == "no" && e.Retry == time.Second && e.Format == oic.CBOR && bytes.Equal(e.Body, []byte{4})
		}},
		{"offline", nil, errors.Join(oic.ErrOffline, oic.ErrNotSent), func(err error) bool {
			return errors.Is(err, oic.ErrOffline) && errors.Is(err, oic.ErrNotSent)
		}},
		{"no answer", nil, context.DeadlineExceeded, func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
		{"a fault", nil, errors.New("secret"), func(err error) bool { return err.Error() == errFault.Error() }},
		{"too long", &oic.Response{Status: oic.Content, Body: make([]byte, store.MaxValue+1)}, nil, func(err error) bool {
			got, _ := oic.StatusOf(err)
			return got == oic.TooLarge
		}},
	} {
		lamp.handle = func(_ context.Context, got *oic.Request) (*oic.Response, error) {
			if got.Op != req.Op || got.Href != req.Href || got.Accept != req.Accept || got.Format != req.Format ||
				!bytes.Equal(got.Body, req.Body) || got.Whole != req.Whole || got.From != req.From {
				t.Errorf("%s: the device was asked %+v", c.name, got)
			}
			return c.resp, c.err
		}
		resp, err := b.Session("lamp").Handle(t.Context(), req)
		switch {
		case c.want != nil && (err == nil || !c.want(err)):
			t.Errorf("%s: %v", c.name, err)
		case c.want == nil && (err != nil || resp.Status != c.resp.Status || resp.Location != c.resp.Location || !bytes.Equal(resp.Body, c.resp.Body)):
			t.Errorf("%s: %+v, %v", c.name, resp, err)
		}
	}
	huge := *req
	huge.Body = make([]byte, 2<<20)
	_, err := b.Session("lamp").Handle(t.Context(), &huge)
	if got, _ := oic.StatusOf(err); got != oic.TooLarge || !errors.Is(err, oic.ErrNotSent) {
		t.Errorf("2 MiB: %v", err)
	}
	far := b.Session("lamp")
	a.mu.Lock()
	delete(a.devices, "lamp")
	a.mu.Unlock()
	if _, err := far.Handle(t.Context(), req); !errors.Is(err, oic.ErrOffline) || !errors.Is(err, oic.ErrNotSent) {
		t.Errorf("a device that has just gone: %v", err)
	}
	a.Close()
	if _, err := far.Handle(t.Context(), req); !errors.Is(err, oic.ErrOffline) {
		t.Errorf("a device whose node has gone: %v", err)
	}
}

// TestFarWaits: a request that waits ends with the asker's patience, and with the
// node.
func TestFarWaits(t *testing.T) {
	url := storetest.Server(t)
	a, b := join(t, url, "a"), join(t, url, "b")
	asked, over := make(chan struct{}, 2), make(chan error, 2)
	a.connect("lamp", &device{handle: func(ctx context.Context, _ *oic.Request) (*oic.Response, error) {
		asked <- struct{}{}
		<-ctx.Done()
		over <- ctx.Err()
		return nil, ctx.Err()
	}})
	b.until("lamp", at(a.self.ID))
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := b.Session("lamp").Handle(ctx, &oic.Request{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a device that does not answer: %v", err)
	}
	<-asked
	if err := <-over; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("at the device: %v", err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := b.Session("lamp").Handle(t.Context(), &oic.Request{})
		done <- err
	}()
	<-asked
	a.Close()
	if err := <-done; !errors.Is(err, oic.ErrOffline) && !errors.Is(err, errFault) {
		t.Errorf("its node was closed: %v", err)
	}
}

// TestFarObserve: notifications come in order, the newest of those that cannot
// wait, and the end with its reason; the device is watched no longer than by
// those who do.
func TestFarObserve(t *testing.T) {
	url := storetest.Server(t)
	a, b := join(t, url, "a"), join(t, url, "b")
	lamp := &device{news: make(chan *oic.Response)}
	a.connect("lamp", lamp)
	b.until("lamp", at(a.self.ID))
	got, done := make(chan byte, 10), make(chan error, 1)
	slow := make(chan struct{})
	go func() {
		done <- b.Session("lamp").Observe(t.Context(), &oic.Request{}, func(r *oic.Response) {
			got <- r.Body[0]
			<-slow
		})
	}()
	lamp.news <- &oic.Response{Status: oic.Content, Body: []byte{0}}
	if n := <-got; n != 0 {
		t.Errorf("first %d", n)
	}
	for i := range byte(3) {
		lamp.news <- &oic.Response{Status: oic.Content, Body: []byte{i + 1}} // taken, though nobody is ready for it
	}
	close(slow)
	if n := <-got; n < 2 { // 3 may be on its way
		t.Errorf("then %d, want the newest", n)
	}
	close(lamp.news)
	if err := <-done; !errors.Is(err, oic.ErrOffline) {
		t.Errorf("the connection of the device was lost: %v", err)
	}

	lamp.news = make(chan *oic.Response)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- b.Session("lamp").Observe(ctx, &oic.Request{}, func(*oic.Response) { cancel() }) }()
	lamp.news <- &oic.Response{Status: oic.Content, Body: []byte{9}}
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the observer was tired of it: %v", err)
	}
	await(t, "the device is no more observed for somebody who is not there", func() bool { return a.asks.TryAcquire(maxAsks) })
}

// FuzzParseAnswer: whatever comes instead of an answer is one or an error.
func FuzzParseAnswer(f *testing.F) {
	f.Add(answer{Status: oic.Content, Format: oic.OCF, Body: []byte{1}, Last: true}.encode())
	f.Add(refusalOf(&oic.StatusError{Status: oic.TooMany, Diag: "slowly", Retry: time.Second}).encode())
	f.Add(refusalOf(errors.Join(oic.ErrOffline, oic.ErrNotSent)).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parseAnswer(b)
		if err != nil {
			return
		}
		again, err := parseAnswer(a.encode())
		if err != nil || len(a.Body) <= store.MaxValue && (again.Kind != a.Kind || again.Status != a.Status || !bytes.Equal(again.Body, a.Body)) {
			t.Fatalf("%+v came back as %+v (%v)", a, again, err)
		}
	})
}
