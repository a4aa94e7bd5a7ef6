package command

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/farreach/farreach/internal/tracing"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// What waits for devices that are away, at most.
const (
	MaxQueue   = time.Hour // how long
	maxDevice  = 16        // commands of a device
	maxAccount = 1000      // commands of an account
)

// waiting is a command that waits for its device, or was taken to be sent to
// it. It is in the table until its outcome is in the log.
type waiting struct {
	Account string       `json:"account"`
	Device  string       `json:"di"`
	Command record       `json:"command"`
	Who     oic.Identity `json:"who"`            // which has no secret
	Trace   string       `json:"trace,omitzero"` // the span in which it was queued
}

func (w *waiting) key() string { return store.Key(w.Account, w.Device, w.Command.ID) }

// queue is the commands that wait.
type queue struct {
	table *store.View[waiting]
	wake  chan struct{} // holds one if tend has something to do
	total atomic.Int64

	adding sync.Mutex // held from the look at how many there are until there is one more

	mu       sync.Mutex // guards what follows
	devices  map[string]map[string]*waiting
	accounts map[string]int
	running  map[string]bool // devices to which commands are being delivered
	turn     chan struct{}   // closed and replaced at each change
}

func (q *queue) open(ctx context.Context, s *store.Store) error {
	q.wake = make(chan struct{}, 1)
	q.turn = make(chan struct{})
	q.devices, q.accounts, q.running = map[string]map[string]*waiting{}, map[string]int{}, map[string]bool{}
	table, err := store.OpenTable[waiting](ctx, s, "queue", 0)
	if err != nil {
		return err
	}
	if q.table, err = store.OpenView(ctx, table, q.changed); err != nil {
		return err
	}
	for key, w := range q.table.All() {
		q.changed(key, nil, w) // again perhaps, if it changed just now
	}
	return nil
}

func (q *queue) close() { q.table.Close() }

// changed keeps the lists of each device and account. It is called by the view.
func (q *queue) changed(key string, old, new *waiting) {
	q.mu.Lock()
	defer q.mu.Unlock()
	w := new
	if w == nil {
		w = old
	}
	list := q.devices[w.Device]
	_, known := list[key]
	switch {
	case new != nil:
		if list == nil {
			list = map[string]*waiting{}
			q.devices[w.Device] = list
		}
		if list[key] = new; !known {
			q.accounts[w.Account]++
			q.total.Add(1)
		}
	case known:
		if delete(list, key); len(list) == 0 {
			delete(q.devices, w.Device)
		}
		if q.accounts[w.Account]--; q.accounts[w.Account] == 0 {
			delete(q.accounts, w.Account)
		}
		q.total.Add(-1)
	}
	q.turned()
}

// turned wakes up all that wait for a change. q.mu is held.
func (q *queue) turned() {
	close(q.turn)
	q.turn = make(chan struct{})
	q.poke()
}

func (q *queue) poke() {
	select {
	case q.wake <- struct{}{}:
	default: // it will come anyway
	}
}

// of returns the commands that wait for a device, oldest first.
func (q *queue) of(di string) []*waiting {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := slices.Collect(maps.Values(q.devices[di]))
	slices.SortFunc(list, func(x, y *waiting) int {
		if c := x.Command.Made.Compare(y.Command.Made); c != 0 {
			return c
		}
		return compare(x.Command.ID, y.Command.ID)
	})
	return list
}

