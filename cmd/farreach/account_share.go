package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
)

type sharesDoc struct {
	Schema   string            `json:"schema"`
	Given    []apiclient.Share `json:"given"`
	Received []apiclient.Share `json:"received"`
}

type shareDoc struct {
	Schema string `json:"schema"`
	apiclient.Share
}

func (a *app) accountShareCmd() *cobra.Command {
	return a.parent(&cobra.Command{
		Use:   "share",
		Short: "Share devices with other accounts",
		Long: `A device, or all that an account has, is shared with another account: as viewer
that one sees and reads it, as member it commands it, too. It stands among the
other's devices once that account has accepted it.`,
		Example: `  farreach account share add lamp bob --role member
  farreach account share accept ada
  farreach account share rm bob`,
	}, a.accountShareAddCmd(), a.accountShareLsCmd(), a.silent(a.accountShareAcceptCmd()), a.silent(a.accountShareRmCmd()))
}

func (a *app) accountShareAddCmd() *cobra.Command {
	var role string
	var all bool
	cmd := &cobra.Command{
		Use:   "add [DEVICE] ACCOUNT",
		Short: "Share a device, or all, with another account",
		Long:  "Shares a device, or all with --all. What is shared already gets the new role.",
		Example: `  farreach account share add lamp bob
  farreach account share add --all bob --role member`,
		Args: func(cmd *cobra.Command, args []string) error {
			if all {
				return takes("the other account")(cmd, args)
			}
			return takes("the device", "the other account")(cmd, args)
		},
		ValidArgsFunction: a.completeDevice,
	}
	cmd.Flags().StringVar(&role, "role", "viewer", "what the other may do: viewer, to see and read, or member, to command, too")
	cmd.Flags().BoolVar(&all, "all", false, "share all devices, those to come too")
	completes(cmd, "role", "viewer", "member")
	return a.overAPI(cmd, func(ctx context.Context, api *apiclient.Client, args []string) error {
		if role != "viewer" && role != "member" {
			return misuse("--role viewer", "--role %q is neither viewer nor member", role)
		}
		var di string
		if !all {
			devices, err := api.Devices(ctx)
			if err != nil {
				return err
			}
			d, err := find(devices, args[0])
			if err != nil {
				return err
			}
			di = d.ID
		}
		s, err := api.Share(ctx, di, args[len(args)-1], role)
		if err == nil && a.json {
			err = a.screen().Doc(shareDoc{"farreach.share/v1", s})
		}
		return err
	})
}

func (a *app) accountShareLsCmd() *cobra.Command {
	return a.overAPI(&cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List what you share, and what is shared with you",
		Args:    takes(),
	}, func(ctx context.Context, api *apiclient.Client, _ []string) error {
		given, received, err := api.Shares(ctx)
		if err != nil {
			return err
		}
		if a.json {
			return a.screen().Doc(sharesDoc{"farreach.shares/v1", append([]apiclient.Share{}, given...), append([]apiclient.Share{}, received...)})
		}
		devices, err := api.Devices(ctx)
		if err != nil {
			return err
		}
		var rows [][]any
		for _, s := range append(given, received...) {
			state := "accepted"
			if s.Accepted.IsZero() {
				state = "offered"
			}
			rows = append(rows, []any{s.Account, s.With, whatIsShared(devices, s), s.Role, state, s.ID})
		}
		return a.screen().Table([]string{"from", "to", "device", "role", "state", "id"}, rows)
	})
}

// whatIsShared is the name of what a share is of; of a device that cannot be
// seen (yet), it is its id.
func whatIsShared(devices []apiclient.Device, s apiclient.Share) string {
	if s.Device == "" {
		return "all"
	}
	i := slices.IndexFunc(devices, func(d apiclient.Device) bool { return d.ID == s.Device && d.Name != "" })
	if i < 0 {
		return s.Device
	}
	return devices[i].Name
}

func (a *app) accountShareAcceptCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "accept ACCOUNT",
		Short:             "Accept what another account shares",
		Example:           "  farreach account share accept ada",
		Args:              takes("the account that shares, or the id of the share"),
		ValidArgsFunction: a.completeShare(true),
	}
	return a.overAPI(cmd, func(ctx context.Context, api *apiclient.Client, args []string) error {
		_, received, err := api.Shares(ctx)
		if err != nil {
			return err
		}
		meant := sharesOf(nil, received, args[0])
		if len(meant) == 0 {
			return fail(exitNotFound, "farreach account share ls", "%s shares nothing", args[0])
		}
		for _, s := range meant {
			if _, err := api.AcceptShare(ctx, s.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

func (a *app) accountShareRmCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "rm ACCOUNT",
		Aliases:           []string{"remove"},
		Short:             "End all shares with an account, or one, and what is open by them",
		Example:           "  farreach account share rm bob",
		Args:              takes("the other account, or the id of a share"),
		ValidArgsFunction: a.completeShare(false),
	}
	return a.overAPI(cmd, func(ctx context.Context, api *apiclient.Client, args []string) error {
		given, received, err := api.Shares(ctx)
		if err != nil {
			return err
		}
		meant := sharesOf(given, received, args[0])
		if len(meant) == 0 {
			return fail(exitNotFound, "farreach account share ls", "nothing is shared with %s", args[0])
		}
		for _, s := range meant {
			if err := api.EndShare(ctx, s.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// sharesOf returns the share with this id, or those with this other account.
func sharesOf(given, received []apiclient.Share, name string) (meant []apiclient.Share) {
	for _, s := range given {
		if s.ID == name || strings.EqualFold(s.With, name) {
			meant = append(meant, s)
		}
	}
	for _, s := range received {
		if s.ID == name || strings.EqualFold(s.Account, name) {
			meant = append(meant, s)
		}
	}
	return meant
}

// completeShare completes the other account of a share, of those that are
// offered only or of all.
func (a *app) completeShare(offered bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		a.completing(cmd, func(ctx context.Context, api *apiclient.Client) {
			given, received, _ := api.Shares(ctx) // none: nothing to offer
			for _, s := range received {
				if !offered || s.Accepted.IsZero() {
					names = append(names, s.Account)
				}
			}
			for _, s := range given {
				if !offered {
					names = append(names, s.With)
				}
			}
		})
		slices.Sort(names)
		return slices.Compact(names), cobra.ShellCompDirectiveNoFileComp
	}
}
