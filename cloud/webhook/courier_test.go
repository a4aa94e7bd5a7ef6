package webhook

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// program is a target: it notes what it is told, and answers with status.
type program struct {
	*httptest.Server
	t      *testing.T
	secret string

	mu     sync.Mutex // guards what follows
	status int
	got    []string // ids and bodies
	news   chan struct{}
}

func newProgram(t *testing.T, w *Webhooks, account, name string) *program {
	t.Helper()
	p := &program{t: t, status: 200, news: make(chan struct{}, 10_000)}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	target, err := w.Add(t.Context(), account, name, p.URL)
	if err != nil {
		t.Fatal(err)
	}
	p.secret = target.Secret
	return p
}

func (p *program) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	id := r.Header.Get("webhook-id")
	if got := r.Header.Get("webhook-signature"); p.secret != "" && got != Sign(p.secret, id, r.Header.Get("webhook-timestamp"), b) {
		p.t.Errorf("%s: signature %s", id, got)
	}
	p.mu.Lock()
	p.got = append(p.got, id+string(b))
	status := p.status
	p.mu.Unlock()
	rw.WriteHeader(status)
	p.news <- struct{}{}
}

func (p *program) answer(status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status = status
}

func (p *program) told() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.got)
}

// deliver runs the courier of w until stop is called.
func deliver(t *testing.T, w *Webhooks) (stop func()) {
	t.Helper()
	return deliverAgain(t, w, backoff.Backoff{Base: time.Millisecond, Max: 5 * time.Millisecond})
}

// deliverAgain is deliver with other pauses after what has failed.
func deliverAgain(t *testing.T, w *Webhooks, again backoff.Backoff) (stop func()) {
	t.Helper()
	w.again = again
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = w.Run(ctx) })
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(stop)
	return stop
}

// until waits for something.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	end := time.Now().Add(time.Minute)
	for !is() {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
		timer := time.NewTimer(5 * time.Millisecond)
		<-timer.C
	}
}

func enqueue(t *testing.T, w *Webhooks, name string, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if err := w.Enqueue(t.Context(), "home", name, id, time.Now(), fmt.Appendf(nil, `{"n":%q}`, id)); err != nil {
			t.Fatal(err)
		}
	}
}

// states are the ids of the deliveries of a target by their state, the oldest
// first.
func states(t *testing.T, w *Webhooks, name string) map[State][]string {
	t.Helper()
	list, err := w.Deliveries(t.Context(), "home", name, "", 10_000)
	if err != nil {
		t.Fatal(err)
	}
	out := map[State][]string{}
	for _, d := range slices.Backward(list) {
		out[d.State] = append(out[d.State], d.ID)
	}
	return out
}

// TestDeliver: a target is told everything once, in order, whatever it answers
// at first, and also what was there before the courier.
func TestDeliver(t *testing.T) {
	w := open(t, true)
	p := newProgram(t, w, "home", "pager")
	p.answer(503)
	enqueue(t, w, "pager", "a", "b", "a") // an id twice is one delivery
	deliver(t, w)
	enqueue(t, w, "pager", "c")
	until(t, "three attempts", func() bool { return len(p.told()) >= 3 })
	until(t, "what is told of them", func() bool {
		d, err := w.Delivery(t.Context(), "home", "pager", "a")
		return err == nil && d.State == Waiting && d.Attempts > 1 && d.Status == 503 && strings.Contains(d.Problem, "answered 503") && !d.Next.IsZero()
	})
	p.answer(204)
	until(t, "all are delivered", func() bool { return len(states(t, w, "pager")[Delivered]) == 3 })
	told := slices.Compact(p.told())
	if want := []string{`a{"n":"a"}`, `b{"n":"b"}`, `c{"n":"c"}`}; !slices.Equal(told, want) {
		t.Errorf("told %v", told)
	}
	enqueue(t, w, "pager", "b") // a firing that is done again
	if n := states(t, w, "pager"); len(n[Waiting]) != 0 || !slices.Equal(n[Delivered], []string{"a", "b", "c"}) {
		t.Errorf("%v", n)
	}
	d, err := w.Again(t.Context(), "home", "pager", "b")
	if err != nil || d.State != Waiting {
		t.Errorf("again: %+v, %v", d, err)
	}
	until(t, "it is told again", func() bool { return slices.Compact(p.told())[len(slices.Compact(p.told()))-1] == `b{"n":"b"}` })
	target, err := w.Get(t.Context(), "home", "pager")
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the standing", func() bool {
		s, err := w.Standing(t.Context(), &target)
		return err == nil && s.Delivered == 4 && s.Waiting == 0 && s.Problem == ""
	})
	if n := w.Counts(); n.Delivered != 4 || n.Failed < 3 || n.GivenUp != 0 {
		t.Errorf("%+v", n)
	}
}

