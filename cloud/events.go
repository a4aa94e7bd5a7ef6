package cloud

import (
	"context"

	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/oic"
)

// Events calls each for the events that f selects among those of who's
// account, until it returns false. See event.Events.Query for the order.
func (c *Cloud) Events(ctx context.Context, who oic.Identity, f event.Filter, each func(event.Event) bool) error {
	return c.readEvents(ctx, who, &f, func(ctx context.Context) error { return c.events.Query(ctx, f, each) })
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
// account, and for each new one, until ctx ends, each returns an error, or who
// loses the right. See event.Events.Follow for where it starts.
func (c *Cloud) FollowEvents(ctx context.Context, who oic.Identity, f event.Filter, each func(event.Event) error) error {
	return c.followEvents(ctx, who, &f, func(ctx context.Context) error { return c.events.Follow(ctx, f, each) })
}

// FollowNews is FollowEvents for who would rather know how things are than all
// that happened. See event.Events.FollowNews.
func (c *Cloud) FollowNews(ctx context.Context, who oic.Identity, f event.Filter, merge int, each func(event.News) error) error {
	return c.followEvents(ctx, who, &f, func(ctx context.Context) error { return c.events.FollowNews(ctx, f, merge, each) })
}

func (c *Cloud) followEvents(ctx context.Context, who oic.Identity, f *event.Filter, follow func(context.Context) error) error {
	ctx, release, err := c.hold(ctx, who, opEvents, c.eventsOf(who, f))
	if err != nil {
		return err
	}
	defer release()
	return lost(ctx, follow(ctx))
}
