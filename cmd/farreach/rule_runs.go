package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cloud/rule"
	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
)

type runsDoc struct {
	Schema string          `json:"schema"`
	Runs   []apiclient.Run `json:"runs"`
}

func (a *app) ruleRunsCmd() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "runs [NAME]",
		Short: "Show what a rule did, or all rules: the newest last",
		Example: `  farreach rule runs
  farreach rule runs lamp-at-the-door --limit 3 --json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return takes("the name of the rule, or the beginning of its id")(cmd, args)
		},
		ValidArgsFunction: a.completeRule,
	}
	cmd.Flags().IntVar(&limit, "limit", 20, "at most `N` runs, 1,000 at most")
	return a.overAPI(cmd, func(ctx context.Context, api *apiclient.Client, args []string) error {
		if limit < 1 || limit > 1000 {
			return misuse("--limit 20", "--limit %d is not from 1 to 1000", limit)
		}
		id := ""
		if len(args) > 0 {
			r, err := a.findRule(ctx, api, args[0])
			if err != nil {
				return err
			}
			id = r.ID
		}
		runs, err := api.Runs(ctx, id, limit)
		if err != nil {
			return err
		}
		if a.json {
			return a.screen().Doc(runsDoc{"farreach.runs/v1", append([]apiclient.Run{}, runs...)})
		}
		return a.runTable(ctx, api, runs)
	})
}

// runTable writes runs, the newest last.
func (a *app) runTable(ctx context.Context, api *apiclient.Client, runs []apiclient.Run) error {
	names, err := deviceNames(ctx, api)
	if err != nil {
		return err
	}
	rows := make([][]any, 0, len(runs))
	for i := len(runs) - 1; i >= 0; i-- {
		rows = append(rows, runRow(&runs[i], names))
	}
	return a.screen().Table([]string{"time", "rule", "what", "because of", "did"}, rows)
}

func deviceNames(ctx context.Context, api *apiclient.Client) (map[string]string, error) {
	devices, err := api.Devices(ctx)
	names := map[string]string{}
	for _, d := range devices {
		names[d.ID] = d.Name
	}
	return names, err
}

func runRow(r *apiclient.Run, names map[string]string) []any {
	because := "the time"
	if r.Event != 0 {
		because = r.Device
		if names[r.Device] != "" {
			because = names[r.Device]
		}
		because += fmt.Sprintf("%s, event %d", r.Href, r.Event)
	}
	var did []string
	for _, d := range r.Do {
		text := "message " + d.Message
		switch {
		case d.Href != "":
			text = commandText(d.Name, d.Href, d.Method, d.Set)
		case d.Webhook != "":
			text = "webhook " + d.Webhook
		}
		if d.State != "" {
			text += " " + d.State
		}
		if d.Problem != "" {
			text += " (" + d.Problem + ")"
		}
		did = append(did, text)
	}
	return []any{r.Time, r.Name, r.Kind, because, strings.Join(did, ", ")}
}

func (a *app) ruleTestCmd() *cobra.Command {
	since := "7d"
	limit := 20
	cmd := &cobra.Command{
		Use:   "test FILE|NAME",
		Short: "Show what a rule would have done in the past",
		Long: `Shows when a rule would have fired, and what it would have sent, with the events
that are stored. Nothing is sent.`,
		Example: `  farreach rule test door.yaml --since 7d
  farreach rule test lamp-at-the-door --since 2026-01-31T08:00:00Z`,
		Args:              takes("a file with the rule, -, or the name of a rule"),
		ValidArgsFunction: a.completeRuleOrFile,
	}
	cmd.Flags().StringVar(&since, "since", since, "from a `time` on: 7d or 2h ago, or 2026-01-31T08:00:00Z")
	cmd.Flags().IntVar(&limit, "limit", limit, "show the first `N` times, 1,000 at most; all are counted")
	return a.overAPI(cmd, func(ctx context.Context, api *apiclient.Client, args []string) error {
		from, err := parseTime("--since", since, time.Now())
		if err != nil {
			return err
		}
		if limit < 1 || limit > 1000 {
			return misuse("--limit 20", "--limit %d is not from 1 to 1000", limit)
		}
		d, err := a.ruleOrFile(ctx, api, args[0])
		if err != nil {
			return err
		}
		start := time.Now()
		t, err := api.TestRule(ctx, *d, from, limit)
		if err != nil {
			return err
		}
		if a.json {
			return a.screen().Doc(t)
		}
		a.say("%d events read in %.1f s, would have fired %d times", t.Events, time.Since(start).Seconds(), t.Fired)
		names, err := deviceNames(ctx, api)
		if err != nil {
			return err
		}
		rows := make([][]any, len(t.Runs))
		for i := range t.Runs {
			row := runRow(&t.Runs[i], names)
			rows[i] = append([]any{row[0]}, row[2:]...)
		}
		return a.screen().Table([]string{"time", "what", "because of", "would do"}, rows)
	})
}

// ruleOrFile reads a rule from a file, if there is one with that name, else
// from the server.
func (a *app) ruleOrFile(ctx context.Context, api *apiclient.Client, name string) (*rule.Document, error) {
	if _, err := os.Stat(name); name == "-" || !errors.Is(err, fs.ErrNotExist) {
		return a.readRule(name)
	}
	r, err := a.findRule(ctx, api, name)
	if err != nil {
		return nil, fail(exitNotFound, "farreach rule ls", "neither a file nor a rule is called %s", name)
	}
	return &r.Document, nil
}

func (a *app) completeRuleOrFile(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names, _ := a.completeRule(cmd, args, typed)
	return names, cobra.ShellCompDirectiveDefault
}
