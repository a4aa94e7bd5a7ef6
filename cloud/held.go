package cloud

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/farreach/farreach/cloud/account"
	"github.com/farreach/farreach/oic"
)

// held is what stays open by a right: requests under way, observations,
// streams of events, sessions. When something changed that rights rest on, it
// asks again for each thing that is concerned and ends those without a right,
// well within the second that threats rule 2 gives.
//
//	store ── a record changed ──▶ rightsChanged, deviceChanged ──▶ watch ── authorize ──▶ end
//
// Only those are asked that the record concerns: a device that joins an account
// costs the same whether that has ten devices or a thousand.
type held struct {
	mu       sync.Mutex                // guards what follows
	accounts map[string]map[*hold]bool // by the asker's account
	proofs   map[string]map[*hold]bool // by account.By of the asker
	devices  map[string]map[*hold]bool // by the device that it is about
	dirty    map[*hold]bool            // to be asked again

	wake chan struct{} // holds one if dirty is not empty
}

// hold is one thing that stays open.
type hold struct {
	who oic.Identity
	op  operation
	on  target
	end func(cause error) // called at most once per loss; must not block
}

func (h *held) init() {
	h.accounts = map[string]map[*hold]bool{}
	h.proofs = map[string]map[*hold]bool{}
	h.devices = map[string]map[*hold]bool{}
	h.dirty = map[*hold]bool{}
	h.wake = make(chan struct{}, 1)
}

// add keeps o in sight until remove. It must be authorized after add, lest a
// change in between be missed.
func (h *held) add(o *hold) (remove func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	put(h.accounts, o.who.Account, o)
	put(h.proofs, account.By(o.who), o)
	put(h.devices, o.on.device, o)
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		drop(h.accounts, o.who.Account, o)
		drop(h.proofs, account.By(o.who), o)
		drop(h.devices, o.on.device, o)
		delete(h.dirty, o)
	}
}

func put(index map[string]map[*hold]bool, key string, o *hold) {
	if key == "" {
		return
	}
	if index[key] == nil {
		index[key] = map[*hold]bool{}
	}
	index[key][o] = true
}

func drop(index map[string]map[*hold]bool, key string, o *hold) {
	if delete(index[key], o); len(index[key]) == 0 {
		delete(index, key)
	}
}

// rightsChanged says that rights of an account's identities may have changed,
// of all or of those by one proof; see account.Config.Changed.
func (h *held) rightsChanged(name, by string) {
	if by == "" {
		h.ask(h.accounts, name)
	} else {
		h.ask(h.proofs, by)
	}
}

// deviceChanged says that rights on a device may have changed.
func (h *held) deviceChanged(di string) { h.ask(h.devices, di) }

func (h *held) ask(index map[string]map[*hold]bool, key string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for o := range index[key] {
		h.dirty[o] = true
	}
	if len(h.dirty) > 0 {
		select {
		case h.wake <- struct{}{}:
		default: // it will come anyway
		}
	}
}

// watch asks authorize again for what is dirty, until ctx ends.
func (h *held) watch(ctx context.Context, authorize func(oic.Identity, operation, target) error) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.wake:
		}
		h.mu.Lock()
		dirty := h.dirty
		h.dirty = map[*hold]bool{}
		h.mu.Unlock()
		for o := range dirty {
			if err := authorize(o.who, o.op, o.on); err != nil {
				o.end(err)
			}
		}
	}
}

// endAll ends everything, for the cloud is closed.
func (h *held) endAll() {
	h.mu.Lock()
	var all []*hold
	for _, index := range []map[string]map[*hold]bool{h.accounts, h.devices} {
		for _, set := range index {
			for o := range set {
				all = append(all, o)
			}
		}
	}
	h.mu.Unlock()
	for _, o := range all {
		o.end(errClosed)
	}
}

var errClosed = oic.Errorf(oic.Unavailable, "the cloud is closing")

// hold authorizes an operation that may take time. The context ends with the
// right; the caller calls release when done.
func (c *Cloud) hold(ctx context.Context, who oic.Identity, op operation, on target) (context.Context, func(), error) {
	ctx, cancel := context.WithCancelCause(ctx)
	o := &hold{who: who, op: op, on: on, end: cancel}
	remove := c.held.add(o)
	release := func() { remove(); cancel(nil) }
	until, err := c.allowed(who, op, on, time.Now())
	if err != nil {
		release()
		return nil, nil, err
	}
	if until.IsZero() {
		return ctx, release, nil
	}
	ctx, stop := context.WithDeadlineCause(ctx, until, errEnded(until))
	return ctx, func() { stop(); release() }, nil
}

// lost returns why a context of hold ended, if the right was lost, and err
// otherwise.
func lost(ctx context.Context, err error) error {
	if ctx.Err() == nil || err == nil {
		return err
	}
	if refusal, ok := errors.AsType[*oic.StatusError](context.Cause(ctx)); ok {
		return refusal
	}
	return err
}
