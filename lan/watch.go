package lan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic/oiccoap"
)

// Watch keeps in touch with the devices of the network until ctx ends, and calls
// each for every change, one call at a time. Changes of a device that come while
// each has not returned are merged. A device may be asked (Device.Open) as long
// as Watch runs.
//
// It returns ctx.Err(), or an error if there is no socket any more.
func Watch(ctx context.Context, cfg Config, each func(Change)) error {
	w, err := newWatcher(cfg)
	if err != nil {
		return err
	}
	defer w.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var loops sync.WaitGroup
	defer loops.Wait()
	defer cancel()
	w.ctx = ctx
	if err := w.open(); err != nil {
		return fmt.Errorf("watch the network: %w", err)
	}
	w.mu.Lock()
	w.describe()
	w.mu.Unlock()
	loops.Go(func() { w.learnLoop(ctx) })
	loops.Go(func() { w.askLoop(ctx) })
	loops.Go(func() { w.checkLoop(ctx) })
	loops.Go(func() { w.tellLoop(ctx, each) })
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-w.ended():
		return errors.New("watch the network: the socket has failed")
	}
}

// watcher is one Watch.
type watcher struct {
	cfg   Config
	log   *slog.Logger
	socks sockets
	ctx   context.Context // ends with Watch
	slots chan struct{}   // one for each request under way
	wake  chan struct{}   // has one when there are news
	tasks sync.WaitGroup

	// network names the interfaces on which groups are asked, with their
	// addresses.
	network func() string

	mu      sync.Mutex // guards what follows, and all that hangs in table
	closed  bool
	known   Known // as it was said last
	learnt  int   // how often
	table   table
	asking  map[netip.AddrPort]bool      // who is asked what it is, or waits for it
	host    map[netip.Addr]int           // how many of these
	struck  map[netip.AddrPort]time.Time // who is left alone, until when
	said    map[string]bool              // warnings
	dropped []*line                      // since closed
}

func newWatcher(cfg Config) (*watcher, error) {
	w := &watcher{cfg: cfg, log: cmp.Or(cfg.Log, slog.Default()), slots: make(chan struct{}, maxAtOnce), wake: make(chan struct{}, 1),
		table: newTable(), asking: map[netip.AddrPort]bool{}, host: map[netip.Addr]int{}, struck: map[netip.AddrPort]time.Time{}, said: map[string]bool{}, known: cfg.Known}
	w.cfg.Check = cmp.Or(cfg.Check, checkEvery)
	if cfg.Groups == nil {
		w.cfg.Groups = coap.AllCoAPNodes()
	}
	w.network = func() string { return interfaces(cfg.Interfaces) }
	if cfg.Listen != nil {
		w.network = func() string { return "" } // not that of this machine
	}
	if err := w.known.Check(); err != nil {
		return nil, err
	}
	if cfg.Directory != "" && !isUUID(cfg.Directory) {
		return nil, fmt.Errorf("the di %.40q is not a UUID", cfg.Directory)
	}
	return w, nil
}

// open opens the sockets.
func (w *watcher) open() error {
	cfg := coap.EndpointConfig{Interfaces: w.cfg.Interfaces, Log: w.log}
	if w.cfg.Directory != "" {
		cfg.Accept = w.publishers
		if w.cfg.Listen == nil && len(w.cfg.Groups) > 0 {
			groups, err := coap.ListenGroups(w.cfg.Groups...)
			if err != nil {
				w.say("groups", slog.LevelWarn, "devices cannot find the directory by multicast", "err", err)
			}
			cfg.Groups = groups
		}
	}
	var err error
	w.socks, err = openSockets(w.cfg.Listen, cfg)
	if err != nil {
		for _, g := range cfg.Groups {
			g.Close()
		}
	}
	return err
}

// ended has something when a socket has ended.
func (w *watcher) ended() <-chan struct{} {
	ended := make(chan struct{}, 2)
	for _, s := range w.socks.all() {
		w.task(func() {
			select {
			case <-s.Done():
				ended <- struct{}{}
			case <-w.ctx.Done():
			}
		})
	}
	return ended
}

// close ends all that has been begun. ctx has ended, and the loops with it.
func (w *watcher) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.tasks.Wait()
	lines := w.dropped
	for _, e := range w.table.devices {
		lines = append(lines, e.line)
	}
	var closing sync.WaitGroup
	for _, l := range lines {
		closing.Go(l.close)
	}
	closing.Wait()
	w.socks.close()
}

// task runs f on a goroutine that close waits for.
func (w *watcher) task(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begin(f)
}

// begin is task with w.mu held. It reports false if it is too late.
func (w *watcher) begin(f func()) bool {
	if w.closed {
		return false
	}
	w.tasks.Go(f)
	return true
}

// slot waits until one more may be asked; false: ctx has ended.
func (w *watcher) slot(ctx context.Context) bool {
	select {
	case w.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (w *watcher) release() { <-w.slots }

// client asks who is at an address; nil: there is no way to it.
func (w *watcher) client(at netip.AddrPort) *oiccoap.Client {
	if p := w.socks.peer(at); p != nil {
		return oiccoap.NewClient(p)
	}
	return nil
}

// tellLoop calls each.
func (w *watcher) tellLoop(ctx context.Context, each func(Change)) {
	for {
		w.mu.Lock()
		c, ok := w.table.change()
		w.mu.Unlock()
		if ok && ctx.Err() == nil {
			c.Device.w = w
			each(c)
			continue
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
			return
		}
	}
}

// told wakes tellLoop if there are news. w.mu is held.
func (w *watcher) told() {
	if len(w.table.news) > 0 {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// say logs once: what goes by the same key is not said again.
func (w *watcher) say(key string, level slog.Level, msg string, args ...any) {
	w.mu.Lock()
	again := w.said[key] || len(w.said) >= maxSaid
	if !again {
		w.said[key] = true
	}
	w.mu.Unlock()
	if !again {
		w.log.Log(w.ctx, level, msg, args...)
	}
}
