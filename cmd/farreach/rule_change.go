package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cloud/rule"
	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
)

func (a *app) ruleEditCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "edit NAME [FILE]",
		Short: "Change a rule: in your editor, or by a file",
		Long: `Without a FILE the rule is opened in the editor of $VISUAL or $EDITOR. A rule that
somebody else has changed meanwhile is not overwritten.`,
		Example: `  farreach rule edit lamp-at-the-door
  farreach rule edit lamp-at-the-door door.yaml`,
		Args:              takesUpTo(2, "the name of the rule, or the beginning of its id"),
		ValidArgsFunction: a.completeRule,
	}
	return a.overAPI(cmd, func(ctx context.Context, api *apiclient.Client, args []string) error {
		r, err := a.findRule(ctx, api, args[0])
		if err != nil {
			return err
		}
		var d *rule.Document
		if len(args) > 1 {
			d, err = a.readRule(args[1])
		} else {
			d, err = a.inEditor(ctx, r)
		}
		if err != nil {
			return err
		}
		changed, err := api.ChangeRule(ctx, r, *d)
		if err != nil {
			return err
		}
		return a.showChange(&changed)
	})
}

// takesUpTo takes one argument, and up to n.
func takesUpTo(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n {
			return takes(what)(cmd, args)
		}
		return takes(what)(cmd, args[:min(len(args), 1)])
	}
}

// inEditor lets a person change a rule.
func (a *app) inEditor(ctx context.Context, r *apiclient.Rule) (*rule.Document, error) {
	text, err := ruleYAML(r)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "farreach-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "rule.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	editor := a.editor()
	if len(editor) == 0 {
		return nil, misuse("farreach rule edit "+shellWord(r.Name)+" FILE, or EDITOR=nano", "no editor is named in VISUAL or EDITOR")
	}
	cmd := exec.CommandContext(ctx, editor[0], append(editor[1:], file)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.in, a.out, a.err
	if err := cmd.Run(); err != nil {
		return nil, fail(exitFailed, "another EDITOR", "%s: %w", editor[0], err)
	}
	changed, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(changed, text) {
		a.say("nothing was changed")
	}
	return parseRule("rule.yaml", changed)
}

// editor is the command of the user's editor.
func (a *app) editor() []string {
	for _, name := range []string{"VISUAL", "EDITOR"} {
		if text, ok := a.lookup(name); ok && strings.TrimSpace(text) != "" {
			return strings.Fields(text)
		}
	}
	return nil
}

func (a *app) ruleSwitchCmd(use, short string, disabled bool) *cobra.Command {
	cmd := &cobra.Command{
		Use:               use + " NAME",
		Short:             short,
		Example:           "  farreach rule " + use + " lamp-at-the-door",
		Args:              takes("the name of the rule, or the beginning of its id"),
		ValidArgsFunction: a.completeRule,
	}
	return a.overAPI(cmd, func(ctx context.Context, api *apiclient.Client, args []string) error {
		r, err := a.findRule(ctx, api, args[0])
		if err != nil {
			return err
		}
		d := r.Document
		d.Disabled = disabled
		changed, err := api.ChangeRule(ctx, r, d)
		if err != nil {
			return err
		}
		return a.showChange(&changed)
	})
}

func (a *app) ruleRmCmd() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:               "rm NAME",
		Aliases:           []string{"delete"},
		Short:             "Remove a rule, and what is known of its runs",
		Example:           "  farreach rule rm lamp-at-the-door --yes",
		Args:              takes("the name of the rule, or the beginning of its id"),
		ValidArgsFunction: a.completeRule,
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return a.overAPI(cmd, func(ctx context.Context, api *apiclient.Client, args []string) error {
		r, err := a.findRule(ctx, api, args[0])
		if err != nil {
			return err
		}
		if !yes && !a.confirm("remove rule "+r.Name+" and what is known of its runs?") {
			return misuse("farreach rule rm "+shellWord(r.Name)+" --yes", "nobody said yes")
		}
		return api.RemoveRule(ctx, r)
	})
}

// findRule returns the rule with this name, or with an id that begins so.
func (a *app) findRule(ctx context.Context, api *apiclient.Client, name string) (*apiclient.Rule, error) {
	rules, err := api.Rules(ctx)
	if err != nil {
		return nil, err
	}
	var found []*apiclient.Rule
	for i := range rules {
		if rules[i].Name == name {
			return &rules[i], nil
		}
		if name != "" && strings.HasPrefix(rules[i].ID, strings.ToLower(name)) {
			found = append(found, &rules[i])
		}
	}
	switch len(found) {
	case 0:
		return nil, fail(exitNotFound, "farreach rule ls", "no rule %s", name)
	case 1:
		return found[0], nil
	}
	return nil, misuse("a longer beginning; farreach rule ls --json has the ids", "%d rules have an id that begins with %s", len(found), name)
}

// completeRule completes the name of a rule.
func (a *app) completeRule(cmd *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault // perhaps a file
	}
	a.completing(cmd, func(ctx context.Context, api *apiclient.Client) {
		rules, _ := api.Rules(ctx) // none: nothing to offer
		for _, r := range rules {
			if isWord(r.Name) {
				names = append(names, fmt.Sprintf("%s\t%s", r.Name, whenText(r.When)))
			}
		}
	})
	return names, cobra.ShellCompDirectiveNoFileComp
}
