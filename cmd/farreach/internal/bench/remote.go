package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// RemoteConfig says what RunRemote measures. Only Program has no default.
type RemoteConfig struct {
	Program  string        // farreach, which is started as "PROGRAM bench serve KIND"
	Sessions int           // XMPP sessions at once, half of them devices; 0: 64
	InFlight int           // requests of one client at a time; 0: 4, at most 32
	For      time.Duration // of each measurement under load; 0: 2 s
	Others   []XMPPServer  // to measure beside ours, all with one account
	Progress func(format string, args ...any)
}

// The aims, and what they are measured with.
const (
	aimRemoteToEcho = 1.6
	aimRemoteRate   = 15_000
	aimRemoteDevice = 20 << 20
	aimObservations = 10 << 20

	defaultRemoteSessions = 64
	defaultInFlight       = 4
	maxInFlight           = 32 // of which a peer that repeats tokens gets no more
	observations          = 1000
	observedDevices       = 16 // each has a limit for one peer
	askedDevice           = 100
)

// RemoteRow is what was reached through one server.
type RemoteRow struct {
	Server    string  `json:"server"`
	Get       float64 `json:"get_ms"`     // median
	GetP99    float64 `json:"get_p99_ms"` //
	Echo      float64 `json:"echo_ms"`    // median of a message there and one back, of the same sizes
	ToEcho    float64 `json:"get_to_echo"`
	Rate      float64 `json:"round_trips"` // GETs per second, of all clients together
	Cost      float64 `json:"cost_us"`     // processor time of client and device for each, µs
	ServerCPU float64 `json:"server_us"`   // that of the server; 0: not known
}

// RemoteReport is the outcome of RunRemote.
type RemoteReport struct {
	Report
	Rows []RemoteRow `json:"servers"`
}

// remoteRun is one RunRemote.
type remoteRun struct {
	run
	cfg    RemoteConfig
	report RemoteReport
}

// RunRemote measures Remote Access: requests of clients to devices of the same
// account, through our XMPP server and through others.
//
//	client ──TLS──▶ XMPP server ──TLS──▶ device, and back
//
// The memory of a device, and of a client that observes, is that of a process of
// its own.
func RunRemote(ctx context.Context, cfg RemoteConfig) (_ *RemoteReport, err error) {
	cfg.For = cmp.Or(cfg.For, defaultFor)
	cfg.Sessions = cmp.Or(cfg.Sessions, defaultRemoteSessions)
	cfg.InFlight = min(cmp.Or(cfg.InFlight, defaultInFlight), maxInFlight)
	if cfg.Progress == nil {
		cfg.Progress = func(string, ...any) {}
	}
	r := &remoteRun{cfg: cfg, run: run{Config: Config{Program: cfg.Program, For: cfg.For, Progress: cfg.Progress}}}
	start := time.Now()
	r.run.report = Report{
		Schema: "farreach.bench-remote/v1", Time: start.UTC().Round(time.Second),
		Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.NumCPU(),
		Missed: []string{}, Notes: []string{},
	}
	for _, step := range []func(context.Context) error{r.ours, r.others} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(ctx.Err(), err)
		}
	}
	r.run.report.Seconds = time.Since(start).Round(10 * time.Millisecond).Seconds()
	r.report.Report = r.run.report
	return &r.report, nil
}

// ours measures everything through our server.
func (r *remoteRun) ours(ctx context.Context) error {
	c, err := r.start(ctx, kindXMPP+overTLS)
	if err != nil {
		return err
	}
	defer c.stop()
	s := &xmppTarget{addr: c.addr, domain: benchDomain, account: benchAccount, secure: true, password: benchPassword, cpu: func() (time.Duration, error) {
		ns, err := c.ask(askCPU)
		return time.Duration(ns), err
	}}
	row := RemoteRow{Server: "farreach"}
	if err := r.moving(ctx, s, &row); err != nil {
		return err
	}
	r.add(Figure{Name: "get-to-echo", What: "GET of a lamp and back, to a bare message echo", Unit: "times", Aim: aimRemoteToEcho, AtMost: true, Measured: row.ToEcho,
		Note: fmt.Sprintf("%.3f ms to %.3f ms, medians; p99 %.2f ms", row.Get, row.Echo, row.GetP99)})
	r.add(Figure{Name: "round-trips", What: "GET of lamps and back, all clients together", Unit: "/s", Aim: aimRemoteRate, Measured: row.Rate,
		Note: fmt.Sprintf("%d sessions, %d in flight of each client; processor time of each: %.0f µs, and %.0f µs the server's", r.cfg.Sessions, r.cfg.InFlight, row.Cost, row.ServerCPU)})
	if err := r.device(ctx, s); err != nil {
		return fmt.Errorf("device: %w", err)
	}
	if err := r.observations(ctx, s); err != nil {
		return fmt.Errorf("observations: %w", err)
	}
	return nil
}

