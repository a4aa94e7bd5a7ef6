package cloud

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/farreach/farreach/cloud/command"
	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/cloud/rule"
	"github.com/farreach/farreach/cloud/webhook"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// keepCommand is how long a rule's command waits for a device that is away, if
// the rule does not say: long enough for a server that starts again.
const keepCommand = 30 * time.Second

// Rules lists the rules of who's account, by name.
func (c *Cloud) Rules(_ context.Context, who oic.Identity) ([]rule.Rule, error) {
	if err := c.authorize(who, opSeeRules, target{account: who.Account}); err != nil {
		return nil, err
	}
	return c.rules.List(who.Account), nil
}

// RuleInfo is a rule and what it remembers.
type RuleInfo struct {
	rule.Rule
	State rule.State // as it was a second ago
}

// Rule returns one rule of who's account.
func (c *Cloud) Rule(ctx context.Context, who oic.Identity, id string) (RuleInfo, error) {
	if err := c.authorize(who, opSeeRules, target{account: who.Account}); err != nil {
		return RuleInfo{}, err
	}
	r, err := c.rules.Get(ctx, who.Account, id)
	if err != nil {
		return RuleInfo{}, failed("read rule", err)
	}
	state, err := c.rules.State(ctx, &r)
	return RuleInfo{r, state}, failed("read rule", err)
}

// RuleRevisions lists the newest revisions of a rule, the newest first.
func (c *Cloud) RuleRevisions(ctx context.Context, who oic.Identity, id string) ([]rule.Rule, error) {
	if err := c.authorize(who, opSeeRules, target{account: who.Account}); err != nil {
		return nil, err
	}
	list, err := c.rules.Revisions(ctx, who.Account, id)
	return list, failed("read rule", err)
}

// RuleRun is a firing, and what became of its commands.
type RuleRun struct {
	rule.Firing

	// What the commands and webhooks of Do have become, at the same places;
	// without an ID where there was none, or where it is not known any more.
	Commands   []command.Command
	Deliveries []webhook.Delivery
}

// RuleRuns lists the newest firings of a rule, or with id "" of all rules of
// who's account, limit at most, the newest first.
func (c *Cloud) RuleRuns(ctx context.Context, who oic.Identity, id string, limit int) ([]RuleRun, error) {
	if err := c.authorize(who, opSeeRules, target{account: who.Account}); err != nil {
		return nil, err
	}
	list, err := c.rules.Runs(ctx, who.Account, id, limit)
	runs := make([]RuleRun, len(list))
	for i := range list {
		do := list[i].Do
		runs[i] = RuleRun{list[i], make([]command.Command, len(do)), make([]webhook.Delivery, len(do))}
		for j := range do {
			switch {
			case err != nil, do[j].Problem != "":
			case do[j].Webhook != "":
				runs[i].Deliveries[j], err = c.deliveryOf(ctx, &list[i], j)
			case do[j].Device != "":
				runs[i].Commands[j], err = c.commandOf(ctx, &list[i], j)
			}
		}
	}
	return runs, failed("read runs", err)
}

// commandOf is what became of the index-th thing that a firing did; without an
// ID if that is not known.
func (c *Cloud) commandOf(ctx context.Context, f *rule.Firing, index int) (command.Command, error) {
	owner := f.Account
	if other, ok := c.sharedBy(f.Account, f.Do[index].Device); ok {
		owner = other
	}
	cmd, err := c.commands.Get(ctx, owner, f.Do[index].Device, commandID(f, index))
	if status, _ := oic.StatusOf(err); err != nil && status == oic.NotFound {
		return command.Command{}, nil
	}
	return cmd, err
}

// commandID is the id of the command that the index-th action of f is.
func commandID(f *rule.Firing, index int) string {
	return command.NewID(f.Time, f.Account, f.ID, strconv.Itoa(index))
}

