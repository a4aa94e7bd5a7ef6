package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
)

type commandsDoc struct {
	Schema   string              `json:"schema"`
	Commands []apiclient.Command `json:"commands"`
}

func (a *app) commandsCmd() *cobra.Command {
	return a.parent(&cobra.Command{
		Use:   "commands",
		Short: "Show what was asked of devices, by whom, and what came of it",
		Long: `Each put, post, set and delete through the server is a command, and so is what a
rule does. It is queued while it waits for a device that is away, sent while the
device has not answered, and then done, refused by the device, failed, expired,
cancelled, or unknown if the server ended in between.`,
		Example: `  farreach commands ls --device lamp
  farreach commands ls --follow
  farreach set lamp/a/light value=true --queue 1h
  farreach commands ls --state queued`,
		GroupID: groupFleet,
	}, a.commandsLsCmd(), a.commandsShowCmd(), a.commandsCancelCmd())
}

// commandStates are the states of a command, for completion and for --state.
var commandStates = []string{"queued", "sent", "done", "refused", "failed", "expired", "cancelled", "unknown"}

// commands is what commands ls was asked for.
type commands struct {
	access
	stopAt
	follow bool
	device string // as the user calls it
	since  string
	filter apiclient.Commands
}

func (a *app) commandsLsCmd() *cobra.Command {
	var c commands
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List commands, the newest first; or follow them as they change",
		Example: `  farreach commands ls --state queued
  farreach commands ls --since 2h --device lamp --json
  farreach commands ls --follow`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.listCommands(cmd.Context(), &c) },
	}
	c.access.flags(cmd)
	c.stopAt.flags(cmd)
	cmd.Flags().BoolVarP(&c.follow, "follow", "f", false, "each change from now on, until Ctrl-C")
	cmd.Flags().StringVar(&c.device, "device", "", "only those to a `device`: its name or the beginning of its id")
	cmd.Flags().StringVar(&c.filter.State, "state", "", "only those in this state: "+strings.Join(commandStates, ", "))
	cmd.Flags().StringVar(&c.since, "since", "", "from a `time` on: 2h ago, or 2026-01-31T08:00:00Z")
	cmd.Flags().IntVar(&c.filter.Limit, "limit", 0, "at most `N`")
	if err := cmd.RegisterFlagCompletionFunc("device", a.completeDevice); err != nil {
		panic(err) // a misspelled flag name
	}
	completes(cmd, "state", commandStates...)
	return cmd
}

func (a *app) listCommands(ctx context.Context, c *commands) (err error) {
	if c.filter.State != "" && !slices.Contains(commandStates, c.filter.State) {
		return misuse("--state queued", "--state %q is none of %s", c.filter.State, strings.Join(commandStates, ", "))
	}
	if c.filter.Since, err = parseTime("--since", c.since, time.Now()); err != nil {
		return err
	}
	api, err := a.api(c.access)
	if err != nil {
		return err
	}
	defer api.Close()
	if c.device != "" {
		devices, err := api.Devices(ctx)
		if err != nil {
			return err
		}
		d, err := find(devices, c.device)
		if err != nil {
			return err
		}
		c.filter.Device = d.ID
	}
	if c.follow {
		return c.run(ctx, func(ctx context.Context, line func()) error { return a.followCommands(ctx, c, api, line) })
	}
	list, err := api.Commands(ctx, c.filter)
	if err != nil {
		return err
	}
	if a.json {
		return a.screen().Doc(commandsDoc{"farreach.commands/v1", append([]apiclient.Command{}, list...)})
	}
	rows := make([][]any, len(list))
	for i, cmd := range list {
		rows[i] = a.commandRow(cmd)
	}
	return a.screen().Table([]string{"made", "id", "device", "what", "by", "state", "result"}, rows)
}

func (a *app) followCommands(ctx context.Context, c *commands, api *apiclient.Client, line func()) error {
	err := api.FollowCommands(ctx, c.filter.Device, func(cmd apiclient.Command) error {
		if c.filter.State != "" && cmd.State != c.filter.State {
			return nil
		}
		show := func() error { return a.screen().Line(a.commandRow(cmd)...) }
		if a.json {
			show = func() error { return a.screen().Doc(cmd) }
		}
		if err := show(); err != nil {
			return err
		}
		line()
		return context.Cause(ctx)
	})
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fail(exitNoConnect, "again, when the server is back", "connection lost")
	}
	return err
}

// commandRow is a command in a table. On a terminal its id is the part that is
// its own.
func (a *app) commandRow(c apiclient.Command) []any {
	var made any = c.Made
	id := c.ID
	if a.terminal {
		made = clock(c.Made)
		id = id[strings.LastIndexByte(id, '-')+1:]
	}
	return []any{made, id, cmp.Or(c.Name, c.Device), whatText(c), byText(c.By), c.State, resultText(c)}
}

// clock is a time of day, with the day if that is not today's.
func clock(t time.Time) string {
	if time.Since(t) > 12*time.Hour {
		return t.Local().Format(time.DateTime)
	}
	return t.Local().Format(time.TimeOnly)
}

// whatText is what was asked: "set /a/light {"value":true}".
func whatText(c apiclient.Command) string {
	verb := map[string]string{"update": "post", "replace": "put", "create": "create"}[c.Op]
	text := cmp.Or(verb, c.Op) + " " + c.Href
	switch {
	case len(c.Rep) > 0 && string(c.Rep) != "null":
		text += " " + string(c.Rep)
	case c.Size > 0:
		text += fmt.Sprintf(" (%d bytes)", c.Size)
	}
	return text
}

