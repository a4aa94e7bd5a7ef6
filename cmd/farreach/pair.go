package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

type pairingDoc struct {
	Schema  string    `json:"schema"`
	Code    string    `json:"code"`
	Expires time.Time `json:"expires"`
	Command string    `json:"command"` // with which a device of this program joins
}

func (a *app) pairCmd() *cobra.Command {
	var x access
	cmd := &cobra.Command{
		Use:   "pair",
		Short: "Make a one-time code with which a device joins your account",
		Example: `  farreach pair
  code=$(farreach pair | cut -f1)`,
		GroupID: groupStart,
		Args:    takes(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.pair(cmd.Context(), x) },
	}
	x.flags(cmd)
	return cmd
}

func (a *app) pair(ctx context.Context, x access) error {
	api, err := a.api(x)
	if err != nil {
		return err
	}
	defer api.Close()
	code, err := api.NewCode(ctx)
	if err != nil {
		return err
	}
	doc := pairingDoc{"farreach.pairing/v1", code.Code.Reveal(), code.Expires.UTC(), a.joinCommand(code.Code.Reveal())}
	switch {
	case a.json:
		return a.screen().Doc(doc)
	case !a.terminal:
		return a.screen().Line(doc.Code, doc.Expires.Format(time.RFC3339), doc.Command)
	}
	_, err = fmt.Fprintf(a.out, "code      %s\ngood for  %.0f min, once\n\nA device of this program joins with it so; others take it as their authorization code:\n\n  %s\n",
		doc.Code, time.Until(doc.Expires).Minutes(), doc.Command)
	return err
}

// joinCommand is the line that makes a lamp join with code.
func (a *app) joinCommand(code string) string {
	return a.command("device", "--type", "lamp", "--name", "new-lamp", "--code", code)
}

// command is a line that can be pasted into a shell on this machine: called as
// this program was, and with the profile that this command had.
func (a *app) command(args ...string) string {
	words := []string{a.call()}
	words = append(words, args...)
	if a.profile != defaultProfile {
		words = append(words, "--profile", a.profile)
	}
	if a.profileDir != a.defaultProfileDir() {
		words = append(words, "--profile-dir", a.profileDir)
	}
	for i, w := range words {
		words[i] = shellWord(w)
	}
	return strings.Join(words, " ")
}

// shellWord quotes w where a shell would not take it as it is.
func shellWord(w string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_./:=+@,", r)
	}
	if w != "" && strings.IndexFunc(w, func(r rune) bool { return !plain(r) }) < 0 {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}
