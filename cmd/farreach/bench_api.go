package main

import (
	"context"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/bench"
)

func (a *app) benchAPICmd() *cobra.Command {
	var cfg bench.APIConfig
	var check bool
	cmd := &cobra.Command{
		Use:   "api",
		Short: "Measure the HTTP API: reads of a device's last state",
		Long: `Starts a server of its own on this machine, with a simulated home, and has many
accounts, with whom a lamp is shared, read its last state over connections that stay
open; in turn with that, a bare server of Go's net/http that knows its answer. Load
and server share the processors.`,
		Example: `  farreach bench api
  farreach bench api --connections 64 --for 10s --json`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.benchAPI(cmd.Context(), cfg, check) },
	}
	flags := cmd.Flags()
	flags.IntVar(&cfg.Connections, "connections", 0, "connections, each with one request at a time (default 16)")
	flags.DurationVar(&cfg.For, "for", 2*time.Second, "`time` of each measurement")
	flags.BoolVar(&check, "check", false, "exit with 11 if an aim is missed")
	return cmd
}

func (a *app) benchAPI(ctx context.Context, cfg bench.APIConfig, check bool) (err error) {
	if cfg.For <= 0 || cfg.Connections < 0 {
		return misuse("farreach bench api --help", "--for and --connections must be positive")
	}
	if cfg.Program, err = os.Executable(); err != nil {
		return err
	}
	cfg.Progress = a.say
	report, err := bench.RunAPI(ctx, cfg)
	if err != nil {
		return err
	}
	return a.benchReport(report, report, check, nil)
}
