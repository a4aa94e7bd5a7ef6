package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/bench"
)

func (a *app) benchCmd() *cobra.Command {
	return a.parent(&cobra.Command{
		Use:     "bench",
		Short:   "Measure how fast this program is on this machine",
		Example: "  farreach bench cloud",
		GroupID: groupOperate,
	}, a.benchCloudCmd(), a.benchXMPPCmd(), a.benchRemoteCmd(), a.benchProxyCmd(), a.benchAPICmd(),
		a.benchEventsCmd(), a.benchRulesCmd(), a.benchServeCmd())
}

func (a *app) benchCloudCmd() *cobra.Command {
	var cfg bench.Config
	var check bool
	cmd := &cobra.Command{
		Use:   "cloud",
		Short: "Measure the cloud interface: rates, memory, events, commands",
		Long: `Starts servers of its own on this machine, with data of their own in a temporary
directory, measures them one after the other, and stops them. A running server and
its data are not touched, but share the processors: let nothing else run.

Rates are per second of the server's processor, beside a bare TCP echo of the same
bytes in the same run. Each figure stands beside its aim.`,
		Example: `  farreach bench cloud
  farreach bench cloud --for 10s --json | jq '.figures[] | select(.ok | not)'`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.benchCloud(cmd.Context(), cfg, check) },
	}
	flags := cmd.Flags()
	flags.IntVar(&cfg.Connections, "connections", 0, "idle connections at once (default 10000, or what the limit of open files allows)")
	flags.IntVar(&cfg.Devices, "devices", 0, "devices that report events, 999 at most (default 800)")
	flags.DurationVar(&cfg.For, "for", 2*time.Second, "`time` of each measurement under load")
	flags.BoolVar(&check, "check", false, "exit with 11 if an aim is missed")
	return cmd
}

// benchServeCmd is one of the servers that are measured.
func (a *app) benchServeCmd() *cobra.Command {
	return &cobra.Command{
		Use:    "serve KIND",
		Hidden: true,
		Args:   takes("a kind"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return bench.Serve(cmd.Context(), args[0], a.in, a.out)
		},
	}
}

func (a *app) benchCloud(ctx context.Context, cfg bench.Config, check bool) (err error) {
	if cfg.For <= 0 || cfg.Connections < 0 || cfg.Devices < 0 {
		return misuse("farreach bench cloud --help", "--for, --connections and --devices must be positive")
	}
	if cfg.Program, err = os.Executable(); err != nil {
		return err
	}
	cfg.Progress = a.say
	report, err := bench.Run(ctx, cfg)
	if err != nil {
		return err
	}
	return a.benchReport(report, report, check, nil)
}

// benchReport shows doc, whose figures are those of report: as JSON, or as rows,
// if there are any, and a table of the figures. check says that a missed aim is
// an error.
func (a *app) benchReport(doc any, report *bench.Report, check bool, rows func() error) (err error) {
	switch {
	case a.json:
		err = a.screen().Doc(doc)
	case rows != nil:
		if err = rows(); err == nil {
			fmt.Fprintln(a.out)
			err = a.benchTable(report)
		}
	default:
		err = a.benchTable(report)
	}
	if n := len(report.Missed); err == nil && check && n > 0 {
		return fail(exitChecks, "", "%d of %d aims missed: %s", n, len(report.Figures), strings.Join(report.Missed, ", "))
	}
	return err
}

func (a *app) benchTable(report *bench.Report) error {
	var rows [][]any
	for _, f := range report.Figures {
		sign, verdict, echo := "≥", "ok", "-"
		if f.AtMost {
			sign = "≤"
		}
		if !f.OK {
			verdict = "missed"
		}
		if f.Echo > 0 {
			echo = fmt.Sprintf("%.2f", f.ToEcho)
		}
		rows = append(rows, []any{f.What, sign + " " + number(f.Aim), number(f.Measured), f.Unit, fmt.Sprintf("%.2f", f.Ratio), echo, verdict, f.Note})
	}
	return a.screen().Table([]string{"what", "aim", "measured", "unit", "to aim", "to echo", "verdict", "note"}, rows)
}

// number is a figure with as many digits as tell something.
func number(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.2f M", v/1e6)
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
