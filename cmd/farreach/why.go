package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/cmd/farreach/internal/screen"
	"github.com/farreach/farreach/reach"
)

func (a *app) whyCmd() *cobra.Command {
	var at string
	cmd := &cobra.Command{
		Use:   "why DEVICE[/HREF]",
		Short: "Tell what led to the state that a resource is in",
		Long: `Tells the way back from the newest event of a resource to what it came from: the
command before it, the rule that sent that, the event on which the rule fired, and
so on, until a person, a clock, or a device that did it by itself. Without HREF
it is about whatever of the device changed last.`,
		Example: `  farreach why lamp/a/light
  farreach why lamp --at 2h --json`,
		GroupID:           groupFleet,
		Args:              takes("a device and a resource, as lamp/a/light"),
		ValidArgsFunction: a.completeTarget,
	}
	cmd = a.overAPI(cmd, func(ctx context.Context, api *apiclient.Client, args []string) error {
		return a.why(ctx, api, args[0], at)
	})
	cmd.Flags().StringVar(&at, "at", "", "as it was at a `time`: 2h ago, or 2026-01-31T08:00:00Z")
	return cmd
}

func (a *app) why(ctx context.Context, api *apiclient.Client, target, when string) error {
	t, err := reach.ParseTarget(target)
	if err != nil {
		return err
	}
	if t.Device == "" || !t.Peer.IsZero() {
		return misuse("a device of your server, as lamp/a/light", "%s: the server knows only of its own devices", target)
	}
	at, err := parseTime("--at", when, time.Now())
	if err != nil {
		return err
	}
	devices, err := api.Devices(ctx)
	if err != nil {
		return err
	}
	d, err := find(devices, t.Device)
	if err != nil {
		return err
	}
	href := t.Href
	if !strings.Contains(strings.TrimPrefix(target, "ocf://"), "/") {
		href = "" // not the resource that a target without one stands for
	}
	w, err := api.Why(ctx, d.ID, href, at)
	if err != nil {
		return fmt.Errorf("%s: %w", target, err)
	}
	return a.showWhy(&w)
}

// showWhy writes the way back, the effect first.
func (a *app) showWhy(w *apiclient.Why) error {
	if a.json {
		return a.screen().Doc(w)
	}
	for _, s := range w.Steps {
		if err := a.whyLine(s); err != nil {
			return err
		}
	}
	if a.terminal {
		_, err := fmt.Fprintf(a.out, "%*s   because of %s\n", len("15:04:05.000"), "", screen.Printable(w.Begin))
		return err
	}
	return a.screen().Line("begin", "-", "-", w.Begin)
}

// firedText is what a webhook is told by a rule, in short.
func firedText(d *apiclient.Delivery) string {
	var what struct {
		Rule struct {
			Name     string
			Revision uint64
		}
	}
	if err := json.Unmarshal(d.Body, &what); err != nil || what.Rule.Name == "" {
		return "told"
	}
	return fmt.Sprintf("told by rule %s, revision %d", what.Rule.Name, what.Rule.Revision)
}

// whyLine writes one step: when, what kind of step, where, and what.
func (a *app) whyLine(s apiclient.WhyStep) error {
	when := func(t time.Time) any {
		if a.terminal {
			return t.Local().Format("15:04:05.000")
		}
		return t
	}
	if ev := s.Event; ev != nil {
		if a.terminal {
			return a.screen().Line(when(ev.Time), cmp.Or(ev.Name, ev.Device)+" "+ev.Href+" became "+string(ev.Rep))
		}
		return a.screen().Line("event", when(ev.Time), cmp.Or(ev.Name, ev.Device)+ev.Href, string(ev.Rep))
	}
	if d := s.Delivery; d != nil {
		if a.terminal {
			return a.screen().Line(when(d.Made), "webhook "+d.Webhook+" "+firedText(d)+", "+d.State)
		}
		return a.screen().Line("delivery", when(d.Made), d.Webhook, firedText(d)+", "+d.State)
	}
	c := s.Command
	if !a.terminal {
		kind := "command"
		if s.Perhaps {
			kind = "perhaps"
		}
		return a.screen().Line(kind, when(c.Sent), cmp.Or(c.Name, c.Device)+c.Href, byText(c.By)+": "+whatText(*c)+", "+c.State)
	}
	because := "because"
	if s.Perhaps {
		because = "perhaps because"
	}
	return a.screen().Line(when(c.Sent), fmt.Sprintf("%s %s sent %s, %s %s", because, byText(c.By), whatText(*c), c.State, resultText(*c)))
}
