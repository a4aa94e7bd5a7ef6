package sim

import (
	"context"
	"time"

	"github.com/farreach/farreach/oic"
)

// How long a door stays as it is.
const (
	doorWait   = 10 * time.Second
	doorJitter = 3 * time.Second // more or less
)

// door is opened and closed by someone, about every ten seconds.
type door struct {
	base
	moved bool // step was called before
	open  bool
}

func newDoor(b base) thing { return &door{base: b} }

func (d *door) Link() oic.Link { return link("/a/door", oic.IfSensor, "oic.r.door") }

func (d *door) step() (bool, time.Duration) {
	changed := d.moved
	if changed {
		d.open = !d.open
	}
	d.moved = true
	return changed, doorWait - doorJitter + time.Duration(d.rand.Int64N(int64(2*doorJitter)))
}

// Retrieve gives the state twice: openState is what oic.r.door asks for, open is
// what a rule is easily written with.
func (d *door) Retrieve(context.Context, string) (any, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	state := "Closed"
	if d.open {
		state = "Open"
	}
	return struct {
		Open  bool   `json:"open"`
		State string `json:"openState"`
	}{d.open, state}, nil
}
