package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/cmd/farreach/internal/settings"
	"github.com/farreach/farreach/internal/secret"
)

type accountsDoc struct {
	Schema   string              `json:"schema"`
	Accounts []apiclient.Account `json:"accounts"`
}

func (a *app) accountCmd() *cobra.Command {
	return a.parent(&cobra.Command{
		Use:   "account",
		Short: "Manage the accounts of a server",
		Example: `  farreach account ls
  farreach account add ada --password-file ada.txt`,
		GroupID: groupAutomate,
	}, a.silent(a.accountAddCmd()), a.accountLsCmd(), a.silent(a.accountPasswdCmd()), a.silent(a.accountLockCmd()), a.silent(a.accountUnlockCmd()), a.silent(a.accountRmCmd()), a.accountLoginCmd(), a.accountShareCmd())
}

// overAPI makes cmd do f with a client of the API.
func (a *app) overAPI(cmd *cobra.Command, f func(ctx context.Context, api *apiclient.Client, args []string) error) *cobra.Command {
	var x access
	x.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		api, err := a.api(x)
		if err != nil {
			return err
		}
		defer api.Close()
		return f(cmd.Context(), api, args)
	}
	return cmd
}

func (a *app) accountLsCmd() *cobra.Command {
	return a.overAPI(&cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the accounts",
		Args:    takes(),
	}, func(ctx context.Context, api *apiclient.Client, _ []string) error {
		accounts, err := api.Accounts(ctx)
		if err != nil {
			return err
		}
		if a.json {
			return a.screen().Doc(accountsDoc{"farreach.accounts/v1", append([]apiclient.Account{}, accounts...)})
		}
		rows := make([][]any, len(accounts))
		for i, acc := range accounts {
			role := "user"
			if acc.Admin {
				role = "admin"
			}
			state := ""
			if acc.Locked {
				state = "locked"
			}
			rows[i] = []any{acc.Name, role, state}
		}
		return a.screen().Table([]string{"name", "role", "state"}, rows)
	})
}

func (a *app) accountAddCmd() *cobra.Command {
	var admin bool
	var pw passwordSource
	cmd := &cobra.Command{
		Use:     "add NAME",
		Short:   "Make an account",
		Example: "  farreach account add ada --password-file ada.txt",
		Args:    takes("the name of the account"),
	}
	pw.flags(cmd)
	cmd.Flags().BoolVar(&admin, "admin", false, "it may manage accounts")
	return a.overAPI(cmd, func(ctx context.Context, api *apiclient.Client, args []string) error {
		password, err := a.password(pw)
		if err != nil {
			return err
		}
		return api.AddAccount(ctx, args[0], password, admin)
	})
}

func (a *app) accountPasswdCmd() *cobra.Command {
	var pw passwordSource
	cmd := &cobra.Command{
		Use:     "passwd NAME",
		Short:   "Change the password of an account",
		Example: "  farreach account passwd ada --password-stdin < ada.txt",
		Args:    takes("the name of the account"),
	}
	pw.flags(cmd)
	return a.overAPI(cmd, func(ctx context.Context, api *apiclient.Client, args []string) error {
		password, err := a.password(pw)
		if err != nil {
			return err
		}
		return api.SetPassword(ctx, args[0], password)
	})
}

func (a *app) accountLockCmd() *cobra.Command {
	return a.overAPI(&cobra.Command{
		Use:   "lock NAME",
		Short: "Let nobody into an account; its devices and rules go on",
		Long: `Locks an account: its passwords, tokens, browsers and pairing codes are refused,
and what is open by them ends at once, streams of XMPP included. Its devices of
the cloud stay connected and go on reporting, its rules go on, and what it shares
stays shared. farreach account unlock lets in again what was good before.`,
		Example:           "  farreach account lock ada",
		Args:              takes("the name of the account"),
		ValidArgsFunction: a.completeAccount,
	}, func(ctx context.Context, api *apiclient.Client, args []string) error {
		return api.LockAccount(ctx, args[0], true)
	})
}

func (a *app) accountUnlockCmd() *cobra.Command {
	return a.overAPI(&cobra.Command{
		Use:               "unlock NAME",
		Short:             "Let into an account again what was good before it was locked",
		Example:           "  farreach account unlock ada",
		Args:              takes("the name of the account"),
		ValidArgsFunction: a.completeAccount,
	}, func(ctx context.Context, api *apiclient.Client, args []string) error {
		return api.LockAccount(ctx, args[0], false)
	})
}

func (a *app) accountRmCmd() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:     "rm NAME",
		Short:   "Delete an account, and let go of its devices",
		Example: "  farreach account rm ada --yes",
		Args:    takes("the name of the account"),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return a.overAPI(cmd, func(ctx context.Context, api *apiclient.Client, args []string) error {
		if !yes && !a.confirm("delete account "+args[0]+" and let go of its devices?") {
			return misuse("farreach account rm "+shellWord(args[0])+" --yes", "nobody said yes")
		}
		return api.RemoveAccount(ctx, args[0])
	})
}

// confirm asks a person; a program is never asked.
func (a *app) confirm(question string) bool {
	in, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return false
	}
	fmt.Fprintf(a.err, "%s [y/N] ", question)
	var answer string
	_, err := fmt.Fscanln(in, &answer)
	return err == nil && strings.EqualFold(answer, "y")
}

// passwordSource says where a new password comes from: never an argument,
// which everybody on the machine can read.
type passwordSource struct {
	file  string
	stdin bool
}

func (p *passwordSource) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.file, "password-file", "", "`file` with the password in its first line")
	cmd.Flags().BoolVar(&p.stdin, "password-stdin", false, "read the password from standard input")
}

func (a *app) password(p passwordSource) (secret.String, error) {
	if p.file != "" {
		text, err := settings.ReadSecret(p.file)
		if err != nil {
			return "", fail(exitConfig, "", "password: %w", err)
		}
		return secret.String(text), nil
	}
	in, isFile := a.in.(*os.File)
	switch text, set := a.lookup("FARREACH_PASSWORD"); {
	case p.stdin:
		return firstLine(a.in)
	case set && text != "":
		return secret.String(text), nil
	case isFile && term.IsTerminal(int(in.Fd())):
		fmt.Fprint(a.err, "new password: ")
		b, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(a.err)
		return secret.String(b), err
	}
	return "", misuse("--password-file FILE, or --password-stdin", "no password")
}

func firstLine(r io.Reader) (secret.String, error) {
	b, err := io.ReadAll(io.LimitReader(r, 4096))
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line = strings.TrimRight(line, "\r"); line == "" {
		return "", misuse("", "no password on standard input")
	}
	return secret.String(line), nil
}
