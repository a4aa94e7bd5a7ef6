package e2e_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/farreach/farreach/cloud"
	"github.com/farreach/farreach/cloud/directory"
)

// keepAlive is how old the proof of a reachable device may be: the silence
// before a Ping and the patience with its answer (threats section 3.2).
const keepAlive = 30 * time.Second

// proc is the command device as a process of its own.
type proc struct {
	cmd  *exec.Cmd
	out  lockedBuffer
	stop func()
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

// deviceProcess starts a device that joins h; before stands in front of its
// command line.
func deviceProcess(t *testing.T, h *home, before ...string) *proc {
	t.Helper()
	dir := t.TempDir()
	args := append(before, "farreach", "device", "--type", "lamp", "--name", "lamp", "--cloud", "coap+tcp://"+h.plain,
		"--code", h.code().Reveal(), "--state", filepath.Join(dir, "lamp.json"))
	p := &proc{cmd: exec.Command(args[0], args[1:]...)}
	p.cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_STATE_HOME="+dir)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.stop = sync.OnceFunc(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	})
	t.Cleanup(p.stop)
	return p
}

// await polls the only device until its state is want, and returns it. While
// it is shown as reachable, the proof must not be older than a keep-alive
// interval.
func await(t *testing.T, h *home, want directory.State, limit time.Duration) cloud.DeviceInfo {
	t.Helper()
	var last cloud.DeviceInfo
	for start := time.Now(); time.Since(start) < limit; time.Sleep(50 * time.Millisecond) {
		all, err := h.cloud.Inventory(t.Context(), h.owner())
		if err != nil {
			t.Fatal(err)
		}
		if len(all) == 0 {
			continue
		}
		last = all[0]
		if p := last.Presence; p.State == directory.Reachable && time.Since(p.Proven) > keepAlive+time.Second {
			t.Fatalf("shown as reachable with a proof %v old", time.Since(p.Proven))
		}
		if last.Presence.State == want {
			return last
		}
	}
	t.Fatalf("%s after %v, want %s", last.Presence.State, limit, want)
	return last
}

// goneWithin checks that a device that went silent at the given time is shown
// as offline in time, with the time of its last sign of life.
func goneWithin(t *testing.T, h *home, silent time.Time) {
	t.Helper()
	p := await(t, h, directory.Offline, keepAlive+5*time.Second).Presence
	if took := time.Since(silent); took > keepAlive+time.Second {
		t.Errorf("offline %v after it went silent, want at most %v", took, keepAlive)
	}
	if p.Proven.IsZero() || p.Proven.After(silent.Add(time.Second)) || p.Since.Before(p.Proven) {
		t.Errorf("offline since %v, last proven %v, silent since %v", p.Since, p.Proven, silent)
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
	h := newHome(t, 0)
	p := deviceProcess(t, h)
	await(t, h, directory.Reachable, 20*time.Second)
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	goneWithin(t, h, time.Now())
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	await(t, h, directory.Reachable, 20*time.Second)
}

// After a restart of the server a device is unknown until it has proved that it
// is there; the latest proof is from before.
func TestUnknownAfterRestart(t *testing.T) {
	t.Parallel()
	h := newHome(t, 0)
	p := deviceProcess(t, h)
	await(t, h, directory.Reachable, 20*time.Second)
	p.stop()
	await(t, h, directory.Offline, 5*time.Second)
	h.stop()
	started := time.Now()
	h.start()
	got := await(t, h, directory.Unknown, time.Second).Presence
	if got.Proven.After(started) || got.Since.Before(started.Add(-time.Second)) {
		t.Errorf("unknown since %v, proven %v; the server started at %v", got.Since, got.Proven, started)
	}
}

// A cut cable: the device is in a network of its own, whose only link goes
// down without a word to either end.
func TestCutCable(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a keep-alive interval is half a minute")
	}
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	t.Parallel()
	name := fmt.Sprintf("fr%d", os.Getpid())
	here, there := name+"a", name+"b"
	for i, args := range [][]string{
		{"netns", "add", name},
		{"link", "add", here, "type", "veth", "peer", "name", there},
		{"link", "set", there, "netns", name},
		{"addr", "add", "198.18.77.1/30", "dev", here},
		{"link", "set", here, "up"},
		{"-n", name, "addr", "add", "198.18.77.2/30", "dev", there},
		{"-n", name, "link", "set", there, "up"},
	} {
		out, err := exec.Command("ip", args...).CombinedOutput()
		if err != nil && i < 2 {
			t.Skipf("no network namespaces here: ip %v: %v: %s", args, err, out)
		}
		if err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, out)
		}
		if i == 0 {
			t.Cleanup(func() { exec.Command("ip", "netns", "del", name).Run() })
		}
		if i == 1 {
			t.Cleanup(func() { exec.Command("ip", "link", "del", here).Run() })
		}
	}
	h := newHome(t, 0)
	h.stop()
	h.plain, h.allowPlain = "198.18.77.1:0", true
	h.start()
	deviceProcess(t, h, "ip", "netns", "exec", name)
	await(t, h, directory.Reachable, 20*time.Second)
	if out, err := exec.Command("ip", "link", "set", here, "down").CombinedOutput(); err != nil {
		t.Fatalf("cut: %v: %s", err, out)
	}
	goneWithin(t, h, time.Now())
}
