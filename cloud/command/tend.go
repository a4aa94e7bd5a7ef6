package command

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/oic"
)

const (
	maxDeliveries = 64              // devices at once
	lookAgain     = 5 * time.Second // at most, while the store cannot be written
)

// Arrived says that a device can be reached. It does not block.
func (c *Commands) Arrived(string) {
	if c.queue.total.Load() > 0 {
		c.queue.poke()
	}
}

// held is the right by which a command waits.
type held struct {
	release func()
	lost    atomic.Pointer[oic.StatusError]
}

// tend looks after the commands that wait, until ctx ends: it ends those that
// are too late or whose right is lost, and delivers to the devices that are
// back.
func (c *Commands) tend(ctx context.Context) {
	rights := map[string]*held{} // by key
	defer func() {
		for _, h := range rights {
			h.release()
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.queue.wake:
		case <-timer.C:
		}
		next := c.look(ctx, rights)
		if !next.IsZero() {
			timer.Reset(max(time.Until(next), 0))
		}
	}
}

// look looks at each command that waits, and says when it is to be done again
// at the latest; zero: when something has changed.
func (c *Commands) look(ctx context.Context, rights map[string]*held) (next time.Time) {
	again := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	q := &c.queue
	q.mu.Lock()
	devices := slices.Collect(maps.Keys(q.devices))
	q.mu.Unlock()
	there := map[string]bool{}
	for _, di := range devices {
		for _, w := range q.of(di) {
			key := w.key()
			there[key] = true
			at, err := c.one(ctx, key, w, rights)
			if err != nil {
				c.cfg.Log.Debug("command that waits cannot be ended for now", "id", w.Command.ID, "err", err)
				at = time.Now().Add(lookAgain)
			}
			if !at.IsZero() {
				again(at)
			}
		}
		c.start(ctx, di)
	}
	for key, h := range rights {
		if !there[key] {
			h.release()
			delete(rights, key)
		}
	}
	return next
}

// one looks at one command, and says when it is to be looked at again; zero:
// when it has changed.
func (c *Commands) one(ctx context.Context, key string, w *waiting, rights map[string]*held) (time.Time, error) {
	r := &w.Command
	switch {
	case r.State.Final(): // whoever ended it did not get to the end of that
		_, err := c.settle(ctx, *w)
		return time.Time{}, err
	case r.State == Sent:
		if end := c.patience(r.Sent); time.Now().Before(end) {
			return end, nil
		}
		return time.Time{}, c.orphan(ctx, w)
	case !time.Now().Before(r.Expires):
		_, err := c.drop(ctx, key, Expired, "the device did not come back in time")
		return time.Time{}, taken(err)
	}
	h := rights[key]
	if h == nil {
		h = c.hold(w)
		rights[key] = h
	}
	if lost := h.lost.Load(); lost != nil {
		_, err := c.drop(ctx, key, Cancelled, "who asked lost the right: "+lost.Diag)
		return time.Time{}, taken(err)
	}
	return r.Expires, nil
}

// taken makes no error of what somebody else has taken.
func taken(err error) error {
	if errors.Is(err, errTaken) {
		return nil
	}
	return err
}

// hold asks for the right by which w waits.
func (c *Commands) hold(w *waiting) *held {
	h := &held{release: func() {}}
	lose := func(cause error) {
		status, diag := oic.StatusOf(cause)
		h.lost.Store(&oic.StatusError{Status: status, Diag: diag})
		c.queue.poke()
	}
	release, err := c.cfg.Hold(w.Who, w.Device, w.Command.Href, lose)
	if err != nil {
		lose(err)
		return h
	}
	h.release = release
	return h
}

// orphan ends a command that was taken to be sent by somebody who has gone. The
// log may know more.
func (c *Commands) orphan(ctx context.Context, w *waiting) error {
	if cmd, err := c.Get(ctx, w.Account, w.Device, w.Command.ID); err == nil && cmd.State.Final() && cmd.State != Unknown {
		return c.queue.table.Delete(ctx, w.key())
	}
	end := *w
	end.Command.State, end.Command.Ended, end.Command.Why = Unknown, now(), orphaned
	_, err := c.settle(ctx, end)
	return err
}

const orphaned = "the server ended before the device had answered"

// start delivers to a device, if it can be reached and nobody does so already.
func (c *Commands) start(ctx context.Context, di string) {
	q := &c.queue
	if _, err := c.cfg.Reach(di); err != nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.running[di] || len(q.running) >= maxDeliveries {
		return
	}
	q.running[di] = true
	c.tasks.Go(func() {
		again := c.deliver(ctx, di)
		q.mu.Lock()
		defer q.mu.Unlock()
		delete(q.running, di)
		if again {
			q.poke()
		}
	})
}

// deliver sends what waits for a device, oldest first, until nothing is left
// or the device has gone.
func (c *Commands) deliver(ctx context.Context, di string) (again bool) {
	for ctx.Err() == nil {
		list := c.queue.of(di)
		if len(list) == 0 || list[0].Command.State != Queued {
			return false
		}
		to, err := c.cfg.Reach(di)
		if err != nil {
			return false
		}
		if err := c.deliverOne(ctx, list[0], to); err != nil {
			c.cfg.Log.Debug("command is not delivered for now", "id", list[0].Command.ID, "device", di, "err", err)
			_ = backoff.Sleep(ctx, time.Second) // the loop sees the end of ctx too
			return true
		}
	}
	return true
}

// deliverOne sends one command. An error says that the next one has to wait.
func (c *Commands) deliverOne(ctx context.Context, w *waiting, to oic.Handler) error {
	key := w.key()
	ctx, part := Parting(ctx)
	defer part()
	ctx, cancel := context.WithTimeoutCause(ctx, Patience-10*time.Second, context.DeadlineExceeded)
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	release, err := c.cfg.Hold(w.Who, w.Device, w.Command.Href, stop)
	if err != nil {
		_, why := oic.StatusOf(err)
		_, err = c.drop(ctx, key, Cancelled, "who asked lost the right: "+why)
		return taken(err)
	}
	defer release()
	took, err := c.queue.take(ctx, key, func(r *record) { r.State, r.Sent = Sent, now() })
	if err != nil {
		return taken(err)
	}
	cmd, err := took.Command.command(w.Account, w.Device)
	if err != nil {
		return err
	}
	cmd, _, err = c.send(c.in(ctx, w), cmd, cmd.request(w.Who), to)
	after := context.WithoutCancel(ctx)
	switch cmd.State {
	case Queued:
		took.Command = recordOf(&cmd)
		return errors.Join(err, c.queue.table.Put(after, key, took))
	case Sent: // that could not be stored, so it was not
		took.Command.State, took.Command.Sent = Queued, time.Time{}
		return errors.Join(err, c.queue.table.Put(after, key, took))
	}
	return c.queue.table.Delete(after, key)
}
