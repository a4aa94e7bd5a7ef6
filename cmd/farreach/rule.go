package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cloud/rule"
	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
)

type rulesDoc struct {
	Schema string           `json:"schema"`
	Rules  []apiclient.Rule `json:"rules"`
}

func (a *app) ruleCmd() *cobra.Command {
	return a.parent(&cobra.Command{
		Use:     "rule",
		Aliases: []string{"rules"},
		Short:   "Say what is to follow from what happens",
		Long: `A rule says what follows from what happens: from something that a device reports,
from a time of day, an interval, sunrise or sunset. It is one file in YAML or JSON:

  name: lamp-at-the-door
  when:
    event: {device: door, href: /a/door, if: event.value}
  then:
  - command: {device: lamp, href: /a/light, set: {value: true}}

A condition is written in CEL. It is followed when it becomes true, not as long as
it is; with "for: 5m" only when it has been true for so long.`,
		Example: `  farreach rule test door.yaml --since 7d
  farreach rule add door.yaml
  farreach rule runs lamp-at-the-door`,
		GroupID: groupAutomate,
	}, a.ruleAddCmd(), a.ruleLsCmd(), a.ruleShowCmd(), a.ruleEditCmd(), a.ruleSwitchCmd("enable", "Follow a rule again", false),
		a.ruleSwitchCmd("disable", "Keep a rule, but do not follow it", true), a.silent(a.ruleRmCmd()), a.ruleTestCmd(), a.ruleRunsCmd())
}

// maxRuleFile is the longest file that is read, in bytes.
const maxRuleFile = 1 << 20

// readRule reads a rule from a file, or from standard input if that is "-".
func (a *app) readRule(name string) (*rule.Document, error) {
	in := a.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fail(exitNotFound, "a file, or - for standard input", "rule: %w", err)
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxRuleFile))
	if err != nil {
		return nil, fmt.Errorf("rule: %w", err)
	}
	return parseRule(filepath.Base(name), b)
}

func parseRule(name string, b []byte) (*rule.Document, error) {
	d, err := rule.Parse(b)
	if wrong, ok := errors.AsType[*rule.DocumentError](err); ok {
		if wrong.Line > 0 {
			return nil, fail(exitConfig, "farreach rule --help", "%s:%w", name, wrong)
		}
		return nil, fail(exitConfig, "farreach rule --help", "%s: %w", name, wrong)
	}
	return d, err
}

func (a *app) ruleAddCmd() *cobra.Command {
	var disabled bool
	cmd := &cobra.Command{
		Use:   "add FILE",
		Short: "Add a rule",
		Example: `  farreach rule add door.yaml
  farreach rule show lamp-at-the-door | sed s/door/window/g | farreach rule add -`,
		Args: takes("a file with the rule, or -"),
	}
	cmd.Flags().BoolVar(&disabled, "disabled", false, "do not follow it yet")
	return a.overAPI(cmd, func(ctx context.Context, api *apiclient.Client, args []string) error {
		d, err := a.readRule(args[0])
		if err != nil {
			return err
		}
		d.Disabled = d.Disabled || disabled
		r, err := api.AddRule(ctx, *d)
		if err != nil {
			return err
		}
		return a.showChange(&r)
	})
}

// showChange tells a rule that was made or changed.
func (a *app) showChange(r *apiclient.Rule) error {
	if a.json {
		return a.screen().Doc(r)
	}
	a.say("rule %s is revision %d, %s", r.Name, r.Revision, ruleState(r))
	return nil
}

func ruleState(r *apiclient.Rule) string {
	if r.Disabled {
		return "disabled"
	}
	return "enabled"
}

func (a *app) ruleLsCmd() *cobra.Command {
	return a.overAPI(&cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the rules",
		Args:    takes(),
	}, func(ctx context.Context, api *apiclient.Client, _ []string) error {
		rules, err := api.Rules(ctx)
		if err != nil {
			return err
		}
		if a.json {
			return a.screen().Doc(rulesDoc{"farreach.rules/v1", append([]apiclient.Rule{}, rules...)})
		}
		rows := make([][]any, len(rules))
		for i := range rules {
			r := &rules[i]
			var then []string
			for _, act := range r.Then {
				then = append(then, actionText(act))
			}
			rows[i] = []any{r.Name, ruleState(r), r.Revision, whenText(r.When), strings.Join(then, ", ")}
		}
		return a.screen().Table([]string{"name", "state", "revision", "when", "then"}, rows)
	})
}

