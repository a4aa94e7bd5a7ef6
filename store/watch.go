package store

import "time"

const (
	spaceInterval  = 100 * time.Millisecond
	healthInterval = time.Second
	maxReserve     = 64 << 20 // bytes kept free, so that the server never meets a full disk
)

// watch keeps the embedded server writing, until Close. While the disk is
// nearly full, writes are refused and reads go on. A server that met an error
// in writing refuses everything for good: it is replaced as soon as the disk
// takes writes again.
func (s *Store) watch() {
	tick := time.NewTicker(spaceInterval)
	defer tick.Stop()
	health, wait := time.Now(), healthInterval
	for {
		select {
		case <-s.life.Done():
			return
		case <-tick.C:
		}
		s.checkSpace()
		if time.Since(health) < wait || s.full.Load() {
			continue
		}
		health, wait = time.Now(), s.heal(wait)
	}
}

// heal restarts a sick server and returns when to look again.
func (s *Store) heal(wait time.Duration) time.Duration {
	sick := s.server.sick()
	if sick == nil {
		return healthInterval
	}
	if err := s.server.restart(); err != nil {
		s.log.Error("store cannot write", "reason", sick, "restart", err)
		return min(2*wait, time.Minute)
	}
	s.log.Error("store restarted", "reason", sick)
	return min(2*wait, time.Minute)
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
