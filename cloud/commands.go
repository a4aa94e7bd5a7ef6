package cloud

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/farreach/farreach/cloud/command"
	"github.com/farreach/farreach/oic"
)

// Order is a command that is to be sent to a device.
type Order struct {
	Device  string
	Request oic.Request   // not a Retrieve
	Queue   time.Duration // how long it may wait if the device is away; 0: not at all. At most command.MaxQueue

	// Of a rule: who.Account is the rule's. With an ID of command.NewID that is
	// made of what the rule fired on, an order that is given twice is one. Fresh
	// says that it certainly was not given before, which spares a look.
	ID       string
	Fresh    bool
	RuleID   string
	RuleName string
	Cause    *command.Cause
}

// Send sends a command to a device, and returns what became of it. A command
// that waits, because the device is away and the order says so, has neither an
// answer nor an error. That is so, too, if the device goes before it can be sent,
// such as to another node of the cloud.
//
// An error without a command.Command.ID is a refusal before anything was kept:
// who may not do it, or there are too many requests to the device. With one, it
// is what Device(…).Handle returns: a *DeviceError, an *OfflineError, a device
// that does not answer in time.
func (c *Cloud) Send(ctx context.Context, who oic.Identity, o Order) (command.Command, *oic.Response, error) {
	w := &way{c, who, o.Device}
	o.Request.From = who
	op, err := w.operation(&o.Request)
	if err != nil {
		return command.Command{}, nil, err
	}
	if op == opRead {
		return command.Command{}, nil, oic.Errorf(oic.BadRequest, "a retrieve is no command")
	}
	ctx, release, err := c.hold(ctx, who, op, target{device: o.Device})
	if err != nil {
		return command.Command{}, nil, err
	}
	defer release()
	return c.send(ctx, who, &o)
}

// send is Send for who may do it; ctx ends with that right.
func (c *Cloud) send(ctx context.Context, who oic.Identity, o *Order) (cmd command.Command, resp *oic.Response, err error) {
	dev, ok := c.directory.Get(o.Device)
	if !ok {
		return cmd, nil, errNoDevice
	}
	leave, err := c.flow(o.Device).enter()
	if err != nil {
		return cmd, nil, err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, longestRequest)
	defer cancel()
	start := time.Now()
	cmd = command.Command{ID: o.ID, Fresh: o.Fresh, Keep: o.Queue, Account: dev.Account, Device: o.Device, By: c.asker(who, o)}
	session, err := c.session(o.Device)
	switch {
	case err != nil && o.Queue > 0:
		cmd, err = c.commands.Queue(ctx, cmd, &o.Request, who, o.Queue)
	case err != nil:
		cmd = c.commands.Fail(ctx, cmd, &o.Request, err)
		c.asked(o.Request.Op, time.Since(start), err)
	default:
		if err = c.commands.Behind(ctx, o.Device); err == nil {
			cmd, resp, err = c.commands.Do(ctx, cmd, &o.Request, session)
			err = answered(o.Device, err)
		}
		c.asked(o.Request.Op, time.Since(start), err)
	}
	return cmd, resp, failed("command", lost(ctx, err))
}

// asker is who, as it is kept with a command.
func (c *Cloud) asker(who oic.Identity, o *Order) command.Asker {
	a := command.Asker{Account: who.Account, Kind: "server"}
	switch kind, _, _ := strings.Cut(who.Credential, ":"); {
	case o.RuleID != "":
		a.Kind, a.ID, a.Name, a.Cause = "rule", o.RuleID, o.RuleName, o.Cause
	case who.Device != "":
		a.Kind, a.ID = "device", who.Device
	case kind != "":
		a.Kind, a.ID, a.Name = kind, who.Token, who.Name
	}
	return a
}

// delivery is a device as what waits for it is delivered.
type delivery struct {
	c  *Cloud
	di string
}

// reach implements command.Config.Reach.
func (c *Cloud) reach(di string) (oic.Handler, error) {
	if c.directory.Local(di) == nil {
		return nil, oic.ErrOffline
	}
	return delivery{c, di}, nil
}

