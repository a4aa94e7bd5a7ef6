package main

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/cmd/farreach/internal/screen"
	"github.com/farreach/farreach/lan"
	"github.com/farreach/farreach/oic"
)

// discovery is what discover is told.
type discovery struct {
	access
	xmpp          xmppAccess
	local, remote bool
	cloudMust     bool // without the cloud there is no answer
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
		Long: `Asks the local network, by multicast, the cloud of the profile, and the XMPP
account of the profile or of --xmpp, and lists what is there in one table, with
each way to it: a URI to use as it stands, or what is known of the device in the
cloud and on XMPP. Without a profile and --xmpp only the network is asked.

Nobody vouches for what the local network says. The exit status is 7 if nothing
was found. With --watch it goes on until Ctrl-C, with a line for each device that
is new, has changed, or has gone; on the network that is one that kept silent for
three searches.`,
		Example: `  farreach discover
  farreach discover --local --type oic.r.switch.binary --for 10s
  farreach discover --device 192.0.2.7
  farreach discover --remote --xmpp ann@home.example --password-file pw
  farreach discover --watch --json`,
		GroupID: groupReach,
		Args:    takes(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.discover(cmd.Context(), d) },
	}
	d.flags(cmd)
	d.xmpp.flags(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&d.local, "local", false, "only the local network")
	flags.BoolVar(&d.remote, "remote", false, "only the cloud and XMPP")
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
	By     string    `json:"by"` // "cloud", "xmpp" or "lan"
	URI    string    `json:"uri"`
	State  string    `json:"state,omitempty"`  // in the words of the cloud
	Since  time.Time `json:"since,omitzero"`   // on XMPP
	Proven time.Time `json:"proven,omitzero"`  // in the cloud
	Reason string    `json:"reason,omitempty"` // gatewayGone
}

func (w foundWay) String() string {
	text := w.By + " (" + w.State
	switch {
	case w.By == "lan":
		return w.URI
	case w.Reason == gatewayGone:
		text += ", its gateway is gone"
		if !w.Since.IsZero() {
			text += ", last seen " + screen.Age(time.Since(w.Since))
		}
	case w.State == stateOffline && !w.Since.IsZero():
		text += ", since " + screen.Age(time.Since(w.Since))
	case !w.Proven.IsZero():
		text += ", proven " + screen.Age(time.Since(w.Proven))
	}
	return text + ")"
}

// What is known of a device: the words of the cloud, and for one on XMPP, too.
const (
	stateReachable = "reachable"
	stateUnproven  = "unproven" // of the cloud alone
	stateOffline   = "offline"
	stateUnknown   = "unknown"
)

// gatewayGone is why a state is unknown: what spoke for the device on its local
// network is not there itself.
const gatewayGone = "gateway-gone"

func (a *app) discover(ctx context.Context, d discovery) error {
	if d.local = d.local || len(d.addresses) > 0; d.local && d.remote {
		return misuse("one of them, or neither for both", "--remote asks the cloud and XMPP alone, --local and --device the network alone")
	}
	searches, done, err := a.searches(d)
	if err != nil {
		return err
	}
	defer done()
	if d.watch {
		return a.watchFound(ctx, searches)
	}
	found, err := a.look(ctx, "discover", searches)
	if err != nil {
		return err
	}
	list := found.merge()
	if len(list) == 0 {
		return fail(exitTimeout, "a longer --for, or --device ADDRESS", "nothing found")
	}
	return a.showFound(list)
}

func (d discovery) wants(dev apiclient.Device) bool {
	return d.kind == "" || dev.Type == d.kind || slices.ContainsFunc(dev.Links, func(l apiclient.Link) bool {
		return slices.Contains(l.Types, d.kind)
	})
}

// lanWays are the ways that a device named, after that by which it answered.
// What is good on one network link alone comes last.
func lanWays(dev lan.Device) []foundWay {
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
