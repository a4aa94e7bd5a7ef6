package oiccoap_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
)

// sky is an Observer whose resources change when the test says so.
type sky struct {
	mu      sync.Mutex
	pushes  map[string]chan string // by href; a push that begins with "!" ends the observation
	running int
}

func newSky(hrefs ...string) *sky {
	s := &sky{pushes: map[string]chan string{}}
	for _, h := range hrefs {
		s.pushes[h] = make(chan string)
	}
	return s
}

func (s *sky) Handle(context.Context, *oic.Request) (*oic.Response, error) {
	return &oic.Response{Status: oic.Content, Format: oic.OCF, Body: []byte("once")}, nil
}

func (s *sky) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	s.count(1)
	defer s.count(-1)
	push := s.pushes[req.Href]
	if push == nil {
		return oic.Errorf(oic.NotFound, "no resource %s", req.Href)
	}
	if req.Href == "/still" {
		each(&oic.Response{Status: oic.Content, Body: []byte("still"), Last: true})
		return oic.ErrNotObservable
	}
	each(&oic.Response{Status: oic.Content, Format: oic.OCF, Body: []byte("first")})
	for {
		select {
		case text := <-push:
			if text[0] == '!' {
				return oic.Errorf(oic.NotFound, "%s", text[1:])
			}
			each(&oic.Response{Status: oic.Content, Format: oic.OCF, Body: []byte(text)})
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *sky) count(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running += n
}

func (s *sky) observers() int {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running
}

// watched is an observation by a Client.
type watched struct {
	cancel context.CancelFunc
	mu     sync.Mutex
	seen   []string
	err    error
}

func watch(t *testing.T, client *oiccoap.Client, href string) *watched {
	w := &watched{}
	ctx, cancel := context.WithCancel(t.Context())
	w.cancel = cancel
	go func() {
		err := client.Observe(ctx, &oic.Request{Href: href}, func(resp *oic.Response) {
			w.mu.Lock()
			defer w.mu.Unlock()
			s := string(resp.Body)
			if resp.Last {
				s += " (last)"
			}
			w.seen = append(w.seen, s)
		})
		w.mu.Lock()
		defer w.mu.Unlock()
		w.err = err
	}()
	synctest.Wait()
	return w
}

func (w *watched) check(t *testing.T, wantErr error, want ...string) {
	t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.seen, want) || fmt.Sprint(w.err) != fmt.Sprint(wantErr) {
		t.Errorf("saw %q, %v\nwant %q, %v", w.seen, w.err, want, wantErr)
	}
}

func TestObserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := newSky("/a", "/still")
		client := oiccoap.NewClient(connect(t, serving(far)))
		w := watch(t, client, "/a")
		w.check(t, nil, "first")
		far.pushes["/a"] <- "second"
		far.pushes["/a"] <- "third"
		synctest.Wait()
		w.mu.Lock()
		if n := len(w.seen); n < 2 || w.seen[n-1] != "third" { // the second may have been merged into it
			t.Errorf("saw %q", w.seen)
		}
		w.mu.Unlock()
		w.cancel()
		if n := far.observers(); n != 0 {
			t.Errorf("%d observers after the end", n)
		}
		if w.err != context.Canceled {
			t.Errorf("err = %v", w.err)
		}

		watch(t, client, "/still").check(t, oic.ErrNotObservable, "still (last)")
		watch(t, client, "/none").check(t, oic.Errorf(oic.NotFound, "no resource /none"))

		w = watch(t, client, "/a")
		far.pushes["/a"] <- "!deleted"
		w.check(t, oic.Errorf(oic.NotFound, "deleted"), "first")
		if n := far.observers(); n != 0 {
			t.Errorf("%d observers at the end", n)
		}
	})
}

// Of a batch nothing may be left out, for a notification has only what has
// changed; who is too slow for that hears of it.
func TestObserveBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const href = "/col?if=oic.if.b"
		far := newSky(href)
		client := oiccoap.NewClient(connect(t, serving(far)))
		hold, seen := make(chan struct{}), []string{}
		ended := make(chan error)
		go func() {
			ended <- client.Observe(t.Context(), &oic.Request{Href: href}, func(resp *oic.Response) {
				seen = append(seen, string(resp.Body))
				<-hold
			})
		}()
		synctest.Wait()
		for i := range 3 {
			far.pushes[href] <- fmt.Sprint(i)
			synctest.Wait()
		}
		for range 4 {
			hold <- struct{}{}
		}
		synctest.Wait()
		if got := fmt.Sprint(seen); got != "[first 0 1 2]" {
			t.Errorf("saw %s", got)
		}
		for i := range 67 { // one is with the observer
			far.pushes[href] <- fmt.Sprint(i)
			synctest.Wait()
		}
		close(hold)
		if s, _ := oic.StatusOf(<-ended); s != oic.Unavailable || len(seen) != 4+65 || far.observers() != 0 {
			t.Errorf("ended with %v behind %d, %d observe still", s, len(seen), far.observers())
		}
	})
}

// A Handler that cannot be observed answers once.
func TestObserveHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := &answers{resp: &oic.Response{Body: []byte("once")}}
		client := oiccoap.NewClient(connect(t, serving(far)))
		watch(t, client, "/a").check(t, oic.ErrNotObservable, "once (last)")
	})
}

