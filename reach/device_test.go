package reach

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/oic"
)

// path is a route of which the test says how it is.
type path struct {
	name  string
	knows bool // it knows whether the device is there

	mu      sync.Mutex // guards what follows
	is      presence
	changed chan struct{}
	answer  func(ctx context.Context) (*oic.Response, error)
	err     error // of every observation that begins now
	state   string
	news    chan struct{} // closed when state or cut changes
	cut     error         // of the observations that are under way
	asked   int
	watched int
}

func newPath(name string, knows bool, is presence) *path {
	p := &path{name: name, knows: knows, is: is, changed: make(chan struct{}), news: make(chan struct{}), state: "a"}
	p.answer = func(context.Context) (*oic.Response, error) { return stateOf(name), nil }
	return p
}

func stateOf(s string) *oic.Response {
	body, _ := oic.Encode(oic.OCF, s)
	return &oic.Response{Status: oic.Content, Format: oic.OCF, Body: body}
}

func (p *path) via() string                                 { return p.name + ":" }
func (p *path) wake()                                       {}
func (p *path) ping(context.Context) (time.Duration, error) { return time.Second, nil }

func (p *path) presence() (presence, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.knows {
		return unknown, nil
	}
	return p.is, p.changed
}

func (p *path) Handle(ctx context.Context, _ *oic.Request) (*oic.Response, error) {
	p.mu.Lock()
	p.asked++
	answer := p.answer
	p.mu.Unlock()
	return answer(ctx)
}

func (p *path) Observe(ctx context.Context, _ *oic.Request, each func(*oic.Response)) error {
	p.mu.Lock()
	p.watched++
	err := p.err
	p.mu.Unlock()
	if err != nil {
		return err
	}
	told := ""
	for {
		p.mu.Lock()
		state, news, cut := p.state, p.news, p.cut
		p.mu.Unlock()
		if cut != nil {
			return cut
		}
		if state != told {
			told = state
			each(stateOf(state))
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// set changes the path, and tells whom that concerns.
func (p *path) set(f func(*path)) {
	p.mu.Lock()
	was := p.is
	f(p)
	if p.is != was {
		close(p.changed)
		p.changed = make(chan struct{})
	}
	close(p.news)
	p.news = make(chan struct{})
	p.mu.Unlock()
	synctest.Wait()
}

// bump tells that presence may have changed.
func (p *path) bump(is presence) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.is = is
	close(p.changed)
	p.changed = make(chan struct{})
}

// tries is how often p was observed.
func (p *path) tries() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.watched
}

// reached is a device with paths, and what was told about it.
type reached struct {
	*Device
	mu      sync.Mutex // guards what follows
	changes []string
	states  []string
	ended   chan error
}

func reachedBy(paths ...*path) *reached {
	r := &reached{ended: make(chan error, 1)}
	w := &Ways{cfg: Config{OnChange: func(c Change) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.changes = append(r.changes, c.From+" → "+c.To)
	}}}
	var routes []route
	for _, p := range paths {
		routes = append(routes, p)
	}
	r.Device = newDevice(w, known{ID: "di"}, routes...)
	return r
}

func (r *reached) observe(ctx context.Context) {
	go func() {
		r.ended <- r.Observe(ctx, &oic.Request{Href: "/a"}, func(resp *oic.Response) {
			var s string
			oic.Decode(resp.Format, resp.Body, &s)
			r.mu.Lock()
			defer r.mu.Unlock()
			r.states = append(r.states, s)
		})
	}()
	synctest.Wait()
}

func (r *reached) expect(t *testing.T, states, changes string) {
	t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if got := strings.Join(r.states, " "); got != states {
		t.Errorf("told %q, want %q", got, states)
	}
	if got := strings.Join(r.changes, ", "); got != changes {
		t.Errorf("changes %q, want %q", got, changes)
	}
}

var (
	errUnsent = fmt.Errorf("%w: %w", oic.ErrOffline, oic.ErrNotSent) // the cloud knows since when the device is away
	errCut    = fmt.Errorf("%w: cut", oic.ErrOffline)                // while it was asked
)