// AddRule makes a rule of who's account, which is followed from now on.
func (c *Cloud) AddRule(ctx context.Context, who oic.Identity, d rule.Document) (rule.Rule, error) {
	if err := c.authorize(who, opRules, target{account: who.Account}); err != nil {
		return rule.Rule{}, err
	}
	r, err := c.rules.Add(ctx, who.Account, c.asker(who, &Order{}).String(), d)
	if err == nil {
		c.log.Info("rule added", "account", who.Account, "rule", r.Name, "id", r.ID)
	}
	return r, failed("add rule", err)
}

// ChangeRule replaces the document of a rule by what change makes of it, if its
// revision is still that given, else it is a 4.12; 0: whichever it is.
func (c *Cloud) ChangeRule(ctx context.Context, who oic.Identity, id string, revision uint64, change func(*rule.Document) error) (rule.Rule, error) {
	if err := c.authorize(who, opRules, target{account: who.Account}); err != nil {
		return rule.Rule{}, err
	}
	r, err := c.rules.Change(ctx, who.Account, id, revision, c.asker(who, &Order{}).String(), change)
	if err == nil {
		c.log.Info("rule changed", "account", who.Account, "rule", r.Name, "id", r.ID, "revision", r.Revision)
	}
	return r, failed("change rule", err)
}

// RemoveRule removes a rule; revision is as for ChangeRule.
func (c *Cloud) RemoveRule(ctx context.Context, who oic.Identity, id string, revision uint64) error {
	if err := c.authorize(who, opRules, target{account: who.Account}); err != nil {
		return err
	}
	err := c.rules.Remove(ctx, who.Account, id, revision)
	if err == nil {
		c.log.Info("rule removed", "account", who.Account, "id", id)
	}
	return failed("remove rule", err)
}

// TestRule calls each with the firings that a rule would have had in the past,
// until it returns false, and returns how many events were looked at.
func (c *Cloud) TestRule(ctx context.Context, who oic.Identity, d rule.Document, since, until time.Time, each func(*rule.Firing) bool) (events int, err error) {
	ctx, release, err := c.hold(ctx, who, opEvents, target{account: who.Account})
	if err != nil {
		return 0, err
	}
	defer release()
	events, err = c.rules.Replay(ctx, who.Account, d, since, until, each)
	return events, failed("test rule", lost(ctx, err))
}

// MayTestRules reports whether who may see what rules do.
func (c *Cloud) MayTestRules(_ context.Context, who oic.Identity) error {
	return c.authorize(who, opSeeRules, target{account: who.Account})
}

// ruleWorld is what the rules know and do: a rule.World.
type ruleWorld struct{ c *Cloud }

var _ rule.World = ruleWorld{}

func (w ruleWorld) Newest(ctx context.Context) (uint64, error) { return w.c.events.Newest(ctx) }

func (w ruleWorld) Follow(ctx context.Context, from uint64, begun func(uint64), each func(*rule.Event) error) error {
	var e rule.Event
	f := event.Filter{From: from, Begun: func() { begun(from) }}
	return w.c.events.FollowAll(ctx, f, func(ev event.Event) error {
		e = ruleEvent(&ev)
		return each(&e)
	})
}

func ruleEvent(ev *event.Event) rule.Event {
	return rule.Event{
		Seq: ev.Seq, Time: ev.Time, Account: ev.Account, Device: ev.Device, Href: ev.Href, Format: ev.Format, Body: ev.Body,
	}
}

func (w ruleWorld) Past(ctx context.Context, q rule.Past, each func(*rule.Event) bool) error {
	f := event.Filter{Account: q.Account, Device: q.Device, Href: q.Href, Since: q.Since, Until: q.Until, From: q.From}
	if owner, ok := w.c.sharedBy(q.Account, q.Device); ok {
		f.Account = owner
	} else if q.Device == "" {
		f.Also = w.c.shared(q.Account)
	}
	if q.To > 0 {
		f.Before = q.To + 1
	}
	return w.c.events.All(ctx, f, func(ev event.Event) bool {
		e := ruleEvent(&ev)
		return each(&e)
	})
}

