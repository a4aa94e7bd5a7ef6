package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store/storetest"
)

// cluster is three nodes of one cloud, on a cluster of three NATS servers, with
// devices that know all of them.
type cluster struct {
	t     *testing.T
	nodes [3]*child
	lamps []*clusterLamp
	ruled error // of the rule that was made

	let    chan struct{} // closed by finish
	finish func()        // has the lamps end what they do slowly

	mu    sync.Mutex // guards what follows
	acked map[string]int64
	where map[int]string // by lamp: the server it is registered at
}

// clusterLamp is a lamp that counts what it is told, too.
type clusterLamp struct {
	fleetDevice
	hearing hearing
}

// newCluster returns one without nodes.
func newCluster(t *testing.T) *cluster {
	let := make(chan struct{})
	c := &cluster{t: t, ruled: errNone, let: let, finish: sync.OnceFunc(func() { close(let) }), acked: map[string]int64{}, where: map[int]string{}}
	t.Cleanup(c.finish)
	return c
}

// TestCluster: what is connected to any of three nodes is commanded from all of
// them. One is told to stop, under load, and another is killed: their devices are
// at those that are left, and commanded from each. Every event that a device was
// told to be kept is there once.
func TestCluster(t *testing.T) {
	t.Parallel()
	const lamps, reporters = 6, 3
	begin := time.Now()
	c := newCluster(t)
	url := storetest.NewCluster(t).URL()
	for i := range c.nodes {
		c.nodes[i] = newChild(t, "--nats", url, "--nats-replicas", "3")
		c.nodes[i].command = "cloud"
		c.nodes[i].start()
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	for i := range lamps {
		c.join(ctx, &running, i)
	}
	within(t, patience, func() bool { return c.registered() })
	for i := range reporters {
		l, di, grant := c.reporter(ctx, i)
		running.Go(func() { c.report(ctx, i, di, grant, l) })
	}
	c.command(c.nodes[:])
	if got := c.list(c.nodes[1]); len(got) != 3 {
		t.Errorf("farreach status shows %d nodes", len(got))
	}
	started := time.Since(begin)
	c.drained(0)
	c.command(c.nodes[1:])
	within(t, patience, func() bool { return len(c.list(c.nodes[1])) == 2 })
	before := c.events()
	killed := time.Now()
	c.nodes[1].kill()
	within(t, patience, func() bool { return c.registered(c.nodes[0], c.nodes[1]) })
	moved := time.Since(killed)
	c.command(c.nodes[2:])
	t.Logf("devices moved %v after kill -9, and all %d commanded after %v", moved.Round(time.Millisecond), lamps, time.Since(killed).Round(time.Millisecond))
	if moved > 5*time.Second+busy {
		t.Errorf("moved after %v, want at most 5 s", moved)
	}
	within(t, patience, func() bool { return c.events() > before+reporters*20 })
	within(t, patience, func() bool { return len(c.list(c.nodes[2])) == 1 })
	cancel()
	running.Wait()
	c.counted()
	t.Logf("three nodes and their devices ready after %v, all done after %v", started.Round(time.Millisecond), time.Since(begin).Round(time.Millisecond))
}

// servers is the list of a device whose first choice is node i.
func (c *cluster) servers(i int) (list []string) {
	for n := range c.nodes {
		list = append(list, c.nodes[(i+n)%len(c.nodes)].uri())
	}
	return list
}

// join starts a lamp at node i of three.
func (c *cluster) join(ctx context.Context, running *sync.WaitGroup, i int) {
	c.t.Helper()
	code, err := c.nodes[(i+1)%len(c.nodes)].code(ctx) // of another node
	if err != nil {
		c.t.Fatal(err)
	}
	d := &clusterLamp{fleetDevice: fleetDevice{id: uuid.NewString(), account: "home"}, hearing: hearing{let: c.let}}
	c.lamps = append(c.lamps, d)
	host := device.NewHost(device.Config{ID: d.id, Name: fmt.Sprint("lamp ", i), Type: "oic.d.light", Log: quiet})
	host.Add(&d.light)
	host.Add(&d.hearing)
	client, err := cloudlink.New(cloudlink.Config{
		Servers: c.servers(i), Handler: host, Device: d.id, Name: host.Name, Links: host.Links, Code: code, Log: quiet,
		OnChange: func(s cloudlink.Status) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.where[i] = ""; s.Registered {
				c.where[i] = s.Server
			}
		},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	running.Go(func() { client.Run(ctx) })
}

// registered reports whether each lamp is at a node, and none of those gone.
func (c *cluster) registered(gone ...*child) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.lamps {
		if c.where[i] == "" || slices.ContainsFunc(gone, func(n *child) bool { return n.uri() == c.where[i] }) {
			return false
		}
	}
	return true
}

// command switches each lamp from each of the nodes.
func (c *cluster) command(nodes []*child) {
	c.t.Helper()
	for i, node := range nodes {
		for n, lamp := range c.lamps {
			to := i%2 == 0
			lamp.light.on.Store(!to)
			path := "/devices/" + lamp.id + "/resources/a/light"
			start := time.Now()
			err := node.call(c.t.Context(), http.MethodPost, path, map[string]bool{"value": to}, nil)
			for err != nil && time.Since(start) < patience { // the news of where it is may be on its way
				err = node.call(c.t.Context(), http.MethodPost, path, map[string]bool{"value": to}, nil)
			}
			if err != nil || lamp.light.on.Load() != to {
				c.t.Errorf("lamp %d, commanded from node %d of %d: %v", n, i, len(nodes), err)
			}
		}
	}
}

// reporter is a device that tells events, which joins at node i.
func (c *cluster) reporter(ctx context.Context, i int) (*cloudlink.Link, string, cloudlink.Grant) {
	c.t.Helper()
	node, di := c.nodes[i], uuid.NewString()
	code, err := node.code(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	l := node.link()
	grant, err := l.SignUp(ctx, cloudlink.SignUp{Device: di, Code: code})
	if err == nil {
		err = signIn(ctx, l, grant.Account, di, grant.Access)
	}
	if err == nil {
		_, err = l.Publish(ctx, cloudlink.Publication{Device: di, Name: fmt.Sprint("reporter ", i), Links: counters})
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return l, di, grant
}

// report tells events one after the other, at the next node when one is lost,
// until ctx ends. One without an answer is not told again.
func (c *cluster) report(ctx context.Context, i int, di string, grant cloudlink.Grant, l *cloudlink.Link) {
	for n := int64(1); ctx.Err() == nil; n++ {
		body, err := oic.FromJSON(oic.OCF, fmt.Appendf(nil, `{"n":%d}`, n))
		if err == nil {
			err = l.Report(ctx, "/a/counter", &oic.Response{Format: oic.OCF, Body: body})
		}
		if err == nil {
			c.mu.Lock()
			c.acked[fmt.Sprint(di, " ", n)] = n
			c.mu.Unlock()
			continue
		}
		for ctx.Err() == nil && err != nil {
			i = (i + 1) % len(c.nodes)
			l.Close()
			if l, err = cloudlink.Connect(ctx, cloudlink.ServerInfo{URI: c.nodes[i].uri(), Log: quiet}); err != nil {
				continue
			}
			err = signIn(ctx, l, grant.Account, di, grant.Access)
		}
	}
	l.Close()
}

// events is how many were acknowledged.
func (c *cluster) events() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.acked)
}

// list is the nodes that farreach status shows.
func (c *cluster) list(node *child) []any {
	c.t.Helper()
	text, err := node.farreach("status", "--json")
	if err != nil {
		c.t.Fatal(err)
	}
	var doc struct{ Nodes []any }
	if err := json.Unmarshal(bytes.TrimSpace(text), &doc); err != nil {
		c.t.Fatal(err)
	}
	return doc.Nodes
}

// counted reads all events at a node that is left, and compares.
func (c *cluster) counted() {
	c.t.Helper()
	found, twice, missing := map[string]int64{}, 0, 0
	c.nodes[2].eachCount(func(di string, n int64) {
		id := fmt.Sprint(di, " ", n)
		if found[id] != 0 {
			twice++
		}
		found[id] = n
	})
	for id := range c.acked {
		if found[id] == 0 {
			missing++
		}
	}
	if missing > 0 || twice > 0 {
		c.t.Errorf("%d of %d events are missing, %d are there twice", missing, len(c.acked), twice)
	}
	c.t.Logf("%d events acknowledged, %d found, none twice", len(c.acked), len(found))
}
