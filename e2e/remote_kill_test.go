package e2e_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/reach"
)

// counter is a device that counts how often it is asked for each thing. It
// answers when it is let.
type counter struct {
	oic.Observer // what else the device has

	let chan struct{} // closed when it answers

	mu   sync.Mutex // guards what follows
	done map[string]int
	came chan struct{} // has room for all
}

func (c *counter) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	path, query := oic.SplitHref(req.Href)
	if path != "/a/count" {
		return c.Observer.Handle(ctx, req)
	}
	c.mu.Lock()
	c.done[query]++
	c.mu.Unlock()
	c.came <- struct{}{}
	select {
	case <-c.let:
		return &oic.Response{Status: oic.Changed}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TestServerKilledInFlight: an XMPP server is killed and started again while
// 100 requests are under way. Each ends with an answer or a clear error, none
// hangs, and no POST is executed twice (4.8 of the wire profile).
func TestServerKilledInFlight(t *testing.T) {
	t.Parallel()
	c := newChild(t)
	c.command = "xmppd"
	c.start()
	text, err := os.ReadFile(c.where().PasswordFile)
	if err != nil {
		t.Fatal(err)
	}
	account := c.config("home", "", strings.TrimSpace(string(text)))
	account.Backoff = backoff.Backoff{Base: 50 * time.Millisecond, Max: 200 * time.Millisecond, Spread: 100 * time.Millisecond}
	const n = 100
	host := newGadget("gadget")
	d := &counter{Observer: host.Remote(), let: make(chan struct{}), done: map[string]int{}, came: make(chan struct{}, 3*n)}
	onXMPP(t, d, account)
	ways, err := reach.Open(t.Context(), reach.Config{XMPP: &reach.XMPP{Config: account}, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ways.Close() })
	to, err := ways.Device(t.Context(), reach.Target{Device: host.ID()})
	if err != nil {
		t.Fatal(err)
	}

	const limit = 15 * time.Second // of each
	type end struct {
		query string
		post  bool
		err   error
	}
	ends := make(chan end, n)
	for i := range n {
		e := end{query: url.Values{"n": {fmt.Sprint(i)}}.Encode(), post: i%2 == 0}
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			req := &oic.Request{Op: oic.Retrieve, Href: "/a/count?" + e.query}
			if e.post {
				req.Op = oic.Update
			}
			_, e.err = to.Handle(ctx, req)
			ends <- e
		}()
	}
	for range 20 { // some are at the device, others on their way or waiting for their turn
		<-d.came
	}
	c.kill()
	close(d.let)
	c.start()

	answered, failed := 0, 0
	for range n {
		select {
		case e := <-ends:
			d.mu.Lock()
			times := d.done[e.query]
			d.mu.Unlock()
			switch {
			case e.err == nil && times == 0:
				t.Errorf("%s was answered, and never executed", e.query)
			case e.post && times > 1:
				t.Errorf("POST %s was executed %d times", e.query, times)
			case e.err != nil && e.err.Error() == "":
				t.Errorf("%s: an error without a word", e.query)
			case e.err != nil:
				if failed++; failed == 1 {
					t.Logf("such as: %v", e.err)
				}
			default:
				answered++
			}
		case <-time.After(limit + patience):
			t.Fatalf("%d of %d requests hang", n-answered-failed, n)
		}
	}
	t.Logf("%d answered, %d failed", answered, failed)
	eventually(t, func() bool { // and then it goes on as before
		_, err := to.Handle(t.Context(), &oic.Request{Href: "/a/light"})
		return err == nil
	})
}
