package cloud

import (
	"context"
	"errors"
	"strings"

	"github.com/farreach/farreach/cloud/account"
	"github.com/farreach/farreach/cloud/directory"
	"github.com/farreach/farreach/oic"
)

// DeviceInfo is a device as it is known, and whether it can be reached now.
type DeviceInfo struct {
	directory.Device
	Presence directory.Presence
	Role     account.Role // of who asks; Nobody: an admin, who sees no more than this
}

// info is dev for somebody of the account name.
func (c *Cloud) info(dev directory.Device, name string) DeviceInfo {
	return DeviceInfo{dev, c.directory.Presence(dev.ID), c.accounts.Role(name, dev.Account, dev.ID)}
}

// Inventory lists the devices that are who's: those of an account and those
// shared with it, a device itself, or for the operator all.
func (c *Cloud) Inventory(_ context.Context, who oic.Identity) ([]DeviceInfo, error) {
	var devices []directory.Device
	switch {
	case who.Device != "":
		if err := c.authorize(who, opSee, target{device: who.Device}); err != nil {
			return nil, err
		}
		dev, _ := c.directory.Get(who.Device)
		devices = append(devices, dev)
	default:
		if err := c.authorize(who, opSee, target{account: who.Account}); err != nil {
			return nil, err
		}
		if who.Account == "" {
			devices = c.directory.All()
		} else {
			devices = c.devicesOf(who.Account)
		}
	}
	list := make([]DeviceInfo, 0, len(devices))
	for _, dev := range devices {
		list = append(list, c.info(dev, who.Account))
	}
	return list, nil
}

// DeviceInfo returns one device.
func (c *Cloud) DeviceInfo(_ context.Context, who oic.Identity, di string) (DeviceInfo, error) {
	if err := c.authorize(who, opSee, target{device: di}); err != nil {
		return DeviceInfo{}, err
	}
	dev, ok := c.directory.Get(di)
	if !ok {
		return DeviceInfo{}, errNoDevice
	}
	return c.info(dev, who.Account), nil
}

// DeleteDevice takes a device out of its account: it can no longer sign in,
// what is open with it ends, and its events and commands are removed.
func (c *Cloud) DeleteDevice(ctx context.Context, who oic.Identity, di string) error {
	if err := c.authorize(who, opRemoveDevice, target{device: di}); err != nil {
		return err
	}
	dev, ok := c.directory.Get(di)
	if !ok {
		return errNoDevice
	}
	if err := c.removeDevice(ctx, dev); err != nil {
		return err
	}
	c.log.Info("device deleted", "device", di, "account", dev.Account, "by", who.Account)
	c.note(ctx, who, dev.Account, "device.delete", nameOfDevice(dev))
	return failed("delete events", errors.Join(c.events.Purge(ctx, dev.Account, di), c.commands.Purge(ctx, dev.Account, di)))
}

// nameOfDevice is a device, for a person.
func nameOfDevice(dev directory.Device) string {
	return strings.TrimSpace(dev.Name + " (" + dev.ID + ")")
}

// removeDevice ends the grant of a device before its record, so that a device
// without an owner is never signed in.
func (c *Cloud) removeDevice(ctx context.Context, dev directory.Device) error {
	if err := c.accounts.Revoke(ctx, dev.ID); err != nil {
		return err
	}
	if err := c.directory.Delete(ctx, dev.ID); err != nil {
		return err
	}
	c.forget(dev.ID)
	return c.accounts.EndShares(ctx, dev.Account, dev.ID)
}
