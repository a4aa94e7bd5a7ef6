package cloud

import (
	"context"

	"github.com/farreach/farreach/cloud/directory"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// Census counts the devices of all accounts by what is known of them.
type Census struct {
	Reachable int // connected, and heard of within one keep-alive interval
	Unproven  int // connected, and silent for longer
	Offline   int // connected before, and no more
	Unknown   int // nobody can tell: not seen since the server started, or what spoke for them is gone
}

// Census counts all devices. It is for operators.
func (c *Cloud) Census(_ context.Context, who oic.Identity) (n Census, err error) {
	if err := c.authorize(who, opOperate, target{}); err != nil {
		return n, err
	}
	for _, dev := range c.directory.All() {
		switch c.directory.Presence(dev.ID).State {
		case directory.Reachable:
			n.Reachable++
		case directory.Offline:
			n.Offline++
		case directory.Unproven:
			n.Unproven++
		default:
			n.Unknown++
		}
	}
	return n, nil
}

// Backup calls add for each part of a backup of all that the cloud keeps, as
// store.Store.Backup says. It is for operators: nobody can log in with what is
// in it, but it has everybody's devices and events.
func (c *Cloud) Backup(ctx context.Context, who oic.Identity, add func(store.Part) error) error {
	if err := c.authorize(who, opBackup, target{}); err != nil {
		return err
	}
	c.log.Info("backup", "by", who.Account)
	c.note(ctx, who, "", "backup", "")
	return failed("backup", c.store.Backup(ctx, add))
}

// StoreReady is Ready with the reason, for operators.
func (c *Cloud) StoreReady(ctx context.Context, who oic.Identity) error {
	if err := c.authorize(who, opOperate, target{}); err != nil {
		return err
	}
	return c.store.Ready(ctx)
}

// MayBackup reports whether Backup would begin: who may, and the store is ready.
func (c *Cloud) MayBackup(ctx context.Context, who oic.Identity) error {
	if err := c.authorize(who, opBackup, target{}); err != nil {
		return err
	}
	return c.store.Ready(ctx)
}
