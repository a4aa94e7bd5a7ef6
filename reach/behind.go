package reach

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
	"github.com/farreach/farreach/xmpp/jid"
)

// typeBridge is the device type of a proxy (RA-024).
const typeBridge = "oic.d.bridge"

// behind is who is behind proxies: devices without an address of their own, of
// which the /oic/res of the proxy tells.
//
//	somebody is missed ── seek ──▶ proxies that are there ── observe /oic/res ──▶ hidden ──▶ list, place
//
// Until somebody is missed no proxy is asked anything.
type behind struct {
	x *xmppWay

	mu      sync.Mutex // guards what follows
	wanted  bool       // somebody has been missed
	proxies map[jid.JID]*proxy
}

// proxy is one that is there, or was.
type proxy struct {
	peer    jid.JID
	di      string
	again   chan struct{} // has one when it has come
	told    chan struct{} // closed when it has told who is behind it, or has not when asked
	listed  bool          // it has told
	devices map[string]hidden
}

// hidden is a device behind a proxy.
type hidden struct {
	name, kind string
	here       bool
	since      time.Time
}

// Bounds of what proxies can make us remember and wait for.
const (
	maxProxies = 64
	maxHidden  = 4096 // of one proxy
	maxReask   = time.Minute
	behindTime = 3 * time.Second
)

// hrefBehind asks a proxy for one link of each device: with the type, and the
// name as title.
const hrefBehind = "/oic/res?rt=oic.wk.d"

func newBehind(x *xmppWay) *behind { return &behind{x: x, proxies: map[jid.JID]*proxy{}} }

// seek has all proxies asked, from now on also those that come later. It does not
// wait.
func (b *behind) seek() {
	b.mu.Lock()
	before := b.wanted
	b.wanted = true
	b.mu.Unlock()
	if before {
		return
	}
	for _, d := range b.x.e.Devices() {
		b.met(d)
	}
}

// met takes notice of a device that has come, or gone: it may be a proxy.
func (b *behind) met(d rae.Device) {
	if d.Name.Type != typeBridge || !d.Available || !d.Name.Speaks() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.proxies[d.JID]
	if !b.wanted || p == nil && len(b.proxies) >= maxProxies || b.x.ctx.Err() != nil {
		return
	}
	if p != nil {
		select {
		case p.again <- struct{}{}:
		default:
		}
		return
	}
	p = &proxy{peer: d.JID, di: d.Name.Device(), again: make(chan struct{}, 1), told: make(chan struct{}), devices: map[string]hidden{}}
	b.proxies[d.JID] = p
	b.x.tasks.Go(func() { b.follow(p) })
}

// close ends x: no proxy is followed from then on.
func (b *behind) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.x.end()
}

// follow keeps up with who is behind p. An observation lasts as long as p is
// there; one that did not come about is tried again.
func (b *behind) follow(p *proxy) {
	wait := backoff.Backoff{Max: maxReask}
	for {
		_ = b.x.e.Open(p.peer).Observe(b.x.ctx, &oic.Request{Href: hrefBehind}, func(resp *oic.Response) {
			wait = backoff.Backoff{Max: maxReask}
			b.take(p, resp)
		})
		b.mu.Lock()
		p.finish()
		b.mu.Unlock()
		b.x.bump("")
		pause := time.NewTimer(wait.Next())
		select {
		case <-pause.C:
		case <-p.again:
		case <-b.x.ctx.Done():
		}
		if pause.Stop(); b.x.ctx.Err() != nil {
			return
		}
	}
}

// finish notes that it is known what p tells. The lock is held.
func (p *proxy) finish() {
	if !p.isTold() {
		close(p.told)
	}
}

// take notes who is behind p now.
func (b *behind) take(p *proxy, resp *oic.Response) {
	sets, err := oic.ParseLinks(resp.Format, resp.Body)
	if err != nil {
		b.x.log.Warn("a proxy does not tell who is behind it", "peer", p.peer, "err", err)
		return
	}
	now := time.Now()
	defer b.x.bump("")
	b.mu.Lock()
	defer b.mu.Unlock()
	p.finish()
	p.listed = true
	listed := map[string]bool{}
	for _, set := range sets {
		di := strings.ToLower(set.Device)
		before, known := p.devices[di]
		if di == "" || di == p.di || !known && len(p.devices) >= maxHidden {
			continue
		}
		d := hidden{name: set.Name, here: true, since: now}
		for _, l := range set.Links {
			if l.Href == "/oic/d" {
				d.name = cmp.Or(strings.TrimSpace(l.Title), d.name)
				d.kind = typeOf(l.Types)
			}
		}
		if before.here {
			d.since = before.since
		}
		p.devices[di], listed[di] = d, true
	}
	for di, d := range p.devices {
		if d.here && !listed[di] {
			d.here, d.since = false, now
			p.devices[di] = d
		}
	}
}

// typeOf is the type of a device among those of its /oic/d.
func typeOf(types []string) string {
	for _, t := range types {
		if t != "oic.wk.d" {
			return t
		}
	}
	return ""
}

// settle waits until those proxies that are there have told, but not for long.
func (b *behind) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, behindTime)
	defer cancel()
	b.mu.Lock()
	var all []*proxy
	for _, p := range b.proxies {
		all = append(all, p)
	}
	b.mu.Unlock()
	for _, p := range all {
		select {
		case <-p.told:
		case <-ctx.Done():
		}
	}
}

// place says behind which proxy a device is: of the own account, if there is such
// a one. That it is known to be nowhere is said only when all have told.
func (b *behind) place(di string) (at jid.JID, where presence) {
	di = strings.ToLower(di)
	proxies := b.here()
	b.mu.Lock()
	defer b.mu.Unlock()
	where = away
	for _, d := range proxies {
		p := b.proxies[d.JID]
		if p == nil || !p.isTold() {
			if where == away {
				where = unknown
			}
			continue
		}
		if p.devices[di].here && (where != here || d.Account() == b.x.account()) {
			at, where = d.JID, here
		}
	}
	return at, where
}

func (p *proxy) isTold() bool { return isClosed(p.told) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// listed reports whether a proxy, by its di, has told who is behind it.
func (b *behind) listed(di string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.proxies {
		if p.di == di && p.listed {
			return true
		}
	}
	return false
}

// here are the proxies that are there.
func (b *behind) here() []rae.Device {
	return slices.DeleteFunc(b.x.e.Devices(), func(d rae.Device) bool {
		return d.Name.Type != typeBridge || !d.Available || !d.Name.Speaks()
	})
}

// present lists who is, or was, behind a proxy, in the order of proxies and di's.
func (b *behind) present() (list []Present) {
	there := map[jid.JID]bool{}
	for _, d := range b.here() {
		there[d.JID] = true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.proxies {
		for di, d := range p.devices {
			list = append(list, Present{ID: di, Name: d.name, Type: d.kind, Peer: p.peer, Behind: true, Here: d.here && there[p.peer], Since: d.since,
				Gateway: p.di, Gone: !there[p.peer]})
		}
	}
	slices.SortFunc(list, func(x, y Present) int {
		return cmp.Or(cmp.Compare(x.Peer.String(), y.Peer.String()), cmp.Compare(x.ID, y.ID))
	})
	return list
}