// Observing a server that does not know OCF's options.
func TestObserveSimplifies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := oiccoap.NewClient(connect(t, coap.HandlerFunc(func(x *coap.Exchange) {
			m := message(coap.Content, "", option(coap.Observe, 1))
			m.Payload = []byte("now")
			if x.Request().Options.Has(coap.OCFAcceptVersion) {
				m = &coap.Message{Code: coap.BadOption}
			}
			x.Reply(m)
		})))
		w := watch(t, client, "/time")
		w.check(t, nil, "now")
		w.cancel()
		w.check(t, context.Canceled, "now")
	})
}

// raw is a peer that writes its own tokens, and keeps what it gets.
type raw struct {
	conn *coap.Conn
	mu   sync.Mutex
	got  []string
}

func newRaw(t *testing.T, h coap.Handler) *raw { return &raw{conn: connect(t, h)} }

// observe registers with conn.Observe; it returns the way to cancel.
func (r *raw) observe(t *testing.T, href string) *coap.Observation {
	t.Helper()
	o, err := r.conn.Observe(message(coap.GET, href, option(coap.Accept, 10000)), func(m *coap.Message, err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if err != nil {
			r.got = append(r.got, err.Error())
			return
		}
		seq, ok := m.Options.Uint(coap.Observe)
		r.got = append(r.got, fmt.Sprintf("%v %d,%v %s", m.Code, seq, ok, m.Payload))
	})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return o
}

func (r *raw) check(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.got, want) {
		t.Errorf("got %q\nwant %q", r.got, want)
	}
}

func TestNotificationsOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := newSky("/a", "/still")
		r := newRaw(t, serving(far))
		r.observe(t, "/a")
		far.pushes["/a"] <- "second"
		far.pushes["/a"] <- "!gone"
		r.check(t, "2.05 Content 1,true first", "2.05 Content 2,true second", "4.04 Not Found 0,false gone", coap.ErrNotObserved.Error())
		r.got = nil
		r.observe(t, "/still")
		r.check(t, "2.05 Content 0,false still", coap.ErrNotObserved.Error())
	})
}

// The 65th observation of a peer is answered once (threats 3.2), the others go
// on, and so do its other requests.
func TestObserveLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := newSky("/a")
		r := newRaw(t, serving(far))
		var first *coap.Observation
		for i := range 64 {
			o := r.observe(t, "/a")
			if i == 0 {
				first = o
			}
		}
		if n := far.observers(); n != 64 {
			t.Errorf("%d observers", n)
		}
		r.got = nil
		r.observe(t, "/a")
		r.check(t, "2.05 Content 0,false once", coap.ErrNotObserved.Error())
		resp, err := r.conn.Do(t.Context(), message(coap.GET, "/b"))
		if err != nil || string(resp.Payload) != "once" {
			t.Errorf("another request: %v, %v", resp, err)
		}
		first.Cancel()
		if n := far.observers(); n != 63 {
			t.Errorf("%d observers after a cancellation", n)
		}
		r.got = nil
		r.observe(t, "/a")
		r.check(t, "2.05 Content 1,true first")
		r.conn.Close()
		if n := far.observers(); n != 0 {
			t.Errorf("%d observers after the end of the connection", n)
		}
	})
}

// A registration with the token of another one takes its place.
func TestObserveAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := newSky("/a", "/b")
		r := newRaw(t, serving(far))
		send := func(href string, observe uint32) {
			m := message(coap.GET, href, option(coap.Observe, observe))
			m.Token = coap.TokenFrom(7)
			if err := r.conn.Send(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		send("/a", 0)
		send("/b", 0)
		if n := far.observers(); n != 1 {
			t.Errorf("%d observers of one token", n)
		}
		far.pushes["/b"] <- "it is this one"
		send("/b", 5) // neither registers nor cancels
		if n := far.observers(); n != 1 {
			t.Errorf("%d observers after a value that means nothing", n)
		}
		send("/b", 1)
		if n := far.observers(); n != 0 {
			t.Errorf("%d observers after the end", n)
		}
	})
}

func TestEndObservations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := newSky("/a")
		var server oiccoap.Server
		r := newRaw(t, coap.HandlerFunc(func(x *coap.Exchange) { server.Serve(x, far, me) }))
		r.observe(t, "/a")
		server.EndObservations(oic.Errorf(oic.Unauthorized, "signed out"))
		r.check(t, "2.05 Content 1,true first", "4.01 Unauthorized 0,false signed out", coap.ErrNotObserved.Error())
		if n := far.observers(); n != 0 {
			t.Errorf("%d observers", n)
		}
	})
}

// A proxy is a Server whose handler is a Client.
func TestObserveThroughProxy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := newSky("/a", "/still")
		device := connect(t, serving(far))
		phone := oiccoap.NewClient(connect(t, serving(oiccoap.NewClient(device))))
		w := watch(t, phone, "/a")
		far.pushes["/a"] <- "second"
		w.check(t, nil, "first", "second")
		watch(t, phone, "/still").check(t, oic.ErrNotObservable, "still (last)")
		watch(t, phone, "/none").check(t, oic.Errorf(oic.NotFound, "no resource /none"))
		device.Close()
		w.check(t, oic.Errorf(oic.Unavailable, "device offline"), "first", "second")
		if _, err := phone.Handle(t.Context(), &oic.Request{Href: "/a"}); errors.Is(err, oic.ErrOffline) {
			t.Errorf("the proxy is not offline: %v", err)
		}
	})
}
