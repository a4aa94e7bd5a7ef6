package bench

import (
	"context"
	"fmt"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/farreach/farreach/coap"
)

// The aims for an idle connection, bytes of resident memory.
const (
	aimIdle    = 4000
	aimIdleTLS = 15000
)

// idle measures what an idle connection costs the server.
func (r *run) idle(ctx context.Context) error {
	for _, m := range []struct {
		name, what string
		secure     bool
		aim        float64
	}{
		{"idle", "idle connection, plain", false, aimIdle},
		{"idle-tls", "idle connection, TLS", true, aimIdleTLS},
	} {
		r.Progress("%s, %d of them", m.what, r.Connections)
		per, heap, err := r.idleMemory(ctx, loadKind{server: kindIdle, secure: m.secure, inFlight: 1})
		if err != nil {
			return fmt.Errorf("%s: %w", m.what, err)
		}
		r.add(Figure{Name: m.name, What: m.what, Unit: "B resident", Aim: m.aim, AtMost: true, Measured: per,
			Note: fmt.Sprintf("of %d, after one keep-alive; %.0f B in heap and stacks", r.Connections, heap)})
	}
	return nil
}

const (
	strangersPerAddress = 500                     // fewer than Serve takes of strangers from one address
	dialers             = 16                      // connect at once
	silence             = 1200 * time.Millisecond // before the keep-alive
)

// idleMemory opens connections that ask once and then only keep alive, and
// returns what each costs: resident memory, and what of it is live.
func (r *run) idleMemory(ctx context.Context, kind loadKind) (resident, heap float64, err error) {
	s, err := r.start(ctx, kind.child())
	if err != nil {
		return 0, 0, err
	}
	defer s.stop()
	if err := s.warm(ctx, kind); err != nil {
		return 0, 0, err
	}
	before, err := s.memory()
	if err != nil {
		return 0, 0, err
	}
	conns := make([]client, r.Connections)
	defer func() {
		for _, c := range conns {
			if c.Conn != nil {
				c.Close()
			}
		}
	}()
	get := lightGET()
	err = each(ctx, r.Connections, func(ctx context.Context, i int) (err error) {
		// Addresses of this machine, as if the connections came from many.
		from := &net.TCPAddr{IP: net.IPv4(127, 0, 1+byte(i/strangersPerAddress/200), byte(1+i/strangersPerAddress%200))}
		if conns[i], err = s.dial(ctx, kind, from); err != nil {
			return err
		}
		return conns[i].ask(get, make([]byte, len(get)))
	})
	if err != nil {
		return 0, 0, err
	}
	select {
	case <-time.After(silence):
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	}
	ping := frame(&coap.Message{Code: coap.Ping, Token: coap.TokenFrom(9)})
	if err := each(ctx, r.Connections, func(_ context.Context, i int) error {
		return conns[i].ask(ping, make([]byte, len(ping)))
	}); err != nil {
		return 0, 0, err
	}
	after, err := s.memory()
	n := float64(r.Connections)
	return float64(after[0]-before[0]) / n, float64(after[1]-before[1]) / n, err
}

// warm has the process do once what every connection will, so that its own
// code and buffers are in memory before that is looked at.
func (c *child) warm(ctx context.Context, kind loadKind) error {
	return each(ctx, dialers, func(ctx context.Context, i int) error {
		nc, err := c.dial(ctx, kind, nil)
		if err != nil {
			return err
		}
		defer nc.Close()
		get := lightGET()
		return nc.ask(get, make([]byte, len(get)))
	})
}

// memory is what the process holds resident, and what of that is live.
func (c *child) memory() (m [2]int64, err error) {
	for i, what := range []string{askMemory, askHeap} {
		if m[i], err = c.ask(what); err != nil {
			return m, err
		}
	}
	return m, nil
}

// each calls f for 0 to n-1, some at once, until one fails.
func each(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for first := range dialers {
		g.Go(func() error {
			for i := first; i < n; i += dialers {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := f(ctx, i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}
