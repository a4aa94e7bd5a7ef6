package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/cmd/farreach/internal/settings"
	"github.com/farreach/farreach/lan"
	"github.com/farreach/farreach/reach"
)

// places is what has been found in each place where there may be devices.
type places struct {
	lan    []lan.Device
	seen   *sightings         // not nil: who keeps silent for a round is there still
	known  []apiclient.Device // to the cloud
	cloud  string             // its URI
	onXMPP []reach.Present
}

// search looks for devices in one place.
type search struct {
	where string
	must  bool          // what goes wrong there is the end
	pause time.Duration // before it makes sense to look again
	look  func(ctx context.Context) (put func(*places), err error)
}

// look looks once in all places. What goes wrong in one is talk, if there is
// another where it goes well.
func (a *app) look(ctx context.Context, command string, searches []search) (places, error) {
	var found places
	var mu sync.Mutex // guards found
	failed := make([]error, len(searches))
	var looking sync.WaitGroup
	for i, s := range searches {
		looking.Go(func() {
			put, err := s.look(ctx)
			if failed[i] = err; err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			put(&found)
		})
	}
	looking.Wait()
	if ctx.Err() != nil {
		return found, ctx.Err()
	}
	if !slices.Contains(failed, nil) {
		return found, failed[0]
	}
	for i, err := range failed {
		switch {
		case err == nil:
		case searches[i].must:
			return found, err
		default:
			a.say("farreach: %s: %s: %s", command, searches[i].where, oneLine(err))
		}
	}
	return found, nil
}

// searches are those that make sense. The caller calls done at the end.
func (a *app) searches(d discovery) (list []search, done func(), err error) {
	if !d.remote {
		list = append(list, search{where: "local network", pause: lanPause, look: func(ctx context.Context) (func(*places), error) {
			found, err := reach.LAN(ctx, lan.FindConfig{Addresses: d.addresses, Type: d.kind, Wait: d.wait, Log: a.log(slog.LevelError)})
			return func(p *places) { p.near(found) }, err
		}})
	}
	if d.local {
		return list, func() {}, nil
	}
	s, missing := a.server()
	if missing == nil && s.API() != "" {
		list = append(list, search{where: "cloud", must: d.cloudMust, pause: remoteEvery, look: func(ctx context.Context) (func(*places), error) {
			known, err := a.inCloud(ctx, d)
			return func(p *places) { p.known, p.cloud = known, s.Cloud() }, err
		}})
	}
	x, err := a.searchXMPP(d)
	switch {
	case err != nil && !errors.Is(err, settings.ErrNoProfile):
		return nil, nil, err
	case x != nil:
		list = append(list, search{where: "XMPP", pause: remoteEvery, look: x.look})
		return list, x.close, nil
	case len(list) == 0 && missing == nil:
		missing = fail(exitConfig, "another --profile, or --xmpp JID", "profile %s has no http address and no XMPP account", a.profile)
	}
	if len(list) == 0 {
		return nil, nil, missing
	}
	return list, func() {}, nil
}

// inCloud lists the devices of the profile's account.
func (a *app) inCloud(ctx context.Context, d discovery) ([]apiclient.Device, error) {
	api, err := a.api(d.access)
	if err != nil {
		return nil, err
	}
	defer api.Close()
	devices, err := api.Devices(ctx)
	return slices.DeleteFunc(devices, func(dev apiclient.Device) bool { return !d.wants(dev) }), err
}

// xmppSearch looks who is on the XMPP account.
type xmppSearch struct {
	cfg     reach.Config
	kind    string
	timeout time.Duration
	release func()
	ways    *reach.Ways // nil: not open yet
}

// searchXMPP returns nil if there is no XMPP account.
func (a *app) searchXMPP(d discovery) (*xmppSearch, error) {
	way, release, err := a.xmppWay(d.access, d.xmpp)
	if err != nil || way == nil {
		return nil, err
	}
	return &xmppSearch{cfg: reach.Config{XMPP: way, Log: a.log(slog.LevelError)}, kind: d.kind, timeout: d.timeout, release: release}, nil
}

func (x *xmppSearch) look(ctx context.Context) (func(*places), error) {
	ctx, cancel := context.WithTimeout(ctx, x.timeout)
	defer cancel()
	if x.ways == nil {
		ways, err := reach.Open(ctx, x.cfg)
		if err != nil {
			return nil, err
		}
		x.ways = ways
	}
	found, err := x.ways.OnXMPP(ctx)
	if x.kind != "" {
		found = x.ofKind(ctx, found)
	}
	return func(p *places) { p.onXMPP = found }, err
}

// ofKind is those of list that are of the type asked for, or have a resource of it.
func (x *xmppSearch) ofKind(ctx context.Context, list []reach.Present) (found []reach.Present) {
	var others []reach.Present
	for _, p := range list {
		if p.Type == x.kind {
			found = append(found, p)
		} else {
			others = append(others, p)
		}
	}
	if strings.HasPrefix(x.kind, "oic.d.") {
		return found // of a device; addresses tell
	}
	return append(found, x.ways.Offering(ctx, others, x.kind)...)
}

func (x *xmppSearch) close() {
	if x.ways != nil {
		_ = x.ways.Close() // nothing depends on the farewell
	}
	x.release()
}

// near takes what has answered on the local network.
func (p *places) near(found []lan.Device) {
	if p.seen != nil {
		found = p.seen.see(found)
	}
	p.lan = found
}

// merge makes one list of all places, in the order of names. A device that is
// in several is one, by its di.
func (p *places) merge() []foundDoc {
	const schema = "farreach.found/v1"
	var found []foundDoc
	add := func(doc foundDoc) {
		doc.Schema = schema
		i := slices.IndexFunc(found, func(f foundDoc) bool { return doc.Device != "" && strings.EqualFold(f.Device, doc.Device) })
		if i < 0 {
			found = append(found, doc)
			return
		}
		f := &found[i]
		f.Name, f.Type, f.Ways = cmp.Or(f.Name, doc.Name), cmp.Or(f.Type, doc.Type), append(f.Ways, doc.Ways...)
	}
	for _, dev := range p.known {
		add(foundDoc{Device: dev.ID, Name: dev.Name, Type: dev.Type, Ways: []foundWay{{By: "cloud", URI: p.cloud, State: dev.State, Proven: dev.Proven, Reason: dev.Reason}}})
	}
	for _, dev := range p.onXMPP {
		add(foundDoc{Device: dev.ID, Name: dev.Name, Type: dev.Type, Ways: []foundWay{xmppWayTo(dev)}})
	}
	for _, dev := range p.lan {
		doc := foundDoc{Device: dev.ID, Name: dev.Name, Ways: lanWays(dev)}
		if len(dev.Types) > 0 {
			doc.Type = dev.Types[0]
		}
		add(doc)
	}
	slices.SortStableFunc(found, func(x, y foundDoc) int {
		return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.Device, y.Device))
	})
	return found
}

func xmppWayTo(dev reach.Present) foundWay {
	state, reason := stateOnXMPP(dev)
	return foundWay{By: "xmpp", URI: dev.Target().String(), State: state, Since: dev.Since, Reason: reason}
}

// stateOnXMPP is what is known of a device in the words of the cloud, and why.
func stateOnXMPP(dev reach.Present) (state, reason string) {
	switch {
	case dev.Here:
		return stateReachable, ""
	case dev.Gone:
		return stateUnknown, gatewayGone
	}
	return stateOffline, ""
}
