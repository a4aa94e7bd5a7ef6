package metrics

import (
	"context"
	"time"

	dto "github.com/prometheus/client_model/go"
)

const (
	sampleEvery = 5 * time.Second
	sampleSpan  = time.Minute // over which rates are
)

// Totals is what happened since the server started.
type Totals struct {
	Connections float64
	SignIns     float64 // of devices, that went well
	Refused     float64 // sign-ups, sign-ins, refreshes and tokens
	HeldBack    float64 // sign-ins, because too many came at once
	Events      float64 // that were stored
	EventsLost  float64 // that were not
	Commands    float64
	Writes      float64 // of the store
}

// sample is the totals of a moment.
type sample struct {
	at time.Time
	Totals
}

// Run remembers the totals of the last minute until ctx ends.
func (m *Metrics) Run(ctx context.Context) error {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		m.keep(sample{time.Now(), m.Totals()})
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (m *Metrics) keep(s sample) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.samples) > 0 && s.at.Sub(m.samples[0].at) > sampleSpan {
		m.samples = m.samples[1:]
	}
	m.samples = append(m.samples, s)
}

// Totals returns what happened so far.
func (m *Metrics) Totals() (t Totals) {
	for _, f := range m.families() {
		for _, one := range f.GetMetric() {
			well := label(one, "result") == ok
			n := one.GetCounter().GetValue()
			switch f.GetName() {
			case "farreach_connections_total":
				t.Connections += n
			case "farreach_sign_ins_held_back_total":
				t.HeldBack += n
			case "farreach_logins_total":
				if !well {
					t.Refused += n
				} else if label(one, "what") == "sign in" {
					t.SignIns += n
				}
			case "farreach_events_total":
				if well {
					t.Events += n
				} else {
					t.EventsLost += n
				}
			case "farreach_command_seconds":
				t.Commands += float64(one.GetHistogram().GetSampleCount())
			case "farreach_store_write_seconds":
				t.Writes += float64(one.GetHistogram().GetSampleCount())
			}
		}
	}
	return t
}

// Rates returns how much happened in each second of the last minute, on the
// average, or since the server started if that is less.
func (m *Metrics) Rates() Totals {
	now := m.Totals()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.samples) == 0 {
		return Totals{}
	}
	then := m.samples[0]
	per := time.Since(then.at).Seconds()
	if per < 1 {
		return Totals{} // too short to tell
	}
	return Totals{
		Connections: (now.Connections - then.Connections) / per,
		SignIns:     (now.SignIns - then.SignIns) / per,
		Refused:     (now.Refused - then.Refused) / per,
		HeldBack:    (now.HeldBack - then.HeldBack) / per,
		Events:      (now.Events - then.Events) / per,
		EventsLost:  (now.EventsLost - then.EventsLost) / per,
		Commands:    (now.Commands - then.Commands) / per,
		Writes:      (now.Writes - then.Writes) / per,
	}
}

// Open is how many connections are open.
func (m *Metrics) Open() int64 {
	if m.link == nil {
		return 0
	}
	return m.link().Open
}

// Latency is how long something took, since the server started. It is read
// from a histogram, and so at most a bucket wrong.
type Latency struct {
	P50, P99 time.Duration // zero: there was none
}

// Commands is how long devices took to answer.
func (m *Metrics) Commands() Latency { return m.latency("farreach_command_seconds") }

// Writes is how long the store took to acknowledge.
func (m *Metrics) Writes() Latency { return m.latency("farreach_store_write_seconds") }

func (m *Metrics) latency(name string) (l Latency) {
	var all []*dto.Bucket
	var count uint64
	for _, f := range m.families() {
		if f.GetName() != name {
			continue
		}
		for _, one := range f.GetMetric() {
			if label(one, "result") != ok {
				continue // how fast a refusal is, says nothing
			}
			all = sum(all, one.GetHistogram().GetBucket())
			count += one.GetHistogram().GetSampleCount()
		}
	}
	return Latency{quantile(all, count, 0.5), quantile(all, count, 0.99)}
}

// sum adds the buckets of two histograms that have the same bounds.
func sum(a, b []*dto.Bucket) []*dto.Bucket {
	if a == nil {
		return b
	}
	for i := range min(len(a), len(b)) {
		n := a[i].GetCumulativeCount() + b[i].GetCumulativeCount()
		a[i].CumulativeCount = &n
	}
	return a
}

// quantile is where the q-th part of count values lies, if they lie evenly in
// their bucket; beyond the last bucket, that bucket's bound.
func quantile(buckets []*dto.Bucket, count uint64, q float64) time.Duration {
	rank := q * float64(count)
	var below, from float64
	for _, b := range buckets {
		upTo, n := b.GetUpperBound(), float64(b.GetCumulativeCount())
		if n >= rank && n > below {
			return time.Duration((from + (upTo-from)*(rank-below)/(n-below)) * float64(time.Second))
		}
		below, from = n, upTo
	}
	if count == 0 {
		return 0
	}
	return time.Duration(from * float64(time.Second))
}

func (m *Metrics) families() []*dto.MetricFamily {
	list, err := m.counts.Gather()
	if err != nil {
		return nil // only of a collector that is wrong, which the tests would find
	}
	return list
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}
