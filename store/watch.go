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
	looked, wait := time.Now(), healthInterval
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
		if s.healthy() {
			wait = healthInterval
		} else {
			wait = min(2*wait, maxHealthWait)
		}
		looked = time.Now()
	}
}

// healthy reports whether the server was well. A sick one it restarts, if
// there is space.
func (s *Store) healthy() bool {
	reason := s.server.sick()
	s.sick.Store(reason != nil)
	if reason == nil {
		return true
	}
	if s.full.Load() {
		return false
	}
	if err := s.server.restart(); err != nil {
		s.log.Error("store cannot write", "reason", reason, "restart", err)
		return false
	}
	s.log.Error("store restarted", "reason", reason)
	s.sick.Store(false)
	return false // a restart that does not help is not repeated at once
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