// others measures through the servers of others what does not depend on a
// process of its own.
func (r *remoteRun) others(ctx context.Context) error {
	for _, o := range r.cfg.Others {
		row := RemoteRow{Server: o.Name}
		s := &xmppTarget{addr: o.Addr, domain: o.Account.Domain(), account: o.Account.Local(), secure: true, password: o.Password, roots: o.Roots, caFile: o.CAFile,
			cpu: func() (time.Duration, error) { return processorTimeOf(o.PID), nil }}
		if err := r.moving(ctx, s, &row); err != nil {
			return fmt.Errorf("%s: %w", o.Name, err)
		}
	}
	return nil
}

// moving measures what moves.
func (r *remoteRun) moving(ctx context.Context, s *xmppTarget, row *RemoteRow) error {
	r.Progress("%s: round trips, one after the other", row.Server)
	if err := r.getToEcho(ctx, s, row); err != nil {
		return err
	}
	r.Progress("%s: round trips of %d sessions", row.Server, r.cfg.Sessions)
	if err := s.remoteRate(ctx, r.cfg, row); err != nil {
		return err
	}
	r.report.Rows = append(r.report.Rows, *row)
	return nil
}

// device measures a process that is one device: as it is after some requests,
// with all that it has taken from the machine and not given back.
func (r *remoteRun) device(ctx context.Context, s *xmppTarget) error {
	r.Progress("memory of a device")
	c, err := r.start(ctx, kindRemoteDevice, s.told())
	if err != nil {
		return err
	}
	defer c.stop()
	client, err := s.remoteClient(ctx)
	if err != nil {
		return err
	}
	defer client.stop()
	lamp, err := client.awaitDevices(ctx, 1)
	if err != nil {
		return err
	}
	for range askedDevice {
		if err := client.get(ctx, lamp[0]); err != nil {
			return err
		}
	}
	m, err := residentParts(c.cmd.Process.Pid)
	if err != nil {
		return err
	}
	r.add(Figure{Name: "device", What: "process of one device, resident", Unit: "MiB", Aim: aimRemoteDevice / mebi, AtMost: true, Measured: float64(m.all) / mebi,
		Note: fmt.Sprintf("after %d requests; VmRSS: %.1f MiB its own memory (RssAnon), %.1f MiB pages of the program's file (RssFile) that it has used since it started",
			askedDevice, float64(m.all-m.file)/mebi, float64(m.file)/mebi)})
	return nil
}

const mebi = 1 << 20

// observations measures what a client needs more to keep its observations.
func (r *remoteRun) observations(ctx context.Context, s *xmppTarget) error {
	r.Progress("memory of %d observations", observations)
	var lamps remotes
	defer func() { lamps.stop() }()
	if err := s.remoteDevices(ctx, observedDevices, &lamps); err != nil {
		return err
	}
	c, err := r.start(ctx, kindRemoteClient, s.told())
	if err != nil {
		return err
	}
	defer c.stop()
	if n, err := c.ask(askDevices); err != nil || n < observedDevices {
		return fmt.Errorf("%d of %d devices are reached: %w", n, observedDevices, errors.Join(err, c.failed()))
	}
	before, err := c.ask(askMemory)
	if err != nil {
		return err
	}
	if n, err := c.ask(askObserve); err != nil || n < observations {
		return fmt.Errorf("%d of %d observations were taken: %w", n, observations, errors.Join(err, c.failed()))
	}
	after, err := c.ask(askMemory)
	r.add(Figure{Name: "observations", What: fmt.Sprintf("%d observations of one client, resident", observations), Unit: "MiB", Aim: aimObservations / mebi, AtMost: true,
		Measured: float64(after-before) / mebi, Note: fmt.Sprintf("of %d devices; %.1f KiB each", observedDevices, float64(after-before)/observations/1024)})
	return err
}