// Which way a request goes. What changes something goes a second way only if
// it has certainly not gone the first.
func TestDeviceHandle(t *testing.T) {
	refusal := oic.Errorf(oic.Forbidden, "no")
	for _, c := range []struct {
		name        string
		op          oic.Op
		cloud, xmpp error
		is          presence // over XMPP
		want        string
		asked       string // cloud, xmpp
	}{
		{"the cloud first", oic.Retrieve, nil, nil, here, "cloud", "1 0"},
		{"a command, too", oic.Update, nil, nil, here, "cloud", "1 0"},
		{"offline there, so by XMPP", oic.Retrieve, errUnsent, nil, here, "xmpp", "1 1"},
		{"offline there: a command by XMPP", oic.Update, errUnsent, nil, unknown, "xmpp", "1 1"},
		{"lost on the way: a question again", oic.Retrieve, errCut, nil, here, "xmpp", "1 1"},
		{"lost on the way: what is the same twice, again", oic.Replace, errCut, nil, here, "xmpp", "1 1"},
		{"lost on the way: a removal again", oic.Delete, errCut, nil, here, "xmpp", "1 1"},
		{"lost on the way: a command never", oic.Update, errCut, nil, here, "! device offline: cut", "1 0"},
		{"lost on the way: a creation never", oic.Create, errCut, nil, here, "! device offline: cut", "1 0"},
		{"a refusal is an answer", oic.Retrieve, refusal, nil, here, "! 4.03 Forbidden: no", "1 0"},
		{"away by XMPP: the cloud goes first and last", oic.Retrieve, errUnsent, errUnsent, away, "! by cloud:: device offline: not sent; by xmpp:: device offline: not sent", "1 1"},
		{"unknown to XMPP adds nothing", oic.Retrieve, errCut, notSent(errNotListed), away, "! device offline: cut", "1 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cloud, xmpp := newPath("cloud", false, unknown), newPath("xmpp", true, c.is)
			for p, err := range map[*path]error{cloud: c.cloud, xmpp: c.xmpp} {
				if err != nil {
					p.answer = func(context.Context) (*oic.Response, error) { return nil, err }
				}
			}
			d := reachedBy(cloud, xmpp)
			resp, err := d.Handle(t.Context(), &oic.Request{Op: c.op, Href: "/a"})
			got := fmt.Sprint("! ", err)
			if err == nil {
				oic.Decode(resp.Format, resp.Body, &got)
				if got+":" != d.Via() {
					t.Errorf("%s, via %s", got, d.Via())
				}
			}
			if asked := fmt.Sprint(cloud.asked, " ", xmpp.asked); got != c.want || asked != c.asked {
				t.Errorf("%s, asked %s; want %s, asked %s", got, asked, c.want, c.asked)
			}
		})
	}
}

// The way of the last answer is the first to be tried next time, and each change
// is told once.
func TestDeviceRemembersTheWay(t *testing.T) {
	cloud, xmpp := newPath("cloud", false, unknown), newPath("xmpp", true, here)
	d := reachedBy(cloud, xmpp)
	offline := func(context.Context) (*oic.Response, error) { return nil, errUnsent }
	ask := func() {
		t.Helper()
		if _, err := d.Handle(t.Context(), &oic.Request{Op: oic.Update}); err != nil {
			t.Error(err)
		}
	}
	works := cloud.answer
	ask()
	cloud.answer = offline
	ask()
	ask()
	cloud.answer, xmpp.is = works, away
	ask()
	if got := fmt.Sprint(cloud.asked, " ", xmpp.asked, " ", d.changes); got != "3 2 [cloud: → xmpp: xmpp: → cloud:]" {
		t.Error(got)
	}
}

