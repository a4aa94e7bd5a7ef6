package cloudlink

import (
	"context"
	"time"

	"golang.org/x/time/rate"

	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/oic"
)

// After a restart of the server, or of the network in front of it, all devices
// come back at once. Each costs the Backend a sign-in and the observation of
// all that it has published, so they are let in one after the other, at a rate
// that leaves the server able to do its work. iotivity-lite obeys a Release but
// not its Hold-Off (rule 16), and comes back in 1 to 3 s:
//
//	sign-in ── a token within 2 s ──▶ waits for it ──▶ Backend
//	        └─ none ──▶ 5.03, which devices try again with growing delay
const (
	signInsPerSecond = 300             // of devices, and as many at once
	admitTime        = 2 * time.Second // for a token, at most
)

// newAdmission returns the bucket for perSecond; 0: the default, negative: no
// limit.
func newAdmission(perSecond int) *rate.Limiter {
	switch {
	case perSecond < 0:
		return rate.NewLimiter(rate.Inf, 0)
	case perSecond == 0:
		perSecond = signInsPerSecond
	}
	return rate.NewLimiter(rate.Limit(perSecond), perSecond)
}

// admit lets a device in, or refuses it with 5.03 when too many wait before it.
func (s *Server) admit(ctx context.Context) error {
	r := s.admission.Reserve()
	wait := r.Delay()
	if wait > admitTime {
		r.Cancel()
		s.stats.heldBack.Add(1)
		return oic.Errorf(oic.Unavailable, "too many devices at once: try again")
	}
	if wait <= 0 {
		return nil
	}
	return backoff.Sleep(ctx, wait)
}
