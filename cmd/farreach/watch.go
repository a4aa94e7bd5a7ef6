package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/lan"
	"github.com/farreach/farreach/oic"
)

// How often discover --watch looks again. An answer to a search by multicast is
// lost now and then, so that only who keeps silent for some rounds has gone.
const (
	remoteEvery = time.Second
	lanPause    = time.Second // after each search
	lanRounds   = 3
)

// foundChange is a device that came, changed or went; with --json it is a line.
type foundChange struct {
	Schema string `json:"schema"`
	Time   string `json:"time"`   // RFC 3339
	Change string `json:"change"` // "new", "changed" or "gone"
	foundDoc
}

// watching is what discover --watch has found so far, and told.
type watching struct {
	tell func(foundChange) error

	mu    sync.Mutex // guards what follows
	found places
	told  map[string]foundDoc
}

func newWatching(tell func(foundChange) error) *watching {
	return &watching{tell: tell, told: map[string]foundDoc{}, found: places{seen: new(sightings)}}
}

// watchFound searches again and again until ctx ends, and tells what changes.
func (a *app) watchFound(ctx context.Context, searches []search) error {
	w := newWatching(a.foundLine)
	group, ctx := errgroup.WithContext(ctx)
	for _, s := range searches {
		group.Go(func() error {
			return a.rounds(ctx, s.where, len(searches) == 1, s.pause, func() error {
				put, err := s.look(ctx)
				if err != nil || ctx.Err() != nil {
					return err
				}
				return w.see(put)
			})
		})
	}
	return group.Wait()
}

// rounds calls round with a pause after each, until ctx ends. What goes wrong is
// said once, until it goes well again; it is the end if it was the first round of
// the only place to look at, or cannot go well.
func (a *app) rounds(ctx context.Context, where string, alone bool, pause time.Duration, round func() error) error {
	said := ""
	for first := true; ; first = false {
		err := round()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			said = ""
		case alone && first || errors.Is(err, errOutput):
			return err
		case oneLine(err) != said:
			said = oneLine(err)
			a.say("farreach: discover: %s: %s", where, said)
		}
		if err := backoff.Sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// errOutput says that nobody reads what is told.
var errOutput = errors.New("output")

// see takes what a search has found, and tells what is new about that.
func (w *watching) see(put func(*places)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	put(&w.found)
	return w.compare()
}

// compare tells what is not as it was told before. w.mu is held.
func (w *watching) compare() error {
	now := map[string]foundDoc{}
	for _, doc := range w.found.merge() {
		key := cmp.Or(strings.ToLower(doc.Device), doc.Ways[0].URI)
		now[key] = doc
		change := "new"
		if before, ok := w.told[key]; ok {
			if change = "changed"; before.same(doc) {
				continue
			}
		}
		if err := w.change(change, doc); err != nil {
			return err
		}
	}
	for key, doc := range w.told {
		if _, ok := now[key]; !ok {
			if err := w.change("gone", doc); err != nil {
				return err
			}
		}
	}
	w.told = now
	return nil
}

func (w *watching) change(what string, doc foundDoc) error {
	doc.Schema = ""
	err := w.tell(foundChange{"farreach.discovery/v1", time.Now().UTC().Format(time.RFC3339Nano), what, doc})
	if err != nil {
		return fmt.Errorf("%w: %w", errOutput, err)
	}
	return nil
}

// same reports whether two findings of a device tell the same, but for when it
// was proven to be there.
func (f foundDoc) same(g foundDoc) bool {
	ways := func(doc foundDoc) (list []string) {
		for _, way := range doc.Ways {
			list = append(list, way.By+" "+way.URI+" "+way.State+" "+way.Reason)
		}
		slices.Sort(list)
		return list
	}
	return f.Name == g.Name && f.Type == g.Type && slices.Equal(ways(f), ways(g))
}

func (a *app) foundLine(c foundChange) error {
	if a.json {
		return a.screen().Doc(c)
	}
	when := c.Time
	if a.terminal {
		when = time.Now().Format(time.TimeOnly)
	}
	return a.screen().Line(when, c.Change, c.Name, c.Device, c.Type, waysText(c.Ways))
}

// sightings are the devices that answered in the latest rounds.
type sightings struct {
	round   int
	devices map[string]*sighting // by di, or by address
}

type sighting struct {
	device   lan.Device
	last     int            // round in which it answered
	answered int            // in how many it did
	seen     map[string]int // answered, when it named that endpoint last
}

// see returns who has answered in this round or in one shortly before, at all
// addresses that they named in their latest answers.
func (s *sightings) see(found []lan.Device) (list []lan.Device) {
	if s.devices == nil {
		s.devices = map[string]*sighting{}
	}
	s.round++
	for _, dev := range found {
		key := cmp.Or(strings.ToLower(dev.ID), dev.Address.String())
		at := s.devices[key]
		if at == nil {
			at = &sighting{device: dev, seen: map[string]int{}}
			s.devices[key] = at
		}
		name, kind := cmp.Or(dev.Name, at.device.Name), dev.Types
		if len(kind) == 0 {
			kind = at.device.Types // its answer about itself was lost
		}
		at.device = dev
		at.device.Name, at.device.Types = name, kind
		at.last = s.round
		at.answered++
		at.seen[oic.EndpointURI("coap", dev.Address)] = at.answered
		for _, e := range dev.Endpoints {
			at.seen[e.URI] = at.answered
		}
	}
	for key, at := range s.devices {
		if s.round-at.last >= lanRounds {
			delete(s.devices, key)
			continue
		}
		at.device.Endpoints = nil
		for uri, n := range at.seen {
			if at.answered-n >= lanRounds {
				delete(at.seen, uri)
				continue
			}
			at.device.Endpoints = append(at.device.Endpoints, oic.Endpoint{URI: uri})
		}
		slices.SortFunc(at.device.Endpoints, func(x, y oic.Endpoint) int { return cmp.Compare(x.URI, y.URI) })
		list = append(list, at.device)
	}
	return list
}
