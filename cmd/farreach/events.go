package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/internal/backoff"
)

// events is what the command events was asked for.
type events struct {
	access
	stopAt
	eventSelection
	follow bool
	order  string
	names  map[string]string // of devices, by di
}

// eventSelection is which events a command is about.
type eventSelection struct {
	device       string // as the user calls it
	since, until string
	filter       apiclient.Filter
}

// flags adds those that select events.
func (s *eventSelection) flags(a *app, cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.device, "device", "", "only those of a `device`: its name or the beginning of its id")
	cmd.Flags().StringVar(&s.filter.Href, "href", "", "only those of one `resource`, as /a/light")
	cmd.Flags().StringVar(&s.since, "since", "", "from a `time` on: 2h or 7d ago, or 2026-01-31T08:00:00Z")
	cmd.Flags().StringVar(&s.until, "until", "", "before a `time`, as that of --since")
	if err := cmd.RegisterFlagCompletionFunc("device", a.completeDevice); err != nil {
		panic(err) // a misspelled flag name
	}
}

// times reads the times.
func (s *eventSelection) times(now time.Time) (err error) {
	if s.filter.Since, err = parseTime("--since", s.since, now); err != nil {
		return err
	}
	s.filter.Until, err = parseTime("--until", s.until, now)
	return err
}

// resolve learns which device is meant, among all that there are.
func (s *eventSelection) resolve(ctx context.Context, api *apiclient.Client) (devices []apiclient.Device, err error) {
	if devices, err = api.Devices(ctx); err != nil || s.device == "" {
		return devices, err
	}
	d, err := find(devices, s.device)
	s.filter.Device = d.ID
	return devices, err
}

type eventsDoc struct {
	Schema string            `json:"schema"`
	Events []apiclient.Event `json:"events"`
}

func (a *app) eventsCmd() *cobra.Command {
	var e events
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what devices reported, and follow what they do now",
		Long: `Shows what devices reported, the newest 100 unless --limit says how many. A device
that says when it was so, in a property timestamp, is shown with that time in
JSON; what came later than something newer is marked as late.`,
		Example: `  farreach events --since 2h --device door
  farreach events --since 2026-01-30 --until 2026-01-31 --order asc --limit 5000
  farreach events --follow
  farreach events --follow --href /a/door --count 1 --for 1m --json`,
		GroupID: groupFleet,
		Args:    takes(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.events(cmd.Context(), &e) },
	}
	e.access.flags(cmd)
	e.stopAt.flags(cmd)
	cmd.Flags().BoolVarP(&e.follow, "follow", "f", false, "go on with new ones as they come, until Ctrl-C")
	e.eventSelection.flags(a, cmd)
	cmd.Flags().IntVar(&e.filter.Limit, "limit", 0, "at most `N` of those that are there (default 100)")
	cmd.Flags().StringVar(&e.order, "order", "", "asc: the oldest ones; desc: the newest one first (default the newest ones, oldest first)")
	completes(cmd, "order", "asc", "desc")
	cmd.AddCommand(a.eventsStatsCmd(), a.eventsExportCmd())
	return cmd
}

func (a *app) events(ctx context.Context, e *events) error {
	if err := e.check(time.Now()); err != nil {
		return err
	}
	api, err := a.api(e.access)
	if err != nil {
		return err
	}
	defer api.Close()
	if err := e.learn(ctx, api); err != nil {
		return err
	}
	return e.run(ctx, func(ctx context.Context, line func()) error {
		var from uint64
		if !e.follow || !e.filter.Since.IsZero() || e.filter.Limit > 0 {
			if from, err = a.pastEvents(ctx, e, api, line); err != nil || !e.follow {
				return err
			}
		}
		return a.follow(ctx, e, api, from, line)
	})
}

// check reads the flags.
func (e *events) check(now time.Time) error {
	switch {
	case e.order != "" && e.order != "asc" && e.order != "desc":
		return misuse("--order asc, or --order desc", "--order: %q is neither", e.order)
	case e.follow && (e.order != "" || e.until != ""):
		return misuse("farreach events --follow --since 1h", "--follow goes with neither --order nor --until")
	case e.filter.Limit < 0:
		return misuse("--limit 100", "--limit: %d is less than nothing", e.filter.Limit)
	}
	e.filter.Order = e.order
	return e.times(now)
}

