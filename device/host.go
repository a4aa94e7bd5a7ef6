package device

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/farreach/farreach/oic"
)

// Config says what a device is. Zero values work.
type Config struct {
	ID           string // di, a UUID; "": a random one
	Name         string // for people
	Type         string // "oic.d.light"; "": none but oic.wk.d
	Manufacturer string // "": Farreach
	Model        string
	Platform     string       // pi, the UUID of the hardware; "": ID
	Permanent    string       // piid, a UUID that outlives a change of owner; "": ID
	Log          *slog.Logger // nil: slog.Default()
}

// Host answers for one device. Its methods may be called from several
// goroutines, and from those of the resources too, except Handle and Observe
// for the same resource.
type Host struct {
	cfg Config
	log *slog.Logger

	mu     sync.RWMutex // guards what follows
	byHref map[string]*entry
	order  []*entry // as they were added
}

// entry is one hosted resource.
type entry struct {
	resource Resource
	link     oic.Link
	turn     chan struct{} // has one while nobody calls the resource
	gone     chan struct{} // closed when the resource was removed

	mu       sync.Mutex // guards watchers
	watchers map[*watcher]struct{}
}

// NewHost returns a host with the resources that every device has: /oic/res,
// /oic/d and /oic/p.
func NewHost(cfg Config) *Host {
	if cfg.ID == "" {
		cfg.ID = uuid.NewString()
	}
	if cfg.Manufacturer == "" {
		cfg.Manufacturer = "Farreach"
	}
	if cfg.Platform == "" {
		cfg.Platform = cfg.ID
	}
	if cfg.Permanent == "" {
		cfg.Permanent = cfg.ID
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	h := &Host{cfg: cfg, log: cfg.Log.With("device", cfg.ID), byHref: make(map[string]*entry)}
	h.Add(directory{h})
	h.Add(info{h})
	h.Add(platform{h})
	return h
}

// ID is the device's di.
func (h *Host) ID() string { return h.cfg.ID }

// Name is what people call the device.
func (h *Host) Name() string { return h.cfg.Name }

// Type is the device's type, "oic.d.light"; "" if it has none.
func (h *Host) Type() string { return h.cfg.Type }

// Add makes r reachable. It panics if the href of r's link is taken or does not
// begin with "/", or if the link has no type or no interface.
func (h *Host) Add(r Resource) {
	link := r.Link()
	if len(link.Href) < 2 || link.Href[0] != '/' || len(link.Types) == 0 || len(link.Interfaces) == 0 {
		panic("device: link of " + link.Href + " is incomplete")
	}
	e := &entry{resource: r, link: link, turn: make(chan struct{}, 1), gone: make(chan struct{}),
		watchers: make(map[*watcher]struct{})}
	e.turn <- struct{}{}
	h.mu.Lock()
	if h.byHref[link.Href] != nil {
		h.mu.Unlock()
		panic("device: " + link.Href + " is there already")
	}
	h.byHref[link.Href] = e
	h.order = append(h.order, e)
	h.mu.Unlock()
	h.Changed(hrefDirectory)
}

// Remove takes a resource away. Who observes it is told with 4.04.
func (h *Host) Remove(href string) {
	h.mu.Lock()
	e := h.byHref[href]
	if e != nil {
		delete(h.byHref, href)
		h.order = slices.DeleteFunc(h.order, func(o *entry) bool { return o == e })
		close(e.gone)
	}
	h.mu.Unlock()
	h.Changed(hrefDirectory)
}

// Links are the resources that the device offers, for publication at a
// resource directory: all that can be discovered but /oic/res itself.
func (h *Host) Links() []oic.Link {
	var links []oic.Link
	for _, e := range h.entries() {
		if e.link.Href != hrefDirectory && e.link.Policy.Mask&oic.Discoverable != 0 {
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
