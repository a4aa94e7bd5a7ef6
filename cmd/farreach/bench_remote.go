package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/bench"
)

// benchRemoteFlags is what bench remote is told.
type benchRemoteFlags struct {
	bench.RemoteConfig
	benchServers
	check bool
}

func (a *app) benchRemoteCmd() *cobra.Command {
	var f benchRemoteFlags
	cmd := &cobra.Command{
		Use:   "remote",
		Short: "Measure Remote Access: requests to devices over XMPP",
		Long: `Starts an XMPP server of its own on this machine, with devices and clients of one
account, and measures requests: one after the other beside an echo of bare messages
of the same size, and as many as all together can do; then the memory of a process
that is one device, and what observations cost a client. The requests are measured
through the servers that --server names, too.

Take the rate limits of other servers off, or they are what is measured.`,
		Example: `  farreach bench remote
  farreach bench remote --server ejabberd=127.0.0.1:5222 --account ann@home.example --password-file pw --ca-file ca.pem`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.benchRemote(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.IntVar(&f.Sessions, "sessions", 0, "XMPP sessions at once, half of them devices (default 64)")
	flags.IntVar(&f.InFlight, "in-flight", 0, "requests of one client at a time (default 4)")
	flags.DurationVar(&f.For, "for", 2*time.Second, "`time` of each measurement under load")
	f.flags(cmd)
	flags.BoolVar(&f.check, "check", false, "exit with 11 if an aim is missed")
	return cmd
}

func (a *app) benchRemote(ctx context.Context, f benchRemoteFlags) (err error) {
	if f.For <= 0 || f.Sessions < 0 || f.InFlight < 0 {
		return misuse("farreach bench remote --help", "--for, --sessions and --in-flight must be positive")
	}
	if f.Program, err = os.Executable(); err != nil {
		return err
	}
	if f.Others, err = a.otherServers(f.benchServers); err != nil {
		return err
	}
	f.Progress = a.say
	report, err := bench.RunRemote(ctx, f.RemoteConfig)
	if err != nil {
		return err
	}
	return a.benchReport(report, &report.Report, f.check, func() error { return a.benchRemoteTable(report) })
}

func (a *app) benchRemoteTable(report *bench.RemoteReport) error {
	var rows [][]any
	for _, r := range report.Rows {
		server := "-"
		if r.ServerCPU > 0 {
			server = number(r.ServerCPU)
		}
		rows = append(rows, []any{r.Server, fmt.Sprintf("%.3f", r.Get), fmt.Sprintf("%.2f", r.GetP99), fmt.Sprintf("%.3f", r.Echo), number(r.ToEcho), number(r.Rate), number(r.Cost), server})
	}
	return a.screen().Table([]string{"server", "GET ms", "p99 ms", "echo ms", "to echo", "round trips/s", "µs of ends", "of server"}, rows)
}