// TestDeliverRefuses: what is not taken into the queue.
func TestDeliverRefuses(t *testing.T) {
	w := open(t, true)
	newProgram(t, w, "home", "pager")
	refused(t, "no such webhook", w.Enqueue(t.Context(), "barn", "pager", "a", time.Now(), []byte("1")), oic.NotFound)
	refused(t, "too long", w.Enqueue(t.Context(), "home", "pager", "a", time.Now(), make([]byte, maxTold+1)), oic.TooLarge)
	_, err := w.Delivery(t.Context(), "home", "pager", "a")
	refused(t, "no such delivery", err, oic.NotFound)
	_, err = w.Again(t.Context(), "home", "pager", "a")
	refused(t, "again", err, oic.NotFound)
	refused(t, "hurry", w.Hurry(t.Context(), "home", "none"), oic.NotFound)
}

// TestTooMany: of more than 1,000 that wait the oldest are given up, and so is
// what waits for more than a day; both are told. What has ended is kept for a
// while only.
func TestTooMany(t *testing.T) {
	w := open(t, true)
	p := newProgram(t, w, "home", "pager")
	p.answer(500)
	if err := w.Enqueue(t.Context(), "home", "pager", "old", time.Now().Add(-25*time.Hour), []byte("1")); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	const n = maxWaiting + 5
	for i := range n {
		all.Go(func() { enqueue(t, w, "pager", fmt.Sprint(i)) })
	}
	all.Wait()
	order := states(t, w, "pager")[Waiting]
	deliver(t, w)
	until(t, "six are given up", func() bool { return w.Counts().GivenUp == 6 && len(states(t, w, "pager")[GivenUp]) == 6 })
	got := states(t, w, "pager")
	if !slices.Equal(got[Waiting], order[6:]) {
		t.Errorf("%d wait, not those that came last", len(got[Waiting]))
	}
	old, err := w.Delivery(t.Context(), "home", "pager", "old")
	if err != nil || old.State != GivenUp || old.Problem != "not taken within a day" && old.Problem != "more than 1000 waited" || old.Ended.IsZero() {
		t.Errorf("%+v, %v", old, err)
	}
	p.answer(200)
	until(t, "the rest is delivered", func() bool { return w.Counts().Delivered == maxWaiting })
	until(t, "the first to end are forgotten", func() bool {
		got := states(t, w, "pager")
		return len(got[Waiting]) == 0 && len(got[Delivered])+len(got[GivenUp]) == keptEnded
	})
	if got := states(t, w, "pager"); !slices.Equal(got[Delivered], order[6:]) {
		t.Error("not in their order")
	}
}

// TestNext: what is to be done for a target, and when.
func TestNext(t *testing.T) {
	now := time.Now()
	one := []letter{{"a", 1, now.Add(-time.Hour)}}
	for _, c := range []struct {
		name  string
		lane  lane
		do    chore
		again time.Time
	}{
		{"nothing waits", lane{}, nothing, time.Time{}},
		{"one waits", lane{waiting: one}, tell, time.Time{}},
		{"it failed", lane{waiting: one, due: now.Add(time.Minute)}, nothing, now.Add(time.Minute)},
		{"it is old soon", lane{waiting: []letter{{"a", 1, now.Add(time.Second - maxAge)}}, due: now.Add(time.Minute)}, nothing, now.Add(time.Second)},
		{"it is old", lane{waiting: []letter{{"a", 1, now.Add(-maxAge)}}, due: now.Add(time.Minute)}, giveUp, time.Time{}},
		{"too many", lane{waiting: make([]letter, maxWaiting+1), due: now.Add(time.Minute)}, giveUp, time.Time{}},
		{"too many ended", lane{waiting: one, ended: make([]letter, keptEnded+1)}, forget, time.Time{}},
	} {
		if do, _, _, again := c.lane.next(now); do != c.do || !again.Equal(c.again) {
			t.Errorf("%s: %v, %v", c.name, do, again)
		}
	}
}

// TestRemoved: what waits for a target that is removed is not told any more, and
// one of the same name begins anew.
func TestRemoved(t *testing.T) {
	w := open(t, true)
	p := newProgram(t, w, "home", "pager")
	p.answer(500)
	deliver(t, w)
	enqueue(t, w, "pager", "a", "b")
	until(t, "an attempt", func() bool { return len(p.told()) > 0 })
	if err := w.Remove(t.Context(), "home", "pager"); err != nil {
		t.Fatal(err)
	}
	q := newProgram(t, w, "home", "pager")
	enqueue(t, w, "pager", "c")
	until(t, "the new one is told", func() bool { return len(states(t, w, "pager")[Delivered]) == 1 })
	if got := q.told(); len(got) != 1 || got[0] != `c{"n":"c"}` {
		t.Errorf("told %v", got)
	}
}

