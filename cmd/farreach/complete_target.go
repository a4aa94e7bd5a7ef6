package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/screen"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/reach"
)

// completeTarget completes NAME/href.
func (a *app) completeTarget(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	name, _, inside := strings.Cut(typed, "/")
	var targets []string
	if !inside {
		for _, name := range a.names(cmd) {
			targets = append(targets, name+"/")
		}
		return targets, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	for _, href := range a.hrefs(cmd, name) {
		targets = append(targets, name+href)
	}
	return targets, cobra.ShellCompDirectiveNoFileComp
}

// completeAnyDevice completes the name of a device, whatever way leads to it.
func (a *app) completeAnyDevice(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.names(cmd), cobra.ShellCompDirectiveNoFileComp
}

// names are those of the devices of the cloud and of those on XMPP.
func (a *app) names(cmd *cobra.Command) (names []string) {
	for _, d := range a.knownDevices(cmd) {
		names = append(names, d.Name)
	}
	a.overXMPP(cmd, func(ctx context.Context, ways *reach.Ways) {
		present, _ := ways.OnXMPP(ctx)
		for _, p := range present {
			if isWord(p.Name) {
				names = append(names, p.Name)
			}
		}
	})
	slices.Sort(names)
	return slices.Compact(names)
}

// hrefs are the paths of a device.
func (a *app) hrefs(cmd *cobra.Command, name string) (hrefs []string) {
	for _, d := range a.knownDevices(cmd) {
		if d.Name == name {
			for _, l := range d.Links {
				hrefs = append(hrefs, l.Href)
			}
			return hrefs
		}
	}
	a.overXMPP(cmd, func(ctx context.Context, ways *reach.Ways) {
		d, err := ways.Device(ctx, reach.Target{Device: name})
		if err != nil {
			return
		}
		resp, err := d.Handle(ctx, &oic.Request{Href: reach.DefaultHref})
		if err != nil {
			return
		}
		sets, _ := oic.ParseLinks(resp.Format, resp.Body) // none: nothing to offer
		for _, set := range sets {
			for _, l := range set.Links {
				if strings.EqualFold(set.Device, d.ID()) && screen.Printable(l.Href) == l.Href {
					hrefs = append(hrefs, l.Href)
				}
			}
		}
	})
	return hrefs
}

// overXMPP calls f with the XMPP account of the profile, if there is one, and
// little time.
func (a *app) overXMPP(cmd *cobra.Command, f func(ctx context.Context, ways *reach.Ways)) {
	if a.applySettings(cmd) != nil {
		return
	}
	x, err := a.searchXMPP(discovery{})
	if err != nil || x == nil {
		return
	}
	defer x.close()
	ctx, cancel := context.WithTimeout(cmd.Context(), completeTime)
	defer cancel()
	if x.ways, err = reach.Open(ctx, x.cfg); err == nil {
		f(ctx, x.ways)
	}
}
