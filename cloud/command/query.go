package command

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// DefaultLimit is how many commands List returns, unless the filter says.
const DefaultLimit = 100

const (
	maxRecords = 200_000         // that one question reads
	clockSkew  = 5 * time.Second // between whoever made an id and the store
)

// Filter selects commands. Account is required; any other zero value is no
// restriction.
type Filter struct {
	Account string
	Device  string // di
	State   State
	Since   time.Time // made at this time or later
	Before  string    // only those older than the one with this ID
	Limit   int       // how many at most, the newest; 0: 100
}

// List returns the commands that f selects, the newest first.
func (c *Commands) List(ctx context.Context, f Filter) ([]Command, error) {
	if f.Limit <= 0 {
		f.Limit = DefaultLimit
	}
	prefix := []string{f.Account}
	if f.Device != "" {
		prefix = append(prefix, f.Device)
	}
	if f.Account == "" {
		return nil, errors.New("commands: no account given")
	}
	for n := 4 * f.Limit; ; n *= 4 { // a command has two records, most of the time
		read, oldest := 0, time.Time{}
		found := map[string]Command{}
		err := c.log.Newest(ctx, uint64(min(n, maxRecords)), prefix, func(r store.Record) bool {
			if read++; read == 1 {
				oldest = r.Time
			}
			if cmd, ok := c.parse(r); ok {
				found[cmd.ID] = cmd
			}
			return true
		})
		if err != nil {
			return nil, err
		}
		list := c.choose(f, found)
		if len(list) >= f.Limit || read < n || n >= maxRecords || oldest.Before(f.Since) {
			return list[:min(len(list), f.Limit)], nil
		}
	}
}

// choose returns those of found that f selects, the newest first.
func (c *Commands) choose(f Filter, found map[string]Command) (list []Command) {
	for _, cmd := range found {
		cmd = c.today(cmd)
		if (f.State == "" || cmd.State == f.State) && !cmd.Made.Before(f.Since) && (f.Before == "" || cmd.ID < f.Before) {
			list = append(list, cmd)
		}
	}
	slices.SortFunc(list, func(x, y Command) int { return strings.Compare(y.ID, x.ID) })
	return list
}

// Get returns the command with this id of an account, and of a device if that
// is not "". It is a 4.04 if there is none.
func (c *Commands) Get(ctx context.Context, account, device, id string) (cmd Command, err error) {
	made, err := madeAt(id)
	if err != nil {
		return Command{}, err
	}
	prefix := []string{account}
	if device != "" {
		prefix = append(prefix, device)
	}
	if account == "" {
		return Command{}, errors.New("command: no account given")
	}
	err = c.log.Read(ctx, store.Start{Time: made.Add(-clockSkew)}, prefix, func(r store.Record) bool {
		if one, ok := c.parse(r); ok && one.ID == id {
			cmd = one
		}
		return !cmd.State.Final() || cmd.ID == ""
	})
	if err == nil && cmd.ID == "" {
		err = errNoCommand
	}
	return c.today(cmd), err
}

var errNoCommand = oic.Errorf(oic.NotFound, "no such command")

func isNotFound(err error) bool {
	refusal, ok := errors.AsType[*oic.StatusError](err)
	return ok && refusal.Status == oic.NotFound
}

// Cause returns the command whose effect an event of a resource can be that was
// received at t: the newest one to that resource, or else, and then perhaps is
// true, to any other of the device. It is nil if there is none.
func (c *Commands) Cause(ctx context.Context, account, device, href string, t time.Time) (cause *Command, perhaps bool, err error) {
	list, err := c.sent(ctx, account, device, t.Add(-Patience-effectAfter), t)
	for i := range list {
		path, _ := oic.SplitHref(list[i].Href)
		if list[i].Explains(t) && (path == href || cause == nil || perhaps) {
			cause, perhaps = &list[i], path != href
		}
	}
	return cause, perhaps, err
}

// sent returns the commands of a device that were sent in the time from until
// to, oldest first, whatever they came to.
func (c *Commands) sent(ctx context.Context, account, device string, from, to time.Time) (list []Command, err error) {
	found := map[string]Command{}
	n := 0
	err = c.log.Read(ctx, store.Start{Time: from.Add(-clockSkew)}, []string{account, device}, func(r store.Record) bool {
		if n++; n > maxRecords || r.Time.After(to.Add(Patience)) {
			return false
		}
		if cmd, ok := c.parse(r); ok {
			found[cmd.ID] = cmd
		}
		return true
	})
	for _, cmd := range found {
		if !cmd.Sent.IsZero() && !cmd.Sent.Before(from) && !cmd.Sent.After(to) {
			list = append(list, c.today(cmd))
		}
	}
	slices.SortFunc(list, func(x, y Command) int { return x.Sent.Compare(y.Sent) })
	return list, err
}

// Follow calls each for every change of a command of an account, of a device if
// that is not "", from now on, until ctx ends or each returns an error, which is
// returned. begun, if not nil, is called when none is missed any more. Seq is
// the order of the changes; from goes on behind one, and 0 begins now.
func (c *Commands) Follow(ctx context.Context, account, device string, from uint64, begun func(), each func(seq uint64, cmd Command) error) error {
	if account == "" {
		return errors.New("commands: no account given")
	}
	prefix := []string{account}
	if device != "" {
		prefix = append(prefix, device)
	}
	if from > 0 {
		from++
	}
	return c.log.Follow(ctx, from, prefix, func(uint64) {
		if begun != nil {
			begun()
		}
	}, func(r store.Record) error {
		if cmd, ok := c.parse(r); ok {
			return each(r.Seq, cmd)
		}
		return nil
	})
}

// parse reads a record. One that cannot be read is reported and left out.
func (c *Commands) parse(r store.Record) (Command, bool) {
	cmd, err := parseRecord(r)
	if err != nil {
		c.cfg.Log.Error("command is unreadable and left out", "seq", r.Seq, "err", err)
	}
	return cmd, err == nil
}

// today is cmd by its last record, as it must be seen now.
func (c *Commands) today(cmd Command) Command {
	switch {
	case cmd.State == Sent && !time.Now().Before(c.patience(cmd.Sent)):
		cmd.State, cmd.Why = Unknown, orphaned
	case cmd.State == Queued && time.Since(cmd.Expires) > Patience: // it was never in the table
		cmd.State, cmd.Ended, cmd.Why = Expired, cmd.Expires, "the server ended before it could wait"
	}
	return cmd
}

// patience is until when a command that was sent may have no outcome. If nobody
// else uses the store, whoever sent it before this process began will never
// tell.
func (c *Commands) patience(sent time.Time) time.Time {
	if c.alone && sent.Before(c.opened) {
		return c.opened
	}
	return sent.Add(Patience)
}

// Purge removes all commands of a device of the account, those that wait too.
func (c *Commands) Purge(ctx context.Context, account, device string) error {
	if account == "" || device == "" {
		return errors.New("purge commands: no account or device given")
	}
	return errors.Join(c.queue.purge(ctx, account, device), c.log.Purge(ctx, []string{account, device}))
}

// PurgeAccount removes all commands of an account.
func (c *Commands) PurgeAccount(ctx context.Context, account string) error {
	if account == "" {
		return errors.New("purge commands: no account given")
	}
	return errors.Join(c.queue.purge(ctx, account, ""), c.log.Purge(ctx, []string{account}))
}
