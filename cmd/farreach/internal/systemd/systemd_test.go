package systemd

import (
	"context"
	"net"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"
)

// manager listens where a service manager would.
func manager(t *testing.T, watchdog string) (*Manager, func() string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "s")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	env := map[string]string{"NOTIFY_SOCKET": name, "WATCHDOG_USEC": watchdog}
	m := Open(func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	return m, func() string {
		t.Helper()
		b := make([]byte, 1000)
		if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
}

func TestStates(t *testing.T) {
	m, said := manager(t, "")
	for _, tt := range []struct {
		tell func() error
		want string
	}{
		{func() error { return m.Ready("4 devices") }, `^READY=1\nSTATUS=4 devices$`},
		{m.Reloading, `^RELOADING=1\nMONOTONIC_USEC=\d+$`},
		{m.Stopping, `^STOPPING=1$`},
	} {
		if err := tt.tell(); err != nil {
			t.Fatal(err)
		}
		if got := said(); !regexp.MustCompile(tt.want).MatchString(got) {
			t.Errorf("%q, want %s", got, tt.want)
		}
	}
}

// Signs of life come as long as there is life.
func TestWatch(t *testing.T) {
	m, said := manager(t, "30000")
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	asked := 0
	dead := make(chan struct{})
	running.Go(func() {
		_ = m.Watch(ctx, func(context.Context) bool {
			if asked++; asked == 5 {
				close(dead)
			}
			return asked < 3
		})
	})
	for range 2 {
		if got := said(); got != "WATCHDOG=1" {
			t.Errorf("%q", got)
		}
	}
	<-dead
	if err := m.Stopping(); err != nil {
		t.Fatal(err)
	}
	if got := said(); got != "STOPPING=1" {
		t.Errorf("a sign of life of a dead server: %q", got)
	}
}

func TestNobodyThere(t *testing.T) {
	m := Open(func(string) (string, bool) { return "", false })
	if err := m.Ready(""); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Watch(ctx, nil); err != context.Canceled {
		t.Errorf("err = %v", err)
	}
}
