package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/cmd/farreach/internal/screen"
	"github.com/farreach/farreach/cmd/farreach/internal/settings"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/reach"
)

// discovery is what discover is told.
type discovery struct {
	access
	local, remote bool
	watch         bool
	kind          string
	wait          time.Duration
	addresses     []string
}

func (a *app) discoverCmd() *cobra.Command {
	var d discovery
	cmd := &cobra.Command{
		Use:   "discover",
		Short: "Find devices, and how each can be reached",
		Long: `Asks the local network, by multicast, and the cloud of the profile, and lists
what is there in one table, with each way to it: a URI to use as it stands, or
what the cloud knows of the device. Without a profile only the network is asked.

Nobody vouches for what the local network says. The exit status is 7 if nothing
was found. With --watch it goes on until Ctrl-C, with a line for each device that
is new, has changed, or has gone; on the network that is one that kept silent for
three searches.`,
		Example: `  farreach discover
  farreach discover --local --type oic.r.switch.binary --for 10s
  farreach discover --device 192.0.2.7
  farreach discover --watch --json`,
		GroupID: groupReach,
		Args:    takes(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.discover(cmd.Context(), d) },
	}
	d.flags(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&d.local, "local", false, "only the local network")
	flags.BoolVar(&d.remote, "remote", false, "only the cloud")
	flags.BoolVarP(&d.watch, "watch", "w", false, "go on, and tell what changes")
	flags.StringVar(&d.kind, "type", "", "devices of this `type`, or with a resource of it")
	flags.DurationVar(&d.wait, "for", 3*time.Second, "`time` to wait for answers of the network")
	flags.StringSliceVar(&d.addresses, "device", nil, "ask this `address` instead of the whole network; may be repeated")
	return cmd
}

// foundDoc is one device, with all ways to it; with --json it is a line.
type foundDoc struct {
	Schema string     `json:"schema,omitempty"`
	Device string     `json:"di,omitempty"`
	Name   string     `json:"name,omitempty"`
	Type   string     `json:"type,omitempty"`
	Ways   []foundWay `json:"ways"`
}

// foundWay is a way to a device.
type foundWay struct {
	By     string    `json:"by"` // "cloud" or "lan"
	URI    string    `json:"uri"`
	State  string    `json:"state,omitempty"` // as the cloud has it
	Proven time.Time `json:"proven,omitzero"`
}

func (w foundWay) String() string {
	switch {
	case w.By != "cloud":
		return w.URI
	case w.Proven.IsZero():
		return "cloud (" + w.State + ")"
	}
	return fmt.Sprintf("cloud (%s, proven %s)", w.State, screen.Age(time.Since(w.Proven)))
}

func (a *app) discover(ctx context.Context, d discovery) error {
	if d.local = d.local || len(d.addresses) > 0; d.local && d.remote {
		return misuse("one of them, or neither for both", "--remote asks the cloud alone, --local and --device the network alone")
	}
	if d.watch {
		return a.watchFound(ctx, d)
	}
	var lan []reach.LANDevice
	var known []apiclient.Device
	var cloud string
	group, ctx := errgroup.WithContext(ctx)
	if !d.remote {
		group.Go(func() (err error) {
			lan, err = reach.LAN(ctx, reach.LANConfig{Addresses: d.addresses, Type: d.kind, Wait: d.wait, Log: a.log(slog.LevelError)})
			return a.unlessOther(d.local, "local network", err)
		})
	}
	if !d.local {
		group.Go(func() (err error) {
			known, cloud, err = a.inCloud(ctx, d)
			if !d.remote && errors.Is(err, settings.ErrNoProfile) {
				return nil // then the network is all there is
			}
			return a.unlessOther(d.remote, "cloud", err)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	found := merge(lan, known, cloud)
	if len(found) == 0 {
		return fail(exitTimeout, "a longer --for, or --device ADDRESS", "nothing found")
	}
	return a.showFound(found)
}

// unlessOther makes talk of an error if it is not the only place to look at.
func (a *app) unlessOther(alone bool, where string, err error) error {
	if err == nil || alone || errors.Is(err, context.Canceled) {
		return err
	}
	a.say("farreach: discover: %s: %s", where, oneLine(err))
	return nil
}

// inCloud lists the devices of the profile's account.
func (a *app) inCloud(ctx context.Context, d discovery) ([]apiclient.Device, string, error) {
	s, err := a.server()
	if err != nil {
		return nil, "", err
	}
	api, err := a.api(d.access)
	if err != nil {
		return nil, "", err
	}
	defer api.Close()
	devices, err := api.Devices(ctx)
	return slices.DeleteFunc(devices, func(dev apiclient.Device) bool { return !d.wants(dev) }), s.Cloud(), err
}

func (d discovery) wants(dev apiclient.Device) bool {
	return d.kind == "" || dev.Type == d.kind || slices.ContainsFunc(dev.Links, func(l apiclient.Link) bool {
		return slices.Contains(l.Types, d.kind)
	})
}

// merge makes one list of both, in the order of names. A device that is in
// both is one, by its di.
func merge(lan []reach.LANDevice, known []apiclient.Device, cloud string) []foundDoc {
	const schema = "farreach.found/v1"
	var found []foundDoc
	for _, dev := range known {
		found = append(found, foundDoc{schema, dev.ID, dev.Name, dev.Type, []foundWay{{"cloud", cloud, dev.State, dev.Proven}}})
	}
	for _, dev := range lan {
		ways := lanWays(dev)
		i := slices.IndexFunc(found, func(f foundDoc) bool { return dev.ID != "" && strings.EqualFold(f.Device, dev.ID) })
		if i < 0 {
			doc := foundDoc{Schema: schema, Device: dev.ID, Name: dev.Name, Ways: ways}
			if len(dev.Types) > 0 {
				doc.Type = dev.Types[0]
			}
			found = append(found, doc)
			continue
		}
		found[i].Ways = append(found[i].Ways, ways...)
	}
	slices.SortStableFunc(found, func(x, y foundDoc) int {
		return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.Device, y.Device))
	})
	return found
}

// lanWays are the ways that a device named, after that by which it answered.
// What is good on one network link alone comes last.
func lanWays(dev reach.LANDevice) []foundWay {
	uris := []string{oic.EndpointURI("coap", dev.Address)}
	for _, e := range dev.Endpoints {
		if !slices.Contains(uris, e.URI) {
			uris = append(uris, e.URI)
		}
	}
	slices.SortStableFunc(uris, func(x, y string) int { return cmp.Compare(linkLocal(x), linkLocal(y)) })
	var ways []foundWay
	for _, uri := range uris {
		ways = append(ways, foundWay{By: "lan", URI: uri})
	}
	return ways
}

// linkLocal is 1 for an address that needs the name of an interface, else 0.
func linkLocal(uri string) int { return min(strings.Count(uri, "%"), 1) }

// waysText is all ways on one line.
func waysText(ways []foundWay) string {
	var texts []string
	for _, w := range ways {
		texts = append(texts, w.String())
	}
	return strings.Join(texts, "  ")
}

func (a *app) showFound(found []foundDoc) error {
	rows := make([][]any, len(found))
	for i, f := range found {
		if a.json {
			if err := a.screen().Doc(f); err != nil {
				return err
			}
			continue
		}
		rows[i] = []any{f.Name, f.Device, f.Type, waysText(f.Ways)}
	}
	if a.json {
		return nil
	}
	return a.screen().Table([]string{"name", "di", "type", "reach"}, rows)
}
