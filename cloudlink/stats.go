package cloudlink

import "sync/atomic"

// Stats is what happened at a Server since it was made.
type Stats struct {
	Accepted uint64 // connections
	Open     int64  // of them, now
	HeldBack uint64 // sign-ups and sign-ins that were told to come later: too many came at once
}

// Stats returns what happened so far.
func (s *Server) Stats() Stats {
	return Stats{Accepted: s.stats.accepted.Load(), Open: s.stats.open.Load(), HeldBack: s.stats.heldBack.Load()}
}

// stats is Stats as it is counted.
type stats struct {
	accepted atomic.Uint64
	open     atomic.Int64
	heldBack atomic.Uint64
}

func (s *stats) opened() {
	s.accepted.Add(1)
	s.open.Add(1)
}

func (s *stats) closed() { s.open.Add(-1) }
