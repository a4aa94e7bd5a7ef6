package bench

import (
	"context"
	"fmt"
	"slices"
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
		c, err := r.compare(ctx, m.kind)
		if err != nil {
			return fmt.Errorf("%s: %w", m.what, err)
		}
		f := Figure{Name: m.name, What: m.what, Unit: "/core-s", Aim: m.aim, Measured: c.ours, Echo: c.ours / c.toEcho}
		f.Note = fmt.Sprintf("%.2f to %.2f of the echo, %.0f/s in all", c.lowest, c.highest, c.inAll)
		if m.aim == 0 { // the echo sets it
			f.Aim = aimOneToEcho * f.Echo
			f.Note = fmt.Sprintf("aim is %g of the echo; %s", aimOneToEcho, f.Note)
		}
		r.add(f)
	}
	return nil
}

// comparison is what our server reaches beside the bare echo, of which the
// medians count: what else the machine does hits some turns.
type comparison struct {
	ours            float64 // requests per second of the server's processor
	toEcho          float64 // ours to that of the echo in the same turn
	lowest, highest float64 // toEcho
	inAll           float64 // ours, requests per second
}

// turns is how often ours and the echo take turns. It is odd, so that the
// median is one of them.
const turns = 15

// compare loads our server and the bare echo, in turn.
func (r *run) compare(ctx context.Context, kind loadKind) (comparison, error) {
	loads := make([]*load, 2)
	for i, server := range []string{kindCoAP, kindEcho} {
		kind.server = server
		var err error
		if loads[i], err = r.newLoad(ctx, kind); err != nil {
			return comparison{}, err
		}
		defer loads[i].stop()
	}
	const warm = 100 * time.Millisecond
	var ours, ratios, inAll []float64
	for turn := range turns + 1 {
		d := r.For / turns
		if turn == 0 {
			d = min(warm, r.For)
		}
		var rates [2]rate
		for i := range loads {
			i = (i + turn) % 2 // neither is always the first
			var err error
			if rates[i], err = loads[i].drive(ctx, d); err != nil {
				return comparison{}, err
			}
		}
		if turn > 0 {
			ours = append(ours, rates[0].perCore)
			ratios = append(ratios, rates[0].perCore/rates[1].perCore)
			inAll = append(inAll, rates[0].inAll)
		}
	}
	return comparison{median(ours), median(ratios), slices.Min(ratios), slices.Max(ratios), median(inAll)}, ctx.Err()
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}
