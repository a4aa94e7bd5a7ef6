package main

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/bench"
)

func (a *app) benchProxyCmd() *cobra.Command {
	var cfg bench.ProxyConfig
	var check bool
	cmd := &cobra.Command{
		Use:   "proxy",
		Short: "Measure the XC-Proxy: what it adds, and what its devices cost",
		Long: `Starts devices that speak CoAP alone, a proxy and its servers on this machine, and
measures how fast the devices are found, what the proxy adds to a round trip, what
many observers from afar cost a device, how often idle devices are asked anything,
and the memory of a proxy whose devices are all in the cloud and on XMPP.

The devices are at addresses of this machine, and so is what they hear as a group:
nobody else on the network is asked anything.`,
		Example: `  farreach bench proxy
  farreach bench proxy --devices 100 --idle 1m --json | jq '.figures[]'`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.benchProxy(cmd.Context(), cfg, check) },
	}
	flags := cmd.Flags()
	flags.IntVar(&cfg.Devices, "devices", 1000, "devices of the proxy whose memory is measured, 1000 at most")
	flags.DurationVar(&cfg.Idle, "idle", 2*time.Minute, "`time` for which they are left alone")
	flags.DurationVar(&cfg.For, "for", 2*time.Second, "`time` of the round trips")
	flags.BoolVar(&check, "check", false, "exit with 11 if an aim is missed")
	return cmd
}

func (a *app) benchProxy(ctx context.Context, cfg bench.ProxyConfig, check bool) (err error) {
	if cfg.For <= 0 || cfg.Idle <= 0 || cfg.Devices <= 0 || cfg.Devices > 1000 {
		return misuse("farreach bench proxy --help", "--for and --idle must be positive, --devices from 1 to 1000")
	}
	if cfg.Program, err = os.Executable(); err != nil {
		return err
	}
	cfg.Progress = a.say
	report, err := bench.RunProxy(ctx, cfg)
	if err != nil {
		return err
	}
	if a.json {
		err = a.screen().Doc(report)
	} else {
		err = a.benchTable(report)
	}
	if n := len(report.Missed); err == nil && check && n > 0 {
		return fail(exitChecks, "", "%d of %d aims missed: %s", n, len(report.Figures), strings.Join(report.Missed, ", "))
	}
	return err
}
