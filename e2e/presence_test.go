package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// keepAlive is how old the proof of a reachable device may be: the silence
// before a Ping and the patience with its answer (threats section 3.2).
const keepAlive = 30 * time.Second

// proc is a command as a process of its own.
type proc struct {
	cmd  *exec.Cmd
	out  lockedBuffer
	stop func() // kill -9
}

type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// lampProcess starts a lamp that keeps its state in dir and belongs to the
// account of c, or joins it; before stands in front of its command line. Its
// servers are c and those that follow.
func lampProcess(t *testing.T, dir string, before []string, c *child, more ...*child) *proc {
	t.Helper()
	code, err := c.code(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	trust := filepath.Join(dir, "ca.pem")
	args := append(before, "farreach", "device", "--type", "lamp", "--name", "lamp", "--code", code.Reveal(),
		"--state", filepath.Join(dir, "lamp.json"), "--ca-file", trust)
	var roots []byte
	for _, server := range append([]*child{c}, more...) {
		args = append(args, "--cloud", server.uri())
		root, err := os.ReadFile(server.CA)
		if err != nil {
			t.Fatal(err)
		}
		roots = append(roots, root...)
	}
	if err := os.WriteFile(trust, roots, 0o600); err != nil {
		t.Fatal(err)
	}
	return startProc(t, exec.Command(args[0], args[1:]...), "HOME="+dir)
}

// startProc starts a process that runs until it is stopped, or the test ends.
func startProc(t *testing.T, cmd *exec.Cmd, env ...string) *proc {
	t.Helper()
	p := &proc{cmd: cmd}
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.stop = sync.OnceFunc(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s said: %s", strings.Join(cmd.Args, " "), &p.out)
		}
	})
	return p
}

// says waits until the process has written something.
func (p *proc) says(t *testing.T, what string) {
	t.Helper()
	within(t, patience, func() bool { return strings.Contains(p.out.String(), what) })
}

// shown is a device as somebody sees it.
type shown struct {
	ID     string `json:"di"`
	State  string
	Since  time.Time
	Proven time.Time
}

// overAPI is the only device as the HTTP API shows it; the zero value if there
// is none.
func (c *child) overAPI() (d shown) {
	c.t.Helper()
	var doc struct{ Devices []shown }
	if err := c.call(c.t.Context(), http.MethodGet, "/devices", nil, &doc); err != nil {
		c.t.Fatal(err)
	}
	return c.only(doc.Devices)
}

// onScreen is the same as farreach devices shows it.
func (c *child) onScreen() shown {
	c.t.Helper()
	text, err := c.farreach("devices", "--json")
	if err != nil {
		c.t.Fatal(err)
	}
	var doc struct{ Devices []shown }
	if err := json.Unmarshal(text, &doc); err != nil {
		c.t.Fatal(err)
	}
	return c.only(doc.Devices)
}

// only is the one device. While it is shown as reachable, the proof must not be
// older than a keep-alive interval.
func (c *child) only(devices []shown) (d shown) {
	c.t.Helper()
	if len(devices) > 0 {
		d = devices[0]
	}
	if d.State == "reachable" && time.Since(d.Proven) > keepAlive+busy {
		c.t.Errorf("shown as reachable with a proof %v old", time.Since(d.Proven))
	}
	return d
}

// await looks at the only device, ten times a second through the API and once
// a second with the command, until both show the state; it returns what the
// API does.
func (c *child) await(state string) (d shown) {
	c.t.Helper()
	start := time.Now()
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for n := 1; ; n++ {
		if d = c.overAPI(); d.State == state {
			if on := c.onScreen(); on.State != state {
				c.t.Errorf("farreach devices shows %q, the API %q", on.State, state)
			}
			return d
		}
		if n%10 == 0 {
			c.onScreen()
		}
		if time.Since(start) > patience {
			c.t.Fatalf("%q after %v, want %q", d.State, patience, state)
		}
		<-look.C
	}
}

// goneWithin checks that a device that went silent at the given time is shown
// as offline in time, with the time of its last sign of life.
func (c *child) goneWithin(silent time.Time) {
	c.t.Helper()
	d := c.await("offline")
	took := time.Since(silent)
	if took > keepAlive+busy {
		c.t.Errorf("offline %v after it went silent, want at most %v", took, keepAlive)
	}
	if d.Proven.IsZero() || d.Proven.After(silent.Add(busy)) || d.Since.Before(d.Proven) {
		c.t.Errorf("offline since %v, last proven %v, silent since %v", d.Since, d.Proven, silent)
	}
	c.t.Logf("offline %v after it went silent, %v after its last sign of life", took.Round(100*time.Millisecond), d.Since.Sub(d.Proven).Round(100*time.Millisecond))
}

// commanded checks that the lamp obeys.
func (c *child) commanded() {
	c.t.Helper()
	if _, err := c.farreach("set", "lamp/a/light", "value=true"); err != nil {
		c.t.Errorf("set: %v", err)
	}
}

// A device whose process is frozen (SIGSTOP) keeps its connection, and says
// nothing: it is offline within one keep-alive interval, and reachable again
// soon after it goes on (CI-011).
func TestFrozenDevice(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a keep-alive interval is half a minute")
	}
	t.Parallel()
	c := newChild(t)
	c.start()
	p := lampProcess(t, t.TempDir(), nil, c)
	c.await("reachable")
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	c.goneWithin(time.Now())
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	c.await("reachable")
	c.commanded()
}