// A way that is dead and not known to be does not take all the time, where it
// does no harm to ask by another.
func TestDeviceSharesTime(t *testing.T) {
	for op, want := range map[oic.Op]string{oic.Retrieve: "<nil> after 5s", oic.Update: "context deadline exceeded after 10s"} {
		synctest.Test(t, func(t *testing.T) {
			cloud, xmpp := newPath("cloud", false, unknown), newPath("xmpp", true, here)
			cloud.answer = func(ctx context.Context) (*oic.Response, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			start := time.Now()
			_, err := reachedBy(cloud, xmpp).Handle(ctx, &oic.Request{Op: op})
			if got := fmt.Sprint(err, " after ", time.Since(start)); got != want {
				t.Errorf("%v: %s, want %s", op, got, want)
			}
		})
	}
}

// What went wrong by two ways has the kind of which something can be done about.
func TestFailures(t *testing.T) {
	by := newPath("x", false, unknown)
	for _, c := range []struct {
		a, b error
		want Kind
	}{
		{errUnsent, context.DeadlineExceeded, Timeout},
		{&Error{Kind: NoConnect, Err: errCut}, errUnsent, Offline},
		{&Error{Kind: NoConnect, Err: errCut}, &Error{Kind: NotAllowed, Err: errCut}, NoConnect},
		{&Error{Kind: NoConnect, Err: errCut}, notSent(errNotListed), NoConnect},
	} {
		err := failures{{by, c.a}, {by, c.b}}.err()
		if got := KindOf(err); got != c.want || !errors.Is(err, c.a) {
			t.Errorf("%v is of kind %d, want %d", err, got, c.want)
		}
	}
	if err := (failures{}).err(); err != nil {
		t.Error(err)
	}
}

// An observation goes by the way that knows when the device goes; it is carried
// over when it does, and back, and what has not changed meanwhile is not told
// again.
func TestObserveChangesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud, xmpp := newPath("cloud", false, unknown), newPath("xmpp", true, here)
		d := reachedBy(cloud, xmpp)
		ctx, cancel := context.WithCancel(t.Context())
		d.observe(ctx)
		d.expect(t, "a", "")
		state := func(s string) func(*path) { return func(p *path) { p.state = s } }
		xmpp.set(state("b"))
		cloud.set(state("b"))
		d.expect(t, "a b", "")
		xmpp.set(func(p *path) { p.is = away })
		d.expect(t, "a b", "xmpp: → cloud:")
		cloud.set(state("c"))
		d.expect(t, "a b c", "xmpp: → cloud:")
		xmpp.set(func(p *path) { p.is, p.state = here, "d" })
		d.expect(t, "a b c d", "xmpp: → cloud:, cloud: → xmpp:")
		// Nobody has it: the cloud says so, and is asked again now and then.
		cloud.set(func(p *path) { p.err = errUnsent })
		xmpp.set(func(p *path) { p.is = away })
		d.expect(t, "a b c d", "xmpp: → cloud:, cloud: → xmpp:, xmpp: → ")
		time.Sleep(time.Hour)
		if tries := cloud.tries(); tries < 60 || tries > 3600 {
			t.Errorf("the cloud was asked %d times in an hour", tries)
		}
		xmpp.set(func(p *path) { p.is = here })
		d.expect(t, "a b c d", "xmpp: → cloud:, cloud: → xmpp:, xmpp: → ,  → xmpp:")
		xmpp.set(func(p *path) { p.cut = oic.Errorf(oic.NotFound, "gone") })
		if err := <-d.ended; err.Error() != "4.04 Not Found: gone" {
			t.Errorf("it ended with %v", err)
		}
		d.expect(t, "a b c d", "xmpp: → cloud:, cloud: → xmpp:, xmpp: → ,  → xmpp:")
		cancel()
	})
}

