package sim

import (
	"context"
	"math"
	"time"

	"github.com/farreach/farreach/oic"
)

// The room of the thermostat: temperatures in °C, rates in °C per second. From
// outside comes a slow pull, from the heater a stronger push; between the two
// the heater goes on about every two minutes.
const (
	thermostatStep = time.Second
	outside        = 8.0
	pull           = 0.0003 // of the difference to outside, per second
	push           = 0.02
	draught        = 0.002 // at most, either way
	slack          = 0.2   // the heater goes on that far below the target, off as far above
	deadband       = 0.1   // what is told in steps of this

	leastTarget    = 5.0
	greatestTarget = 30.0
)

// thermostat keeps a room warm.
type thermostat struct {
	base
	room    float64 // exactly
	told    float64 // in steps of deadband
	target  float64
	off     bool
	heating bool
	started bool
}

func newThermostat(b base) thing { return &thermostat{base: b, room: 20, told: 20, target: 21} }

func (t *thermostat) Link() oic.Link {
	return link("/a/thermostat", oic.IfActuator, "oic.r.temperature")
}

func (t *thermostat) step() (bool, time.Duration) {
	if !t.started {
		t.started = true
		return false, thermostatStep
	}
	was := t.heating
	switch {
	case t.off, t.room > t.target+slack:
		t.heating = false
	case t.room < t.target-slack:
		t.heating = true
	}
	seconds := thermostatStep.Seconds()
	t.room += seconds * (pull*(outside-t.room) + draught*(2*t.rand.Float64()-1))
	if t.heating {
		t.room += seconds * push
	}
	changed := was != t.heating
	if math.Abs(t.room-t.told) >= deadband {
		t.told = math.Round(t.room/deadband) / (1 / deadband)
		changed = true
	}
	return changed, thermostatStep
}

type thermostatState struct {
	Temperature float64 `json:"temperature"`
	Target      float64 `json:"target"`
	Units       string  `json:"units"`
	Mode        string  `json:"mode"` // "heat" or "off"
	Heating     bool    `json:"heating"`
}

func (t *thermostat) Retrieve(context.Context, string) (any, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	mode := "heat"
	if t.off {
		mode = "off"
	}
	return thermostatState{t.told, t.target, "C", mode, t.heating}, nil
}

type thermostatChange struct {
	Temperature *float64 `json:"temperature"` // only to say that it cannot be set
	Target      *float64 `json:"target"`
	Mode        *string  `json:"mode"`
}

func (t *thermostat) Update(_ context.Context, _ string, rep []byte) (any, error) {
	var want thermostatChange
	if err := oic.Decode(oic.OCF, rep, &want); err != nil {
		return nil, err
	}
	if err := want.check(); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if want.Target != nil {
		t.target = *want.Target
	}
	if want.Mode != nil {
		t.off = *want.Mode == "off"
	}
	return nil, nil
}

func (c *thermostatChange) check() error {
	switch {
	case c.Temperature != nil:
		return oic.Errorf(oic.BadRequest, "temperature is measured; set target")
	case c.Target == nil && c.Mode == nil:
		return oic.Errorf(oic.BadRequest, "nothing to change: a thermostat has target and mode")
	case c.Target != nil && !(*c.Target >= leastTarget && *c.Target <= greatestTarget): // nor NaN
		return oic.Errorf(oic.BadRequest, "target must be %g to %g", leastTarget, greatestTarget)
	case c.Mode != nil && *c.Mode != "heat" && *c.Mode != "off":
		return oic.Errorf(oic.BadRequest, `mode must be "heat" or "off"`)
	}
	return nil
}
