package cloud

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/oic"
)

// way returns the way of a person to the lamp.
func (w *world) way(who oic.Identity) oic.Observer {
	w.t.Helper()
	way, err := w.Device(w.t.Context(), who, lamp)
	w.must(err)
	return way
}

func TestRequestReachesTheDevice(t *testing.T) {
	w := newWorld(t)
	home := w.who("home")
	body := []byte{0xa1}
	resp, err := w.way(home).Handle(t.Context(), &oic.Request{Op: oic.Update, Href: "/a/light?if=oic.if.rw", Format: oic.CBOR, Body: body})
	if err != nil || resp.Status != oic.Content {
		t.Fatalf("Handle = %+v, %v", resp, err)
	}
	want := oic.Request{Op: oic.Update, Href: "/a/light?if=oic.if.rw", From: home, Format: oic.CBOR, Body: body}
	if asked := w.thing.asked(); len(asked) != 1 || fmt.Sprint(asked[0]) != fmt.Sprint(want) {
		t.Errorf("the device was asked %+v\n  want %+v", asked, want)
	}
}

// TestRule01FromIsNotTrustedTwice: who asks is whoever the request is from,
// not whoever got the way.
func TestRule01FromIsNotTrustedTwice(t *testing.T) {
	w := newWorld(t)
	_, err := w.way(w.who("home")).Handle(t.Context(), &oic.Request{Href: "/a/light", From: w.who("barn")})
	w.status("from another account", err, oic.NotFound)
}

func TestRefusalOfTheDevice(t *testing.T) {
	w := newWorld(t)
	w.thing.handle = func(context.Context, *oic.Request) (*oic.Response, error) {
		return nil, oic.Errorf(oic.MethodNotAllowed, "not here")
	}
	_, err := w.way(w.who("home")).Handle(t.Context(), &oic.Request{Op: oic.Replace, Href: "/a/light"})
	w.status("replace", err, oic.MethodNotAllowed)
}

func TestOffline(t *testing.T) {
	w := newWorld(t)
	way := w.way(w.who("home"))
	w.thing.detach()
	_, err := way.Handle(t.Context(), &oic.Request{Href: "/a/light"})
	w.status("offline", err, oic.Unavailable)
	if _, diag := oic.StatusOf(err); !errors.Is(err, oic.ErrOffline) || !strings.HasPrefix(diag, "device offline since 20") {
		t.Errorf("Handle = %v (%q), want when the device went", err, diag)
	}
	err = way.Observe(t.Context(), &oic.Request{Href: "/a/plain"}, func(*oic.Response) {})
	if !errors.Is(err, oic.ErrOffline) {
		t.Errorf("Observe = %v", err)
	}
	w.close()
	w.open()
	_, err = w.way(w.who("home")).Handle(t.Context(), &oic.Request{Href: "/a/light"})
	if _, diag := oic.StatusOf(err); !errors.Is(err, oic.ErrOffline) || !strings.Contains(diag, "not seen") {
		t.Errorf("after a restart: %v (%q)", err, diag)
	}
}

