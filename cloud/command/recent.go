package command

import (
	"sync"
	"time"

	"github.com/farreach/farreach/oic"
)

// An event that comes this long after the device has answered may be the
// effect of a command: it is observed, and says what is when it is sent.
const effectAfter = 2 * time.Second

// Explains reports whether an event of the commanded resource that was received
// at t can be the effect of c.
func (c *Command) Explains(t time.Time) bool {
	if c.Sent.IsZero() || t.Before(c.Sent) || c.State == Refused {
		return false
	}
	end := c.Ended
	if end.IsZero() {
		end = c.Sent.Add(Patience)
	}
	return !t.After(end.Add(effectAfter))
}

// recent is the newest command to each resource, for as long as events can be
// the effect of it, and not much longer: whoever asks what an event came from
// while it is new need not read the log.
type recent struct {
	mu         sync.Mutex // guards what follows
	young, old map[resource]*Command
	turned     time.Time // when young was begun
}

type resource struct{ device, path string }

const (
	generation = Patience + effectAfter
	maxRecent  = 1 << 16 // resources of each generation
)

func (r *recent) sent(cmd *Command) {
	path, _ := oic.SplitHref(cmd.Href)
	kept := Command{ID: cmd.ID, By: cmd.By, State: cmd.State, Sent: cmd.Sent}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.young == nil || kept.Sent.Sub(r.turned) > generation || len(r.young) >= maxRecent {
		r.young, r.old, r.turned = map[resource]*Command{}, r.young, kept.Sent
	}
	r.young[resource{cmd.Device, path}] = &kept
}

func (r *recent) ended(cmd *Command) {
	path, _ := oic.SplitHref(cmd.Href)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range []map[resource]*Command{r.young, r.old} {
		if kept := m[resource{cmd.Device, path}]; kept != nil && kept.ID == cmd.ID {
			kept.State, kept.Ended = cmd.State, cmd.Ended
		}
	}
}

// Recent returns who sent the command of which an event of a resource, which was
// received at t, is an effect, as far as this process knows: the newest one
// that can be.
func (c *Commands) Recent(device, href string, t time.Time) (id string, by Asker, ok bool) {
	path, _ := oic.SplitHref(href)
	r := &c.recent
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range []map[resource]*Command{r.young, r.old} {
		if kept := m[resource{device, path}]; kept != nil && kept.Explains(t) {
			return kept.ID, kept.By, true
		}
	}
	return "", Asker{}, false
}