// byText is who asked: "token phone", "rule door-lamp".
func byText(by apiclient.Asker) string {
	text := strings.TrimSpace(by.Kind + " " + cmp.Or(by.Name, by.ID))
	if by.Kind == "rule" || by.Account == "" {
		return text
	}
	return by.Account + ", " + text
}

// resultText is what came of it: "2.04 in 12 ms".
func resultText(c apiclient.Command) string {
	var parts []string
	if c.Status != "" {
		parts = append(parts, c.Status)
	}
	if c.Why != "" {
		parts = append(parts, c.Why)
	}
	if c.State == "done" {
		parts = append(parts, "in "+c.Ended.Sub(c.Sent).Round(100*time.Microsecond).String())
	}
	if c.State == "queued" {
		parts = append(parts, "until "+clock(c.Expires))
	}
	return strings.Join(parts, " ")
}

func (a *app) commandsShowCmd() *cobra.Command {
	return a.overCommand(&cobra.Command{
		Use:     "show ID",
		Short:   "Show one command",
		Long:    "Shows all that is known of a command. ID may be the end of one that is in the list.",
		Example: `  farreach commands show 0a94d9a3c1f2`,
	}, func(ctx context.Context, api *apiclient.Client, id string) error {
		cmd, err := api.Command(ctx, id)
		if err != nil {
			return err
		}
		return a.showCommand(cmd)
	})
}

func (a *app) commandsCancelCmd() *cobra.Command {
	return a.overCommand(&cobra.Command{
		Use:     "cancel ID",
		Short:   "Take back a command that waits for its device",
		Example: `  farreach commands cancel 0a94d9a3c1f2`,
	}, func(ctx context.Context, api *apiclient.Client, id string) error {
		cmd, err := api.Cancel(ctx, id)
		if err != nil {
			return err
		}
		if a.json {
			return a.screen().Doc(cmd)
		}
		return nil
	})
}

// overCommand makes cmd a command that does f with the id in its argument.
func (a *app) overCommand(cmd *cobra.Command, f func(ctx context.Context, api *apiclient.Client, id string) error) *cobra.Command {
	cmd.Args = takes("the id of a command; farreach commands ls has it")
	cmd.ValidArgsFunction = a.completeCommand
	return a.overAPI(cmd, func(ctx context.Context, api *apiclient.Client, args []string) error {
		id, err := wholeID(ctx, api, args[0])
		if err != nil {
			return err
		}
		return f(ctx, api, id)
	})
}

// idLen is the length of the id of a command.
const idLen = 36

// wholeID returns the id of which the user gave the end.
func wholeID(ctx context.Context, api *apiclient.Client, end string) (string, error) {
	if len(end) >= idLen {
		return end, nil
	}
	list, err := api.Commands(ctx, apiclient.Commands{Limit: 1000})
	if err != nil {
		return "", err
	}
	var found []string
	for _, c := range list {
		if strings.HasSuffix(c.ID, strings.ToLower(end)) {
			found = append(found, c.ID)
		}
	}
	switch {
	case end == "" || len(found) == 0:
		return "", fail(exitNotFound, "farreach commands ls", "no command %s", end)
	case len(found) > 1:
		return "", misuse("more of the id", "%d commands end in %s", len(found), end)
	}
	return found[0], nil
}

// completeCommand completes the ids of commands that wait.
func (a *app) completeCommand(cmd *cobra.Command, _ []string, _ string) (ids []string, _ cobra.ShellCompDirective) {
	a.completing(cmd, func(ctx context.Context, api *apiclient.Client) {
		list, _ := api.Commands(ctx, apiclient.Commands{Limit: 20}) // none: nothing to offer
		for _, c := range list {
			ids = append(ids, c.ID+"\t"+c.State+" "+whatText(c))
		}
	})
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// showCommand writes all that is known of a command.
func (a *app) showCommand(c apiclient.Command) error {
	if a.json {
		return a.screen().Doc(c)
	}
	at := func(t time.Time) any {
		if a.terminal && !t.IsZero() {
			return t.Local().Format("2006-01-02 15:04:05.000")
		}
		return t
	}
	rows := [][]any{
		{"id", c.ID}, {"device", strings.TrimSpace(c.Name + " " + c.Device)}, {"what", whatText(c)}, {"by", byText(c.By)},
	}
	if c.By.Kind == "rule" {
		rows = append(rows, []any{"rule", fmt.Sprintf("%s revision %d, event %d, hops %d", c.By.ID, c.By.Revision, c.By.Event, c.By.Hops)})
	}
	rows = append(rows, []any{"state", c.State}, []any{"result", resultText(c)})
	if len(c.Answer) > 0 && string(c.Answer) != "null" {
		rows = append(rows, []any{"answer", c.Answer})
	}
	for _, one := range []struct {
		name string
		time time.Time
	}{{"made", c.Made}, {"expires", c.Expires}, {"sent", c.Sent}, {"ended", c.Ended}} {
		if !one.time.IsZero() {
			rows = append(rows, []any{one.name, at(one.time)})
		}
	}
	return a.screen().Table([]string{"field", "value"}, rows)
}
