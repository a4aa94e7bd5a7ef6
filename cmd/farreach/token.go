package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/internal/kept"
)

type tokensDoc struct {
	Schema string            `json:"schema"`
	Tokens []apiclient.Token `json:"tokens"`
}

type tokenDoc struct {
	Schema string `json:"schema"`
	apiclient.Token
	Secret string `json:"token,omitempty"` // unless it is in the file
	File   string `json:"file,omitempty"`
}

func (a *app) tokenCmd() *cobra.Command {
	return a.parent(&cobra.Command{
		Use:   "token",
		Short: "Manage the tokens with which programs use the API",
		Long: `A token lets a program use the API in the name of your account, as far as its
scope says: read sees and reads, command changes what devices do, too, and admin
may everything that your account may. Revoking one ends at once what it has open.`,
		Example: `  farreach token create grafana --scope read --out grafana.token
  farreach token ls
  farreach token revoke grafana`,
		GroupID: groupAutomate,
	}, a.tokenCreateCmd(), a.tokenLsCmd(), a.silent(a.tokenRevokeCmd()))
}

// tokenLife is how long a token lives, unless it is said.
const tokenLife = "90d"

// newToken is what token create is told.
type newToken struct {
	access
	account          string
	password         passwordSource
	scope, life, out string
}

func (a *app) tokenCreateCmd() *cobra.Command {
	var n newToken
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a token",
		Long: `Makes a token. It is shown now and never again. Another account than that of the
profile makes its first one with its password.`,
		Example: `  farreach token create grafana --scope read --out grafana.token
  farreach token create panel --scope command --for 365d
  farreach token create bob --scope admin --account bob --password-file bob.txt --out bob.token`,
		Args: takes("a name by which you will know it"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.createToken(cmd.Context(), &n, args[0]) },
	}
	n.access.flags(cmd)
	n.password.flags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&n.account, "account", "", "make it for this `account`, with its password")
	flags.StringVar(&n.scope, "scope", "read", "what it may do at most: read, command or admin")
	flags.StringVar(&n.life, "for", tokenLife, "`time` that it is good for, such as 12h or 90d; ever: until it is revoked")
	flags.StringVar(&n.out, "out", "", "write the token to this `file`, and do not show it")
	completes(cmd, "scope", "read", "command", "admin")
	return cmd
}

func (a *app) createToken(ctx context.Context, n *newToken, name string) (err error) {
	var age time.Duration
	if n.life != "ever" {
		var ok bool
		if age, ok = parseAge(n.life); !ok || age == 0 {
			return misuse("--for 90d, or --for ever", "--for %q: not a time such as 12h or 90d", n.life)
		}
	}
	if n.scope != "read" && n.scope != "command" && n.scope != "admin" {
		return misuse("--scope read", "--scope %q is none of read, command and admin", n.scope)
	}
	if n.access.account = n.account; n.account != "" {
		if n.access.password, err = a.password(n.password); err != nil {
			return err
		}
	}
	api, err := a.api(n.access)
	if err != nil {
		return err
	}
	defer api.Close()
	made, err := api.AddToken(ctx, name, n.scope, age)
	if err != nil {
		return err
	}
	return a.showToken(made, n.out)
}

// showToken tells a new token, to the file if there is one.
func (a *app) showToken(made apiclient.NewToken, file string) error {
	doc := tokenDoc{"farreach.token/v1", made.Token, made.Secret.Reveal(), file}
	if file != "" {
		if err := kept.Write(file, []byte(doc.Secret+"\n"), 0o600); err != nil {
			return fail(exitFailed, "farreach token revoke "+shellWord(made.ID), "the token was made, but it is lost: %w", err)
		}
		doc.Secret = ""
	}
	switch {
	case a.json:
		return a.screen().Doc(doc)
	case file != "":
		return nil
	case !a.terminal:
		return a.screen().Line(doc.Secret)
	}
	_, err := fmt.Fprintf(a.out, "token    %s\nscope    %s\nexpires  %s\n", doc.Secret, doc.Scope, a.until(doc.Expires))
	return err
}

// until is the end of something, as a cell: a time that may be to come.
func (a *app) until(end time.Time) any {
	switch {
	case end.IsZero():
		return "never"
	case a.terminal:
		return end.Local().Format(time.DateTime)
	}
	return end
}

func (a *app) tokenLsCmd() *cobra.Command {
	return a.overAPI(&cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the tokens of your account",
		Args:    takes(),
	}, func(ctx context.Context, api *apiclient.Client, _ []string) error {
		tokens, err := api.Tokens(ctx)
		if err != nil {
			return err
		}
		if a.json {
			return a.screen().Doc(tokensDoc{"farreach.tokens/v1", append([]apiclient.Token{}, tokens...)})
		}
		rows := make([][]any, len(tokens))
		for i, t := range tokens {
			var used any = "never"
			if !t.Used.IsZero() {
				used = t.Used
			}
			rows[i] = []any{t.Name, t.ID, t.Scope, a.until(t.Expires), used}
		}
		return a.screen().Table([]string{"name", "id", "scope", "expires", "used"}, rows)
	})
}

func (a *app) tokenRevokeCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "revoke NAME",
		Aliases:           []string{"rm"},
		Short:             "End a token, and what it has open",
		Example:           "  farreach token revoke grafana",
		Args:              takes("the name of the token, or the beginning of its id"),
		ValidArgsFunction: a.completeToken,
	}
	return a.overAPI(cmd, func(ctx context.Context, api *apiclient.Client, args []string) error {
		tokens, err := api.Tokens(ctx)
		if err != nil {
			return err
		}
		t, err := findToken(tokens, args[0])
		if err != nil {
			return err
		}
		return api.RevokeToken(ctx, t.ID)
	})
}

// findToken returns the token with this name, or with an id that begins so.
func findToken(tokens []apiclient.Token, name string) (apiclient.Token, error) {
	for _, same := range []func(apiclient.Token) bool{
		func(t apiclient.Token) bool { return t.ID == name },
		func(t apiclient.Token) bool { return t.Name == name },
		func(t apiclient.Token) bool { return strings.HasPrefix(t.ID, name) },
	} {
		var found []apiclient.Token
		for _, t := range tokens {
			if same(t) {
				found = append(found, t)
			}
		}
		switch {
		case len(found) == 1:
			return found[0], nil
		case len(found) > 1:
			return apiclient.Token{}, misuse("its id; farreach token ls has it", "%d tokens are called %s", len(found), name)
		}
	}
	return apiclient.Token{}, fail(exitNotFound, "farreach token ls", "no token %s", name)
}

// completeToken completes the name of a token.
func (a *app) completeToken(cmd *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	a.completing(cmd, func(ctx context.Context, api *apiclient.Client) {
		tokens, _ := api.Tokens(ctx) // none: nothing to offer
		for _, t := range tokens {
			names = append(names, t.Name)
		}
	})
	return names, cobra.ShellCompDirectiveNoFileComp
}
