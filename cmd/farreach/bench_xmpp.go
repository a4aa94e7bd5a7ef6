package main

import (
	"context"
	"crypto/x509"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/bench"
	"github.com/farreach/farreach/cmd/farreach/internal/listen"
	"github.com/farreach/farreach/internal/localca"
	"github.com/farreach/farreach/xmpp/jid"
)

// benchXMPPFlags is what bench xmpp is told.
type benchXMPPFlags struct {
	bench.XMPPConfig
	benchServers
	check bool
}

// benchServers says which servers are measured beside our own, and how to get
// into them.
type benchServers struct {
	servers []string
	account string
	caFile  string
	pw      passwordSource
}

func (f *benchServers) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.servers, "server", nil, "another server to measure, as `NAME=HOST:PORT`; may be repeated")
	flags.StringVar(&f.account, "account", "", "`JID` to log in with on the other servers")
	flags.StringVar(&f.caFile, "ca-file", "", "PEM `file` of the authorities to trust for them (default the system's)")
	f.pw.flags(cmd)
}

func (a *app) benchXMPPCmd() *cobra.Command {
	var f benchXMPPFlags
	cmd := &cobra.Command{
		Use:   "xmpp",
		Short: "Measure the XMPP server, beside others and a bare relay",
		Long: `Starts an XMPP server of its own on this machine and measures what it routes, log-ins,
round trips and the memory of idle sessions; then the same of the servers that
--server names, with one account on all of them, and of a relay that decrypts,
copies and encrypts the same bytes.

Rates are per second of the server's processor. That of another server is known
when it listens on this machine and this user may see its process. Take its rate
limits off, or they are what is measured.`,
		Example: `  farreach bench xmpp
  farreach bench xmpp --server prosody=127.0.0.1:5222 --account ann@home.example --password-file pw --ca-file ca.pem`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.benchXMPP(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.IntVar(&f.Sessions, "sessions", 0, "idle sessions at once (default 5000, or what the limit of open files allows)")
	flags.DurationVar(&f.For, "for", 2*time.Second, "`time` of each measurement under load")
	f.flags(cmd)
	flags.BoolVar(&f.check, "check", false, "exit with 11 if an aim is missed")
	return cmd
}

func (a *app) benchXMPP(ctx context.Context, f benchXMPPFlags) (err error) {
	if f.For <= 0 || f.Sessions < 0 {
		return misuse("farreach bench xmpp --help", "--for and --sessions must be positive")
	}
	if f.Program, err = os.Executable(); err != nil {
		return err
	}
	if f.Others, err = a.otherServers(f.benchServers); err != nil {
		return err
	}
	f.Progress = a.say
	report, err := bench.RunXMPP(ctx, f.XMPPConfig)
	if err != nil {
		return err
	}
	return a.benchReport(report, &report.Report, f.check, func() error { return a.benchXMPPTable(report) })
}

// otherServers are the servers of --server.
func (a *app) otherServers(f benchServers) (all []bench.XMPPServer, err error) {
	if len(f.servers) == 0 {
		return nil, nil
	}
	account, err := jid.Parse(f.account)
	if err != nil || account.Local() == "" {
		return nil, misuse("--account ann@home.example", "account %q: not name@domain", f.account)
	}
	password, err := a.password(f.pw)
	if err != nil {
		return nil, err
	}
	roots, err := x509.SystemCertPool()
	if f.caFile != "" {
		roots, err = localca.Pool(f.caFile)
	}
	if err != nil {
		return nil, fail(exitConfig, "another --ca-file", "%w", err)
	}
	for _, s := range f.servers {
		name, addr, ok := strings.Cut(s, "=")
		if !ok {
			return nil, misuse("--server prosody=127.0.0.1:5222", "server %q: not NAME=HOST:PORT", s)
		}
		all = append(all, bench.XMPPServer{Name: name, Addr: addr, PID: listen.PID(addr), Account: account.Bare(), Password: password, Roots: roots, CAFile: f.caFile})
	}
	return all, nil
}

func (a *app) benchXMPPTable(report *bench.XMPPReport) error {
	var rows [][]any
	cell := func(v float64) string {
		if v == 0 {
			return "-"
		}
		return number(v)
	}
	for _, r := range report.Rows {
		per := "/core-s"
		if r.Wall {
			per = "/s"
		}
		rows = append(rows, []any{r.Server, cell(r.Small), cell(r.Large), cell(r.LogIns), per, cell(r.RoundTrip), cell(r.P99), cell(r.Idle), cell(r.IdleTLS)})
	}
	return a.screen().Table([]string{"server", "routed 600 B", "routed 8 KiB", "log-ins", "per", "round trip ms", "p99 ms", "B idle", "B idle TLS"}, rows)
}
