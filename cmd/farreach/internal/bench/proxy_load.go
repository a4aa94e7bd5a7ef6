package bench

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/lan"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
	"github.com/farreach/farreach/rae"
)

// latency measures what a proxy adds: a GET of a lamp through it, beside a GET of
// the same lamp on its network and one of a lamp that is on XMPP itself.
func (r *proxyRun) latency(ctx context.Context, s *xmppTarget, lan *child) error {
	r.Progress("round trips, one after the other")
	own, err := r.start(ctx, kindRemoteDevice, s.told())
	if err != nil {
		return err
	}
	defer own.stop()
	client, err := s.remoteClient(ctx)
	if err != nil {
		return err
	}
	defer client.stop()
	behind, err := client.lamp(ctx, true)
	if err != nil {
		return err
	}
	itself, err := client.lamp(ctx, false)
	if err != nil {
		return err
	}
	direct, err := directTo(lan, behind.di)
	if err != nil {
		return err
	}
	defer direct.Close()
	ways := []way{{h: behind}, {h: itself}, {h: direct}}
	for end := time.Now().Add(r.cfg.For); time.Now().Before(end); {
		for i := range ways {
			if err := ways[i].trips(ctx); err != nil {
				return err
			}
		}
	}
	proxied, remote, near := ways[0].median(), ways[1].median(), ways[2].median()
	r.add(Figure{Name: "latency", What: "added by the proxy to direct CoAP and XMPP", Unit: "ms", Aim: aimProxyLatency, AtMost: true,
		Measured: max(proxied-remote-near, 0), Note: fmt.Sprintf("GET through the proxy %.3f ms, of a lamp on XMPP %.3f ms, on the network %.3f ms, medians", proxied, remote, near)})
	return nil
}

// way is one by which a lamp is read.
type way struct {
	h    oic.Handler
	took []time.Duration
}

// trips reads a lamp a few times, of which the first does not count.
func (w *way) trips(ctx context.Context) error {
	for i := range turnTrips {
		start := time.Now()
		if _, err := w.h.Handle(ctx, &oic.Request{Href: lampHref}); err != nil {
			return err
		}
		if i > 0 {
			w.took = append(w.took, time.Since(start))
		}
	}
	return nil
}

func (w *way) median() float64 { return quantile(w.took, 0.5).Seconds() * 1e3 }

// remoteLamp is a lamp on XMPP.
type remoteLamp struct {
	*rae.Remote
	di string
}

// near is a lamp on its local network.
type near struct {
	*oiccoap.Client
	socket *lan.Socket
}

func (n near) Close() { n.socket.Close() }

func directTo(lamps *child, di string) (near, error) {
	port, err := lamps.ask(fmt.Sprint(askPort, " ", lanIndex(di)))
	if err != nil {
		return near{}, err
	}
	pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return near{}, err
	}
	socket := lan.Run(pc, coap.EndpointConfig{Log: slog.New(slog.DiscardHandler)})
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port))
	return near{oiccoap.NewClient(socket.Peer(at)), socket}, nil
}

// observers measures what it costs a lamp that many observe it from afar, each
// with a session of its own, and has all of them hear of a change.
func (r *proxyRun) observers(ctx context.Context, s *xmppTarget, lan *child) error {
	r.Progress("%d remote observers of one lamp", remoteObservers)
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	var clients remotes
	defer func() { clients.stop() }()
	defer cancel()
	lamp, heard, err := r.observe(ctx, s, &clients, &watching)
	if err != nil {
		return err
	}
	n, err := lan.ask(askWatchers)
	if err != nil {
		return err
	}
	body, err := oic.Encode(oic.OCF, map[string]any{"dimming": 7})
	if err != nil {
		return err
	}
	start := time.Now()
	if _, err := lamp.Handle(ctx, &oic.Request{Op: oic.Update, Href: lampHref, Format: oic.OCF, Body: body}); err != nil {
		return err
	}
	if err := heard.await(ctx, 2*remoteObservers); err != nil {
		return err
	}
	r.add(Figure{Name: "observers", What: fmt.Sprintf("observations of a lamp that %d observe from afar", remoteObservers), Unit: "observations", Aim: aimObserved, AtMost: true,
		Measured: float64(n), Note: fmt.Sprintf("all of them have heard of a change %.0f ms after it was asked for", time.Since(start).Seconds()*1e3)})
	return nil
}

// observe begins all observations, each by a client of its own, and returns when
// all have been told something. The caller stops the clients.
func (r *proxyRun) observe(ctx context.Context, s *xmppTarget, clients *remotes, watching *sync.WaitGroup) (remoteLamp, *tally, error) {
	var first remoteLamp
	heard := &tally{more: make(chan struct{}, 1)}
	var mu sync.Mutex // guards clients and first
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for range remoteObservers {
		group.Go(func() error {
			client, err := s.remoteClient(ctx)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			*clients = append(*clients, client)
			if first.Remote == nil {
				if first, err = client.lamp(gctx, true); err != nil {
					return err
				}
			}
			lamp := client.Open(first.Peer())
			watching.Go(func() {
				_ = lamp.Observe(ctx, &oic.Request{Href: lampHref}, func(*oic.Response) { heard.add() }) // who hears nothing is missed
			})
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return first, nil, err
	}
	return first, heard, heard.await(ctx, remoteObservers)
}

// lamp waits until a lamp is there: one of the local network, or one that is on
// XMPP itself.
func (m *remote) lamp(ctx context.Context, proxied bool) (found remoteLamp, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = m.Watch(ctx, func(d rae.Device) {
		di := d.Name.Device()
		if d.Available && d.Name.Type == "oic.d.light" && found.Remote == nil && (lanID(lanIndex(di)) == di) == proxied {
			found = remoteLamp{m.Open(d.JID), di}
			cancel()
		}
	})
	if found.Remote == nil {
		return found, fmt.Errorf("no lamp is there: %w", err)
	}
	return found, nil
}

// tally counts what is heard.
type tally struct {
	n    atomic.Int64
	more chan struct{} // has one when there are more
}

func (t *tally) add() {
	t.n.Add(1)
	select {
	case t.more <- struct{}{}:
	default:
	}
}

// await waits until there are n.
func (t *tally) await(ctx context.Context, n int64) error {
	late := time.NewTimer(patience)
	defer late.Stop()
	for t.n.Load() < n {
		select {
		case <-t.more:
		case <-late.C:
			return fmt.Errorf("%d of %d notifications came", t.n.Load(), n)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
