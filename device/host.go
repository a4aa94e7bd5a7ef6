package device

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/farreach/farreach/oic"
)

// Host answers for one device. Its methods may be called from several
// goroutines, and from those of the resources too, except Handle and Observe
// for the same resource.
type Host struct {
	cfg Config
	log *slog.Logger

	mu       sync.RWMutex // guards what follows
	byHref   map[string]*entry
	order    []*entry // as they were added
	batches  []*entry // those of order that show others; never changed in place
	settings Settings
}

// entry is one hosted resource.
type entry struct {
	resource Resource
	link     oic.Link
	near     bool          // not for those who come through a cloud or by Remote Access
	prompt   bool          // resource is Prompt
	turn     chan struct{} // has one while nobody calls the resource
	gone     chan struct{} // closed when the resource was removed

	mu       sync.Mutex // guards watchers
	watchers map[*watcher]struct{}
}

// NewHost returns a host with the resources that every device has: /oic/res,
// /oic/d, /oic/p, /oic/con, and /oic/mnt if there is something to maintain.
func NewHost(cfg Config) *Host {
	if cfg.ID == "" {
		cfg.ID = uuid.NewString()
	}
	cfg.Permanent = cmp.Or(cfg.Permanent, cfg.ID)
	cfg.Platform.ID = cmp.Or(cfg.Platform.ID, cfg.ID)
	cfg.Platform.Manufacturer = cmp.Or(cfg.Platform.Manufacturer, "Farreach")
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	h := &Host{cfg: cfg, log: cfg.Log.With("device", cfg.ID), byHref: make(map[string]*entry)}
	h.settings = cfg.Settings.clone()
	h.settings.Name = cmp.Or(h.settings.Name, cfg.Name)
	for _, r := range []Resource{directory{h}, info{h}, platform{h}, configuration{h}} {
		h.Add(r)
	}
	if cfg.Reset != nil || cfg.Reboot != nil {
		h.Add(&maintenance{h: h})
	}
	return h
}

// ID is the device's di.
func (h *Host) ID() string { return h.cfg.ID }

// Name is what people call the device, now.
func (h *Host) Name() string { return h.Settings().Name }

// Settings is what /oic/con holds now.
func (h *Host) Settings() Settings {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.settings.clone()
}

// Type is the device's type, "oic.d.light"; "" if it has none.
func (h *Host) Type() string { return h.cfg.Type }

// Add makes r reachable. It panics if the href of r's link is taken or does not
// begin with "/", or if the link has no type or no interface.
func (h *Host) Add(r Resource) {
	if _, err := h.add(r); err != nil {
		panic(err)
	}
}

func (h *Host) add(r Resource) (*entry, error) {
	link := r.Link()
	if len(link.Href) < 2 || link.Href[0] != '/' || len(link.Types) == 0 || len(link.Interfaces) == 0 {
		return nil, fmt.Errorf("device: link of %q is incomplete", link.Href)
	}
	_, prompt := r.(Prompt)
	e := &entry{resource: r, link: link, near: isNear(&link), prompt: prompt, turn: make(chan struct{}, 1), gone: make(chan struct{}),
		watchers: make(map[*watcher]struct{})}
	e.turn <- struct{}{}
	h.mu.Lock()
	if h.byHref[link.Href] != nil {
		h.mu.Unlock()
		return nil, fmt.Errorf("device: %s is there already", link.Href)
	}
	h.byHref[link.Href] = e
	h.order = append(h.order, e)
	if _, ok := r.(batched); ok {
		h.batches = append(h.batches, e)
	}
	h.mu.Unlock()
	h.Changed(hrefDirectory)
	return e, nil
}

// Remove takes a resource away. Who observes it is told with 4.04.
func (h *Host) Remove(href string) {
	h.mu.Lock()
	e := h.byHref[href]
	if e != nil {
		delete(h.byHref, href)
		h.order = slices.DeleteFunc(h.order, func(o *entry) bool { return o == e })
		h.batches = slices.DeleteFunc(slices.Clone(h.batches), func(o *entry) bool { return o == e })
		close(e.gone)
	}
	h.mu.Unlock()
	h.Changed(hrefDirectory)
}

// Links are the resources that the device offers, for publication at a
// resource directory: all that can be discovered but /oic/res itself, and but
// those that Remote hides.
func (h *Host) Links() []oic.Link {
	var links []oic.Link
	for _, e := range h.entries() {
		if e.link.Href != hrefDirectory && e.link.Policy.Mask&oic.Discoverable != 0 && !e.near {
			links = append(links, e.link)
		}
	}
	return links
}

func (h *Host) find(href string) (*entry, error) {
	h.mu.RLock()
	e := h.byHref[href]
	h.mu.RUnlock()
	if e == nil {
		return nil, oic.Errorf(oic.NotFound, "no resource %s", href)
	}
	return e, nil
}

func (h *Host) entries() []*entry {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return slices.Clone(h.order)
}

// call runs f when it is the caller's turn with the resource.
func (e *entry) call(ctx context.Context, f func() error) error {
	select {
	case <-e.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { e.turn <- struct{}{} }()
	return f()
}
