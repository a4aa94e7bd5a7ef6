package cloud

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/farreach/farreach/cloud/account"
	"github.com/farreach/farreach/cloud/directory"
	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/oic"
)

// An account shares one of its devices, or all that it has, with another one,
// as viewer or as member. The other accepts, and from then on finds what is
// shared among his own: in the inventory, in events and in commands.

// NewShare lets the account with do what role says with a device of who's
// account, or with all of it if di is "". It counts once AcceptShare was called
// for it. A share that there is already gets the new role.
func (c *Cloud) NewShare(ctx context.Context, who oic.Identity, di, with string, role account.Role) (account.Share, error) {
	on := target{account: who.Account}
	if di != "" {
		on = target{device: di}
	}
	if err := c.authorize(who, opShare, on); err != nil {
		return account.Share{}, err
	}
	s, err := c.accounts.NewShare(ctx, who.Account, di, with, role)
	if err == nil {
		c.noteShare(ctx, who, "share.create", s)
	}
	return s, err
}

// Shares lists what the account of who gives, and what it is given, accepted or
// not, oldest first.
func (c *Cloud) Shares(_ context.Context, who oic.Identity) (given, received []account.Share, err error) {
	if err := c.authorize(who, opShare, target{account: who.Account}); err != nil {
		return nil, nil, err
	}
	given, received = c.accounts.Shares(who.Account)
	return given, received, nil
}

// AcceptShare makes a share count that somebody gave to the account of who.
func (c *Cloud) AcceptShare(ctx context.Context, who oic.Identity, id string) (account.Share, error) {
	if err := c.authorize(who, opShare, target{account: who.Account}); err != nil {
		return account.Share{}, err
	}
	s, err := c.accounts.AcceptShare(ctx, who.Account, id)
	if err == nil {
		c.noteShare(ctx, who, "share.accept", s)
	}
	return s, err
}

// EndShare ends a share that the account of who gave or was given, and what is
// open by it.
func (c *Cloud) EndShare(ctx context.Context, who oic.Identity, id string) error {
	if err := c.authorize(who, opShare, target{account: who.Account}); err != nil {
		return err
	}
	s, err := c.accounts.EndShare(ctx, who.Account, id)
	if err == nil {
		c.noteShare(ctx, who, "share.delete", s)
	}
	return err
}

// noteShare writes down on both sides what was done with a share.
func (c *Cloud) noteShare(ctx context.Context, who oic.Identity, what string, s account.Share) {
	on := fmt.Sprintf("%s, with %s as %s", cmp.Or(s.Device, "all devices"), s.With, s.Role)
	c.log.Info(what, "account", s.Owner, "on", on, "by", who.Account)
	c.note(ctx, who, s.Owner, what, on)
	if _, ok := c.accounts.Get(s.With); ok && what != "share.create" { // before he accepts it is not his matter
		c.note(ctx, who, s.With, what, on+", by "+s.Owner)
	}
}

// place is where something may lie that somebody may see: an account, or one
// device of it.
type place struct{ account, device string }

// places are the account called name, which comes first, and what is shared with
// it. No two of them overlap.
func (c *Cloud) places(name string) []place {
	list := []place{{account: name}}
	shared := c.sharedWith(name)
	for _, s := range shared {
		whole := func(o account.Share) bool { return o.Owner == s.Owner && o.Device == "" }
		if s.Device == "" || !slices.ContainsFunc(shared, whole) {
			list = append(list, place{s.Owner, s.Device})
		}
	}
	return list
}

// shared is what is shared with the account called name, as event.Filter.Also has
// it.
func (c *Cloud) shared(name string) (list []event.Place) {
	for _, p := range c.places(name)[1:] {
		list = append(list, event.Place{Account: p.account, Device: p.device})
	}
	return list
}

// eventsOf makes f find what who may see, and returns what his right is about.
func (c *Cloud) eventsOf(who oic.Identity, f *event.Filter) target {
	f.Account = who.Account
	if owner, ok := c.sharedBy(who.Account, f.Device); ok {
		f.Account = owner
		return target{device: f.Device}
	}
	return target{account: who.Account}
}

// sharedBy is the account that shares a device with the account called name.
func (c *Cloud) sharedBy(name, di string) (owner string, ok bool) {
	if di == "" {
		return "", false
	}
	dev, _ := c.directory.Get(di)
	return dev.Account, dev.Account != name && c.accounts.Role(name, dev.Account, di) != account.Nobody
}

// devicesOf returns the devices of an account and those shared with it, by name
// and di.
func (c *Cloud) devicesOf(name string) []directory.Device {
	var list []directory.Device
	for _, p := range c.places(name) {
		if p.device == "" {
			list = append(list, c.directory.Of(p.account)...)
		} else if dev, ok := c.directory.Get(p.device); ok && dev.Account == p.account {
			list = append(list, dev)
		}
	}
	slices.SortFunc(list, func(x, y directory.Device) int {
		return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.ID, y.ID))
	})
	return list
}

// sharedWith returns the shares that an account was given and has accepted.
func (c *Cloud) sharedWith(name string) []account.Share {
	_, received := c.accounts.Shares(name)
	return slices.DeleteFunc(received, func(s account.Share) bool { return s.Accepted.IsZero() })
}
