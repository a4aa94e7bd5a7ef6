package coap

import (
	"container/heap"
	"time"
)

// timer is something to be done at a time. The zero value is a timer that is
// not set. Endpoint.mu guards it, and is held when do is called.
type timer struct {
	at    time.Duration // since Endpoint.born
	do    func()
	place int // in the heap, counted from 1; 0: not set
}

// timers is a heap: all timers of an endpoint share one of the runtime.
type timers []*timer

func (ts timers) Len() int           { return len(ts) }
func (ts timers) Less(i, j int) bool { return ts[i].at < ts[j].at }
func (ts timers) Swap(i, j int) {
	ts[i], ts[j] = ts[j], ts[i]
	ts[i].place, ts[j].place = i+1, j+1
}

func (ts *timers) Push(t any) {
	*ts = append(*ts, t.(*timer))
	t.(*timer).place = len(*ts)
}

func (ts *timers) Pop() any {
	old := *ts
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*ts = old[:len(old)-1]
	t.place = 0
	return t
}

func (e *Endpoint) now() time.Duration { return time.Since(e.born) }

// set has t done after a time. e.mu is held.
func (e *Endpoint) set(t *timer, after time.Duration) {
	if e.closed() {
		return
	}
	t.at = e.now() + after
	if t.place > 0 {
		heap.Fix(&e.timers, t.place-1)
	} else {
		heap.Push(&e.timers, t)
	}
	if e.timers[0] == t {
		e.wake(after)
	}
}

// unset makes t a timer that is not set. e.mu is held.
func (e *Endpoint) unset(t *timer) {
	if t.place > 0 {
		heap.Remove(&e.timers, t.place-1)
	}
}

// wake has tick called after a time. e.mu is held.
func (e *Endpoint) wake(after time.Duration) {
	if e.clock == nil {
		e.clock = time.AfterFunc(after, e.tick)
	} else {
		e.clock.Reset(after)
	}
}

// tick does what is due.
func (e *Endpoint) tick() {
	e.ticking.Lock()
	defer e.ticking.Unlock()
	e.mu.Lock()
	for len(e.timers) > 0 && !e.closed() {
		t := e.timers[0]
		if wait := t.at - e.now(); wait > 0 {
			e.wake(wait)
			break
		}
		heap.Pop(&e.timers)
		t.do()
	}
	e.unlock()
}