func (w ruleWorld) States(ctx context.Context, account string, each func(*rule.Event) bool) error {
	more := true
	for _, p := range w.c.places(account) {
		err := w.c.events.States(ctx, p.account, p.device, func(ev event.Event) bool {
			e := ruleEvent(&ev)
			more = each(&e)
			return more
		})
		if err != nil || !more {
			return err
		}
	}
	return nil
}

func (w ruleWorld) Device(di string) rule.Device {
	dev, _ := w.c.directory.Get(di)
	return rule.Device{ID: di, Name: dev.Name, Type: dev.Type}
}

func (w ruleWorld) Named(account, name string) (list []string) {
	if dev, ok := w.c.directory.Get(name); ok && w.MayWait(account, dev.ID) {
		return []string{dev.ID}
	}
	for _, dev := range w.c.devicesOf(account) {
		if dev.Name == name {
			list = append(list, dev.ID)
		}
	}
	own := func(di string) bool { dev, _ := w.c.directory.Get(di); return dev.Account == account }
	if slices.ContainsFunc(list, own) {
		list = slices.DeleteFunc(list, func(di string) bool { return !own(di) })
	}
	return list
}

func (w ruleWorld) Guests(account string) []string { return w.c.accounts.Guests(account) }

func (w ruleWorld) MayWait(account, di string) bool {
	return w.c.authorize(oic.Identity{Account: account}, opTrigger, target{device: di}) == nil
}

func (w ruleWorld) MayCommand(account, di string) bool {
	return w.c.authorize(oic.Identity{Account: account}, opCommand, target{device: di}) == nil
}

func (w ruleWorld) Hops(ev *rule.Event) int {
	_, by, ok := w.c.commands.Recent(ev.Device, ev.Href, ev.Time)
	if !ok || by.Kind != "rule" || by.Cause == nil {
		return 0
	}
	return by.Cause.Hops + 1
}

// methods are the operations of a rule's commands.
var methods = map[string]oic.Op{"": oic.Update, "post": oic.Update, "put": oic.Replace, "delete": oic.Delete}

func (w ruleWorld) Command(ctx context.Context, f *rule.Firing, index int, p *rule.Planned, again bool) error {
	body, err := oic.FromJSON(oic.OCF, p.Command.Set)
	if err != nil {
		return err
	}
	keep := keepCommand
	if p.Command.Keep != nil {
		keep = time.Duration(*p.Command.Keep)
	}
	o := Order{
		Device:  p.Device,
		Request: oic.Request{Op: methods[p.Command.Method], Href: p.Command.Href, Body: body},
		Queue:   keep, RuleID: f.Rule, RuleName: f.Name,
		ID: commandID(f, index), Fresh: !again,
		Cause: &command.Cause{Revision: f.Revision, Event: f.Cause.Event, At: f.Cause.Time, Hops: f.Hops},
	}
	if body != nil {
		o.Request.Format = oic.OCF
	}
	if ctx.Err() != nil {
		return ctx.Err() // whoever follows the rules next does it
	}
	ctx, end := command.Parting(ctx)
	defer end()
	_, _, err = w.c.Send(ctx, oic.Identity{Account: f.Account}, o)
	return err
}

// said is a message as it stands in the log of events.
type said struct {
	Text string `json:"text"`
	Rule string `json:"rule"`
	Run  string `json:"run"`
}

func (w ruleWorld) Say(ctx context.Context, f *rule.Firing, index int, p *rule.Planned, again bool) error {
	body, err := oic.Encode(oic.OCF, said{p.Message, f.Name, fmt.Sprintf("%s-%d", f.ID, index)})
	if err != nil {
		return err
	}
	ev := event.Event{Account: f.Account, Device: rule.SayDevice + f.Name, Href: rule.SayHref, Format: oic.OCF, Body: body}
	if again {
		last, err := w.c.events.Last(ctx, ev.Account, ev.Device, ev.Href)
		switch {
		case err == nil && bytes.Equal(last.Body, body): // before a crash
			return nil
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return err
		}
	}
	_, err = w.c.events.Append(ctx, ev)
	return err
}