// TestHurry: what failed is tried at once if somebody says so.
func TestHurry(t *testing.T) {
	w := open(t, true)
	p := newProgram(t, w, "home", "pager")
	p.answer(500)
	deliverAgain(t, w, backoff.Backoff{Base: time.Hour, Steady: true})
	enqueue(t, w, "pager", "a")
	<-p.news
	p.answer(200)
	if err := w.Hurry(t.Context(), "home", "pager"); err != nil {
		t.Fatal(err)
	}
	until(t, "it is delivered", func() bool { return len(states(t, w, "pager")[Delivered]) == 1 })
}

// TestBad50Deliveries: targets that redirect, hang, say garbage or without end,
// or are inside. What they do harms no other, and a word of success is enough.
func TestBad50Deliveries(t *testing.T) {
	w := open(t, true)
	w.client.Timeout = 300 * time.Millisecond
	listen := func(serve func(net.Conn)) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var tasks sync.WaitGroup
		tasks.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				tasks.Go(func() { defer c.Close(); serve(c) })
			}
		})
		t.Cleanup(func() { l.Close(); tasks.Wait() })
		return "http://" + l.Addr().String()
	}
	elsewhere := newProgram(t, w, "home", "elsewhere")
	const said = "what-it-says" // is nowhere in what is kept
	cases := map[string]struct {
		url     string
		state   State
		problem string
	}{
		"redirects": {listen(func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1))
			_, _ = fmt.Fprintf(c, "HTTP/1.1 307 Temporary Redirect\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", elsewhere.URL)
		}), Waiting, "redirects, which is not followed"},
		"hangs":   {listen(func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), Waiting, "no answer within"},
		"garbage": {listen(func(c net.Conn) { _, _ = io.WriteString(c, "\x00\xff"+said+"\r\n\r\n") }), Waiting, "not HTTP"},
		"header":  {listen(func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+said+"\r\n\r\n") }), Waiting, "not HTTP"},
		"headers": {listen(func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for err := error(nil); err == nil; {
				_, err = io.WriteString(c, "x: "+strings.Repeat("y", 1000)+"\r\n")
			}
		}), Waiting, "exceeded"},
		"huge": {listen(func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1))
			_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n")
			for b := make([]byte, 1<<16); err == nil; {
				_, err = c.Write(b)
			}
		}), Delivered, ""},
		"speaks-first": {listen(func(c net.Conn) { // and what it says is an answer
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			_, _ = io.Copy(io.Discard, c)
		}), Delivered, ""},
		"slow": {listen(func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\n")
			_, _ = io.Copy(io.Discard, c)
		}), Delivered, ""},
	}
	for name, c := range cases {
		if _, err := w.Add(t.Context(), "home", name, c.url); err != nil {
			t.Fatal(err)
		}
		enqueue(t, w, name, "a")
	}
	deliver(t, w)
	for name, c := range cases {
		until(t, name, func() bool {
			d, err := w.Delivery(t.Context(), "home", name, "a")
			return err == nil && d.State == c.state && d.Attempts > 0 && strings.Contains(d.Problem, c.problem) && !strings.Contains(d.Problem, said) && len(d.Problem) < 500
		})
	}
	if got := elsewhere.told(); len(got) != 0 {
		t.Errorf("it was redirected: %v", got)
	}
}

// TestBad50InsideDeliveries: an address of this machine is not dialled for a
// delivery either.
func TestBad50InsideDeliveries(t *testing.T) {
	w := open(t, false)
	p := newProgram(t, w, "home", "pager")
	deliver(t, w)
	enqueue(t, w, "pager", "a")
	until(t, "it is refused", func() bool {
		d, err := w.Delivery(t.Context(), "home", "pager", "a")
		return err == nil && d.Attempts > 1 && strings.Contains(d.Problem, "not an address of the internet")
	})
	if len(p.told()) != 0 {
		t.Error("it was told")
	}
}

// TestCourierAgain: a courier that takes over, after an end or a death, goes on
// where the one before was.
func TestCourierAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	reopen := func() (*Webhooks, func()) {
		s, err := store.Open(t.Context(), store.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		w, err := Open(t.Context(), Config{Store: s, Private: true})
		if err != nil {
			t.Fatal(err)
		}
		return w, func() { w.Close(); s.Close() }
	}
	w, end := reopen()
	p := newProgram(t, w, "home", "pager")
	p.answer(500)
	stop := deliver(t, w)
	enqueue(t, w, "pager", "a", "b")
	attempts := func() int {
		d, err := w.Delivery(t.Context(), "home", "pager", "a")
		if err != nil {
			t.Fatal(err)
		}
		return d.Attempts
	}
	until(t, "an attempt is kept", func() bool { return attempts() > 0 })
	tried := attempts()
	stop()
	end()
	w, end = reopen()
	defer end()
	if n := attempts(); n < tried {
		t.Errorf("%d attempts, of %d", n, tried)
	}
	p.answer(200)
	stop = deliver(t, w)
	defer stop()
	until(t, "both are delivered", func() bool { return len(states(t, w, "pager")[Delivered]) == 2 })
	if n := attempts(); n <= tried {
		t.Errorf("%d attempts in all, %d before", n, tried)
	}
}
