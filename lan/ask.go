package lan

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
)

// request asks a group for links; with accept 60 in the way of OIC 1.x, whose
// devices do not answer the other.
func request(accept oic.ContentFormat, rt string) *coap.Message {
	m := &coap.Message{Code: coap.GET}
	m.SetPath("/oic/res")
	if rt != "" {
		m.AddString(coap.URIQuery, "rt="+rt)
	}
	oiccoap.SetAccept(m, accept)
	return m
}

// forms are the ways in which the question of a round is put: in both at first,
// then in one after the other, so that a device which understands both answers
// once a minute.
func forms(round int) []oic.ContentFormat {
	both := []oic.ContentFormat{oic.OCF, oic.CBOR}
	if round < 4 {
		return both
	}
	return both[round%2 : round%2+1]
}

// askLoop asks for devices: at growing gaps, and from the start again when an
// interface has come or changed.
func (w *watcher) askLoop(ctx context.Context) {
	var rounds sync.WaitGroup
	defer rounds.Wait()
	gap, network := firstGap, w.network()
	for n := 0; ctx.Err() == nil; n++ {
		wait := jitter(gap)
		rounds.Go(func() { w.askGroups(ctx, forms(n), max(wait, listenFor)) })
		rounds.Go(func() { w.askAddresses(ctx) })
		gap = min(2*gap, lastGap)
		if now := w.await(ctx, wait, network); now != network {
			w.log.Info("the network has changed", "interfaces", now)
			gap, n, network = firstGap, -1, now
		}
	}
}

// jitter is d, a fifth more or less: so that not all ask at once who were
// started at once.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

// await returns after a time, or as soon as the network is another one; and which
// it is now.
func (w *watcher) await(ctx context.Context, wait time.Duration, network string) string {
	end := time.NewTimer(wait)
	defer end.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return network
		case <-end.C:
			return network
		case <-look.C:
			if now := w.network(); now != network {
				return now
			}
		}
	}
}

// interfaces names those of only that are up, or all, with their addresses.
func interfaces(only []string) string {
	all, err := net.Interfaces()
	if err != nil {
		return ""
	}
	var up []string
	for _, i := range all {
		if i.Flags&net.FlagUp == 0 || !wanted(i.Name, only) {
			continue
		}
		addrs, _ := i.Addrs()
		up = append(up, fmt.Sprint(i.Name, addrs))
	}
	return strings.Join(up, " ")
}

func wanted(name string, only []string) bool {
	for _, o := range only {
		if o == name {
			return true
		}
	}
	return only == nil
}

// askGroups asks the groups once, and hears who answers for a while.
func (w *watcher) askGroups(ctx context.Context, forms []oic.ContentFormat, listen time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, listen)
	defer cancel()
	var asking sync.WaitGroup
	defer asking.Wait()
	for _, s := range w.socks.all() {
		groups := w.socks.groups(s, w.cfg.Groups)
		if len(groups) == 0 {
			continue
		}
		for _, accept := range forms {
			asking.Go(func() {
				if err := s.AskOnce(ctx, groups, request(accept, ""), w.heard); err != nil {
					w.log.Debug("groups cannot be asked", "groups", groups, "err", err) // a network without IPv6, say
				}
			})
		}
	}
}

// seed makes hashes that nobody can make collide.
var seed = maphash.MakeSeed()

// heard takes what came as an answer to a group, on an endpoint's goroutine. It
// tells that somebody may be there, and, when it differs from last time, that
// something may have changed.
func (w *watcher) heard(from netip.AddrPort, m *coap.Message) {
	if m.Code.Class() != 2 {
		return
	}
	format, _ := m.Options.Uint(coap.ContentFormat)
	w.suspect(from, uint16(format), maphash.Bytes(seed, m.Payload))
}

// askAddresses asks the configured addresses at which nobody is known to be.
func (w *watcher) askAddresses(ctx context.Context) {
	for _, text := range w.cfg.Addresses {
		at, err := resolve(ctx, text)
		if err != nil {
			w.say("address "+text, slog.LevelWarn, "address cannot be asked", "address", text, "err", err)
			continue
		}
		w.suspect(at, 0, 0)
	}
}

// resolve returns the address that a configured one means.
func resolve(ctx context.Context, text string) (netip.AddrPort, error) {
	u, err := parseAddress(text)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if u.Secure {
		return netip.AddrPort{}, errors.New("only coap:// is asked without knowing who is there")
	}
	return Lookup(ctx, u.Host, u.Port)
}

// parseAddress reads an address with or without a scheme and a port.
func parseAddress(text string) (coap.URI, error) {
	if ip, err := netip.ParseAddr(text); err == nil {
		return coap.URI{Transport: coap.UDP, Host: ip.Unmap().String(), Port: 5683}, nil
	}
	if !strings.Contains(text, "://") {
		text = "coap://" + text
	}
	u, err := coap.ParseURI(text)
	if err == nil && u.Transport != coap.UDP {
		err = fmt.Errorf("%.80q is not reached by datagrams", text)
	}
	return u, err
}
