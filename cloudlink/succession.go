package cloudlink

import "sync"

// succession keeps the reports of a device in order from one connection of it to
// the next. What the old one brought may still be on its way to the Backend when
// the new one brings newer states, and must not arrive behind these:
//
//	old connection ── closed: takes no more ── outbox ──▶ Backend
//	new connection ─────────────────────────── outbox ── waits for the old one ──▶ Backend
type succession struct {
	mu     sync.Mutex         // guards newest
	newest map[string]*outbox // of each device that is connected, by di
}

// take makes box the newest of a device: it waits for the one before.
func (s *succession) take(di string, box *outbox) {
	s.mu.Lock()
	if s.newest == nil {
		s.newest = map[string]*outbox{}
	}
	before := s.newest[di]
	s.newest[di] = box
	s.mu.Unlock()
	var done chan struct{}
	if before != nil && before != box {
		done = make(chan struct{})
		before.close()
		before.settle(func(bool) { close(done) })
	}
	box.mu.Lock()
	defer box.mu.Unlock()
	box.device, box.before = di, done
}

// leave forgets box, whose connection is over, once nothing waits in it.
func (s *succession) leave(box *outbox) {
	if device, empty := box.close(); empty {
		s.forget(device, box)
	}
}

func (s *succession) forget(di string, box *outbox) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest[di] == box {
		delete(s.newest, di)
	}
}

// close makes b take no more reports, and says whether none waits.
func (b *outbox) close() (device string, empty bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return b.device, !b.draining
}

// turn waits until what comes before b is dealt with.
func (b *outbox) turn() {
	b.mu.Lock()
	before := b.before
	b.before = nil
	b.mu.Unlock()
	if before != nil {
		<-before
	}
}

// left reports whether b takes no more and none waits in it.
func (b *outbox) left() (device string, empty bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.device, b.closed && !b.draining
}
