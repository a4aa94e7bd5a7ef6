package bench

import (
	"context"
	"fmt"
	"time"
)

// The aims for rates. Pipelined: requests per second of the server's
// processor. One in flight, where system calls are the limit: part of what an
// echo reaches.
const (
	aimPipelined    = 1.5e6
	aimPipelinedTLS = 1.2e6
	aimOneToEcho    = 0.85
	inFlight        = 16
)

// rates measures how many requests a second of a processor answers.
func (r *run) rates(ctx context.Context) error {
	for _, m := range []struct {
		name, what string
		kind       loadKind
		aim        float64
	}{
		{"pipelined", "GET, 16 in flight, plain", loadKind{inFlight: inFlight}, aimPipelined},
		{"pipelined-tls", "GET, 16 in flight, TLS", loadKind{inFlight: inFlight, secure: true}, aimPipelinedTLS},
		{"one-in-flight", "GET, one in flight, plain", loadKind{inFlight: 1}, 0},
		{"one-in-flight-tls", "GET, one in flight, TLS", loadKind{inFlight: 1, secure: true}, 0},
	} {
		r.Progress("%s, on %d connections", m.what, loadConnections)
		ours, bare, err := r.compare(ctx, m.kind)
		if err != nil {
			return fmt.Errorf("%s: %w", m.what, err)
		}
		f := Figure{Name: m.name, What: m.what, Unit: "/core-s", Aim: m.aim, Measured: ours.perCore(), Echo: bare.perCore()}
		f.Note = fmt.Sprintf("%.0f/s in all", float64(ours.requests)/ours.took.Seconds())
		if m.aim == 0 { // the echo sets it
			f.Aim = aimOneToEcho * bare.perCore()
			f.Note = fmt.Sprintf("aim is %g of the echo; %s", aimOneToEcho, f.Note)
		}
		r.add(f)
	}
	return nil
}

// turns is how often ours and the echo take turns, so that what else the
// machine does hits both.
const turns = 3

// compare loads our server and the bare echo, in turn.
func (r *run) compare(ctx context.Context, kind loadKind) (ours, bare *load, err error) {
	loads := make([]*load, 2)
	for i, server := range []string{kindCoAP, kindEcho} {
		kind.server = server
		if loads[i], err = r.newLoad(ctx, kind); err != nil {
			return nil, nil, err
		}
		defer loads[i].stop()
	}
	const warm = 100 * time.Millisecond
	for turn := range turns + 1 {
		for _, l := range loads {
			if turn == 0 {
				if err := l.drive(ctx, min(warm, r.For)); err != nil {
					return nil, nil, err
				}
				l.requests, l.cpu, l.took = 0, 0, 0
			} else if err := l.drive(ctx, r.For/turns); err != nil {
				return nil, nil, err
			}
		}
	}
	return loads[0], loads[1], ctx.Err()
}
