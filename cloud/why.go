package cloud

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/farreach/farreach/cloud/command"
	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/cloud/webhook"
	"github.com/farreach/farreach/oic"
)

// Step is one step of the way from an effect back to its cause: an event, a
// command, or what a webhook was told, which comes first if at all.
type Step struct {
	Event    *event.Event
	Command  *command.Command // that caused the step before it
	Delivery *webhook.Delivery

	// Perhaps says that the command was for another resource of the device: the
	// one may follow the other, as the lights of a room follow the room.
	Perhaps bool
}

// Reason is what led to an event, or to what a webhook was told.
type Reason struct {
	Steps []Step // the effect first
	Begin string // what the last step came from, for a person
}

// maxSteps is more than a chain can have that stops after 8 commands of rules.
const maxSteps = 24

// Why says what the newest event of a resource of a device came from; of any of
// its resources if href is "", and of those up to the time at, if that is not
// zero. It is a 4.04 if there is no such event.
//
//	event ◀── command ◀── rule ◀── event ◀── … ◀── a person, a clock, the device itself
//
// An event is taken for the effect of the newest command to its resource that
// was sent before, and answered not long before if at all. The way back ends at
// what who may not see: somebody else's rule may have waited for it.
func (c *Cloud) Why(ctx context.Context, who oic.Identity, di, href string, at time.Time) (Reason, error) {
	if err := c.authorize(who, opCommands, target{device: di}); err != nil {
		return Reason{}, err
	}
	ctx, release, err := c.hold(ctx, who, opEvents, target{device: di})
	if err != nil {
		return Reason{}, err
	}
	defer release()
	dev, ok := c.directory.Get(di)
	if !ok {
		return Reason{}, errNoDevice
	}
	href, _ = oic.SplitHref(href)
	f := event.Filter{Account: dev.Account, Device: di, Href: href, Order: event.NewestFirst}
	if !at.IsZero() {
		f.Until = at.Add(1)
	}
	ev, err := c.oneEvent(ctx, f)
	if err == nil && ev == nil {
		err = oic.Errorf(oic.NotFound, "the device has reported nothing of %.80s until then", href)
	}
	if err != nil {
		return Reason{}, failed("why", lost(ctx, err))
	}
	r, err := c.trace(ctx, who, ev)
	return r, failed("why", lost(ctx, err))
}

// WhyDelivery says what led to something that a webhook of the account of who
// was told. It is a 4.04 if there is no such delivery.
func (c *Cloud) WhyDelivery(ctx context.Context, who oic.Identity, name, id string) (Reason, error) {
	d, err := c.Delivery(ctx, who, name, id)
	if err != nil {
		return Reason{}, err
	}
	ctx, release, err := c.hold(ctx, who, opEvents, target{account: who.Account})
	if err != nil {
		return Reason{}, err
	}
	defer release()
	var n FiringNotice
	if err := json.Unmarshal(d.Body, &n); err != nil {
		return Reason{}, failed("why", err)
	}
	r := Reason{Begin: fmt.Sprintf("rule %s, revision %d", n.Rule.Name, n.Rule.Revision)}
	if n.Event == nil {
		r.Begin += fmt.Sprintf(", which was due at %s", n.Since.Format(time.RFC3339))
	} else if r, err = c.traceSeq(ctx, who, d.Account, n.Event.Seq, r.Begin); err != nil {
		return Reason{}, failed("why", lost(ctx, err))
	}
	r.Steps = append([]Step{{Delivery: &d}}, r.Steps...)
	return r, nil
}

// traceSeq follows the event seq of an account back, on which by acted.
func (c *Cloud) traceSeq(ctx context.Context, who oic.Identity, account string, seq uint64, by string) (Reason, error) {
	ev, err := c.seen(ctx, account, seq)
	switch {
	case err != nil:
		return Reason{}, err
	case ev == nil:
		return Reason{Begin: fmt.Sprintf("%s, on event %d, which is not kept any more", by, seq)}, nil
	}
	return c.trace(ctx, who, ev)
}

// oneEvent returns the first event that f selects; nil: there is none.
func (c *Cloud) oneEvent(ctx context.Context, f event.Filter) (found *event.Event, err error) {
	f.Limit = 1
	err = c.events.Query(ctx, f, func(ev event.Event) bool {
		found = &ev
		return false
	})
	return found, err
}

// trace follows an event back, as far as who may see.
func (c *Cloud) trace(ctx context.Context, who oic.Identity, ev *event.Event) (r Reason, err error) {
	for len(r.Steps) < maxSteps {
		r.Steps = append(r.Steps, Step{Event: ev})
		cmd, perhaps, err := c.commands.Cause(ctx, ev.Account, ev.Device, ev.Href, ev.Time)
		if err != nil {
			return r, err
		}
		if cmd == nil {
			r.Begin = "the device itself; no command was sent around then"
			return r, nil
		}
		r.Steps = append(r.Steps, Step{Command: cmd, Perhaps: perhaps})
		r.Begin = cmd.By.String()
		if cmd.By.Kind == "rule" && cmd.By.Account != who.Account {
			r.Begin += ", of " + cmd.By.Account
		}
		cause := cmd.By.Cause
		if cause == nil {
			return r, nil
		}
		if cause.Event == 0 {
			r.Begin += fmt.Sprintf(", which was due at %s", cause.At.UTC().Format(time.RFC3339))
			return r, nil
		}
		if ev, err = c.causeOf(ctx, cmd); err != nil {
			return r, err
		}
		if ev == nil {
			r.Begin += fmt.Sprintf(", on event %d, which is not kept any more", cause.Event)
			return r, nil
		}
		if ev.Account != who.Account && c.authorize(who, opCommands, target{device: ev.Device}) != nil {
			r.Begin += ", on an event of a device that is not shared with you"
			return r, nil
		}
	}
	r.Begin = "more steps than are followed"
	return r, nil
}

// causeOf is the event on which a rule sent cmd: one of its own account, or of
// what is shared with that. It is nil if there is none any more.
func (c *Cloud) causeOf(ctx context.Context, cmd *command.Command) (ev *event.Event, err error) {
	return c.seen(ctx, cmp.Or(cmd.By.Account, cmd.Account), cmd.By.Cause.Event)
}

// seen is the event seq, as the rules of an account see it: one of its own, or
// of what is shared with it. It is nil if there is none any more.
func (c *Cloud) seen(ctx context.Context, account string, seq uint64) (ev *event.Event, err error) {
	for _, p := range c.places(account) {
		ev, err = c.oneEvent(ctx, event.Filter{Account: p.account, Device: p.device, From: seq, Before: seq + 1})
		if ev != nil || err != nil {
			break
		}
	}
	return ev, err
}
