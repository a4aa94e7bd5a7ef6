package sim

import (
	"context"
	"math"
	"time"

	"github.com/farreach/farreach/oic"
)

// The house behind the meter: powers in W.
const (
	meterStep  = 5 * time.Second
	leastPower = 60   // what is never off
	mostPower  = 3500 // of a house
	powerStep  = 40   // at most, either way
	kettle     = 1800 // now and then
	kettleOdds = 24   // one step in so many
)

// meter counts the energy that a house takes.
type meter struct {
	base
	house   float64 // W, without the kettle
	power   float64 // W
	energy  float64 // Wh since it was built
	boiling int     // steps left
	started bool
}

func newMeter(b base) thing {
	return &meter{base: b, house: 240, power: 240, energy: 1000 * math.Round(100+900*b.rand.Float64())}
}

func (m *meter) Link() oic.Link {
	return link("/a/meter", oic.IfSensor, "oic.r.energy.consumption")
}

func (m *meter) step() (bool, time.Duration) {
	if !m.started {
		m.started = true
		return false, meterStep
	}
	m.energy += m.power * meterStep.Hours()
	m.house += powerStep * (2*m.rand.Float64() - 1)
	m.house = min(max(m.house, leastPower), mostPower-kettle)
	m.power = m.house
	if m.boiling == 0 && m.rand.IntN(kettleOdds) == 0 {
		m.boiling = 3 + m.rand.IntN(12)
	}
	if m.boiling > 0 {
		m.boiling--
		m.power += kettle
	}
	return true, meterStep
}

// Retrieve gives power in W and energy in Wh, as oic.r.energy.consumption does.
func (m *meter) Retrieve(context.Context, string) (any, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return struct {
		Power  float64 `json:"power"`
		Energy float64 `json:"energy"`
	}{math.Round(m.power*10) / 10, math.Round(m.energy*10) / 10}, nil
}
