package sm

// SetCounters sets how much went over a stream already.
func SetCounters(q *Queue, r *Received, h uint32) { q.acked, r.h = h, h }
