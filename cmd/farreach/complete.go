package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/cmd/farreach/internal/screen"
)

// completeTime is how long a shell is kept waiting for names.
const completeTime = time.Second

// completeTarget completes NAME/href.
func (a *app) completeTarget(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	name, _, inside := strings.Cut(typed, "/")
	var targets []string
	for _, d := range a.knownDevices(cmd) {
		switch {
		case !inside:
			targets = append(targets, d.Name+"/")
		case d.Name == name:
			for _, l := range d.Links {
				targets = append(targets, d.Name+l.Href)
			}
		}
	}
	if !inside {
		return targets, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	return targets, cobra.ShellCompDirectiveNoFileComp
}

// completeDevice completes the name of a device.
func (a *app) completeDevice(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for _, d := range a.knownDevices(cmd) {
		names = append(names, d.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completing calls f with a client of the server, and little time. No server, no
// names: a completion is no place for an error.
func (a *app) completing(cmd *cobra.Command, f func(ctx context.Context, api *apiclient.Client)) {
	if a.applySettings(cmd) != nil {
		return
	}
	api, err := a.api(access{timeout: completeTime})
	if err != nil {
		return
	}
	defer api.Close()
	ctx, cancel := context.WithTimeout(cmd.Context(), completeTime)
	defer cancel()
	f(ctx, api)
}

// completes offers these values for a flag.
func completes(cmd *cobra.Command, flag string, values ...string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // a misspelled flag name
	}
}

// knownDevices lists the devices whose names a shell can take as they are.
func (a *app) knownDevices(cmd *cobra.Command) (known []apiclient.Device) {
	a.completing(cmd, func(ctx context.Context, api *apiclient.Client) {
		devices, _ := api.Devices(ctx) // none: nothing to offer
		for _, d := range devices {
			if d.Name != "" && screen.Printable(d.Name) == d.Name && !strings.ContainsAny(d.Name, "/:\\") {
				known = append(known, d)
			}
		}
	})
	return known
}
