package cloud

import (
	"context"
	"sync"

	"github.com/farreach/farreach/cloud/account"
	"github.com/farreach/farreach/cloud/directory"
	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/oic"
)

// Adopt has a device of an account take part that is not connected to the cloud
// itself, but to the XMPP server of this process: with that name, gateway and
// those links, and no others. It returns who it is to Attach and Report, and its
// links as they are kept.
//
// The device stays what it is made here until it joins by itself or is deleted;
// then who it was does not hold any more. It is a 4.09 if it has joined by itself,
// and a 4.03 if it is one of another account, or one too many.
//
// It is for parts of this process that know whose the device is: nobody else is
// asked.
func (c *Cloud) Adopt(ctx context.Context, name string, set cloudlink.Publication) (who oic.Identity, links []oic.Link, err error) {
	if set.Device, err = deviceID(set.Device); err != nil {
		return who, nil, err
	}
	if _, ok := c.accounts.Get(name); !ok {
		return who, nil, oic.Errorf(oic.NotFound, "no such account")
	}
	_, known := c.directory.Get(set.Device)
	dev, err := c.directory.Adopt(ctx, name, directory.ViaXMPP, set)
	if err != nil {
		return who, nil, err
	}
	who = account.StandIn(name, dev.ID)
	if !known {
		c.log.Info("device on XMPP alone joined", "device", dev.ID, "account", name)
		c.note(ctx, who, name, "device.join", nameOfDevice(dev)+", by XMPP")
	}
	return who, dev.Links, nil
}

// Amend is Adopt for who that returned, when something has changed. It is a 4.04 if
// the device has been deleted since.
func (c *Cloud) Amend(ctx context.Context, who oic.Identity, set cloudlink.Publication) (links []oic.Link, err error) {
	if err := c.authorize(who, opPublish, target{device: who.Device}); err != nil {
		return nil, err
	}
	set.Device = who.Device
	dev, err := c.directory.Amend(ctx, who.Account, directory.ViaXMPP, set)
	return dev.Links, err
}

// AttachSpare is Attach for who Adopt returned. It is a 4.09 if the device has a
// connection of its own.
func (c *Cloud) AttachSpare(_ context.Context, who oic.Identity, s cloudlink.Session) (detach func(), err error) {
	var once sync.Once
	o := &hold{who: who, op: opPublish, on: target{device: who.Device}, end: func(cause error) {
		_, why := oic.StatusOf(cause)
		once.Do(func() { s.Close(why) })
	}}
	remove := c.held.add(o)
	if err := c.authorize(o.who, o.op, o.on); err != nil {
		remove()
		return nil, err
	}
	c.flow(who.Device).connected()
	gone, ok := c.directory.AttachSpare(who.Device, s)
	if !ok {
		remove()
		return nil, oic.Errorf(oic.Conflict, "the device has a connection of its own")
	}
	c.commands.Arrived(who.Device)
	return func() { gone(); remove() }, nil
}

// Resident is what opens streams of the account called name to the XMPP server of
// this process for a part of it: with those resources for which may reports true,
// and as long as there is the account.
func (c *Cloud) Resident(name string, may func(resource string) bool) *Pass {
	return &Pass{c, oic.Identity{Account: name}, may}
}
