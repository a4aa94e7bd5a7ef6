package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/farreach/farreach/api"
	"github.com/farreach/farreach/cloud"
	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/cmd/farreach/internal/settings"
	"github.com/farreach/farreach/coap"
)

// serverConfig is what up, cloud and xmppd are told.
type serverConfig struct {
	coap, xmpp bool // what is served, beside the HTTP API

	data        string
	listen      string
	portOffset  string
	addrFile    string
	tlsCert     string
	tlsKey      string
	nats        natsConfig
	storeSync   string
	keepAge     string
	keepSize    string
	demo        bool
	domain      string
	xmppPing    time.Duration
	xmppBind    bool
	xmppDevices bool // that are on XMPP alone take part in the cloud
	turn        string
	turnSecret  string
	accessTTL   time.Duration
	allowPlain  bool
	webhooks    bool // to private addresses, too
	drain       time.Duration
	otlp        string // where traces go
}

// command is the one that starts such a server.
func (cfg serverConfig) command() string {
	switch {
	case !cfg.coap:
		return "xmppd"
	case !cfg.xmpp:
		return "cloud"
	}
	return "up"
}

func (a *app) serverFlags(cmd *cobra.Command, cfg *serverConfig) {
	flags := cmd.Flags()
	flags.StringVar(&cfg.data, "data", settings.DataDir(a.lookup), "`directory` of everything that must not be lost")
	flags.String("config", "", "YAML `file` with these settings")
	flags.StringVar(&cfg.listen, "listen", "", "`address` of all listeners (default this machine only); HTTP is HTTPS then, and plain coap+tcp off")
	flags.StringVar(&cfg.portOffset, "port-offset", "", "shift all ports by `N`; auto finds free ones, and the same at the next start")
	flags.StringVar(&cfg.addrFile, "addr-file", "", "`file` to write all addresses to once everything is ready")
	flags.StringVar(&cfg.tlsCert, "tls-cert", "", "PEM `file` with a certificate for the name of the server, and its chain (default that of the private authority)")
	flags.StringVar(&cfg.tlsKey, "tls-key", "", "PEM `file` with the key of --tls-cert")
	flags.DurationVar(&cfg.accessTTL, "access-ttl", time.Hour, "life of a device's access token; it renews it by itself")
	flags.StringVar(&cfg.storeSync, "store-sync", "10ms", "most `time` that an acknowledged write may be lost by a power cut; always: none, and slower")
	flags.StringVar(&cfg.keepAge, "retention-age", "90d", "how long events are kept: `time` such as 12h or 90d; the last state of each resource stays")
	flags.StringVar(&cfg.keepSize, "retention-size", "", "most `bytes` of events to keep, such as 500MB or 20GB, the oldest go first (default as the disk has)")
	flags.BoolVar(&cfg.webhooks, "private-webhooks", false, "let webhooks go to addresses of this machine and its networks")
	flags.DurationVar(&cfg.drain, "drain", cfg.drain, "how long a server that is told to stop goes on, and says at /readyz that nobody is to be sent to it")
	flags.StringVar(&cfg.otlp, "otlp-endpoint", "", "`URL` of an OpenTelemetry collector to send traces to by OTLP over HTTP (default what OTEL_EXPORTER_OTLP_ENDPOINT says, else none)")
	flags.BoolVar(&cfg.allowPlain, "allow-plain-coap", false, "let devices of other machines sign in without TLS")
}

// farewell is the longest that HTTP requests are waited for at the end: a moment
// longer than devices may take for their answers.
const farewell = 11 * time.Second

// cloudGarbage makes a cloud collect garbage half as often as other programs do:
// much moves, compared with what stays, when devices report.
const cloudGarbage = 200

// collect has garbage collected when there is so much of it, in percent of what
// stays, unless the environment says when.
func (a *app) collect(percent int) {
	if _, set := a.lookup("GOGC"); !set {
		debug.SetGCPercent(percent)
	}
}