// After a restart of the server a device is unknown until it has proved that it
// is there; the latest proof is from before.
func TestUnknownAfterRestart(t *testing.T) {
	t.Parallel()
	c := newChild(t)
	c.start()
	p := lampProcess(t, t.TempDir(), nil, c)
	c.await("reachable")
	p.stop()
	c.await("offline")
	c.stop()
	started := time.Now()
	c.start()
	d := c.await("unknown")
	if d.Proven.IsZero() || d.Proven.After(started) || d.Since.Before(started.Add(-time.Second)) {
		t.Errorf("unknown since %v, proven %v; the server started at %v", d.Since, d.Proven, started)
	}
}

// island is a network of its own with one link to this machine.
type island struct {
	t           *testing.T
	name        string // of the network
	here, there string // the ends of the link
	near, far   string // their addresses
}

// newIsland makes the network 198.18.n.0/30, or skips the test.
func newIsland(t *testing.T, n int) *island {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	name := fmt.Sprintf("fr%d-%d", os.Getpid()%100_000, n)
	i := &island{t: t, name: name, here: name + "a", there: name + "b",
		near: fmt.Sprintf("198.18.%d.1", n), far: fmt.Sprintf("198.18.%d.2", n)}
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		t.Skipf("no network namespaces here: %v: %s", err, out)
	}
	t.Cleanup(func() { exec.Command("ip", "netns", "del", name).Run() })
	t.Cleanup(func() { exec.Command("ip", "link", "del", i.here).Run() })
	i.connect()
	return i
}

// connect lays the cable.
func (i *island) connect() {
	i.t.Helper()
	if out, err := exec.Command("ip", "link", "add", i.here, "type", "veth", "peer", "name", i.there).CombinedOutput(); err != nil {
		i.t.Skipf("no pairs of links here: %v: %s", err, out)
	}
	i.ip("link", "set", i.there, "netns", i.name)
	i.ip("addr", "add", i.near+"/30", "dev", i.here)
	i.ip("link", "set", i.here, "up")
	i.ip("-n", i.name, "addr", "add", i.far+"/30", "dev", i.there)
	i.ip("-n", i.name, "link", "set", i.there, "up")
}

func (i *island) ip(args ...string) {
	i.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		i.t.Fatalf("ip %v: %v: %s", args, err, out)
	}
}

// within is what stands in front of a command that runs there.
func (i *island) within() []string { return []string{"ip", "netns", "exec", i.name} }

// vanish takes the machine of the island away as a power cut does: its
// processes and connections are gone, and it said no word about it.
func (i *island) vanish(p *proc) {
	i.t.Helper()
	i.ip("link", "set", i.here, "down") // nothing gets through any more
	p.stop()
	i.ip("netns", "del", i.name)
}

// reboot brings the machine back, at the same address.
func (i *island) reboot() {
	i.t.Helper()
	_ = exec.Command("ip", "link", "del", i.here).Run() // it went with the network, as a rule
	i.ip("netns", "add", i.name)
	i.connect()
}

// A cut cable: the device is in a network of its own, whose only link goes
// down without a word to either end.
func TestCutCable(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a keep-alive interval is half a minute")
	}
	t.Parallel()
	i := newIsland(t, 77)
	c := newChild(t, "--listen", i.near)
	c.start()
	lampProcess(t, t.TempDir(), i.within(), c)
	c.await("reachable")
	i.ip("link", "set", i.here, "down")
	c.goneWithin(time.Now())
}

// Half-open TCP: the machine of the device loses its power, and the server has
// a connection to nobody. The device is not shown as reachable for longer than
// a keep-alive interval.
func TestHalfOpen(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a keep-alive interval is half a minute")
	}
	t.Parallel()
	i := newIsland(t, 78)
	c := newChild(t, "--listen", "0.0.0.0")
	c.address = i.near
	c.start()
	p := lampProcess(t, t.TempDir(), i.within(), c)
	c.await("reachable")
	i.vanish(p)
	c.goneWithin(time.Now())
}

// The same, and the machine comes back within the interval: the new connection
// of the device takes over from the half-open one at once (rule 13).
func TestHalfOpenReplaced(t *testing.T) {
	t.Parallel()
	i := newIsland(t, 79)
	c := newChild(t, "--listen", "0.0.0.0")
	c.address = i.near
	c.start()
	dir := t.TempDir()
	p := lampProcess(t, dir, i.within(), c)
	before := c.await("reachable")
	i.vanish(p)
	i.reboot()
	c.await("reachable") // for all the server knows
	lampProcess(t, dir, i.within(), c)
	for start := time.Now(); ; {
		d := c.await("reachable")
		if d.ID != before.ID {
			t.Fatalf("device %s came back as %s", before.ID, d.ID)
		}
		if d.Since.After(before.Since) {
			t.Logf("reachable over a new connection %v after its process started", time.Since(start).Round(10*time.Millisecond))
			break
		}
		if time.Since(start) > patience {
			t.Fatal("the half-open connection is not replaced")
		}
	}
	c.commanded()
}
