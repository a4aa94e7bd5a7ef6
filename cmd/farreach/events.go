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
	follow bool
	device string // as the user calls it
	since  string
	filter apiclient.Filter
	names  map[string]string // of devices, by di
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
		Example: `  farreach events --since 2h --device door
  farreach events --follow
  farreach events --follow --href /a/door --count 1 --for 1m --json`,
		GroupID: groupFleet,
		Args:    takes(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.events(cmd.Context(), &e) },
	}
	e.access.flags(cmd)
	e.stopAt.flags(cmd)
	cmd.Flags().BoolVarP(&e.follow, "follow", "f", false, "go on with new ones as they come, until Ctrl-C")
	cmd.Flags().StringVar(&e.device, "device", "", "only those of a `device`: its name or the beginning of its id")
	cmd.Flags().StringVar(&e.filter.Href, "href", "", "only those of one `resource`, as /a/light")
	cmd.Flags().StringVar(&e.since, "since", "", "from a `time` on: 2h ago, or 2026-01-31T08:00:00Z")
	cmd.Flags().IntVar(&e.filter.Limit, "limit", 0, "at most `N` of those that are there")
	if err := cmd.RegisterFlagCompletionFunc("device", a.completeDevice); err != nil {
		panic(err) // a misspelled flag name
	}
	return cmd
}

func (a *app) events(ctx context.Context, e *events) error {
	if err := e.parseSince(time.Now()); err != nil {
		return err
	}
	api, err := a.api(e.access)
	if err != nil {
		return err
	}
	defer api.Close()
	if err := e.resolve(ctx, api); err != nil {
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

func (e *events) parseSince(now time.Time) error {
	if e.since == "" {
		return nil
	}
	if d, err := time.ParseDuration(e.since); err == nil && d >= 0 {
		e.filter.Since = now.Add(-d)
		return nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, e.since, time.Local); err == nil {
			e.filter.Since = t
			return nil
		}
	}
	return misuse("--since 2h, or --since "+now.UTC().Format(time.RFC3339), "--since: %q is neither a duration nor a time", e.since)
}

// resolve learns the names of the devices, and which of them is meant.
func (e *events) resolve(ctx context.Context, api *apiclient.Client) error {
	devices, err := api.Devices(ctx)
	if err != nil {
		return err
	}
	e.names = map[string]string{}
	for _, d := range devices {
		e.names[d.ID] = d.Name
	}
	if e.device == "" {
		return nil
	}
	d, err := find(devices, e.device)
	if err != nil {
		return err
	}
	e.filter.Device = d.ID
	return nil
}

// pastEvents writes what is there and returns the last sequence number.
func (a *app) pastEvents(ctx context.Context, e *events, api *apiclient.Client, line func()) (last uint64, err error) {
	past, err := api.Events(ctx, e.filter)
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
