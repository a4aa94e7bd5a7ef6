package store

import "time"

const (
	spaceInterval  = 100 * time.Millisecond
	healthInterval = time.Second
	maxHealthWait  = 10 * time.Second // between restarts that do not help
	maxReserve     = 64 << 20         // bytes kept free, so that the server never meets a full disk
)

// watch keeps the embedded server writing, until Close. While the disk is
// nearly full, writes are refused and reads go on. A server that met an error
// in writing refuses writes for good: it is replaced as soon as the disk takes
// them again.
func (s *Store) watch() {
	tick := time.NewTicker(spaceInterval)
	defer tick.Stop()
	looked, wait, suspect := time.Now(), healthInterval, false
	for {
		select {
		case <-s.life.Done():
			return
		case <-tick.C:
		}
		s.checkSpace()
		if time.Since(looked) < wait {
			continue
		}
		reason, judged := s.judge()
		if !judged {
			continue
		}
		switch {
		case reason == nil:
			suspect, wait = false, healthInterval
			s.sick.Store(false)
		case !suspect: // it may be about to make a table whose maker did not wait
			suspect = true
		case !s.full.Load():
			s.sick.Store(!s.restart(reason))
			wait = min(2*wait, maxHealthWait) // a restart that does not help is not repeated at once
		default:
			s.sick.Store(true)
		}
		looked = time.Now()
	}
}

// judge says what keeps the server from writing; nil is healthy. It does not judge
// while a table or a log is made: the server calls one of which it has the
// directory alone as yet, lost.
func (s *Store) judge() (reason error, judged bool) {
	before := s.made.Load()
	if s.makes.Load() > 0 {
		return nil, false
	}
	reason = s.server.sick()
	return reason, s.makes.Load() == 0 && s.made.Load() == before
}

// restart replaces the embedded server and reports whether it runs.
func (s *Store) restart(reason error) bool {
	if err := s.server.restart(); err != nil {
		s.log.Error("store cannot write", "reason", reason, "restart", err)
		return false
	}
	s.log.Error("store restarted", "reason", reason)
	return true
}

// checkSpace sets full from the free space of the file system.
func (s *Store) checkSpace() {
	free, size, ok := diskSpace(s.server.dir)
	if !ok {
		return
	}
	full := free < min(maxReserve, size/20)
	if s.full.Swap(full) == full {
		return
	}
	if full {
		s.log.Error("disk full: writes are refused", "dir", s.server.dir, "free", free)
	} else {
		s.log.Info("disk has space again", "dir", s.server.dir, "free", free)
	}
}