// serve runs a server until ctx ends, which is no failure. It then takes leave:
//
//	/readyz is 503, rules and what waits are left to other nodes
//	  ── drain ──▶ listeners closed, devices released, streams ended
//	  ── what is under way answered, 11 s at most ──▶ cloud, store closed
func (a *app) serve(ctx context.Context, cfg serverConfig) (err error) {
	start := time.Now()
	signal.Ignore(syscall.SIGPIPE) // who reads our output may go
	if cfg.coap {
		a.collect(cloudGarbage)
	}
	b, err := a.boot(ctx, cfg)
	if err != nil {
		if ctx.Err() != nil {
			return nil // told to stop while starting
		}
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	run := b.serve(context.WithoutCancel(ctx))
	leave := sync.OnceFunc(run.leave)
	defer context.AfterFunc(ctx, leave)()
	err = a.live(ctx, b, run, start)
	if ctx.Err() != nil {
		leave()
		run.drain(cfg.drain)
	}
	return errors.Join(err, run.stop())
}

// running is the listeners that are being served.
type running struct {
	group  *errgroup.Group
	failed context.Context // ends when one of them does
	end    context.CancelFunc
	api    *api.Handler
	http   *http.Server
	cloud  *cloud.Cloud
}

// serve starts to answer on all listeners.
func (b *booted) serve(ctx context.Context) *running {
	ctx, end := context.WithCancel(ctx)
	r := &running{end: end, cloud: b.cloud}
	r.group, r.failed = errgroup.WithContext(ctx)
	link := cloudlink.NewServer(cloudlink.ServerConfig{Backend: b.metrics.Backend(b.cloud), AllowPlain: b.cfg.allowPlain, Log: b.log})
	b.watch(link)
	r.group.Go(func() error { return b.metrics.Run(ctx) })
	if b.ports.CoAPS != nil {
		r.group.Go(func() error { return link.Serve(ctx, b.ports.CoAPS, b.ca.ServerConfig()) })
	}
	if b.ports.CoAP != nil {
		r.group.Go(func() error { return link.Serve(ctx, b.ports.CoAP, nil) })
	}
	var overCoAP, overXMPP http.Handler // WebSockets
	if b.cfg.coap {
		ws := coap.NewWebSocketListener(b.ports.HTTP.Addr())
		overCoAP = ws
		r.group.Go(func() error { return link.Serve(ctx, ws, nil) })
	}
	if b.xmpp != nil {
		r.group.Go(func() error { return b.xmpp.Serve(ctx, b.ports.XMPP) })
		r.group.Go(func() error { return b.xmpp.ServeTLS(ctx, b.ports.XMPPS) })
		ws := b.xmpp.WebSockets(b.ports.HTTP.Addr())
		overXMPP = ws
		r.group.Go(func() error { return b.xmpp.Serve(ctx, ws) })
	}
	if b.bridge != nil {
		r.group.Go(func() error { return b.xmpp.Serve(ctx, b.inside) })
		r.group.Go(func() error { return b.bridge.Run(ctx) })
	}
	r.api = b.api(overCoAP, overXMPP)
	r.http = r.api.Server()
	r.group.Go(func() error {
		serve := r.http.Serve
		if b.ports.Secure {
			r.http.TLSConfig = b.ca.ServerConfig()
			serve = func(ln net.Listener) error { return r.http.ServeTLS(ln, "", "") }
		}
		if err := serve(b.ports.HTTP); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("HTTP: %w", err)
		}
		return nil
	})
	return r
}

// leave says that the server is about to stop.
func (r *running) leave() {
	r.api.Leave()
	r.cloud.Leave()
}

// drain waits until nobody is sent here any more, or something has failed.
func (r *running) drain(d time.Duration) {
	last := time.NewTimer(d)
	defer last.Stop()
	select {
	case <-last.C:
	case <-r.failed.Done():
	}
}

// stop ends all listeners: streams at once, requests when they are answered,
// devices with a goodbye.
func (r *running) stop() error {
	r.end()
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	if r.http.Shutdown(ctx) != nil {
		_ = r.http.Close() // some client does not take its answer
	}
	if err := r.group.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// live tells the world that the server is ready, and the user what happens
// there, until ctx or the server ends.
func (a *app) live(ctx context.Context, b *booted, run *running, start time.Time) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(run.failed, cancel)()
	hup, stop := a.hangups()
	defer stop()
	home := b.startDemo(ctx)
	defer home.wait()
	defer cancel()
	if err := a.announce(ctx, b, home, start); err != nil {
		return err
	}
	var manager sync.WaitGroup
	manager.Go(func() { a.manage(ctx, b, hup) })
	defer manager.Wait()
	defer cancel()
	if b.cfg.addrFile != "" {
		defer os.Remove(b.cfg.addrFile) // a script that waits for the next start must not find it
	}
	a.showLive(ctx, b, start)
	return nil
}
