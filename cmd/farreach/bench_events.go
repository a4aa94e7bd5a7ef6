package main

import (
	"context"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/bench"
)

func (a *app) benchEventsCmd() *cobra.Command {
	var cfg bench.EventsConfig
	var check bool
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Measure events: kept, looked at by rules, followed, remembered",
		Long: `Starts a server of its own on this machine, with data of its own in a temporary
directory, and measures how many events it keeps while rules look at them, how
long one takes until it is kept while many streams follow, how much memory the
history of many devices takes, and how fast a rule is tried on the past. Load and server share the processors.`,
		Example: `  farreach bench events
  farreach bench events --devices 200 --stored 1000 --for 1s --json
  farreach bench events --replay 1000000 --check`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.benchEvents(cmd.Context(), cfg, check) },
	}
	flags := cmd.Flags()
	flags.IntVar(&cfg.Devices, "devices", 0, "devices that report, 1000 at most (default 1000)")
	flags.IntVar(&cfg.Rules, "rules", 0, "rules that look at it, 100 at most (default 100)")
	flags.IntVar(&cfg.Subscribers, "subscribers", 0, "streams that follow one device each (default 500)")
	flags.IntVar(&cfg.Stored, "stored", 0, "devices with a history (default 10000)")
	flags.IntVar(&cfg.History, "history", 0, "events of each of those (default 30)")
	flags.IntVar(&cfg.Replay, "replay", 0, "events of the past over which a rule is tried (default 500000)")
	flags.DurationVar(&cfg.For, "for", 2*time.Second, "`time` of each measurement under load")
	flags.BoolVar(&check, "check", false, "exit with 11 if an aim is missed")
	return cmd
}

func (a *app) benchEvents(ctx context.Context, cfg bench.EventsConfig, check bool) (err error) {
	if cfg.For <= 0 || min(cfg.Devices, cfg.Rules, cfg.Subscribers, cfg.Stored, cfg.History, cfg.Replay) < 0 {
		return misuse("farreach bench events --help", "what is measured must be positive")
	}
	if cfg.Program, err = os.Executable(); err != nil {
		return err
	}
	cfg.Progress = a.say
	report, err := bench.RunEvents(ctx, cfg)
	if err != nil {
		return err
	}
	return a.benchReport(report, report, check, nil)
}
