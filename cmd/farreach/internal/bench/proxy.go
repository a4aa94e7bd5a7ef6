package bench

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// ProxyConfig says what RunProxy measures. Only Program has no default.
type ProxyConfig struct {
	Program  string        // farreach, which is started as "PROGRAM bench serve KIND" and "PROGRAM up"
	Devices  int           // behind the proxy whose memory is measured; 0: 1,000, which is the most
	Calm     time.Duration // until the questions to the group have become rare; 0: 65 s
	Idle     time.Duration // for which the devices are left alone then; 0: 2 min
	For      time.Duration // of the round trips; 0: 2 s
	Progress func(format string, args ...any)
}

// The aims, and what they are measured with.
const (
	aimProxyMemory  = 150 // MiB
	aimProxyLatency = 0.5 // ms
	aimObserved     = 1
	aimDiscovery    = 5 // s
	aimIdlePackets  = 1 // per device and minute

	defaultProxied  = 1000
	defaultCalm     = 65 * time.Second
	defaultLeft     = 2 * time.Minute
	discovered      = 200 // devices
	remoteObservers = 200
	proxyStreams    = 64
	fewStreams      = 4 // leave room for the observers: an account has 256 sessions
)

// proxyRun is one RunProxy.
type proxyRun struct {
	run
	cfg ProxyConfig
}

// RunProxy measures the XC-Proxy, between devices that answer CoAP at addresses
// of this machine and clients on an XMPP server.
//
//	client ──TLS──▶ XMPP server ──TLS──▶ proxy ──UDP──▶ device, and back
//	       ──UDP────────────────────────────────▶ device, and back
//	       ──TLS──▶ XMPP server ──TLS──▶ a lamp that is on XMPP itself, and back
//
// Devices, proxy and servers are processes of their own. What the devices hear as
// a group comes to one address, from which all of them get it: the network of the
// machine is not asked anything.
func RunProxy(ctx context.Context, cfg ProxyConfig) (_ *Report, err error) {
	cfg.For = cmp.Or(cfg.For, defaultFor)
	cfg.Devices = min(cmp.Or(cfg.Devices, defaultProxied), defaultProxied)
	cfg.Calm = cmp.Or(cfg.Calm, defaultCalm)
	cfg.Idle = cmp.Or(cfg.Idle, defaultLeft)
	if cfg.Progress == nil {
		cfg.Progress = func(string, ...any) {}
	}
	r := &proxyRun{cfg: cfg, run: run{Config: Config{Program: cfg.Program, For: cfg.For, Progress: cfg.Progress}}}
	start := time.Now()
	r.report = Report{
		Schema: "farreach.bench-proxy/v1", Time: start.UTC().Round(time.Second),
		Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.NumCPU(),
		Devices: cfg.Devices, Missed: []string{}, Notes: []string{},
	}
	if r.dir, err = os.MkdirTemp("", "farreach-bench-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.dir)) }()
	for _, step := range []func(context.Context) error{r.moving, r.standing} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(ctx.Err(), err)
		}
	}
	r.report.Seconds = time.Since(start).Round(10 * time.Millisecond).Seconds()
	return &r.report, nil
}

// moving measures how fast a proxy finds devices and passes requests on, and what
// observers cost a device, with few streams and without a cloud.
func (r *proxyRun) moving(ctx context.Context) error {
	r.Progress("%d devices are discovered", discovered)
	srv, err := r.start(ctx, kindXMPP+overTLS)
	if err != nil {
		return err
	}
	defer srv.stop()
	s := &xmppTarget{addr: srv.addr, domain: benchDomain, account: benchAccount, secure: true, password: benchPassword}
	lan, err := r.start(ctx, kindLAN, fmt.Sprint(discovered))
	if err != nil {
		return err
	}
	defer lan.stop()
	proxy, err := r.start(ctx, kindProxy, proxyTold{Group: lan.addr, Streams: fewStreams, XMPP: s.target(), Dir: filepath.Join(r.dir, "moving")}.String())
	if err != nil {
		return err
	}
	defer proxy.stop()
	took, err := proxy.ask(fmt.Sprint(askFound, " ", discovered))
	if err != nil {
		return errors.Join(err, proxy.failed())
	}
	r.add(Figure{Name: "discovery", What: fmt.Sprintf("%d devices are found and asked what they are", discovered), Unit: "s", Aim: aimDiscovery, AtMost: true,
		Measured: time.Duration(took).Seconds(), Note: "they wait for up to 2 s before they answer a group"})
	if err := r.latency(ctx, s, lan); err != nil {
		return fmt.Errorf("latency: %w", err)
	}
	if err := r.observers(ctx, s, lan); err != nil {
		return fmt.Errorf("observers: %w", err)
	}
	return nil
}