// TestRequestsUnderWay: threats section 3.2, 32 to a device, the next is a 5.03
// at once.
func TestRequestsUnderWay(t *testing.T) {
	w := newWorld(t)
	way := w.way(w.who("home"))
	arrived, answer := make(chan bool, maxRequests), make(chan bool)
	w.thing.handle = func(context.Context, *oic.Request) (*oic.Response, error) {
		arrived <- true
		<-answer
		return &oic.Response{Status: oic.Content}, nil
	}
	var wg sync.WaitGroup
	for range maxRequests {
		wg.Go(func() {
			if _, err := way.Handle(t.Context(), &oic.Request{Href: "/a/light"}); err != nil {
				t.Error(err)
			}
		})
	}
	for range maxRequests {
		<-arrived
	}
	_, err := way.Handle(t.Context(), &oic.Request{Href: "/a/light"})
	w.status("one more", err, oic.Unavailable)
	close(answer)
	wg.Wait()
	if _, err := way.Handle(t.Context(), &oic.Request{Href: "/a/light"}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// watching observes a resource in the background.
type watching struct {
	seen chan string // bodies
	done chan error
	stop context.CancelFunc
}

func (w *world) watching(who oic.Identity, req *oic.Request) *watching {
	ctx, cancel := context.WithCancel(w.t.Context())
	o := &watching{seen: make(chan string, 100), done: make(chan error, 1), stop: cancel}
	way := w.way(who)
	go func() {
		o.done <- way.Observe(ctx, req, func(r *oic.Response) { o.seen <- fmt.Sprintf("%x %d", r.Body, r.Format) })
	}()
	w.t.Cleanup(cancel)
	return o
}

func (o *watching) expect(t *testing.T, want string) {
	t.Helper()
	timer := time.NewTimer(time.Minute)
	defer timer.Stop()
	select {
	case got := <-o.seen:
		if got != want {
			t.Errorf("observed %s, want %s", got, want)
		}
	case err := <-o.done:
		t.Fatalf("the observation ended: %v; want %s", err, want)
	case <-timer.C:
		t.Fatalf("observed nothing, want %s", want)
	}
}

// TestObserveSurvivesReconnection: it begins with the last state, goes on
// while the device is away, and has what it reports after it came back.
func TestObserveSurvivesReconnection(t *testing.T) {
	w := newWorld(t)
	w.report("/a/light", 0xf4)
	o := w.watching(w.who("home"), &oic.Request{Href: "/a/light"})
	o.expect(t, "f4 10000")
	w.report("/a/light", 0xf5)
	o.expect(t, "f5 10000")
	w.thing.detach()
	late := w.watching(w.who("home"), &oic.Request{Href: "/a/light", Accept: oic.CBOR})
	late.expect(t, "f5 60") // while it is away, and under the other name of CBOR
	w.attach(w.lamp)
	w.report("/a/light", 0xf4)
	o.expect(t, "f4 10000")
	late.expect(t, "f4 60")
	if n := len(w.thing.asked()); n != 0 {
		t.Errorf("the device was asked %d times", n)
	}
	o.stop()
	if err := w.within("stop", o.done); !errors.Is(err, context.Canceled) {
		t.Errorf("Observe = %v, want the context's error", err)
	}
}

func TestObserveWithoutAState(t *testing.T) {
	w := newWorld(t)
	o := w.watching(w.who("home"), &oic.Request{Href: "/a/light"})
	o.expect(t, "f4 10000") // asked for
	w.report("/a/light", 0xf5)
	o.expect(t, "f5 10000")
}

func TestObserveBeforeTheDeviceComes(t *testing.T) {
	w := newWorld(t)
	w.thing.detach()
	o := w.watching(w.who("home"), &oic.Request{Href: "/a/light"})
	w.report("/a/light", 0xf5)
	o.expect(t, "f5 10000")
}

func TestObserveAtTheDevice(t *testing.T) {
	w := newWorld(t)
	for _, req := range []*oic.Request{
		{Href: "/a/plain"},
		{Href: "/a/light?if=oic.if.s"},
		{Href: "/a/light", Accept: oic.JSON},
		{Href: "/a/unpublished"},
	} {
		o := w.watching(w.who("home"), req)
		o.expect(t, "f4 10000")
		asked := w.thing.asked()
		if last := asked[len(asked)-1]; last.Href != req.Href || last.Op != oic.Retrieve || last.From.Account != "home" {
			t.Errorf("the device was asked %+v", last)
		}
		o.stop()
		w.within("stop", o.done)
	}
}

// TestSlowObserverSeesTheNewest: while it takes its time, changes are merged,
// so that it never waits for a hundred of them afterwards.
func TestSlowObserverSeesTheNewest(t *testing.T) {
	w := newWorld(t)
	w.report("/a/light", 0)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first, second, release := make(chan bool), make(chan bool), make(chan bool)
	var seen []byte
	done := make(chan error, 1)
	way := w.way(w.who("home"))
	go func() {
		done <- way.Observe(ctx, &oic.Request{Href: "/a/light"}, func(r *oic.Response) {
			switch seen = append(seen, r.Body[0]); len(seen) {
			case 1:
				close(first)
			case 2:
				close(second)
				<-release
			}
			if r.Body[0] == 100 {
				cancel()
			}
		})
	}()
	<-first
	for i := byte(1); i <= 100; i++ {
		w.report("/a/light", i)
		if i == 1 {
			<-second
		}
	}
	close(release)
	w.within("the newest", done)
	if !slices.IsSorted(seen) || seen[len(seen)-1] != 100 || len(seen) > 99 {
		t.Errorf("saw %d, want few, in order, the newest last", seen)
	}
}

// TestTooManyWatchers: threats section 3.2, the resource is answered once.
func TestTooManyWatchers(t *testing.T) {
	w := newWorld(t)
	w.flow(lamp).watchers.Store(maxWatchers)
	var got []*oic.Response
	err := w.way(w.who("home")).Observe(t.Context(), &oic.Request{Href: "/a/light"}, func(r *oic.Response) { got = append(got, r) })
	if !errors.Is(err, oic.ErrNotObservable) || len(got) != 1 || !got[0].Last {
		t.Errorf("Observe = %v after %d answers", err, len(got))
	}
	if n := w.flow(lamp).watchers.Load(); n != maxWatchers {
		t.Errorf("%d watchers are counted, want %d", n, maxWatchers)
	}
}

// TestBad44LostRights: what is open ends within a second when the right to it
// is lost, whatever the loss.
func TestBad44LostRights(t *testing.T) {
	losses := map[string]struct {
		life time.Duration
		lose func(w *world, who oic.Identity) error
		want oic.Status
	}{
		"token revoked": {0, func(w *world, _ oic.Identity) error {
			return w.RevokeToken(w.t.Context(), oic.Identity{Account: "home"}, w.tokenIDs("home")[0])
		}, oic.Unauthorized},
		"token expired": {5 * time.Second, func(*world, oic.Identity) error { return nil }, oic.Unauthorized},
		"account deleted": {0, func(w *world, _ oic.Identity) error {
			return w.DeleteAccount(w.t.Context(), operator, "home")
		}, oic.Unauthorized},
		"account locked": {0, func(w *world, _ oic.Identity) error {
			return w.LockAccount(w.t.Context(), operator, "home", true)
		}, oic.Unauthorized},
		"device deleted": {0, func(w *world, who oic.Identity) error {
			return w.DeleteDevice(w.t.Context(), who, lamp)
		}, oic.NotFound},
		"device moved": {0, func(w *world, who oic.Identity) error {
			w.must(w.SignOff(w.t.Context(), w.lamp))
			w.join("barn", lamp)
			return nil
		}, oic.NotFound},
	}
	for name, l := range losses {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.report("/a/light", 0xf4)
			_, who := w.token("home", l.life)
			recorded := w.watching(who, &oic.Request{Href: "/a/light"})
			direct := w.watching(who, &oic.Request{Href: "/a/plain"})
			recorded.expect(t, "f4 10000")
			direct.expect(t, "f4 10000")
			asking, stream := w.asking(who), w.streaming(who)

			w.must(l.lose(w, who))
			for what, done := range map[string]<-chan error{"observation": recorded.done, "observation at the device": direct.done, "request": asking} {
				w.status(what, w.within(what, done), l.want)
			}
			if l.want == oic.Unauthorized { // the stream is about the account
				w.status("stream", w.within("stream", stream), l.want)
			}
			if name == "account deleted" || name == "device deleted" || name == "device moved" {
				w.within("session", closed(w.thing))
				w.status("report", w.tell(w.lamp, "/a/light", &oic.Response{}), oic.Unauthorized)
			}
		})
	}
}