// How observations begin, and what makes them end or go another way.
func TestObserveBegins(t *testing.T) {
	offline := func(p *path) { p.err = errUnsent }
	for _, c := range []struct {
		name    string
		is      presence
		prepare func(cloud, xmpp *path)
		later   func(cloud, xmpp *path) // after a minute
		states  string
		changes string
		err     string // "": it goes on
		watched string // cloud, xmpp
	}{
		{name: "away by XMPP: the cloud", is: away, states: "a", watched: "1 0"},
		{name: "XMPP does not know yet: the cloud, after a look", is: unknown, states: "a", watched: "1 0"},
		{name: "XMPP connects and then knows: waited for", is: unknown, prepare: func(_, x *path) {
			time.AfterFunc(200*time.Millisecond, func() { x.bump(unknown) })
			time.AfterFunc(500*time.Millisecond, func() { x.bump(here) })
		}, states: "a", watched: "0 1"},
		{name: "it comes later by XMPP", is: unknown, later: func(_, x *path) { x.set(func(p *path) { p.is = here }) },
			states: "a", changes: "cloud: → xmpp:", watched: "1 1"},
		{name: "offline everywhere", is: away, prepare: func(c, x *path) { offline(c); offline(x) },
			err: "by cloud:: device offline: not sent; by xmpp:: device offline: not sent", watched: "1 1"},
		{name: "here, but refuses: the cloud, and no more tries", is: here, prepare: func(_, x *path) { offline(x) }, states: "a", watched: "1 1"},
		{name: "refuses until it comes back", is: here, prepare: func(_, x *path) { offline(x) },
			later: func(_, x *path) {
				x.set(func(p *path) { p.is = away })
				x.set(func(p *path) { p.is, p.err = here, nil })
			}, states: "a", changes: "cloud: → xmpp:", watched: "1 2"},
		{name: "a refusal is the end", is: here, prepare: func(_, x *path) { x.err = oic.Errorf(oic.Forbidden, "no") },
			err: "4.03 Forbidden: no", watched: "0 1"},
		{name: "what cannot be observed is the end", is: here, prepare: func(_, x *path) { x.err = oic.ErrNotObservable },
			err: oic.ErrNotObservable.Error(), watched: "0 1"},
		{name: "the session is lost, the device is there: the cloud", is: here, later: func(_, x *path) { x.set(func(p *path) { p.cut = errCut }) },
			states: "a", changes: "xmpp: → cloud:", watched: "1 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cloud, xmpp := newPath("cloud", false, unknown), newPath("xmpp", true, c.is)
				if c.prepare != nil {
					c.prepare(cloud, xmpp)
				}
				d := reachedBy(cloud, xmpp)
				ctx, cancel := context.WithCancel(t.Context())
				d.observe(ctx)
				time.Sleep(time.Minute)
				if c.later != nil {
					c.later(cloud, xmpp)
				}
				d.expect(t, c.states, c.changes)
				if watched := fmt.Sprint(cloud.tries(), " ", xmpp.tries()); watched != c.watched {
					t.Errorf("observed %s times, want %s", watched, c.watched)
				}
				cancel()
				if err := <-d.ended; c.err == "" && err != context.Canceled || c.err != "" && err.Error() != c.err {
					t.Errorf("it ended with %v, want %q", err, c.err)
				}
			})
		})
	}
}

// With one way, which does not know who is there, an observation ends with it.
func TestObserveOneWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := newPath("cloud", false, unknown)
		d := reachedBy(cloud)
		d.observe(t.Context())
		gone := &Error{Kind: NoConnect, Err: errCut}
		cloud.set(func(p *path) { p.cut = gone })
		if err := <-d.ended; err != gone {
			t.Errorf("it ended with %v", err)
		}
		d.expect(t, "a", "")
	})
}

// The same state, written in another way, is no news.
func TestSameState(t *testing.T) {
	text := func(f oic.ContentFormat, json string) *oic.Response {
		body, err := oic.FromJSON(f, []byte(json))
		if err != nil {
			t.Fatal(err)
		}
		return &oic.Response{Format: f, Body: body}
	}
	indefinite := &oic.Response{Format: oic.OCF, Body: slices.Concat([]byte{0xbf}, text(oic.OCF, `{"value":true}`).Body[1:], []byte{0xff})}
	for _, c := range []struct {
		a, b *oic.Response
		want bool
	}{
		{text(oic.OCF, `{"value":true}`), text(oic.CBOR, `{"value":true}`), true},
		{text(oic.OCF, `{"value":true}`), indefinite, true},
		{text(oic.OCF, `{"value":true}`), text(oic.OCF, `{"value":false}`), false},
		{&oic.Response{Format: oic.Text, Body: []byte("a")}, &oic.Response{Format: oic.Text, Body: []byte("b")}, false},
		{&oic.Response{Format: oic.OCF, Body: []byte{0xff}}, &oic.Response{Format: oic.OCF, Body: []byte{0xfe}}, false},
	} {
		if got := sameState(c.a, c.b); got != c.want {
			t.Errorf("%x and %x: %v", c.a.Body, c.b.Body, got)
		}
	}
}
