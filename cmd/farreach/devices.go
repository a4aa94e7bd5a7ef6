package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/cmd/farreach/internal/screen"
)

type devicesDoc struct {
	Schema  string      `json:"schema"`
	Devices []deviceDoc `json:"devices"`
}

// deviceDoc is a device as the cloud knows it, or XMPP alone.
type deviceDoc struct {
	apiclient.Device
	By []string `json:"by"` // the ways that lead to it now: "cloud", "xmpp"
}

func (a *app) devicesCmd() *cobra.Command {
	var d discovery
	cmd := &cobra.Command{
		Use:   "devices",
		Short: "List your devices and whether they can be reached",
		Long: `Lists the devices of the account, those of the cloud and those on XMPP: name, di,
type, state, since when, when the device last proved to the cloud that it is
there, the ways that lead to it now, and a note. The state is

  reachable   connected, and heard of within one keep-alive interval
  unproven    connected, and silent for longer: it may be there, or not
  offline     it was connected, and is no more
  unknown     the server has not seen it since its own start, or what spoke for it
              on its local network is gone itself, as the note says then`,
		Example: `  farreach devices
  farreach devices --json | jq -r '.devices[].name'`,
		GroupID: groupFleet,
		Args:    takes(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.devices(cmd.Context(), d) },
	}
	d.access.flags(cmd)
	d.xmpp.flags(cmd)
	cmd.AddCommand(a.silent(a.devicesRmCmd()))
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

func (a *app) devices(ctx context.Context, d discovery) error {
	d.remote, d.cloudMust = true, true
	searches, done, err := a.searches(d)
	if err != nil {
		return err
	}
	defer done()
	found, err := a.look(ctx, "devices", searches)
	if err != nil {
		return err
	}
	devices := found.devices()
	if a.json {
		return a.screen().Doc(devicesDoc{"farreach.devices/v1", devices})
	}
	if len(devices) == 0 && a.terminal {
		a.say("no devices yet; try: farreach pair")
		return nil
	}
	rows := make([][]any, len(devices))
	for i, d := range devices {
		rows[i] = []any{d.Name, d.ID, d.Type, d.State, d.Since, d.Proven, strings.Join(d.By, ", "), note(d, devices)}
	}
	return a.screen().Table([]string{"name", "di", "type", "state", "since", "proven", "by", "note"}, rows)
}

// note is why the state of one of all is unknown, if there is more to say.
func note(d deviceDoc, all []deviceDoc) string {
	if d.Reason != gatewayGone {
		return ""
	}
	i := slices.IndexFunc(all, func(g deviceDoc) bool { return g.ID == d.Gateway })
	if i < 0 || all[i].Name == "" {
		return "its gateway is gone"
	}
	return "its gateway " + all[i].Name + " is gone"
}

// devices are those of the cloud and those on XMPP, in the order of names. One
// that is on both is reachable if one of them leads to it.
func (p *places) devices() []deviceDoc {
	list := []deviceDoc{}
	for _, dev := range p.known {
		doc := deviceDoc{Device: dev, By: []string{}}
		if dev.State == stateReachable || dev.State == stateUnproven {
			doc.By = append(doc.By, "cloud")
		}
		list = append(list, doc)
	}
	for _, dev := range p.onXMPP {
		i := slices.IndexFunc(list, func(d deviceDoc) bool { return strings.EqualFold(d.ID, dev.ID) })
		if i < 0 {
			i = len(list)
			state, reason := stateOnXMPP(dev)
			list = append(list, deviceDoc{By: []string{}, Device: apiclient.Device{
				Schema: "farreach.device/v1", ID: dev.ID, Name: dev.Name, Type: dev.Type, Account: dev.Peer.Bare().String(),
				State: state, Reason: reason, Gateway: dev.Gateway, Since: dev.Since, Links: []apiclient.Link{}}})
		}
		if doc := &list[i]; dev.Here {
			if doc.By = append(doc.By, "xmpp"); doc.State != stateReachable {
				doc.State, doc.Reason, doc.Since = stateReachable, "", dev.Since
			}
		}
	}
	slices.SortFunc(list, func(d, e deviceDoc) int { return cmp.Or(cmp.Compare(d.Name, e.Name), cmp.Compare(d.ID, e.ID)) })
	return list
}
