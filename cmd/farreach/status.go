package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/cmd/farreach/internal/screen"
	"github.com/farreach/farreach/internal/backoff"
)

func (a *app) statusCmd() *cobra.Command {
	var x access
	var check, watch bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how a server does: listeners, store, devices, rates",
		Long: `Shows how the server of the profile does, to accounts that are admins. Rates are
those of the last minute; times are those since its start. Of a cloud of several
nodes it shows each, and how the NATS servers keep what is stored.

With --watch it looks again every two seconds until Ctrl-C: a terminal shows what
is now, a pipe gets the rows that have changed, and with --json a document each time.

With --check it writes nothing and needs no token: the exit status is 0 if the
server is ready to work, and 11 if it is not.`,
		Example: `  farreach status
  farreach status --watch
  farreach status --json | jq .devices
  farreach status --check && echo ready`,
		GroupID: groupOperate,
		Args:    takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if check {
				return a.ready(cmd.Context(), x)
			}
			return a.status(cmd.Context(), x, watch)
		},
	}
	x.flags(cmd)
	cmd.Flags().BoolVar(&check, "check", false, "only say by the exit status whether the server is ready")
	cmd.Flags().BoolVar(&watch, "watch", false, "look again every two seconds")
	cmd.MarkFlagsMutuallyExclusive("check", "watch")
	return cmd
}

// ready asks what everybody may ask.
func (a *app) ready(ctx context.Context, x access) error {
	api, err := a.api(x)
	if err != nil {
		return err
	}
	defer api.Close()
	_, err = api.Healthy(ctx, "/readyz")
	if p, refused := errors.AsType[*apiclient.Problem](err); refused {
		return fail(exitChecks, "farreach doctor", "%w", p)
	}
	return err
}

func (a *app) status(ctx context.Context, x access, watch bool) error {
	api, err := a.api(x)
	if err != nil {
		return err
	}
	defer api.Close()
	s, raw, err := api.Status(ctx)
	if err != nil {
		return err
	}
	shown := map[string]string{} // how each row was, in a pipe
	for said := ""; ; {
		if err == nil {
			err, said = a.showStatus(s, raw, watch, shown), ""
			if err != nil || !watch {
				return err
			}
		} else if text := oneLine(err); text != said {
			a.say("farreach: status: %s", text)
			said = text
		}
		if err := backoff.Sleep(ctx, statusEvery); err != nil {
			return err
		}
		if s, raw, err = api.Status(ctx); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// statusEvery is how often --watch looks.
const statusEvery = 2 * time.Second

// showStatus writes a status: all of it, or in a pipe that is watched the rows
// that are not as shown.
func (a *app) showStatus(s apiclient.Status, raw json.RawMessage, watch bool, shown map[string]string) error {
	if a.json {
		return a.screen().Doc(raw)
	}
	if watch && a.terminal {
		if _, err := io.WriteString(a.out, clearScreen); err != nil {
			return err
		}
	}
	for _, row := range statusRows(s) {
		key := row[0] + "\t" + row[1]
		if watch && !a.terminal && shown[key] == row[2] {
			continue
		}
		shown[key] = row[2]
		if err := a.statusRow(row); err != nil {
			return err
		}
	}
	return nil
}

// clearScreen puts the cursor at the top of an empty terminal.
const clearScreen = "\x1b[H\x1b[2J"

// statusRows is one row for each thing that an operator looks at: what it is,
// which one, and how it does.
func statusRows(s apiclient.Status) (rows [][3]string) {
	add := func(what, which, how string, args ...any) {
		rows = append(rows, [3]string{what, which, fmt.Sprintf(how, args...)})
	}
	add("server", s.Version, "up %s", strings.TrimSuffix(screen.Age(time.Since(s.Started)), " ago"))
	for _, l := range s.Listeners {
		add("listener", l.Name, "%s", l.Address)
	}
	ready := "ready"
	if !s.Ready {
		ready = "NOT READY: " + s.Store.Problem
	}
	add("store", s.Store.Kind, "%s, %s", ready, latency("written", s.Store.Writes))
	if k := s.Store.Kept; k != nil {
		step := "all in step"
		if n := len(k.Behind); n > 0 || k.Leaders < k.Streams {
			step = fmt.Sprintf("%d BEHIND, %d WITHOUT A LEADER", n, k.Streams-k.Leaders)
		}
		add("replicas", fmt.Sprint(k.Replicas), "%d tables and logs, %s", k.Streams, step)
	}
	for _, n := range s.Nodes {
		self := ""
		if n.Self {
			self = ", this one"
		}
		add("node", n.Name, "%s, up %s, %d devices%s", n.Version, strings.TrimSuffix(screen.Age(time.Since(n.Started)), " ago"), n.Devices, self)
	}
	d := s.Devices
	add("devices", fmt.Sprint(d.Reachable+d.Unproven+d.Offline+d.Unknown),
		"%d reachable, %d unproven, %d offline, %d unknown", d.Reachable, d.Unproven, d.Offline, d.Unknown)
	add("connections", fmt.Sprint(s.Connections), "%.1f/s new, %.1f/s sign in, %.0f held back",
		s.PerSecond.Connections, s.PerSecond.SignIns, s.Totals.HeldBack)
	add("refused", fmt.Sprintf("%.0f", s.Totals.Refused), "%.1f/s with a wrong code or token", s.PerSecond.Refused)
	add("events", fmt.Sprintf("%.0f", s.Totals.Events), "%.1f/s stored, %.0f refused", s.PerSecond.Events, s.Totals.EventsLost)
	add("commands", fmt.Sprintf("%.0f", s.Totals.Commands), "%.1f/s, %s", s.PerSecond.Commands, latency("answered", s.Commands))
	if !s.Certificate.IsZero() {
		add("certificate", s.Certificate.Format(time.DateOnly), "good for %d days", time.Until(s.Certificate)/(24*time.Hour))
	}
	return rows
}

func latency(done string, l apiclient.Latency) string {
	if l.P50 == 0 {
		return "none yet"
	}
	return fmt.Sprintf("%s in %.2g ms (half of them), %.2g ms (99 %%)", done, 1e3*l.P50, 1e3*l.P99)
}

func (a *app) statusRow(row [3]string) error {
	if a.terminal {
		return a.screen().Line(fmt.Sprintf("%-11s", row[0]), fmt.Sprintf("%-10s", row[1]), row[2])
	}
	return a.screen().Line(row[0], row[1], row[2])
}
