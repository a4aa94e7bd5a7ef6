package sim

import (
	"context"
	"time"

	"github.com/farreach/farreach/oic"
)

// lamp is a light that can be dimmed.
type lamp struct {
	base
	state lampState
}

type lampState struct {
	Value   bool `json:"value"`   // on
	Dimming int  `json:"dimming"` // brightness, per cent
}

func newLamp(b base) thing { return &lamp{base: b, state: lampState{Dimming: 100}} }

func (l *lamp) Link() oic.Link {
	return link("/a/light", oic.IfActuator, "oic.r.switch.binary", "oic.r.light.dimming")
}

func (l *lamp) step() (bool, time.Duration) { return false, 0 }

func (l *lamp) Retrieve(context.Context, string) (any, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state, nil
}

// lampChange is what a request wants; nil stays as it is.
type lampChange struct {
	Value   *bool `json:"value"`
	Dimming *int  `json:"dimming"`
}

func (l *lamp) Update(_ context.Context, _ string, rep []byte) (any, error) {
	var want lampChange
	if err := oic.Decode(oic.OCF, rep, &want); err != nil {
		return nil, err
	}
	if want.Value == nil && want.Dimming == nil {
		return nil, oic.Errorf(oic.BadRequest, "nothing to change: a lamp has value and dimming")
	}
	return nil, l.set(want)
}

func (l *lamp) Replace(_ context.Context, _ string, rep []byte) (any, error) {
	var want lampChange
	if err := oic.Decode(oic.OCF, rep, &want); err != nil {
		return nil, err
	}
	if want.Value == nil || want.Dimming == nil {
		return nil, oic.Errorf(oic.BadRequest, "PUT takes both value and dimming, POST one of them")
	}
	return nil, l.set(want)
}

func (l *lamp) set(want lampChange) error {
	if want.Dimming != nil && (*want.Dimming < 0 || *want.Dimming > 100) {
		return oic.Errorf(oic.BadRequest, "dimming must be 0 to 100")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if want.Value != nil {
		l.state.Value = *want.Value
	}
	if want.Dimming != nil {
		l.state.Dimming = *want.Dimming
	}
	return nil
}
