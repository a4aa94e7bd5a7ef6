package cloud

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/farreach/farreach/cloud/account"
	"github.com/farreach/farreach/cloud/directory"
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

// devicesOf returns the devices of an account and those shared with it, by name
// and di.
func (c *Cloud) devicesOf(name string) []directory.Device {
	list := c.directory.Of(name)
	own := len(list)
	known := map[string]bool{}
	for _, s := range c.sharedWith(name) {
		devices := []directory.Device{}
		if s.Device == "" {
			devices = c.directory.Of(s.Owner)
		} else if dev, ok := c.directory.Get(s.Device); ok && dev.Account == s.Owner {
			devices = append(devices, dev)
		}
		for _, dev := range devices {
			if !known[dev.ID] {
				known[dev.ID] = true
				list = append(list, dev)
			}
		}
	}
	if len(list) > own {
		slices.SortFunc(list, func(x, y directory.Device) int {
			return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.ID, y.ID))
		})
	}
	return list
}

// sharedWith returns the shares that an account was given and has accepted.
func (c *Cloud) sharedWith(name string) []account.Share {
	_, received := c.accounts.Shares(name)
	return slices.DeleteFunc(received, func(s account.Share) bool { return s.Accepted.IsZero() })
}
