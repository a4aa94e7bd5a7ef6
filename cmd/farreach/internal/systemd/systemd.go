// Package systemd tells the service manager how a server does, as sd_notify(3)
// describes it:
//
//	server ── Ready, Reloading, Stopping, Alive ──▶ datagrams to $NOTIFY_SOCKET ──▶ systemd
//
// Without a service manager nothing is sent.
package systemd

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"
)

// Manager is the service manager that started this process.
type Manager struct {
	socket   string
	watchdog time.Duration // how often it wants a sign of life, at least; 0: never
}

// Open finds the service manager in the environment. lookup is os.LookupEnv or
// a stand-in.
func Open(lookup func(string) (string, bool)) *Manager {
	m := new(Manager)
	m.socket, _ = lookup("NOTIFY_SOCKET")
	text, _ := lookup("WATCHDOG_USEC")
	if us, err := strconv.ParseInt(text, 10, 64); err == nil && us > 0 {
		m.watchdog = time.Duration(us) * time.Microsecond
	}
	return m
}

// Ready says that the server has started, or has finished reloading.
func (m *Manager) Ready(status string) error { return m.send("READY=1\nSTATUS=" + status) }

// Reloading says that the server reads its files again; Ready follows.
func (m *Manager) Reloading() error {
	return m.send(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", monotonic().Microseconds()))
}

// Stopping says that the server is about to end.
func (m *Manager) Stopping() error { return m.send("STOPPING=1") }

// Watch sends a sign of life as often as it is wanted, as long as alive says
// that the server works, until ctx ends. A server that does not is restarted.
func (m *Manager) Watch(ctx context.Context, alive func(context.Context) bool) error {
	if m.watchdog == 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	tick := time.NewTicker(m.watchdog / 3)
	defer tick.Stop()
	for {
		if alive(ctx) {
			if err := m.send("WATCHDOG=1"); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (m *Manager) send(state string) error {
	if m.socket == "" {
		return nil
	}
	c, err := net.Dial("unixgram", m.socket) // a leading @ is an abstract name for both
	if err != nil {
		return fmt.Errorf("service manager: %w", err)
	}
	defer c.Close()
	_, err = c.Write([]byte(state))
	return err
}
