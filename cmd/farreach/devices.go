package main

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/cmd/farreach/internal/screen"
)

type devicesDoc struct {
	Schema  string             `json:"schema"`
	Devices []apiclient.Device `json:"devices"`
}

func (a *app) devicesCmd() *cobra.Command {
	var x access
	cmd := &cobra.Command{
		Use:   "devices",
		Short: "List your devices and whether they can be reached",
		Long: `Lists the devices of the account: name, di, type, state, since when, and when
the device last proved that it is there. The state is

  reachable   connected, and heard of within one keep-alive interval
  offline     it was connected, and is no more
  unknown     the server has not seen it since its own start`,
		Example: `  farreach devices
  farreach devices --json | jq -r '.devices[].name'`,
		GroupID: groupFleet,
		Args:    takes(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.devices(cmd.Context(), x) },
	}
	x.flags(cmd)
	cmd.AddCommand(a.devicesRmCmd())
	return cmd
}

func (a *app) devicesRmCmd() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:               "rm DEVICE",
		Short:             "Take a device out of your account; its events are removed",
		Example:           "  farreach devices rm attic-lamp --yes",
		Args:              takes("a device: its name or the beginning of its id"),
		ValidArgsFunction: a.completeDevice,
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return a.overAPI(cmd, func(ctx context.Context, api *apiclient.Client, args []string) error {
		devices, err := api.Devices(ctx)
		if err != nil {
			return err
		}
		d, err := find(devices, args[0])
		if err != nil {
			return err
		}
		if !yes && !a.confirm(screen.Printable("take "+d.Name+" ("+d.ID+") out of the account, with its events?")) {
			return misuse("farreach devices rm "+shellWord(args[0])+" --yes", "nobody said yes")
		}
		return api.Forget(ctx, d.ID)
	})
}

// find is apiclient.Find with the exit status of its errors.
func find(devices []apiclient.Device, name string) (apiclient.Device, error) {
	d, err := apiclient.Find(devices, name)
	if bad, ok := errors.AsType[*apiclient.FindError](err); ok && bad.Match > 1 {
		return d, misuse("more letters, or the whole di", "%w", err)
	} else if err != nil {
		return d, fail(exitNotFound, "farreach devices", "%w", err)
	}
	return d, nil
}

func (a *app) devices(ctx context.Context, x access) error {
	api, err := a.api(x)
	if err != nil {
		return err
	}
	defer api.Close()
	devices, err := api.Devices(ctx)
	if err != nil {
		return err
	}
	slices.SortFunc(devices, func(d, e apiclient.Device) int {
		return cmp.Or(cmp.Compare(d.Name, e.Name), cmp.Compare(d.ID, e.ID))
	})
	if a.json {
		return a.screen().Doc(devicesDoc{"farreach.devices/v1", slices.Concat([]apiclient.Device{}, devices)})
	}
	if len(devices) == 0 && a.terminal {
		a.say("no devices yet; try: farreach pair")
		return nil
	}
	rows := make([][]any, len(devices))
	for i, d := range devices {
		rows[i] = []any{d.Name, d.ID, d.Type, d.State, d.Since, d.Proven}
	}
	return a.screen().Table([]string{"name", "di", "type", "state", "since", "proven"}, rows)
}
