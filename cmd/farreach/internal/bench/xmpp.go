package bench

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/xmpp/jid"
)

// XMPPConfig says what RunXMPP measures. Only Program has no default.
type XMPPConfig struct {
	Program  string        // farreach, which is started as "PROGRAM bench serve KIND"
	Sessions int           // idle at once; 0: 5,000, or what the limit of open files allows
	For      time.Duration // of each measurement under load; 0: 2 s
	Others   []XMPPServer  // to compare with
	Progress func(format string, args ...any)
}

// XMPPServer is a server of another make, which runs already.
type XMPPServer struct {
	Name     string
	Addr     string // host:port for STARTTLS
	PID      int    // of its process; 0: not known, then rates are by the clock
	Account  jid.JID
	Password secret.String
	Roots    *x509.CertPool
	CAFile   string // that they are from; "": the system's
}

// The aims, and what they are measured with.
const (
	smallPayload = 600
	largePayload = 8 << 10

	aimToPeer     = 5.0 // routed messages, to the better of the others
	aimToRelay    = 0.6 // the same, to a relay that only copies
	aimSmall      = 80_000
	aimLarge      = 35_000
	aimLogInsPeer = 2.5
	aimLogIns     = 1_250 // where there is nobody to compare with
	aimRoundTrip  = 0.3   // ms
	aimSession    = 8 << 10
	aimSessionTLS = 20 << 10

	defaultSessions = 5000
	idleAtRates     = 4000 // idle sessions while messages are routed
)

// XMPPRow is what one server reached.
type XMPPRow struct {
	Server    string  `json:"server"`
	Small     float64 `json:"routed_600"`      // messages with 600 bytes per second of its processor
	Large     float64 `json:"routed_8k"`       // the same with 8 KiB
	LogIns    float64 `json:"log_ins"`         // per second of its processor; 0: not measured
	RoundTrip float64 `json:"round_trip_ms"`   // median; 0: not measured
	P99       float64 `json:"round_trip_p99"`  // ms
	Idle      float64 `json:"idle_plain"`      // bytes resident of a session; 0: not measured
	IdleTLS   float64 `json:"idle_tls"`        // the same with TLS
	Wall      bool    `json:"by_clock"`        // rates are per second, for its processor time is not known
	InAll     float64 `json:"routed_600_wall"` // messages with 600 bytes per second, beside the load
}

// XMPPReport is the outcome of RunXMPP.
type XMPPReport struct {
	Report
	Rows []XMPPRow `json:"servers"`
}

// xmppRun is one RunXMPP.
type xmppRun struct {
	run
	cfg    XMPPConfig
	report XMPPReport
}

// RunXMPP measures our XMPP server, those of others, and a relay that decrypts,
// copies and encrypts the same bytes, one after the other.
//
//	sender ──TLS──▶ server ──TLS──▶ receiver, pairs of resources of one account
func RunXMPP(ctx context.Context, cfg XMPPConfig) (_ *XMPPReport, err error) {
	cfg.For = cmp.Or(cfg.For, defaultFor)
	if cfg.Progress == nil {
		cfg.Progress = func(string, ...any) {}
	}
	r := &xmppRun{cfg: cfg, run: run{Config: Config{Program: cfg.Program, For: cfg.For, Progress: cfg.Progress,
		Connections: cmp.Or(cfg.Sessions, defaultSessions)}}}
	start := time.Now()
	r.run.report = Report{
		Schema: "farreach.bench-xmpp/v1", Time: start.UTC().Round(time.Second),
		Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.NumCPU(),
		Missed: []string{}, Notes: []string{},
	}
	r.fitFiles()
	for _, step := range []func(context.Context) error{r.ours, r.others, r.relay} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(ctx.Err(), err)
		}
	}
	r.judge()
	r.run.report.Seconds = time.Since(start).Round(10 * time.Millisecond).Seconds()
	r.report.Report = r.run.report
	return &r.report, nil
}

