// Package sim has devices that exist in this process only and behave like
// things: a lamp is switched, a door is opened and closed by someone, a
// thermostat heats a room that loses its warmth, a meter counts, a strip has
// outlets that are switched together or one by one.
//
//	Run ──(timer)──▶ thing.step ──changed──▶ Host.Changed ──▶ who observes
//	request ──▶ Host ──▶ thing.Retrieve, Update
//
// The same id behaves the same way each time: chance is seeded with it.
package sim

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/oic"
)

// thing is a resource that lives. The lock of its Sim is held in step; its
// methods as a Resource take it themselves.
type thing interface {
	device.Resource

	// step lets time pass until now, and says whether there is something to
	// tell, and how long to wait until the next step. The first call is at the
	// start; no wait means that nothing will ever happen by itself.
	step() (changed bool, wait time.Duration)
}

// kind is a kind of device.
type kind struct {
	deviceType string
	name       string // shorter
	make       func(base) thing
}

// kinds are those that there are.
var kinds = []kind{
	{"oic.d.light", "lamp", newLamp},
	{"oic.d.door", "door", newDoor},
	{"oic.d.thermostat", "thermostat", newThermostat},
	{"oic.d.electricmeter", "meter", newMeter},
	{"oic.d.smartplug", "strip", newStrip},
}

// base is what all things have.
type base struct {
	mu   *sync.Mutex
	rand *rand.Rand
}

// Prompt says that things are in memory: see device.Prompt.
func (base) Prompt() {}

// Types are the device types that New knows.
func Types() []string {
	var types []string
	for _, k := range kinds {
		types = append(types, k.deviceType)
	}
	return types
}

// Sim is one simulated device.
type Sim struct {
	host  *device.Host
	thing thing
	mu    *sync.Mutex // guards what a request and a step both touch
	log   *slog.Logger
}

// New returns a device, what being one of Types, or "lamp", "door", "thermostat",
// "meter", "strip"; Type and Platform of cfg are its own. It does nothing by itself
// until Run is called.
func New(what string, cfg device.Config) (*Sim, error) {
	i := slices.IndexFunc(kinds, func(k kind) bool { return what == k.deviceType || what == k.name })
	if i < 0 {
		return nil, fmt.Errorf("no simulated device is of type %q; there are %s", what, strings.Join(Types(), ", "))
	}
	cfg.Type, cfg.Platform = kinds[i].deviceType, device.Platform{Model: "simulated " + kinds[i].name}
	s := &Sim{mu: new(sync.Mutex), host: device.NewHost(cfg)}
	s.log = cmp.Or(cfg.Log, slog.Default()).With("device", s.host.ID())
	seed := fnv.New64a()
	seed.Write([]byte(s.host.ID()))
	s.thing = kinds[i].make(base{s.mu, rand.New(rand.NewPCG(seed.Sum64(), uint64(i)))})
	if strip, ok := s.thing.(*strip); ok {
		strip.addTo(s.host)
	} else {
		s.host.Add(s.thing)
	}
	return s, nil
}

// Host is the device as others see it.
func (s *Sim) Host() *device.Host { return s.host }

// Run lets time pass for the device until ctx ends, and returns ctx.Err().
func (s *Sim) Run(ctx context.Context) error {
	href := s.thing.Link().Href
	for {
		s.mu.Lock()
		changed, wait := s.thing.step()
		s.mu.Unlock()
		if changed {
			s.log.Debug("moved by itself", "href", href)
			s.host.Changed(href)
		}
		if wait <= 0 {
			<-ctx.Done()
			return ctx.Err()
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// link is the link of a thing, which can be observed.
func link(href, iface string, types ...string) oic.Link {
	return oic.Link{Href: href, Types: types, Interfaces: []string{iface, oic.IfBaseline},
		Policy: oic.Policy{Mask: oic.Discoverable | oic.Observable}}
}
