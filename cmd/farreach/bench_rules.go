package main

import (
	"context"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/bench"
)

func (a *app) benchRulesCmd() *cobra.Command {
	var cfg bench.Config
	var check bool
	cmd := &cobra.Command{
		Use:   "rules",
		Short: "Measure rules: evaluation, reaction to an event, replay of the past",
		Long: `Starts a server of its own on this machine, with data of its own in a temporary
directory, has devices report to it, and measures how long it is from an event to the
command that a rule sends. A running server and its data are not touched.`,
		Example: `  farreach bench rules
  farreach bench rules --for 10s --check`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.benchRules(cmd.Context(), cfg, check) },
	}
	flags := cmd.Flags()
	flags.DurationVar(&cfg.For, "for", 3*time.Second, "`time` for which devices report")
	flags.BoolVar(&check, "check", false, "exit with 11 if an aim is missed")
	return cmd
}

func (a *app) benchRules(ctx context.Context, cfg bench.Config, check bool) (err error) {
	if cfg.For <= 0 {
		return misuse("farreach bench rules --help", "--for must be positive")
	}
	if cfg.Program, err = os.Executable(); err != nil {
		return err
	}
	cfg.Progress = a.say
	report, err := bench.RunRules(ctx, cfg)
	if err != nil {
		return err
	}
	return a.benchReport(report, report, check, nil)
}
