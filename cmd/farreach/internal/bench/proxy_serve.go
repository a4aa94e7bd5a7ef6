package bench

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/cmd/farreach/internal/pages"
	"github.com/farreach/farreach/internal/localca"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/lan"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
	"github.com/farreach/farreach/xcproxy"
)

// proxyTold is what a proxy is told first.
type proxyTold struct {
	Group   string       // where devices hear questions to all
	Streams int          // devices with an address of their own
	Dir     string       // for what it must remember
	XMPP    remoteTarget // the account
	Cloud   string       // URI; "": none
	API     string       // of the cloud, where codes are made, with
	Token   string
	CAFile  string
}

func (t proxyTold) String() string {
	b, _ := json.Marshal(t) // texts can be marshalled
	return string(b)
}

// proxied is a proxy that is measured.
type proxied struct {
	start time.Time

	calm pages.Calm

	mu      sync.Mutex // guards what follows
	news    *sync.Cond
	id      string // of the proxy itself
	streams int
	cloud   bool
	found   []time.Duration // since start, one for each device
	stands  map[string]xcproxy.Change
	err     error // why nothing more will happen
}

// serveProxy is the process of a proxy. It writes its di.
func serveProxy(ctx context.Context, questions *bufio.Scanner, out io.Writer) error {
	if !questions.Scan() {
		return io.ErrUnexpectedEOF
	}
	var told proxyTold
	if err := json.Unmarshal(questions.Bytes(), &told); err != nil {
		return err
	}
	debug.SetGCPercent(50) // as farreach proxy does
	p := &proxied{streams: told.Streams, cloud: told.Cloud != "", stands: map[string]xcproxy.Change{}}
	p.calm.After, p.calm.Every = 5*time.Second, time.Minute // too
	defer p.calm.Stop()
	p.news = sync.NewCond(&p.mu)
	proxy, err := p.open(told)
	if err != nil {
		return err
	}
	group, err := netip.ParseAddrPort(told.Group)
	if err != nil {
		return err
	}
	tasks, ctx := errgroup.WithContext(ctx)
	p.start, p.id = time.Now(), proxy.ID()
	tasks.Go(func() error { return proxy.Run(ctx) })
	tasks.Go(func() error {
		cfg := lan.Config{Groups: []netip.AddrPort{group}, Log: slog.New(slog.DiscardHandler)}
		return lan.Watch(ctx, cfg, func(c lan.Change) { p.met(proxy, c) })
	})
	go func() { p.fail(tasks.Wait()) }() // ends with the process
	fmt.Fprintln(out, proxy.ID())
	for questions.Scan() {
		n, err := p.answer(questions.Text())
		if err != nil {
			return err
		}
		fmt.Fprintln(out, n)
	}
	return nil
}

func (p *proxied) open(told proxyTold) (*xcproxy.Proxy, error) {
	s, err := told.XMPP.open()
	if err != nil {
		return nil, err
	}
	x, err := s.remoteConfig()
	if err != nil {
		return nil, err
	}
	cfg := xcproxy.Config{
		Policy: xcproxy.Everything(), XMPP: x.XMPP, Rate: x.Rate, Streams: told.Streams, OnChange: p.stood, Log: x.Log,
		State: xcproxy.FileState(filepath.Join(told.Dir, "proxy.json")),
	}
	if p.cloud {
		if cfg.Cloud, err = told.register(x.Log); err != nil {
			return nil, err
		}
	}
	return xcproxy.New(cfg)
}

// register is how devices join the cloud.
func (t proxyTold) register(log *slog.Logger) (*xcproxy.Cloud, error) {
	pool, err := localca.Pool(t.CAFile)
	if err != nil {
		return nil, err
	}
	trust := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	api := apiclient.New(apiclient.Config{Base: t.API, Token: secret.String(t.Token), Timeout: patience})
	return &xcproxy.Cloud{
		Client: func(di string) cloudlink.Config {
			return cloudlink.Config{Servers: []string{t.Cloud}, App: "farreach", TLS: trust, State: cloudlink.FileState(filepath.Join(t.Dir, "devices", di+".json")), Log: log}
		},
		Code: func(ctx context.Context, _ string) (secret.String, error) {
			code, err := api.NewCode(ctx)
			return code.Code, err
		},
	}, nil
}

// met takes notice of a device of the local network.
func (p *proxied) met(proxy *xcproxy.Proxy, c lan.Change) {
	d := c.Device
	switch c.Kind {
	case lan.Gone:
		proxy.Lost(d.ID)
		return
	case lan.Appeared:
		p.mu.Lock()
		p.found = append(p.found, time.Since(p.start))
		p.news.Broadcast()
		p.mu.Unlock()
	}
	proxy.Found(xcproxy.Found{ID: d.ID, Name: d.Name, Types: d.Types, Links: d.Links, Device: located{d.Open(), d.Address}})
}

// located is a device at one place.
type located struct {
	oic.Observer
	at netip.AddrPort
}

// stood takes notice of how a device stands outside.
func (p *proxied) stood(c xcproxy.Change) {
	p.calm.Stir()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stands[c.Device] = c
	p.news.Broadcast()
}

func (p *proxied) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
	p.news.Broadcast()
}

// answer answers a question of serveProxy: some of them only when it can.
func (p *proxied) answer(question string) (int64, error) {
	what, number, _ := strings.Cut(question, " ")
	n, _ := strconv.Atoi(number)
	switch what {
	case askFound:
		return p.await(func() bool { return len(p.found) >= n })
	case askShown:
		return p.await(func() bool { return p.shown(n) })
	}
	return answer(what), nil
}

// await waits until something is so, and returns how long that took since the
// start.
func (p *proxied) await(so func() bool) (int64, error) {
	late := time.AfterFunc(4*patience, func() { p.fail(p.late()) })
	defer late.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for !so() {
		if p.err != nil {
			return 0, p.err
		}
		p.news.Wait()
	}
	return time.Since(p.start).Nanoseconds(), nil
}

// late says how far it has come.
func (p *proxied) late() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Errorf("after %v only %d devices are found, and %d have begun to be shown", 4*patience, len(p.found), len(p.stands))
}

// shown reports whether n devices are where they are to be. The lock is held.
func (p *proxied) shown(n int) bool {
	registered, connected := 0, 0
	for di, c := range p.stands {
		if c.Cloud.Registered && di != p.id {
			registered++
		}
		if c.XMPP.Status == rae.Connected {
			connected++
		}
	}
	return (registered >= min(n, maxDevices) || !p.cloud) && connected > min(n, p.streams) // and the proxy itself
}