// asking has a request under way that the device does not answer.
func (w *world) asking(who oic.Identity) <-chan error {
	arrived, done := make(chan bool), make(chan error, 1)
	w.thing.mu.Lock()
	w.thing.handle = func(ctx context.Context, _ *oic.Request) (*oic.Response, error) {
		close(arrived)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	w.thing.mu.Unlock()
	way := w.way(who)
	go func() {
		_, err := way.Handle(w.t.Context(), &oic.Request{Href: "/a/light"})
		done <- err
	}()
	<-arrived
	return done
}

// streaming follows the events of an account.
func (w *world) streaming(who oic.Identity) <-chan error {
	ctx, cancel := context.WithCancel(w.t.Context())
	w.t.Cleanup(cancel)
	begun, done := make(chan bool, 100), make(chan error, 1)
	go func() {
		done <- w.FollowEvents(ctx, who, event.Filter{From: 1}, func(event.Event) error { begun <- true; return nil })
	}()
	<-begun
	return done
}

// TestNothingIsHeldWhenNothingIsOpen: what is open is kept in sight, and no
// longer than that.
func TestNothingIsHeldWhenNothingIsOpen(t *testing.T) {
	w := newWorld(t)
	o := w.watching(w.who("home"), &oic.Request{Href: "/a/light"})
	o.expect(t, "f4 10000")
	o.stop()
	w.within("stop", o.done)
	w.thing.detach()
	w.held.mu.Lock()
	defer w.held.mu.Unlock()
	if len(w.held.accounts) != 0 || len(w.held.proofs) != 0 || len(w.held.devices) != 0 {
		t.Errorf("held: %d accounts, %d proofs, %d devices", len(w.held.accounts), len(w.held.proofs), len(w.held.devices))
	}
}

func TestClose(t *testing.T) {
	w := newWorld(t)
	o := w.watching(w.who("home"), &oic.Request{Href: "/a/plain"})
	o.expect(t, "f4 10000")
	w.Close()
	w.status("observation", w.within("observation", o.done), oic.Unavailable)
	w.within("session", closed(w.thing))
}

// TestHeldAsksWhoIsConcerned: a change is asked about for those whose rights
// rest on it, however many others the account has.
func TestHeldAsksWhoIsConcerned(t *testing.T) {
	var h held
	h.init()
	const token = "token:abc"
	for _, o := range []*hold{
		{who: oic.Identity{Account: "home", Device: lamp, Credential: "grant:1"}, on: target{device: lamp}},
		{who: oic.Identity{Account: "home", Device: door, Credential: "grant:2"}, on: target{device: door}},
		{who: oic.Identity{Account: "home", Credential: token}, on: target{account: "home"}},
		{who: oic.Identity{Account: "home", Credential: token}, on: target{device: lamp}},
		{who: oic.Identity{Account: "home", Credential: "password:x"}, on: target{account: "home"}},
		{who: oic.Identity{Account: "barn", Credential: "token:d"}, on: target{account: "barn"}},
	} {
		defer h.add(o)()
	}
	for name, c := range map[string]struct {
		change func()
		want   int
	}{
		"the account":        {func() { h.rightsChanged("home", "") }, 5},
		"a device's grant":   {func() { h.rightsChanged("home", lamp) }, 1},
		"a token":            {func() { h.rightsChanged("home", token) }, 2},
		"another token":      {func() { h.rightsChanged("home", "token:new") }, 0},
		"a device that came": {func() { h.rightsChanged("home", fresh); h.deviceChanged(fresh) }, 0},
		"a device":           {func() { h.deviceChanged(lamp) }, 2},
	} {
		clear(h.dirty)
		if c.change(); len(h.dirty) != c.want {
			t.Errorf("%s: %d are asked, want %d", name, len(h.dirty), c.want)
		}
	}
}