// standing measures a proxy of many devices, each in the cloud, and on XMPP with
// a stream or behind the proxy, while nobody asks any of them anything.
func (r *proxyRun) standing(ctx context.Context) error {
	n := r.cfg.Devices
	r.Progress("%d devices, each in the cloud and on XMPP", n)
	s, err := r.up(ctx, "standing")
	if err != nil {
		return err
	}
	defer s.stop()
	told, err := s.proxyTold()
	if err != nil {
		return err
	}
	lan, err := r.start(ctx, kindLAN, fmt.Sprint(n))
	if err != nil {
		return err
	}
	defer lan.stop()
	told.Group, told.Streams, told.Dir = lan.addr, proxyStreams, filepath.Join(r.dir, "proxy")
	start := time.Now()
	proxy, err := r.start(ctx, kindProxy, told.String())
	if err != nil {
		return err
	}
	defer proxy.stop()
	if _, err := proxy.ask(fmt.Sprint(askShown, " ", n)); err != nil {
		return errors.Join(err, proxy.failed())
	}
	took := time.Since(start)
	r.Progress("%d devices are left alone for %v", n, r.cfg.Calm+r.cfg.Idle)
	if err := pause(ctx, r.cfg.Calm); err != nil {
		return err
	}
	before, err := packetsOf(lan)
	if err != nil {
		return err
	}
	if err := pause(ctx, r.cfg.Idle); err != nil {
		return err
	}
	after, err := packetsOf(lan)
	if err != nil {
		return err
	}
	per := func(n int64) float64 { return float64(n) / float64(r.cfg.Devices) / r.cfg.Idle.Minutes() }
	r.add(Figure{Name: "idle", What: fmt.Sprintf("packets to each of %d idle devices", n), Unit: "a minute", Aim: aimIdlePackets, AtMost: true,
		Measured: per(after.to - before.to), Note: fmt.Sprintf("over %v, those to the group counted once; %.2f a minute come from each", r.cfg.Idle, per(after.from-before.from))})
	m, err := residentParts(proxy.cmd.Process.Pid)
	if err != nil {
		return err
	}
	freed, err := proxy.ask(askMemory)
	r.add(Figure{Name: "memory", What: fmt.Sprintf("proxy of %d devices, resident", n), Unit: "MiB", Aim: aimProxyMemory, AtMost: true, Measured: float64(m.all) / mebi,
		Note: fmt.Sprintf("%d streams, the others behind the proxy, %d in the cloud over TLS, after %.1f s; %.0f MiB once all that is free has gone back",
			min(n, proxyStreams), min(n, maxDevices), took.Seconds(), float64(freed)/mebi)})
	return err
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// packets are those that devices got and sent.
type packets struct{ to, from int64 }

func packetsOf(lan *child) (p packets, err error) {
	if p.to, err = lan.ask(askTo); err == nil {
		p.from, err = lan.ask(askFrom)
	}
	return p, err
}

// proxyTold is how a proxy gets into a server, and the cloud.
func (s *server) proxyTold() (t proxyTold, err error) {
	password, err := os.ReadFile(s.where.PasswordFile)
	if err != nil {
		return t, err
	}
	x := remoteTarget{Addr: s.where.XMPP, Domain: s.where.Domain, Account: s.where.Account, Password: string(bytes.TrimSpace(password)), CAFile: s.where.CAFile}
	return proxyTold{XMPP: x, Cloud: "coaps+tcp://" + s.where.CoAPSTCP, API: "http://" + s.where.HTTP, Token: s.token.Reveal(), CAFile: s.where.CAFile}, nil
}