func compare(x, y string) int {
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// purge removes what waits for a device of an account, or for all if di is "".
func (q *queue) purge(ctx context.Context, account, di string) (err error) {
	for key, w := range q.table.All() {
		if w.Account == account && (di == "" || w.Device == di) {
			err = errors.Join(err, q.table.Delete(ctx, key))
		}
	}
	return err
}

// Queue keeps cmd, as req says it, until the device is back, but no longer than
// wait. When it is delivered, from must still be allowed to command the device.
//
// The error is a refusal: 4.00 for a wait above MaxQueue, 4.13 for a body above
// 16 KiB, 5.03 if too many wait already; or that of the store. A command whose
// ID is there already is not kept again.
func (c *Commands) Queue(ctx context.Context, cmd Command, req *oic.Request, from oic.Identity, wait time.Duration) (Command, error) {
	if again := cmd.fill(req); again {
		if before, err := c.Get(ctx, cmd.Account, cmd.Device, cmd.ID); err == nil || !isNotFound(err) {
			return before, err
		}
	}
	err := c.keep(ctx, &cmd, from, wait)
	return cmd, err
}

// keep is Queue for a command that certainly is not there.
func (c *Commands) keep(ctx context.Context, cmd *Command, from oic.Identity, wait time.Duration) error {
	switch {
	case wait <= 0 || wait > MaxQueue:
		return oic.Errorf(oic.BadRequest, "a command waits for %v at most, not for %v", MaxQueue, wait)
	case len(cmd.Body) > maxKept:
		return oic.Errorf(oic.TooLarge, "a command that waits has a body of %d bytes at most", maxKept)
	}
	cmd.State, cmd.Expires = Queued, cmd.Made.Add(wait)
	ctx, span := c.cfg.Tracer.Start(ctx, tracing.Task, "command queued")
	w := waiting{cmd.Account, cmd.Device, recordOf(cmd), from, c.cfg.Tracer.Parent(ctx)}
	err := c.queue.add(ctx, w, func() error { return c.note(ctx, cmd) })
	tell(span, cmd, err)
	return err
}

// add puts w into the table when note has put it into the log: what is taken
// from the table at once must come later there.
func (q *queue) add(ctx context.Context, w waiting, note func() error) error {
	q.adding.Lock()
	defer q.adding.Unlock()
	q.mu.Lock()
	device, account := len(q.devices[w.Device]), q.accounts[w.Account]
	q.mu.Unlock()
	if device >= maxDevice {
		return oic.Errorf(oic.Unavailable, "%d commands wait for the device already", maxDevice)
	}
	if account >= maxAccount {
		return oic.Errorf(oic.Unavailable, "%d commands of the account wait already", maxAccount)
	}
	if err := note(); err != nil {
		return err
	}
	return q.table.Create(ctx, w.key(), w)
}

// errTaken says that a command does not wait any more.
var errTaken = errors.New("taken")

// take changes a command that waits, unless somebody else was faster.
func (q *queue) take(ctx context.Context, key string, change func(*record)) (waiting, error) {
	w, err := q.table.Modify(ctx, key, func(w *waiting) error {
		if w.Command.State != Queued {
			return errTaken
		}
		change(&w.Command)
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		err = errTaken
	}
	return w, err
}

// Cancel takes back a command of the account that waits. It is a 4.04 if there
// is no such command, and a 4.09 if it does not wait any more.
func (c *Commands) Cancel(ctx context.Context, account, id, why string) (Command, error) {
	cmd, err := c.Get(ctx, account, "", id)
	if err != nil {
		return cmd, err
	}
	w := waiting{Account: account, Device: cmd.Device, Command: recordOf(&cmd)}
	cmd, err = c.drop(ctx, w.key(), Cancelled, why)
	if errors.Is(err, errTaken) {
		if cmd, err = c.Get(ctx, account, "", id); err == nil {
			err = oic.Errorf(oic.Conflict, "the command does not wait: it is %s", cmd.State)
		}
	}
	return cmd, err
}

// drop ends a command that waits.
func (c *Commands) drop(ctx context.Context, key string, state State, why string) (Command, error) {
	w, err := c.queue.take(ctx, key, func(r *record) { r.State, r.Ended, r.Why = state, now(), why })
	if err != nil {
		return Command{}, err
	}
	return c.settle(ctx, w)
}

// settle puts the outcome of a command that waited into the log and takes it
// out of the table.
func (c *Commands) settle(ctx context.Context, w waiting) (Command, error) {
	cmd, err := w.Command.command(w.Account, w.Device)
	if err == nil {
		err = c.note(ctx, &cmd)
	}
	if err == nil {
		err = c.queue.table.Delete(ctx, w.key())
	}
	return cmd, err
}

// Behind waits until no command waits for a device that can be reached, so that
// one that need not wait does not overtake it.
func (c *Commands) Behind(ctx context.Context, di string) error {
	q := &c.queue
	for q.total.Load() > 0 {
		q.mu.Lock()
		n, turn := len(q.devices[di]), q.turn
		q.mu.Unlock()
		if n == 0 {
			return nil
		}
		q.poke()
		select {
		case <-turn:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
