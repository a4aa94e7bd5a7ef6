package event

import (
	"cmp"
	"context"
	"math"
	"slices"
)

// News is what came since the last: events in order, and how many were left out
// because newer ones of their resources are among them.
type News struct {
	Events []Event
	Merged int
}

// FollowNews is Follow for those who would rather know how things are than all
// that happened: somebody who looks at a screen. While each takes its time,
// events gather; from the number merge on a newer one takes the place of the
// older one of its resource. So 0 gives at most one event of each resource at a
// time. Who is far behind, or resumes from long ago, is given the newest event
// of each resource that has changed since, in place of all events between.
//
//	each is quick ──▶ every event     each is slow ──▶ merge events, then states
//
// To go on after an interruption: f.From is the greatest Seq seen + 1. Events
// are shared: not to be changed.
func (e *Events) FollowNews(ctx context.Context, f Filter, merge int, each func(News) error) error {
	s, err := f.selection()
	if err != nil {
		return err
	}
	return e.follow(ctx, f, s, max(merge, 0), false, func(_ context.Context, n News) error { return each(n) })
}

// Everything is for FollowNews, so that it leaves no event out.
const Everything = math.MaxInt

// pile is events that wait for one follower.
type pile struct {
	merge  int // with so many there, newer ones take the place of older ones
	events []Event
	bytes  int         // of bodies
	at     map[key]int // the place of the newest of each resource; nil: not needed yet
	merged int
	last   int // how many there were the last time
}

// put adds ev, which is newer than all that is there. It reports false if there
// is no room; alone, the longest finds room.
func (p *pile) put(ev Event) bool {
	if len(p.events) >= p.merge {
		p.index()
		if i, ok := p.at[resource(&ev)]; ok {
			old := &p.events[i]
			if more := len(ev.Body) - len(old.Body); p.bytes+more <= maxQueueBytes || len(p.events) == 1 {
				p.bytes += more
				p.merged++
				*old = ev
				return true
			}
			return false
		}
	}
	if len(p.events) > 0 && (len(p.events) >= maxQueue || p.bytes+len(ev.Body) > maxQueueBytes) {
		return false
	}
	if p.at != nil {
		p.at[resource(&ev)] = len(p.events)
	}
	if p.events == nil {
		p.events = make([]Event, 0, min(p.last, part))
	}
	p.events = append(p.events, ev)
	p.bytes += len(ev.Body)
	return true
}

// index finds the places of what is there.
func (p *pile) index() {
	if p.at != nil {
		return
	}
	p.at = map[key]int{}
	for i := range p.events {
		p.at[resource(&p.events[i])] = i
	}
}

// take returns all that is there, in order, and leaves nothing.
func (p *pile) take() News {
	n := News{p.events, p.merged}
	if n.Merged > 0 {
		slices.SortFunc(n.Events, func(a, b Event) int { return cmp.Compare(a.Seq, b.Seq) })
	}
	*p = pile{merge: p.merge, last: len(n.Events)}
	return n
}

func resource(ev *Event) key { return key{ev.Account, ev.Device, ev.Href} }