// whenText is what a rule waits for, in short.
func whenText(w rule.When) string {
	switch {
	case w.Event != nil:
		what := w.Event.Device
		if what == "" {
			what = w.Event.Type
		}
		if what == "" {
			what = "any device"
		}
		what += w.Event.Href
		if w.Event.If != "" {
			what += " " + strings.Join(strings.Fields(w.Event.If), " ")
		}
		if w.Event.For > 0 {
			what += " for " + w.Event.For.String()
		}
		return what
	case w.At != nil:
		return strings.TrimSpace("at " + w.At.Time + " " + strings.Join(w.At.Days, ",") + " " + w.At.Zone)
	case w.Sun != nil:
		text := w.Sun.Event
		if w.Sun.Offset != 0 {
			text += " " + w.Sun.Offset.String()
		}
		return text
	}
	return "every " + w.Every.String()
}

// actionText is what a rule does, in short.
func actionText(act rule.Action) string {
	switch {
	case act.Message != nil:
		return "message " + act.Message.Text
	case act.Webhook != nil:
		return "webhook " + act.Webhook.Name
	}
	return commandText(act.Command.Device, act.Command.Href, act.Command.Method, act.Command.Set)
}

func commandText(device, href, method string, set []byte) string {
	if method == "" {
		method = "set"
	}
	return strings.TrimSpace(method + " " + device + href + " " + string(set))
}

func (a *app) ruleShowCmd() *cobra.Command {
	var revision uint64
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show a rule as it is written, and how it does",
		Example: `  farreach rule show lamp-at-the-door
  farreach rule show lamp-at-the-door --revision 3 >old.yaml`,
		Args:              takes("the name of the rule, or the beginning of its id"),
		ValidArgsFunction: a.completeRule,
	}
	cmd.Flags().Uint64Var(&revision, "revision", 0, "show revision `N`, one of the newest 20")
	return a.overAPI(cmd, func(ctx context.Context, api *apiclient.Client, args []string) error {
		r, err := a.findRule(ctx, api, args[0])
		if err != nil {
			return err
		}
		if revision != 0 && revision != r.Revision {
			return a.showRevision(ctx, api, r, revision)
		}
		if *r, err = api.Rule(ctx, r.ID); err != nil {
			return err
		}
		return a.showRule(r)
	})
}

func (a *app) showRevision(ctx context.Context, api *apiclient.Client, r *apiclient.Rule, revision uint64) error {
	list, err := api.RuleRevisions(ctx, r.ID)
	if err != nil {
		return err
	}
	for i := range list {
		if list[i].Revision == revision {
			return a.showRule(&list[i])
		}
	}
	return fail(exitNotFound, fmt.Sprintf("one from %d to %d", list[len(list)-1].Revision, r.Revision), "rule %s has no revision %d any more", r.Name, revision)
}

// showRule writes a rule as a file has it. How it does are comments.
func (a *app) showRule(r *apiclient.Rule) error {
	if a.json {
		return a.screen().Doc(r)
	}
	text, err := ruleYAML(r)
	if err != nil {
		return err
	}
	_, err = a.out.Write(text)
	return err
}

func ruleYAML(r *apiclient.Rule) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# revision %d of %s, by %s\n", r.Revision, r.Changed.Local().Format("2006-01-02 15:04:05"), r.By)
	if s := r.State; s != nil {
		fmt.Fprintf(&b, "# fired %d times", s.Fired)
		if !s.Last.IsZero() {
			fmt.Fprintf(&b, ", the last time at %s", s.Last.Local().Format("2006-01-02 15:04:05"))
		}
		for _, n := range []struct {
			n    uint64
			what string
		}{{s.Held, "kept from it by its limits"}, {s.Dropped, "dropped for want of room"}, {s.Failed, "events without an answer"}} {
			if n.n > 0 {
				fmt.Fprintf(&b, "; %d %s", n.n, n.what)
			}
		}
		b.WriteByte('\n')
		if s.Problem != "" {
			fmt.Fprintf(&b, "# %s\n", strings.Join(strings.Fields(s.Problem), " "))
		}
		if !s.Due.IsZero() {
			fmt.Fprintf(&b, "# next at %s\n", s.Due.Local().Format("2006-01-02 15:04:05"))
		}
		if !s.Asleep.IsZero() {
			fmt.Fprintf(&b, "# it fired too often, and sleeps until %s\n", s.Asleep.Local().Format("15:04:05"))
		}
	}
	text, err := r.Document.YAML()
	b.Write(text)
	return b.Bytes(), err
}
