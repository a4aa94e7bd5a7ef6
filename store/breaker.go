package store

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// breaker spares those who ask a server that has fallen silent the wait for an
// answer that will not come:
//
//	an answer comes ──▶ everybody may ask
//	opTimeout without any ──▶ all are refused at once, but for one each second, who finds out
//
// It needs no goroutine. The zero breaker lets everybody ask.
type breaker struct {
	heard atomic.Uint64 // answers so far
	open  atomic.Bool   // asking is refused
	also  *breaker      // of what works if this does; nil: none

	mu   sync.Mutex // guards next
	next time.Time  // when somebody may try again
}

// probeEvery is the time between those who may ask a silent server.
const probeEvery = time.Second

var errRefused = errors.New("the server has not answered for some time")

// may reports whether one may ask now.
func (b *breaker) may() bool {
	if !b.open.Load() {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if now.Before(b.next) {
		return false
	}
	b.next = now.Add(probeEvery)
	return true
}

// answered notes an answer of the server, of whatever kind.
func (b *breaker) answered() {
	b.heard.Add(1)
	b.close()
	if b.also != nil {
		b.also.close()
	}
}

// silent notes that an answer has not come in time. heard is how many had come
// before it was asked for: if others came since, the server is not silent.
func (b *breaker) silent(heard uint64) {
	if b.heard.Load() != heard {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next = time.Now().Add(probeEvery)
	b.open.Store(true)
}

// close lets everybody ask: there is an answer, or another connection.
func (b *breaker) close() {
	if b.open.Load() {
		b.open.Store(false)
	}
}

// refused is the context of an operation that is not to begin.
type refused struct{ context.Context }

func (refused) Done() <-chan struct{} { return ended }

func (refused) Err() error { return errRefused }

// ended is closed.
var ended = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()
