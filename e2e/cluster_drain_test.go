package e2e_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/farreach/farreach/oic"
)

// hearing remembers how often it was told each number, which takes it a while.
type hearing struct {
	let   chan struct{} // closed when it may end what is slow
	begun atomic.Int32  // of the slow ones

	mu   sync.Mutex // guards told
	told map[int]int
}

const (
	slow      = 1_000_000 // is a number from here on
	quickTime = 10 * time.Millisecond
)

func (*hearing) Link() oic.Link {
	return oic.Link{Href: "/a/tally", Types: []string{"x.test.tally"}, Interfaces: []string{oic.IfActuator, oic.IfBaseline}}
}

func (y *hearing) Retrieve(context.Context, string) (any, error) {
	return map[string]int{"n": y.sum()}, nil
}

func (y *hearing) Update(ctx context.Context, _ string, rep []byte) (any, error) {
	var in struct {
		N int `json:"n"`
	}
	if err := oic.Decode(oic.OCF, rep, &in); err != nil {
		return nil, err
	}
	if in.N >= slow {
		y.begun.Add(1)
		select {
		case <-y.let:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	} else {
		<-time.After(quickTime)
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.told == nil {
		y.told = map[int]int{}
	}
	y.told[in.N]++
	return nil, nil
}

func (y *hearing) times(n int) int {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.told[n]
}

func (y *hearing) sum() (all int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for _, times := range y.told {
		all += times
	}
	return all
}

// ordered is what came of telling a lamp a number.
type ordered struct {
	node, lamp, n int
	err           error
}

// errNone says that something was not done yet.
var errNone = errors.New("none yet")

// orders is commands that are sent from each node while one of them stops.
type orders struct {
	*cluster
	sending sync.WaitGroup

	mu   sync.Mutex // guards what follows
	next int
	came []ordered
}

// number returns one that no lamp was told yet.
func (o *orders) number() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.next++
	return o.next
}

// tell tells a lamp a number at a node.
func (o *orders) tell(node, lamp, n int) {
	path := "/devices/" + o.lamps[lamp].id + "/resources/a/tally"
	err := o.nodes[node].call(o.t.Context(), http.MethodPost, path, map[string]int{"n": n}, nil)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.came = append(o.came, ordered{node, lamp, n, err})
}

// load tells all lamps, at each node, one number after the other until ctx ends.
func (o *orders) load(ctx context.Context) {
	for node := range o.nodes {
		for lamp := range o.lamps {
			o.sending.Go(func() {
				for ctx.Err() == nil {
					o.tell(node, lamp, o.number())
					<-time.After(quickTime) // not only the one that refuses quickly
				}
			})
		}
	}
}

// drained: a node that is told to stop says at once that it is not ready, its
// devices are at the others within moments, and no command is answered wrong:
// one with a good answer was done, once, and one that was refused as not sent
// was not. What a device was doing is waited for.
func (c *cluster) drained(first int) {
	c.t.Helper()
	o := &orders{cluster: c}
	node := c.nodes[first]
	ctx, cancel := context.WithCancel(c.t.Context())
	defer cancel()
	o.load(ctx)
	for at := range 2 { // they are on their way when it stops, to its two devices
		o.sending.Go(func() { o.tell(at, first+at*len(c.nodes), slow+at) })
	}
	within(c.t, patience, func() bool {
		return c.lamps[1].hearing.sum() > 5 && c.lamps[first].hearing.begun.Load()+c.lamps[first+len(c.nodes)].hearing.begun.Load() == 2
	})
	begin := time.Now()
	if err := node.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		c.t.Fatal(err)
	}
	within(c.t, patience, func() bool { return node.ready() == http.StatusServiceUnavailable })
	unready := time.Since(begin)
	c.finish()
	within(c.t, patience, func() bool { return c.registered(node) })
	moved := time.Since(begin)
	within(c.t, patience, func() bool { return o.rule(2) })
	ruled := time.Since(begin)
	select {
	case <-node.dead:
	case <-time.After(patience):
		c.t.Fatal("the node does not stop")
	}
	ended := time.Since(begin)
	cancel()
	o.sending.Wait()
	o.compare(first)
	if code := node.cmd.ProcessState.ExitCode(); code != 0 {
		c.t.Errorf("the node ended with status %d", code)
	}
	if unready > time.Second+busy || moved > 7*time.Second+busy || ended > 20*time.Second+busy {
		c.t.Errorf("SIGTERM: not ready after %v, its devices moved after %v, ended after %v", unready, moved, ended)
	}
	c.t.Logf("SIGTERM: /readyz 503 after %v, devices moved after %v, a rule went on after %v, ended after %v",
		unready.Round(time.Millisecond), moved.Round(time.Millisecond), ruled.Round(time.Millisecond), ended.Round(time.Millisecond))
}

// compare holds what was answered against what the lamps did.
func (o *orders) compare(stopped int) {
	o.t.Helper()
	good, refused, lost := 0, 0, 0
	for _, it := range o.came {
		times := o.lamps[it.lamp].hearing.times(it.n)
		answer, answered := errors.AsType[*httpError](it.err)
		switch {
		case it.err == nil && times == 1:
			good++
		case answered && answer.status == http.StatusServiceUnavailable && times == 0:
			refused++
		case it.err != nil && !answered && it.node == stopped && times == 0: // its listener was closed
			lost++
		default:
			o.t.Errorf("lamp %d was told %d %d times, and node %d answered: %v", it.lamp, it.n, times, it.node, it.err)
		}
		if it.n >= slow && it.err != nil {
			o.t.Errorf("what was on its way was not answered by node %d: %v", it.node, it.err)
		}
	}
	o.t.Logf("%d commands done, %d refused, and %d to the node when it had gone: each did what was answered", good, refused, lost)
}

// rule makes a lamp be told by a rule, at a node, and reports whether it was.
func (o *orders) rule(node int) bool {
	const wanted = 900_000
	if o.lamps[2].hearing.times(wanted) > 0 {
		return true
	}
	if o.ruled != nil { // not made yet
		o.ruled = o.nodes[node].call(o.t.Context(), http.MethodPost, "/rules", map[string]any{
			"name": "tell", "when": map[string]any{"event": map[string]any{"href": "/a/counter", "if": "event.n % 2 == 0"}}, "limits": map[string]any{"cool_down": "1h"},
			"then": []any{map[string]any{"command": map[string]any{"device": o.lamps[2].id, "href": "/a/tally", "set": map[string]any{"n": wanted}}}},
		}, nil)
	}
	return false
}

// ready is the status of /readyz; 0 if nobody answers.
func (c *child) ready() int {
	base := "http://"
	if c.HTTPS {
		base = "https://"
	}
	resp, err := c.client.Get(base + c.HTTP + "/readyz")
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}
