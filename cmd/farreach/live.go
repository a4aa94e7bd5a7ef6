package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/farreach/farreach/cloud"
	"github.com/farreach/farreach/cloud/directory"
	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/oic"
)

// showLive writes what the devices of the first account report, and when one
// joins, goes and comes back, one line each, until ctx ends. Of what comes too
// fast to be read it says each second how much it left out. What goes wrong with
// the lines ends the lines, and not the server.
func (a *app) showLive(ctx context.Context, b *booted, start time.Time) {
	out := newTap(a.out)
	defer out.close()
	lines := *a
	lines.out = out
	if err := lines.liveLines(ctx, b, start); ctx.Err() == nil {
		b.log.Warn("no more lines of what happens", "err", err)
		<-ctx.Done()
	}
}

// liveLines writes lines until something goes wrong or ctx ends, and returns what.
func (a *app) liveLines(ctx context.Context, b *booted, start time.Time) error {
	l := &live{app: a, events: ration{what: "events"}, devices: ration{what: "devices"}}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return l.tick(ctx) })
	group.Go(func() error {
		return b.cloud.FollowEvents(ctx, owner, event.Filter{}, func(ev event.Event) error {
			return l.line(&l.events, func() error {
				return a.eventLine(apiclient.Event{Schema: apiclient.EventSchema, Seq: ev.Seq, Time: ev.Time, Account: ev.Account, Device: ev.Device, Href: ev.Href,
					Rep: jsonOf(ev), Name: b.nameOf(ctx, ev.Device)})
			})
		})
	})
	group.Go(func() error {
		before := comings{start: start, known: map[string]directory.Presence{}}
		return b.cloud.WatchPresence(ctx, owner, cloud.PresenceWatch{Each: func(d cloud.DeviceInfo) error {
			if what := before.tell(d); what != "" {
				return l.line(&l.devices, func() error { return a.presenceLine(d, what) })
			}
			return nil
		}})
	})
	return group.Wait()
}

// live is the lines of a running server.
type live struct {
	app *app

	mu              sync.Mutex // guards the screen and what follows
	events, devices ration
}

// ration is how many lines of one kind are written in a second.
type ration struct {
	what    string
	written int // in this second
	left    int // out
}

// lineRate is how many lines of one kind are written in a second, at most:
// more than anybody reads.
const lineRate = 20

// line writes one line, if there may be one more.
func (l *live) line(r *ration, write func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.written >= lineRate {
		r.left++
		return nil
	}
	r.written++
	return write()
}

// tick says each second what was left out, and begins a new one.
func (l *live) tick(ctx context.Context) error {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case now := <-second.C:
			if err := l.next(now); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *live) next(now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range []*ration{&l.devices, &l.events} {
		n := r.left
		r.written, r.left = 0, 0
		if n > 0 {
			if err := l.app.leftOutLine(now, r.what, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// leftOutDoc is the line of what is not shown, with --json.
type leftOutDoc struct {
	Schema string    `json:"schema"`
	Time   time.Time `json:"time"`
	What   string    `json:"what"` // "events", "devices"
	Count  int       `json:"count"`
}

func (a *app) leftOutLine(now time.Time, what string, n int) error {
	if a.json {
		return a.screen().Doc(leftOutDoc{"farreach.left-out/v1", now.UTC(), what, n})
	}
	text := fmt.Sprintf("%d more %s", n, what)
	if a.terminal {
		return a.screen().Line(now.Local().Format(time.TimeOnly), fmt.Sprintf("%-12s", "…"), text)
	}
	return a.screen().Line(now.UTC().Format(time.RFC3339Nano), "…", text)
}

func jsonOf(ev event.Event) []byte {
	text, err := oic.ToJSON(ev.Format, ev.Body)
	if err != nil {
		return []byte("null")
	}
	return text
}

func (b *booted) nameOf(ctx context.Context, di string) string {
	info, err := b.cloud.DeviceInfo(ctx, owner, di)
	if err != nil {
		return "" // it has left meanwhile
	}
	return info.Name
}

// comings are the devices as they were told of last.
type comings struct {
	start time.Time // of the server
	known map[string]directory.Presence
}

// tell says what is new of a device; "" if there is nothing to tell. A device
// is not told of before it has published, for it has no name until then.
func (c *comings) tell(d cloud.DeviceInfo) string {
	now := d.Presence
	before := c.known[d.ID]
	if len(d.Links) == 0 || now.State == before.State || now.State == directory.Unproven {
		return "" // one that is silent has neither come nor gone
	}
	c.known[d.ID] = now
	switch {
	case now.State == directory.Offline:
		return "offline"
	case now.State != directory.Reachable:
		return "" // not seen since the start: that is no news
	case before.State == directory.Offline:
		return "back after " + lasted(now.Since.Sub(before.Since))
	case d.Created.After(c.start):
		return "joined"
	}
	return "here again"
}

// lasted is a time for the eye, as screen.Age has it for the past.
func lasted(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	}
	return fmt.Sprintf("%.0f h", d.Hours())
}

// presenceDoc is the line of a device that comes or goes, with --json.
type presenceDoc struct {
	Schema string    `json:"schema"`
	Time   time.Time `json:"time"`
	Device string    `json:"di"`
	Name   string    `json:"name,omitempty"`
	State  string    `json:"state"`
	What   string    `json:"what"` // "joined", "offline", "back after 14 s", "here again"
}

func (a *app) presenceLine(d cloud.DeviceInfo, what string) error {
	when := d.Presence.Since
	if a.json {
		return a.screen().Doc(presenceDoc{"farreach.presence/v1", when.UTC(), d.ID, d.Name, string(d.Presence.State), what})
	}
	name := d.Name
	if name == "" {
		name = d.ID
	}
	if a.terminal {
		return a.screen().Line(when.Local().Format(time.TimeOnly), fmt.Sprintf("%-12s", name), what)
	}
	return a.screen().Line(when.UTC().Format(time.RFC3339Nano), name, what)
}
