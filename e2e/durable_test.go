//go:build unix

package e2e_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/oic"
)

// device is one that has joined and published over a connection of its own.
func (c *child) device() (*cloudlink.Link, string) {
	c.t.Helper()
	ctx, l, di := c.t.Context(), c.link(), uuid.NewString()
	code, err := c.code(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	g, err := l.SignUp(ctx, cloudlink.SignUp{Device: di, Code: code})
	if err == nil {
		err = signIn(ctx, l, g.Account, di, g.Access)
	}
	if err == nil {
		_, err = l.Publish(ctx, cloudlink.Publication{Device: di, Name: "one", Links: counters})
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return l, di
}

// tell reports an event whose text is word.
func (c *child) tell(l *cloudlink.Link, word string) error {
	body, err := oic.FromJSON(oic.OCF, fmt.Appendf(nil, `{"word":%q}`, word))
	if err != nil {
		c.t.Fatal(err)
	}
	return l.Report(c.t.Context(), "/a/counter", &oic.Response{Format: oic.OCF, Body: body})
}

// refusesWrites checks that nothing is acknowledged, to devices nor people, and
// that what needs no write still works.
func (c *child) refusesWrites(l *cloudlink.Link, di string) {
	c.t.Helper()
	ctx := c.t.Context()
	var all sync.WaitGroup // a store that is silent takes its time for each
	defer all.Wait()
	all.Go(func() { // one after the other, as the server takes them from one device
		if err := c.tell(l, "refused"); !refused(err, oic.Unavailable) {
			c.t.Errorf("an event: %v, want 5.03", err)
		}
		_, err := l.Publish(ctx, cloudlink.Publication{Device: di, Name: "two", Links: counters})
		if !refused(err, oic.Unavailable) {
			c.t.Errorf("a publication: %v, want 5.03", err)
		}
	})
	all.Go(func() {
		_, err := c.code(ctx)
		if refusal, ok := errors.AsType[*httpError](err); !ok || refusal.status != http.StatusServiceUnavailable {
			c.t.Errorf("a pairing code: %v, want 503", err)
		}
	})
	if err := c.call(ctx, http.MethodGet, "/devices/"+di, nil, nil); err != nil {
		c.t.Errorf("the device cannot be seen: %v", err)
	}
}

// heals waits until an event is acknowledged again.
func (c *child) heals(l *cloudlink.Link) {
	c.t.Helper()
	begin := time.Now()
	for err := c.tell(l, "healed"); err != nil; err = c.tell(l, "healed") {
		if !refused(err, oic.Unavailable) || time.Since(begin) > 60*time.Second {
			c.t.Fatalf("not healed after %v: %v", time.Since(begin), err)
		}
	}
	c.t.Logf("healed after %v", time.Since(begin).Round(time.Millisecond))
}

// has checks that the newest events are these.
func (c *child) has(words ...string) {
	c.t.Helper()
	var doc struct {
		Events []struct{ Rep struct{ Word string } }
	}
	if err := c.call(c.t.Context(), http.MethodGet, "/events", nil, &doc); err != nil {
		c.t.Fatal(err)
	}
	var got []string
	for _, e := range doc.Events {
		if e.Rep.Word != "refused" { // which may have been stored nevertheless
			got = append(got, e.Rep.Word)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(words) {
		c.t.Errorf("events %q, want %q", got, words)
	}
}

// TestBad52DiskFull: on a full disk the server refuses what it would have to
// store, and shows what it has (rule 18).
func TestBad52DiskFull(t *testing.T) {
	c := newChild(t)
	disk := filepath.Join(c.home, "data")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=64m,mode=0700", "tmpfs", disk).CombinedOutput(); err != nil {
		t.Skipf("cannot mount a file system: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if c.cmd != nil {
			c.kill()
		}
		if out, err := exec.Command("umount", disk).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	c.start()
	l, di := c.device()
	if err := c.tell(l, "before"); err != nil {
		t.Fatal(err)
	}
	fill := filepath.Join(disk, "fill")
	_ = os.WriteFile(fill, make([]byte, 70<<20), 0o600) // until it fails
	awaitRefusal(t, func() error { return c.tell(l, "refused") })
	c.refusesWrites(l, di)
	c.has("before")
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	c.heals(l)
	c.has("before", "healed")
}

// awaitRefusal calls do until it is refused: that the disk is full is noticed
// within a moment.
func awaitRefusal(t *testing.T, do func() error) {
	t.Helper()
	for begin := time.Now(); do() == nil; {
		if time.Since(begin) > patience {
			t.Fatal("writes are acknowledged on a full disk")
		}
	}
}

// TestStoreStopped: an external NATS server that does not answer is a store
// that cannot write; when it answers again, all goes on.
func TestStoreStopped(t *testing.T) {
	const where = "FARREACH_TEST_NATS"
	if dir := os.Getenv(where); dir != "" {
		serveNATS(t, dir)
		return
	}
	dir := t.TempDir()
	srv := exec.Command(os.Args[0], "-test.run=^TestStoreStopped$")
	srv.Env = append(os.Environ(), where+"="+dir)
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Process.Kill(); _ = srv.Wait() })
	c := newChild(t, "--nats", string(awaitFile(t, filepath.Join(dir, "url"), nil)))
	c.command = "cloud"
	c.start()
	l, di := c.device()
	if err := c.tell(l, "before"); err != nil {
		t.Fatal(err)
	}
	if err := srv.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Skip("a process cannot be stopped here: ", err)
	}
	awaitStopped(t, srv.Process.Pid)
	c.refusesWrites(l, di)
	if err := srv.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	c.heals(l)
	c.has("before", "healed")
}

// awaitStopped waits until no thread of a process runs any more: the signal is
// there before its effect is.
func awaitStopped(t *testing.T, pid int) {
	t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for begin := time.Now(); time.Since(begin) < patience; <-look.C {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		running := 0
		for _, thread := range threads {
			if status, err := os.ReadFile(thread); err == nil && !strings.Contains(string(status), "State:\tT") {
				running++
			}
		}
		if running == 0 {
			return // also where there is no /proc
		}
	}
	t.Error("the process does not stop")
}

// serveNATS is the other process of TestStoreStopped, until it is killed.
func serveNATS(t *testing.T, dir string) {
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: filepath.Join(dir, "data"), NoSigs: true, NoLog: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		t.Fatal("the NATS server does not start")
	}
	tmp, url := filepath.Join(dir, "tmp"), filepath.Join(dir, "url")
	if err := errors.Join(os.WriteFile(tmp, []byte(s.ClientURL()), 0o600), os.Rename(tmp, url)); err != nil {
		t.Fatal(err)
	}
	s.WaitForShutdown()
}

