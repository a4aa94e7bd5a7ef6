package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/oic"
)

// strip is a power strip: outlets in a collection. It stands for the first of
// them.
type strip struct {
	*outlet
	all []*outlet
}

const outlets = 4

func newStrip(b base) thing {
	s := &strip{}
	for n := range outlets {
		s.all = append(s.all, &outlet{base: b, href: fmt.Sprintf("/a/outlets/%d", n+1)})
	}
	s.outlet = s.all[0]
	return s
}

func (s *strip) step() (bool, time.Duration) { return false, 0 }

func (s *strip) addTo(h *device.Host) {
	k := device.Collection{Href: "/a/outlets", Title: "outlets"}
	for _, o := range s.all {
		h.Add(o)
		k.Members = append(k.Members, o.href)
	}
	h.AddCollection(k)
}

// outlet is switched on and off.
type outlet struct {
	base
	href string
	on   bool
}

func (o *outlet) Link() oic.Link { return link(o.href, oic.IfActuator, "oic.r.switch.binary") }

func (o *outlet) Retrieve(context.Context, string) (any, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return struct {
		Value bool `json:"value"`
	}{o.on}, nil
}

func (o *outlet) Update(_ context.Context, _ string, rep []byte) (any, error) {
	var want struct {
		Value *bool `json:"value"`
	}
	if err := oic.Decode(oic.OCF, rep, &want); err != nil {
		return nil, err
	}
	if want.Value == nil {
		return nil, oic.Errorf(oic.BadRequest, "nothing to change: an outlet has value")
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.on = *want.Value
	return nil, nil
}
