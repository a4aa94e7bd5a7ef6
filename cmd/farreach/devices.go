package main

import (
	"cmp"
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
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
		Example: `  farreach devices
  farreach devices --json | jq -r '.devices[].name'`,
		GroupID: groupFleet,
		Args:    takes(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.devices(cmd.Context(), x) },
	}
	x.flags(cmd)
	return cmd
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
		rows[i] = []any{d.Name, d.ID, d.Type, d.State, d.Since}
	}
	return a.screen().Table([]string{"name", "di", "type", "state", "since"}, rows)
}
