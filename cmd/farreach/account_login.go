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

type loginsDoc struct {
	Schema string            `json:"schema"`
	Logins []apiclient.Login `json:"logins"`
}

type loginDoc struct {
	Schema string `json:"schema"`
	apiclient.Login
	Password     string `json:"password,omitempty"` // unless it is in the file
	PasswordFile string `json:"password_file,omitempty"`
}

func (a *app) accountLoginCmd() *cobra.Command {
	return a.parent(&cobra.Command{
		Use:   "login",
		Short: "Manage the XMPP passwords of single devices",
		Long: `An account may have log-ins beside its password, each with a password of its own
that is good for one device: a device that is lost is shut out, and the others
need no new password.`,
		Example: `  farreach account login add home lamp --device 0685b960-736f-46f7-bec0-9e6cbd61adc1
  farreach account login rm home lamp`,
	}, a.accountLoginAddCmd(), a.accountLoginLsCmd(), a.silent(a.accountLoginRmCmd()))
}

func (a *app) accountLoginAddCmd() *cobra.Command {
	var device, resource, file string
	cmd := &cobra.Command{
		Use:   "add ACCOUNT NAME",
		Short: "Make a password for one device",
		Long: `Makes a random password with which one device, or what --resource says, gets into
the account's XMPP server. It is shown now and never again.`,
		Example: `  farreach account login add home lamp --device 0685b960-736f-46f7-bec0-9e6cbd61adc1 --password-file lamp.txt
  farreach account login add home phone --resource 'OIC/1.0/Client/*'`,
		Args: takes("the name of the account", "a name for the log-in"),
	}
	flags := cmd.Flags()
	flags.StringVar(&device, "device", "", "it is for the device with this `ID`, whatever its type")
	flags.StringVar(&resource, "resource", "", "it is for this `resource` of an XMPP address, in which * stands for anything")
	flags.StringVar(&file, "password-file", "", "write the password to this `file`, and do not show it")
	return a.overAPI(cmd, func(ctx context.Context, api *apiclient.Client, args []string) error {
		switch {
		case (device == "") == (resource == ""):
			return misuse("--device ID, or --resource 'OIC/1.0/Client/*'", "what is the log-in for?")
		case strings.ContainsAny(device, "/*"):
			return misuse("farreach devices", "--device %q is no id of a device", device)
		case device != "":
			resource = "OIC/1.0/*/" + strings.ToLower(device)
		}
		made, err := api.AddLogin(ctx, args[0], args[1], resource)
		if err != nil {
			return err
		}
		doc := loginDoc{"farreach.login/v1", made.Login, made.Password.Reveal(), file}
		if file != "" {
			if err := kept.Write(file, []byte(doc.Password+"\n"), 0o600); err != nil {
				return fail(exitFailed, "farreach account login rm "+shellWord(args[0])+" "+shellWord(args[1]), "the log-in was made, but its password is lost: %w", err)
			}
			doc.Password = ""
		}
		switch {
		case a.json:
			return a.screen().Doc(doc)
		case file != "":
			return nil
		case !a.terminal:
			return a.screen().Line(doc.Name, doc.Resource, doc.Password)
		}
		_, err = fmt.Fprintf(a.out, "password  %s\nfor       %s\n", doc.Password, doc.Resource)
		return err
	})
}

func (a *app) accountLoginLsCmd() *cobra.Command {
	return a.overAPI(&cobra.Command{
		Use:     "ls ACCOUNT",
		Aliases: []string{"list"},
		Short:   "List the log-ins of an account",
		Args:    takes("the name of the account"),
	}, func(ctx context.Context, api *apiclient.Client, args []string) error {
		logins, err := api.Logins(ctx, args[0])
		if err != nil {
			return err
		}
		if a.json {
			return a.screen().Doc(loginsDoc{"farreach.logins/v1", append([]apiclient.Login{}, logins...)})
		}
		rows := make([][]any, len(logins))
		for i, l := range logins {
			rows[i] = []any{l.Name, l.Resource, l.Created.Local().Format(time.DateTime)}
		}
		return a.screen().Table([]string{"name", "resource", "made"}, rows)
	})
}

func (a *app) accountLoginRmCmd() *cobra.Command {
	return a.overAPI(&cobra.Command{
		Use:     "rm ACCOUNT NAME",
		Aliases: []string{"remove"},
		Short:   "Shut a device out, at once",
		Args:    takes("the name of the account", "the name of the log-in"),
	}, func(ctx context.Context, api *apiclient.Client, args []string) error {
		return api.RemoveLogin(ctx, args[0], args[1])
	})
}
