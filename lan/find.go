package lan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
)

// FindConfig says where Find looks for devices. Zero values work.
type FindConfig struct {
	Addresses []string         // "192.0.2.7", "host:5683" or "coap://host": these and no others
	Groups    []netip.AddrPort // to ask if there are no Addresses; nil: coap.AllCoAPNodes
	Type      string           // devices with a resource of this type; "": all
	Wait      time.Duration    // for answers; 0: 5 s, in which a group is asked three times
	Log       *slog.Logger     // nil: slog.Default()
}

// findWait is for answers to a group: asked at 0, 1 and 3 s, answered within 2 s.
const findWait = 5 * time.Second

// Find looks for devices on the local network, over IPv4 and IPv6 on every
// interface, in the ways of OCF and of OIC 1.x, and asks each that it hears of
// what it is. They come in the order of their names and di's. That takes Wait,
// with groups up to 6 s more; if ctx ends earlier, what was found until then is returned.
//
// Who they are is not proved: anybody on the network may claim any di. The error
// is that nobody could be asked.
func Find(ctx context.Context, cfg FindConfig) ([]Device, error) {
	s := &search{cfg: cfg, log: cmp.Or(cfg.Log, slog.Default()), slots: make(chan struct{}, maxAtOnce),
		asked: map[netip.AddrPort]bool{}, devices: map[string]*Device{}}
	if cfg.Groups == nil {
		s.cfg.Groups = coap.AllCoAPNodes()
	}
	var err error
	if s.socks, err = openSockets(nil, coap.EndpointConfig{Log: s.log}); err != nil {
		return nil, err
	}
	defer s.socks.close()
	wait := cmp.Or(cfg.Wait, findWait)
	most := wait
	if len(cfg.Addresses) == 0 {
		most += askWithin
	}
	asking, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	defer s.tasks.Wait() // before the sockets are closed
	s.ctx = asking
	if len(cfg.Addresses) > 0 {
		err = s.askEach()
	} else {
		err = s.askGroups(wait)
	}
	if err != nil {
		return nil, err
	}
	s.tasks.Wait()
	return s.list(), nil
}

// search is one Find.
type search struct {
	cfg   FindConfig
	log   *slog.Logger
	socks sockets
	ctx   context.Context
	slots chan struct{}
	tasks sync.WaitGroup

	mu      sync.Mutex // guards what follows
	asked   map[netip.AddrPort]bool
	devices map[string]*Device
}

// askGroups asks the groups and waits for answers. The error is nil if somebody
// could be asked.
func (s *search) askGroups(wait time.Duration) error {
	ctx, cancel := context.WithTimeout(s.ctx, wait)
	defer cancel()
	var asking sync.WaitGroup
	var mu sync.Mutex // guards errs and asked
	var errs []error
	asked := false
	for _, one := range s.socks.all() {
		groups := s.socks.groups(one, s.cfg.Groups)
		if len(groups) == 0 {
			continue
		}
		for _, accept := range []oic.ContentFormat{oic.OCF, oic.CBOR} {
			asking.Go(func() {
				err := one.Ask(ctx, groups, request(accept, s.cfg.Type), s.heard)
				mu.Lock()
				defer mu.Unlock()
				errs, asked = append(errs, err), asked || err == nil
			})
		}
	}
	asking.Wait()
	if asked {
		return nil
	}
	return fmt.Errorf("ask the groups: %w", errors.Join(errs...))
}

// heard takes an answer, on an endpoint's goroutine, while askGroups waits.
func (s *search) heard(from netip.AddrPort, m *coap.Message) {
	if m.Code.Class() == 2 {
		format, _ := m.Options.Uint(coap.ContentFormat)
		s.ask(from, format == uint32(oic.CBOR))
	}
}

// askEach asks the configured addresses. One that does not answer is no error.
func (s *search) askEach() error {
	for _, text := range s.cfg.Addresses {
		at, err := resolve(s.ctx, text)
		if err != nil {
			return fmt.Errorf("find %.80q: %w", text, err)
		}
		s.ask(at, false)
	}
	return nil
}

// ask asks who is at an address, once; old is one of OIC 1.x, perhaps.
func (s *search) ask(at netip.AddrPort, old bool) {
	s.mu.Lock()
	again := s.asked[at] || len(s.asked) == maxAnswers
	s.asked[at] = true
	s.mu.Unlock()
	p := s.socks.peer(at)
	if again || p == nil {
		return
	}
	c := oiccoap.NewClient(p)
	if old {
		c.Simplify()
	}
	s.tasks.Go(func() {
		select {
		case s.slots <- struct{}{}:
		case <-s.ctx.Done():
			return
		}
		defer func() { <-s.slots }()
		ctx, cancel := context.WithTimeout(s.ctx, askWithin)
		defer cancel()
		found, err := about(ctx, c, "coap", at, s.cfg.Type)
		if err != nil {
			s.log.Debug("no device found", "remote", at, "err", err)
			return
		}
		s.add(found)
	})
}

// add puts what was found to what the same device has told at another address,
// and has those asked that it leads to.
func (s *search) add(found report) {
	s.mu.Lock()
	d := s.devices[found.device.ID]
	switch {
	case d != nil:
		for _, l := range found.device.Links {
			d.join(l)
		}
	case len(found.device.Links) > 0 && len(s.devices) < maxDevices:
		s.devices[found.device.ID] = &found.device
	}
	s.mu.Unlock()
	for _, at := range found.others {
		s.ask(at, false)
	}
}

func (s *search) list() []Device {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Device
	for _, d := range s.devices {
		list = append(list, *d)
	}
	slices.SortFunc(list, byName)
	return list
}