// Handle implements oic.Handler.
func (d delivery) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	leave, err := d.c.flow(d.di).enter()
	if err != nil {
		return nil, errors.Join(err, oic.ErrNotSent)
	}
	defer leave()
	session, err := d.c.session(d.di)
	if err != nil {
		return nil, errors.Join(err, oic.ErrNotSent)
	}
	start := time.Now()
	resp, err := session.Handle(ctx, req)
	d.c.asked(req.Op, time.Since(start), err)
	return resp, lost(ctx, err)
}

// holdCommand implements command.Config.Hold.
func (c *Cloud) holdCommand(who oic.Identity, di, href string, end func(error)) (release func(), err error) {
	op, err := (&way{c, who, di}).operation(&oic.Request{Op: oic.Update, Href: href, From: who})
	if err != nil {
		return nil, err
	}
	o := &hold{who: who, op: op, on: target{device: di}, end: end}
	remove := c.held.add(o)
	until, err := c.allowed(who, op, o.on, time.Now())
	if err != nil {
		remove()
		return nil, err
	}
	if until.IsZero() {
		return remove, nil
	}
	expiry := time.AfterFunc(time.Until(until), func() { end(errEnded(until)) })
	return func() { expiry.Stop(); remove() }, nil
}

// Commands lists the commands to the devices of who's account, and to those
// shared with it, that f selects, the newest first.
func (c *Cloud) Commands(ctx context.Context, who oic.Identity, f command.Filter) ([]command.Command, error) {
	on, places := target{account: who.Account}, c.places(who.Account)
	if owner, ok := c.sharedBy(who.Account, f.Device); ok {
		on, places = target{device: f.Device}, []place{{owner, f.Device}}
	} else if f.Device != "" {
		places = places[:1]
	}
	ctx, release, err := c.hold(ctx, who, opCommands, on)
	if err != nil {
		return nil, err
	}
	defer release()
	var all []command.Command
	for _, p := range places {
		f := f
		f.Account, f.Device = p.account, cmp.Or(p.device, f.Device)
		list, err := c.commands.List(ctx, f)
		if err != nil {
			return nil, failed("list commands", lost(ctx, err))
		}
		all = append(all, list...)
	}
	if len(places) > 1 {
		slices.SortFunc(all, func(x, y command.Command) int { return cmp.Compare(y.ID, x.ID) })
		all = all[:min(len(all), cmp.Or(f.Limit, command.DefaultLimit))]
	}
	return all, nil
}

// FollowCommands calls each for every change of a command to the devices of
// who's account, or to one device, which may be shared with it, as
// command.Commands.Follow does, until ctx ends, each returns an error, or who
// loses the right.
func (c *Cloud) FollowCommands(ctx context.Context, who oic.Identity, device string, from uint64, begun func(), each func(uint64, command.Command) error) error {
	account, on := who.Account, target{account: who.Account}
	if owner, ok := c.sharedBy(who.Account, device); ok {
		account, on = owner, target{device: device}
	}
	ctx, release, err := c.hold(ctx, who, opCommands, on)
	if err != nil {
		return err
	}
	defer release()
	return lost(ctx, c.commands.Follow(ctx, account, device, from, begun, each))
}

// Command returns one command to a device of who's account, or to one that is
// shared with it.
func (c *Cloud) Command(ctx context.Context, who oic.Identity, id string) (cmd command.Command, err error) {
	if err := c.authorize(who, opCommands, target{account: who.Account}); err != nil {
		return command.Command{}, err
	}
	for _, p := range c.places(who.Account) {
		cmd, err = c.commands.Get(ctx, p.account, p.device, id)
		if status, _ := oic.StatusOf(err); err == nil || status != oic.NotFound {
			break
		}
	}
	return cmd, failed("read command", err)
}

// CancelCommand takes back a command that waits for its device. It is a 4.09 if
// that does not wait any more.
func (c *Cloud) CancelCommand(ctx context.Context, who oic.Identity, id string) (command.Command, error) {
	cmd, err := c.Command(ctx, who, id)
	if err == nil {
		err = c.authorize(who, opCommand, target{device: cmd.Device})
	}
	if err != nil {
		return command.Command{}, err
	}
	why := "by " + c.asker(who, &Order{}).String()
	cmd, err = c.commands.Cancel(ctx, cmd.Account, id, why)
	return cmd, failed("cancel command", err)
}
