// Package storetest runs NATS servers inside a test, on loopback: one, or three
// that are a cluster, with JetStream on disk in the test's own directory.
//
//	store.Store ── nats://127.0.0.1:… ──▶ server 0 ─┐
//	store.Store ─────────────────────────▶ server 1 ├─ routes, Raft
//	store.Store ─────────────────────────▶ server 2 ┘
package storetest

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/farreach/farreach/store"
)

// startTime is the longest that servers may take to be ready.
const startTime = time.Minute

// Server starts one server, and returns its address.
func Server(t testing.TB) string {
	t.Helper()
	opts := options(t)
	opts.Port = server.RANDOM_PORT
	s := run(t, opts)
	t.Cleanup(func() { end(s) })
	return s.ClientURL()
}

// Cluster is three servers.
type Cluster struct {
	t    testing.TB
	opts [size]server.Options

	mu      sync.Mutex // guards servers
	servers [size]*server.Server
}

// size is how many servers a cluster has: the least that go on without one.
const size = 3

// NewCluster starts a cluster, and returns when it keeps what it is told.
func NewCluster(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	ports := Ports(t, 2*size)
	var routes []string
	for i := range size {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", ports[size+i]))
	}
	for i := range size {
		o := options(t)
		o.ServerName, o.Port = fmt.Sprint("n", i), ports[i]
		o.Cluster = server.ClusterOpts{Name: "farreach", Host: "127.0.0.1", Port: ports[size+i]}
		o.Routes = server.RoutesFromStr(strings.Join(routes, ","))
		c.opts[i] = *o
	}
	t.Cleanup(func() {
		for i := range size {
			c.Stop(i)
		}
	})
	for i := range size {
		c.Start(i)
	}
	c.await()
	return c
}

// URL is the addresses of all servers.
func (c *Cluster) URL() string {
	var all []string
	for i := range size {
		all = append(all, c.Address(i))
	}
	return strings.Join(all, ",")
}

// Address is that of one server.
func (c *Cluster) Address(i int) string { return fmt.Sprintf("nats://127.0.0.1:%d", c.opts[i].Port) }

// Start starts a server that does not run, on the files that it had.
func (c *Cluster) Start(i int) {
	c.t.Helper()
	o := c.opts[i]
	s, err := server.NewServer(&o)
	if err != nil {
		c.t.Fatal(err)
	}
	s.Start()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.servers[i] = s
}

// Stop ends a server.
func (c *Cluster) Stop(i int) {
	c.mu.Lock()
	s := c.servers[i]
	c.servers[i] = nil
	c.mu.Unlock()
	if s != nil {
		end(s)
	}
}

// await waits until the servers have chosen who leads, and all take part.
func (c *Cluster) await() {
	c.t.Helper()
	for limit := time.Now().Add(startTime); time.Now().Before(limit); time.Sleep(20 * time.Millisecond) {
		c.mu.Lock()
		ready := false
		for _, s := range c.servers {
			ready = ready || s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == size
		}
		for _, s := range c.servers {
			ready = ready && s.JetStreamIsCurrent()
		}
		c.mu.Unlock()
		if ready {
			return
		}
	}
	c.t.Fatalf("no cluster after %v", startTime)
}

func options(t testing.TB) *server.Options {
	return &server.Options{
		Host: "127.0.0.1", JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
		MaxPayload: store.MaxValue + 8<<10,
	}
}

func run(t testing.TB, o *server.Options) *server.Server {
	t.Helper()
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(startTime) {
		t.Fatalf("no NATS server after %v", startTime)
	}
	return s
}

func end(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}
