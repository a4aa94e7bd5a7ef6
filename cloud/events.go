package cloud

import (
	"cmp"
	"context"
	"slices"

	"github.com/farreach/farreach/cloud/account"
	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/oic"
)

// Events calls each for the events that f selects among those of who's account
// and of what is shared with it, until it returns false. See event.Events.Query
// for the order.
func (c *Cloud) Events(ctx context.Context, who oic.Identity, f event.Filter, each func(event.Event) bool) error {
	return c.readEvents(ctx, who, &f, func(ctx context.Context) error {
		if places := c.places(who.Account); f.Device == "" && len(places) > 1 {
			return c.queryAll(ctx, places, f, each)
		}
		return c.events.Query(ctx, f, each)
	})
}

// What a query of several places holds of each, at most: a place that has more
// ends the answer where its own part ends, and the next page goes on there.
const (
	maxEvents = 1000    // unless the query says
	maxBodies = 7 << 20 // bytes; event.Events.Query holds no more than a body beyond it
)

// queryAll is a query of several places at once.
func (c *Cloud) queryAll(ctx context.Context, places []place, f event.Filter, each func(event.Event) bool) error {
	f.Limit = cmp.Or(f.Limit, maxEvents)
	newestLast := f.Order == event.NewestLast && f.From == 0
	way := 1
	if newestLast || f.Order == event.NewestFirst {
		way, f.Order = -1, event.NewestFirst
	}
	var all []event.Event
	var end event.Event // the last one of the answer, if a place has more
	order := func(x, y event.Event) int { return way * cmp.Compare(x.Seq, y.Seq) }
	for _, p := range places {
		f := f
		f.Account, f.Device = p.account, p.device
		bytes, last := 0, event.Event{}
		err := c.events.Query(ctx, f, func(ev event.Event) bool {
			all, last = append(all, ev), ev
			bytes += len(ev.Body)
			return bytes <= maxBodies
		})
		if err != nil {
			return err
		}
		if bytes > maxBodies && (end.Seq == 0 || order(last, end) < 0) {
			end = last
		}
	}
	slices.SortFunc(all, order)
	if end.Seq != 0 {
		all = slices.DeleteFunc(all, func(ev event.Event) bool { return order(ev, end) > 0 })
	}
	all = all[:min(f.Limit, len(all))]
	if newestLast {
		slices.Reverse(all)
	}
	for _, ev := range all {
		if !each(ev) {
			return nil
		}
	}
	return nil
}

// AllEvents is Events for as many as there are, oldest first.
func (c *Cloud) AllEvents(ctx context.Context, who oic.Identity, f event.Filter, each func(event.Event) bool) error {
	return c.readEvents(ctx, who, &f, func(ctx context.Context) error { return c.events.All(ctx, f, each) })
}

// EventSeries is what a property of one resource of who's account was in a
// stretch of time, for a plot. See event.Events.Series.
func (c *Cloud) EventSeries(ctx context.Context, who oic.Identity, f event.Filter, property string, buckets int) (s *event.Series, err error) {
	err = c.readEvents(ctx, who, &f, func(ctx context.Context) (err error) {
		s, err = c.events.Series(ctx, f, property, buckets)
		return err
	})
	return s, err
}

// readEvents does read by the right of who, for as long as that holds.
func (c *Cloud) readEvents(ctx context.Context, who oic.Identity, f *event.Filter, read func(context.Context) error) error {
	ctx, release, err := c.hold(ctx, who, opEvents, c.eventsOf(who, f))
	if err != nil {
		return err
	}
	defer release()
	return failed("read events", lost(ctx, read(ctx)))
}

// FollowEvents calls each for the events that f selects among those of who's
// account and of what is shared with it when it begins, and for each new one,
// until ctx ends, each returns an error, or who loses the right. See
// event.Events.Follow for where it starts.
func (c *Cloud) FollowEvents(ctx context.Context, who oic.Identity, f event.Filter, each func(event.Event) error) error {
	return c.followEvents(ctx, who, &f, func(ctx context.Context) error {
		if f.Device != "" || len(c.places(who.Account)) == 1 {
			return c.events.Follow(ctx, f, each)
		}
		return c.events.FollowAll(ctx, f, func(ev event.Event) error {
			if f.Href != "" && ev.Href != f.Href || c.accounts.Role(who.Account, ev.Account, ev.Device) == account.Nobody {
				return nil
			}
			return each(ev)
		})
	})
}

// FollowNews is FollowEvents for who would rather know how things are than all
// that happened. See event.Events.FollowNews.
func (c *Cloud) FollowNews(ctx context.Context, who oic.Identity, f event.Filter, merge int, each func(event.News) error) error {
	return c.followEvents(ctx, who, &f, func(ctx context.Context) error {
		if f.Device != "" {
			return c.events.FollowNews(ctx, f, merge, each)
		}
		f.Also = c.shared(who.Account)
		return c.events.FollowNews(ctx, f, merge, func(n event.News) error {
			if len(f.Also) > 0 {
				n.Events = c.visible(who, n.Events)
			}
			if len(n.Events) == 0 {
				return nil
			}
			return each(n)
		})
	})
}

// visible are those events that who may see still.
func (c *Cloud) visible(who oic.Identity, events []event.Event) (list []event.Event) {
	for _, ev := range events {
		if ev.Account == who.Account || c.accounts.Role(who.Account, ev.Account, ev.Device) != account.Nobody {
			list = append(list, ev)
		}
	}
	return list
}

// NewestEvent is the sequence of the newest event of all: from the next one on,
// whatever happens is new to who asks.
func (c *Cloud) NewestEvent(ctx context.Context, who oic.Identity) (seq uint64, err error) {
	err = c.readEvents(ctx, who, &event.Filter{}, func(ctx context.Context) (err error) {
		seq, err = c.events.Newest(ctx)
		return err
	})
	return seq, err
}

// States calls each for the newest event of each resource of who's devices and
// of those shared with it, until it returns false. See event.Events.States.
func (c *Cloud) States(ctx context.Context, who oic.Identity, each func(event.Event) bool) error {
	return c.readEvents(ctx, who, &event.Filter{}, func(ctx context.Context) error {
		more := true
		for _, p := range c.places(who.Account) {
			err := c.events.States(ctx, p.account, p.device, func(ev event.Event) bool { more = each(ev); return more })
			if err != nil || !more {
				return err
			}
		}
		return nil
	})
}

func (c *Cloud) followEvents(ctx context.Context, who oic.Identity, f *event.Filter, follow func(context.Context) error) error {
	ctx, release, err := c.hold(ctx, who, opEvents, c.eventsOf(who, f))
	if err != nil {
		return err
	}
	defer release()
	return lost(ctx, follow(ctx))
}
