package e2e_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/cloud"
	"github.com/farreach/farreach/internal/localca"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/sasl"
)

// 5,000 take 20 s; under the race detector many times that.
var xmppSessions = flag.Int("xmpp-sessions", 1000, "how many XMPP sessions lose their server at once")

// perHome is how many sessions an account of the test has: fewer than it may.
const perHome = 250

// TestXMPPFleet: the server is killed and started: all sessions are back within
// 30 s, and they do not come all at once (threats rule 21). They have no
// presence, for what 250 devices of one home tell each other is not the question.
func TestXMPPFleet(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: many sessions")
	}
	n := *xmppSessions
	c := newChild(t)
	c.command = "xmppd"
	homes := makeHomes(t, c, (n+perHome-1)/perHome)
	c.start()
	addr, roots := xmppAddr(t, c)

	back := make(chan int, 10*n)
	var dials dialled
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	start := time.Now()
	for i := range n {
		client, err := xmpp.New(xmpp.Config{
			JID: homes[i/perHome].jid(t, i), Password: homePassword, Keys: homes[i/perHome].keys, Addr: addr, Direct: true, TLS: roots, Log: quiet,
			OnChange: func(s xmpp.Status) {
				if s.Online {
					back <- i
				}
			},
			Dial: dials.fromOwnAddress(i),
		})
		if err != nil {
			t.Fatal(err)
		}
		running.Go(func() { client.Run(ctx) })
		if (i+1)%perHome == 0 {
			awaitAll(t, back, perHome, time.Minute)
		}
	}
	awaitAll(t, back, n%perHome, time.Minute)
	took := time.Since(start)
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("%d sessions are there after %v; here each takes %.1f KB", n, took.Round(time.Millisecond), float64(m.HeapInuse+m.StackInuse)/1024/float64(n))

	c.kill()
	start = time.Now()
	dials.since(start)
	c.start()
	up := time.Since(start)
	at := awaitAll(t, back, n, patience)
	all := time.Since(start)
	var perSecond [60]int
	for _, d := range at {
		perSecond[min(int(d/time.Second), 59)]++
	}
	t.Logf("the server is up after %v, all are back after %v; in each second since it is up %v",
		up.Round(time.Millisecond), all.Round(time.Millisecond), perSecond[:int((all-up)/time.Second)+1])
	if all > 30*time.Second+busy {
		t.Errorf("all are back after %v, want at most 30 s", all)
	}
	// The first tries are spread over a second. A busy machine runs many of them
	// together, but never all.
	if most := dials.most(100 * time.Millisecond); most > n*9/10 {
		t.Errorf("%d of %d dialled within 100 ms", most, n)
	}
}

// dialled is when clients dialled.
type dialled struct {
	mu    sync.Mutex // guards what follows
	start time.Time
	at    []time.Duration
}

// since forgets what was before.
func (d *dialled) since(start time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.start, d.at = start, nil
}

// most is how many dialled at most in one of the intervals of that length.
func (d *dialled) most(within time.Duration) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	count := map[time.Duration]int{}
	most := 0
	for _, at := range d.at {
		count[at/within]++
		most = max(most, count[at/within])
	}
	return most
}

// fromOwnAddress dials from an address of its own, as each device in the world
// does.
func (d *dialled) fromOwnAddress(i int) func(context.Context, string, string) (net.Conn, error) {
	from := &net.TCPAddr{IP: net.IPv4(127, 0, byte(1+i/200), byte(1+i%200))}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		d.mu.Lock()
		d.at = append(d.at, time.Since(d.start))
		d.mu.Unlock()
		return (&net.Dialer{LocalAddr: from}).DialContext(ctx, network, addr)
	}
}

const homePassword = secret.String("correct horse battery")

// household is an account, and what its password became.
type household struct {
	name string
	keys *sasl.Keys
}

func (h household) jid(t *testing.T, i int) jid.JID {
	j, err := jid.New(h.name, "localhost", fmt.Sprintf("OIC/1.0/oic.d.light/%d", i))
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// makeHomes makes accounts before the server starts.
func makeHomes(t *testing.T, c *child, n int) []household {
	data := filepath.Join(c.home, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Config{Dir: filepath.Join(data, "store"), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	cl, err := cloud.Open(t.Context(), cloud.Config{Store: s, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var homes []household
	for i := range n {
		name := "home" // the server's user
		if i > 0 {
			name = fmt.Sprintf("home%d", i)
		}
		_, createErr := cl.CreateAccount(t.Context(), oic.Identity{Admin: true}, name, homePassword, i == 0)
		err = errors.Join(err, createErr)
		homes = append(homes, household{name, new(sasl.Keys)})
	}
	if err != nil {
		t.Fatal(err)
	}
	return homes
}

// xmppAddr is where the server speaks direct TLS, and whom to believe.
func xmppAddr(t *testing.T, c *child) (string, *tls.Config) {
	text, err := os.ReadFile(filepath.Join(c.home, "addr.json"))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		XMPPS string `json:"xmpps"`
		CA    string `json:"ca_file"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	pool, err := localca.Pool(doc.CA)
	if err != nil {
		t.Fatal(err)
	}
	return doc.XMPPS, &tls.Config{RootCAs: pool}
}

// awaitAll waits until n sessions are there, and returns when each was.
func awaitAll(t *testing.T, back chan int, n int, limit time.Duration) map[int]time.Duration {
	t.Helper()
	start, at := time.Now(), map[int]time.Duration{}
	late := time.After(limit)
	for len(at) < n {
		select {
		case i := <-back:
			at[i] = time.Since(start)
		case <-late:
			t.Fatalf("%d of %d are there after %v", len(at), n, limit)
		}
	}
	return at
}