// parseTime reads a time, or how long ago it was; zero if there is none.
func parseTime(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, ok := parseAge(text); ok {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, misuse(flag+" 2h, or "+flag+" "+now.UTC().Format(time.RFC3339), "%s: %q is neither a duration nor a time", flag, text)
}

// learn learns the names of the devices, and which of them is meant.
func (e *events) learn(ctx context.Context, api *apiclient.Client) error {
	devices, err := e.resolve(ctx, api)
	e.names = map[string]string{}
	for _, d := range devices {
		e.names[d.ID] = d.Name
	}
	return err
}

// usualEvents is how many past events are shown if nobody says.
const usualEvents = 100

// past asks for what is there, and for one event more than is shown, to say so.
func (a *app) past(ctx context.Context, e *events, api *apiclient.Client) ([]apiclient.Event, error) {
	f := e.filter
	most := f.Limit
	if most == 0 {
		most = usualEvents
	}
	f.Limit = most + 1
	past, err := api.Events(ctx, f)
	if err != nil || len(past) <= most {
		return past, err
	}
	if e.filter.Limit == 0 {
		a.say("farreach: events: there are more; try: --limit 1000, or farreach events export")
	}
	if f.Order == "" {
		return past[len(past)-most:], nil
	}
	return past[:most], nil
}

// pastEvents writes what is there and returns the last sequence number.
func (a *app) pastEvents(ctx context.Context, e *events, api *apiclient.Client, line func()) (last uint64, err error) {
	past, err := a.past(ctx, e, api)
	if err != nil {
		return 0, err
	}
	for i := range past {
		past[i].Name = e.names[past[i].Device]
		last = past[i].Seq
	}
	if a.json && !e.follow {
		return last, a.screen().Doc(eventsDoc{"farreach.events/v1", append([]apiclient.Event{}, past...)})
	}
	for _, ev := range past {
		if err := a.eventLine(ev); err != nil {
			return last, err
		}
		line()
		if ctx.Err() != nil {
			return last, context.Cause(ctx)
		}
	}
	return last, nil
}

// follow writes events as they come. A connection that is lost once it stood
// is made again, from the last event on.
func (a *app) follow(ctx context.Context, e *events, api *apiclient.Client, from uint64, line func()) error {
	again := backoff.Backoff{Max: 10 * time.Second}
	stood := false
	for {
		start := time.Now()
		err := api.Follow(ctx, e.filter, from, func(ev apiclient.Event) error {
			stood, from = true, ev.Seq
			if ev.Name == "" {
				ev.Name = e.names[ev.Device]
			}
			if err := a.eventLine(ev); err != nil {
				return err
			}
			line()
			return context.Cause(ctx)
		})
		stood = stood || errors.Is(err, io.ErrUnexpectedEOF)
		if ctx.Err() != nil || !stood || !lost(err) {
			return err
		}
		a.say("farreach: events: connection lost, trying again")
		again.Served(time.Since(start))
		if err := backoff.Sleep(ctx, again.Next()); err != nil {
			return err
		}
	}
}

// lost reports whether trying again may help.
func lost(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, apiclient.ErrNoConnect)
}

func (a *app) eventLine(ev apiclient.Event) error {
	if a.json {
		return a.screen().Doc(ev)
	}
	name := ev.Name
	if name == "" {
		name = ev.Device
	}
	when := ev.Time.UTC().Format(time.RFC3339Nano)
	if a.terminal {
		when = ev.Time.Local().Format(time.TimeOnly)
		if time.Since(ev.Time) > 12*time.Hour {
			when = ev.Time.Local().Format(time.DateTime)
		}
		return a.screen().Line(when, fmt.Sprintf("%-12s", name), fmt.Sprintf("%-14s", ev.Href), string(ev.Rep))
	}
	return a.screen().Line(when, name, ev.Href, string(ev.Rep))
}