// ours measures our server: idle memory first, then rates while most of the
// sessions stay.
func (r *xmppRun) ours(ctx context.Context) error {
	row := XMPPRow{Server: "farreach"}
	for _, secure := range []bool{false, true} {
		kind := kindXMPP
		if secure {
			kind += overTLS
		}
		c, err := r.start(ctx, kind)
		if err != nil {
			return err
		}
		err = r.measureOurs(ctx, c, secure, &row)
		c.stop()
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	r.report.Rows = append(r.report.Rows, row)
	return nil
}

func (r *xmppRun) measureOurs(ctx context.Context, c *child, secure bool, row *XMPPRow) error {
	s := &xmppTarget{addr: c.addr, domain: benchDomain, secure: secure, password: benchPassword, cpu: func() (time.Duration, error) {
		ns, err := c.ask(askCPU)
		return time.Duration(ns), err
	}}
	r.Progress("%d idle sessions, TLS: %v", r.Connections, secure)
	idle, per, err := r.idleSessions(ctx, c, s)
	defer idle.close()
	if err != nil {
		return err
	}
	if !secure {
		row.Idle = per
		return nil
	}
	row.IdleTLS = per
	idle.keep(idleAtRates)
	return r.rates(ctx, "farreach", s, row)
}

// others measures the servers of others.
func (r *xmppRun) others(ctx context.Context) error {
	for _, o := range r.cfg.Others {
		row := XMPPRow{Server: o.Name, Wall: o.PID == 0}
		s := &xmppTarget{addr: o.Addr, domain: o.Account.Domain(), account: o.Account.Local(), secure: true, password: o.Password, roots: o.Roots,
			cpu: func() (time.Duration, error) { return processorTimeOf(o.PID), nil }}
		if row.Wall {
			r.note("%s: its process is not known; rates are per second of the clock", o.Name)
			start := time.Now()
			s.cpu = func() (time.Duration, error) { return time.Since(start), nil }
		}
		if err := r.rates(ctx, o.Name, s, &row); err != nil {
			return fmt.Errorf("%s: %w", o.Name, err)
		}
		r.report.Rows = append(r.report.Rows, row)
	}
	return nil
}

// rates measures what moves.
func (r *xmppRun) rates(ctx context.Context, name string, s *xmppTarget, row *XMPPRow) (err error) {
	r.Progress("%s: round trip, messages, log-ins", name)
	took, err := s.roundTrips(ctx, r.For/2)
	if err != nil {
		return err
	}
	row.RoundTrip, row.P99 = millis(quantile(took, 0.5)), millis(quantile(took, 0.99))
	if row.Small, row.InAll, err = s.routed(ctx, smallPayload, r.For); err != nil {
		return err
	}
	if row.Large, _, err = s.routed(ctx, largePayload, r.For); err != nil {
		return err
	}
	row.LogIns, err = s.logIns(ctx, r.For)
	return err
}

// relay measures the bare relay.
func (r *xmppRun) relay(ctx context.Context) error {
	r.Progress("a relay that only decrypts, copies and encrypts")
	c, err := r.start(ctx, kindRelay+overTLS)
	if err != nil {
		return err
	}
	defer c.stop()
	s := &xmppTarget{addr: c.addr, bare: true, secure: true, cpu: func() (time.Duration, error) {
		ns, err := c.ask(askCPU)
		return time.Duration(ns), err
	}}
	row := XMPPRow{Server: "relay"}
	if row.Small, row.InAll, err = s.routed(ctx, smallPayload, r.For); err != nil {
		return err
	}
	if row.Large, _, err = s.routed(ctx, largePayload, r.For); err != nil {
		return err
	}
	r.report.Rows = append(r.report.Rows, row)
	return nil
}

// judge puts the aims beside what ours reached.
func (r *xmppRun) judge() {
	rows := r.report.Rows
	own, relay, others := rows[0], rows[len(rows)-1], rows[1:len(rows)-1]
	var best, bestLogIns float64
	for _, o := range others {
		if !o.Wall {
			best, bestLogIns = max(best, o.Small), max(bestLogIns, o.LogIns)
		}
	}
	with := fmt.Sprintf("with %d other sessions idle", min(r.Connections, idleAtRates))
	if best > 0 {
		r.add(Figure{Name: "routed-to-peer", What: "messages of 600 B, to the better peer", Unit: "times", Aim: aimToPeer, Measured: own.Small / best})
		r.add(Figure{Name: "log-ins-to-peer", What: "log-ins, to the better peer", Unit: "times", Aim: aimLogInsPeer, Measured: own.LogIns / bestLogIns})
	}
	r.add(Figure{Name: "routed-to-relay", What: "messages of 600 B, to the bare relay", Unit: "times", Aim: aimToRelay, Measured: own.Small / relay.Small, Note: with})
	r.add(Figure{Name: "routed-600", What: "messages of 600 B routed, TLS", Unit: "/core-s", Aim: aimSmall, Measured: own.Small, Echo: relay.Small,
		Note: fmt.Sprintf("%s; %.0f/s in all; echo: the relay", with, own.InAll)})
	r.add(Figure{Name: "routed-8k", What: "messages of 8 KiB routed, TLS", Unit: "/core-s", Aim: aimLarge, Measured: own.Large, Echo: relay.Large, Note: with})
	r.add(Figure{Name: "log-ins", What: "log-ins, TLS", Unit: "/core-s", Aim: aimLogIns, Measured: own.LogIns})
	r.add(Figure{Name: "round-trip", What: "request to a sibling and back, median", Unit: "ms", Aim: aimRoundTrip, AtMost: true, Measured: own.RoundTrip,
		Note: fmt.Sprintf("p99 %.2f ms", own.P99)})
	of := fmt.Sprintf("of %d", r.Connections)
	r.add(Figure{Name: "session", What: "idle session, plain", Unit: "B resident", Aim: aimSession, AtMost: true, Measured: own.Idle, Note: of})
	r.add(Figure{Name: "session-tls", What: "idle session, TLS", Unit: "B resident", Aim: aimSessionTLS, AtMost: true, Measured: own.IdleTLS, Note: of})
}
