package account

import (
	"container/list"
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/farreach/farreach/oic"
)

// What guessing costs. An account is never locked: only a principal as it
// comes from one address waits, and only an address is refused.
const (
	freeFailures  = 3                // of a principal from an address, before it waits
	firstWait     = time.Second      // after them; doubled by each further failure
	longestWait   = 10 * time.Second // of one try, behind others of the same kind or not
	waitForgotten = 15 * time.Minute // after the last failure

	floodFailures = 60          // of one address within floodWindow, before it is refused
	floodWindow   = time.Minute // and for how long it is refused

	throttleSize = 8192 // principals and addresses remembered, each; the oldest is forgotten
)

// throttle slows down guessing. The zero value is ready. Principals are what
// somebody claims to be: the name of an account, a di, or a kind of secret.
type throttle struct {
	mu         sync.Mutex
	principals lru[guesser, *tries]
	addresses  lru[netip.Prefix, *flood]
}

type guesser struct {
	principal string
	from      netip.Prefix
}

type tries struct {
	failures int
	last     time.Time // of the failures
	next     time.Time // when the next try may begin
	proved   bool      // logged in from here before
}

type flood struct {
	began    time.Time // of the window that is counted
	failures int
	refused  time.Time // until then
}

// admit waits until principal may try again from peer. The error is a 4.29
// that says when to come back, or ctx.Err().
func (t *throttle) admit(ctx context.Context, principal string, peer netip.Addr) error {
	wait, err := t.reserve(principal, peer, time.Now())
	if err != nil || wait <= 0 {
		return err
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reserve takes the next place in the row of those who try as principal from
// peer, and returns the time until it comes.
func (t *throttle) reserve(principal string, peer netip.Addr, now time.Time) (time.Duration, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	from := network(peer)
	who := t.principals.get(guesser{clip(principal), from})
	if f := t.addresses.get(from); f != nil && now.Before(f.refused) && (who == nil || !who.proved) {
		return 0, tooMany(f.refused.Sub(now))
	}
	if who == nil || who.failures < freeFailures {
		return 0, nil
	}
	if now.Sub(who.last) > waitForgotten {
		who.failures = 0
		return 0, nil
	}
	start := now
	if who.next.After(now) {
		start = who.next
	}
	if wait := start.Sub(now); wait > longestWait {
		return 0, tooMany(wait)
	}
	who.next = start.Add(who.wait())
	return start.Sub(now), nil
}

// wait is the distance between two tries.
func (t *tries) wait() time.Duration {
	return min(longestWait, firstWait<<min(max(t.failures-freeFailures, 0), 10))
}

// guessed counts a wrong guess, and tells of it.
func (a *Accounts) guessed(principal string, peer netip.Addr) {
	a.failed(principal, peer)
	a.cfg.Refused(clip(principal), peer)
}

// failed counts a wrong guess.
func (t *throttle) failed(principal string, peer netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now, from := time.Now(), network(peer)
	who := t.principals.need(guesser{clip(principal), from}, func() *tries { return new(tries) })
	if now.Sub(who.last) > waitForgotten {
		who.failures = 0
	}
	who.failures++
	who.last = now
	if next := now.Add(who.wait()); who.failures >= freeFailures && next.After(who.next) {
		who.next = next
	}
	f := t.addresses.need(from, func() *flood { return new(flood) })
	if now.Sub(f.began) > floodWindow {
		f.began, f.failures = now, 0
	}
	if f.failures++; f.failures >= floodFailures {
		f.refused = now.Add(floodWindow)
	}
}

// proved remembers that principal has logged in from peer, and reports whether
// it had failed to before.
func (t *throttle) proved(principal string, peer netip.Addr) (after bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	who := t.principals.need(guesser{clip(principal), network(peer)}, func() *tries { return new(tries) })
	after = who.failures > 0
	*who = tries{proved: true}
	return after
}

// network is the part of an address that one household has for itself: all of
// IPv4, the first 64 bits of IPv6. Unknown addresses count as one.
func network(peer netip.Addr) netip.Prefix {
	peer = peer.Unmap().WithZone("")
	bits := 32
	if peer.Is6() {
		bits = 64
	}
	p, err := peer.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// clip keeps a foreign name from filling the memory.
func clip(principal string) string { return principal[:min(len(principal), 2*maxName)] }

func tooMany(wait time.Duration) error {
	return oic.Errorf(oic.TooMany, "too many failed attempts; try again in %d s", int(wait/time.Second)+1)
}

// lru is a map of throttleSize entries at most, of which the one that was not
// used for the longest time goes first. The zero value is ready.
type lru[K comparable, V any] struct {
	order   list.List // of entry[K, V], newest first
	entries map[K]*list.Element
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

// get returns the value of k, or the zero V.
func (l *lru[K, V]) get(k K) (v V) {
	if e := l.entries[k]; e != nil {
		l.order.MoveToFront(e)
		v = e.Value.(entry[K, V]).value
	}
	return v
}

// need returns the value of k, made by fresh if there is none.
func (l *lru[K, V]) need(k K, fresh func() V) V {
	if e := l.entries[k]; e != nil {
		l.order.MoveToFront(e)
		return e.Value.(entry[K, V]).value
	}
	if l.entries == nil {
		l.entries = map[K]*list.Element{}
	}
	if len(l.entries) >= throttleSize {
		oldest := l.order.Back()
		delete(l.entries, oldest.Value.(entry[K, V]).key)
		l.order.Remove(oldest)
	}
	v := fresh()
	l.entries[k] = l.order.PushFront(entry[K, V]{k, v})
	return v
}
