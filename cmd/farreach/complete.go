package main

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/cmd/farreach/internal/screen"
)

// completeTime is how long a shell is kept waiting for names.
const completeTime = time.Second

// completeDevice completes the name of a device of the cloud.
func (a *app) completeDevice(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for _, d := range a.knownDevices(cmd) {
		names = append(names, d.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeProfile completes the name of a profile.
func (a *app) completeProfile(*cobra.Command, []string, string) (names []string, _ cobra.ShellCompDirective) {
	dir := a.profileDir
	if dir == "" {
		dir = a.defaultProfileDir()
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.yaml")) // none: nothing to offer
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".yaml"))
	}
	return names, cobra.ShellCompDirectiveDefault // or a file anywhere
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
			if isWord(d.Name) {
				known = append(known, d)
			}
		}
	})
	return known
}

// isWord reports whether a name can stand in a target as it is.
func isWord(name string) bool {
	return name != "" && screen.Printable(name) == name && !strings.ContainsAny(name, "/:\\")
}

// completeAccount completes the name of an account, for who may list them.
func (a *app) completeAccount(cmd *cobra.Command, _ []string, _ string) (names []string, _ cobra.ShellCompDirective) {
	a.completing(cmd, func(ctx context.Context, api *apiclient.Client) {
		accounts, _ := api.Accounts(ctx) // none: nothing to offer
		for _, acc := range accounts {
			if isWord(acc.Name) {
				names = append(names, acc.Name)
			}
		}
	})
	return names, cobra.ShellCompDirectiveNoFileComp
}