// TestSyncAlways: with --store-sync always, what the server has written is
// synced before it answers. The system calls tell.
func TestSyncAlways(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	trace := filepath.Join(t.TempDir(), "trace")
	c := newChild(t, "--store-sync", "always")
	c.wrap = []string{strace, "-f", "-y", "-qq", "-s", "4096", "-e", "trace=write,pwrite64,fsync", "-e", "signal=none", "-o", trace}
	c.start()
	l, _ := c.device()
	const events = 20
	for i := range events {
		if err := c.tell(l, fmt.Sprintf("proof-%02d-", i)); err != nil {
			t.Fatal(err)
		}
	}
	c.kill()
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	proved := 0
	for i := range events {
		proved += synced(strings.Split(string(text), "\n"), fmt.Sprintf("proof-%02d-", i))
	}
	if proved != events {
		t.Errorf("%d of %d events were synced between the write and the answer", proved, events)
	}
}

var (
	written  = regexp.MustCompile(`pwrite64\(\d+<([^>]*\.blk)>`)
	fsynced  = regexp.MustCompile(`fsync\(\d+<([^>]*\.blk)>`)
	answered = regexp.MustCompile(`write\(\d+<(?:TCP|socket)`)
)

// synced is 1 if trace has: word written to a file, a sync of that file that
// begins after, and only then something written to a socket.
func synced(trace []string, word string) int {
	file := ""
	for _, call := range trace {
		w, f := written.FindStringSubmatch(call), fsynced.FindStringSubmatch(call)
		switch {
		case file == "" && w != nil && strings.Contains(call, word):
			file = w[1]
		case file != "" && f != nil && f[1] == file:
			return 1
		case file != "" && w == nil && answered.MatchString(call):
			return 0
		}
	}
	return 0
}
