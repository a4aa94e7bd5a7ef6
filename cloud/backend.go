package cloud

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/farreach/farreach/cloud/account"
	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
)

// The methods of this file, and of report.go, are what a cloudlink.Server asks of its Backend.

// closeDelay is how long a session that has lost its right goes on: the answer
// that tells the device so may be on its way.
const closeDelay = 500 * time.Millisecond

// SignUp implements cloudlink.Backend. A wrong code is a 4.01, and a device of
// another account a 4.03, whose code stays good for another device.
func (c *Cloud) SignUp(ctx context.Context, s cloudlink.SignUp) (cloudlink.Grant, error) {
	if err := c.authorize(s.From, opSignUp, target{}); err != nil {
		return cloudlink.Grant{}, err
	}
	di, err := deviceID(s.Device)
	if err != nil {
		return cloudlink.Grant{}, err
	}
	name, err := c.accounts.CheckCode(ctx, s.Peer, s.Code, di)
	if err != nil {
		return cloudlink.Grant{}, err
	}
	if err := c.directory.Claimable(name, di); err != nil {
		return cloudlink.Grant{}, err
	}
	if name, err = c.accounts.Redeem(ctx, s.Code, di); err != nil {
		return cloudlink.Grant{}, err
	}
	if err := c.directory.Claim(ctx, name, di); err != nil {
		return cloudlink.Grant{}, err
	}
	g, err := c.accounts.NewGrant(ctx, name, di)
	if err != nil {
		return cloudlink.Grant{}, err
	}
	c.log.Info("device joined", "device", di, "account", g.Account)
	c.note(ctx, oic.Identity{Account: name, Device: di}, name, "device.join", di)
	return granted(g), nil
}

func granted(g account.Grant) cloudlink.Grant {
	return cloudlink.Grant{Account: g.Account, Access: g.Access, Refresh: g.Refresh, Expires: g.Expires}
}

// deviceID checks that a di is a UUID, and returns its one form.
func deviceID(di string) (string, error) {
	if _, err := uuid.Parse(di); err != nil || len(di) != 36 {
		return "", oic.Errorf(oic.BadRequest, "di is not a UUID")
	}
	return strings.ToLower(di), nil
}

// SignIn implements cloudlink.Backend: for a device by its access token, for a
// person by an API token.
func (c *Cloud) SignIn(ctx context.Context, l cloudlink.Login) (oic.Identity, time.Time, error) {
	if l.Device != "" {
		return c.accounts.SignIn(ctx, l.Peer, l.Account, strings.ToLower(l.Device), l.Access)
	}
	who, until, err := c.accounts.Bearer(ctx, l.Peer, l.Access)
	if err == nil && l.Account != "" && l.Account != who.Account {
		return oic.Identity{}, time.Time{}, oic.Errorf(oic.Unauthorized, "the token is not of this account")
	}
	return who, until, err
}

// Bearer implements cloudlink.Backend: API tokens only.
func (c *Cloud) Bearer(ctx context.Context, peer netip.Addr, token secret.String) (oic.Identity, error) {
	return c.Authenticate(ctx, peer, token)
}

// Refresh implements cloudlink.Backend.
func (c *Cloud) Refresh(ctx context.Context, r cloudlink.Refresh) (cloudlink.Grant, error) {
	g, err := c.accounts.Refresh(ctx, r.Peer, r.Account, strings.ToLower(r.Device), r.Token)
	return granted(g), err
}

// SignOff implements cloudlink.Backend. The events of the device stay with the
// account; its session is closed a moment later.
func (c *Cloud) SignOff(ctx context.Context, who oic.Identity) error {
	if err := c.authorize(who, opSignIn, target{device: who.Device}); err != nil {
		return err
	}
	dev, ok := c.directory.Get(who.Device)
	if !ok {
		return errNoDevice
	}
	if err := c.removeDevice(ctx, dev); err != nil {
		return err
	}
	c.log.Info("device left", "device", dev.ID, "account", dev.Account)
	c.note(ctx, who, dev.Account, "device.leave", nameOfDevice(dev))
	return nil
}

// Publish implements cloudlink.Backend. What Reserved names is left out. With a
// TTL above 0, links that are not published again by then are removed.
func (c *Cloud) Publish(ctx context.Context, who oic.Identity, p cloudlink.Publication) (cloudlink.Publication, error) {
	di := c.meant(who, p.Device)
	if err := c.authorize(who, opPublish, target{device: di}); err != nil {
		return cloudlink.Publication{}, err
	}
	links, err := c.directory.Publish(ctx, di, p.Name, p.Gateway, time.Duration(p.TTL)*time.Second, p.Links)
	p.Links = links
	return p, err
}

// meant is the device that a request is about: who's own, unless it names one.
func (c *Cloud) meant(who oic.Identity, di string) string {
	if di == "" {
		return who.Device
	}
	return strings.ToLower(di)
}

// Unpublish implements cloudlink.Backend.
func (c *Cloud) Unpublish(ctx context.Context, who oic.Identity, di string, ins []int64) error {
	di = c.meant(who, di)
	if err := c.authorize(who, opPublish, target{device: di}); err != nil {
		return err
	}
	return c.directory.Unpublish(ctx, di, ins)
}

// Attach implements cloudlink.Backend. The session is closed when the device
// loses its right to be connected.
func (c *Cloud) Attach(ctx context.Context, who oic.Identity, s cloudlink.Session) (detach func(), links []oic.Link, err error) {
	var once sync.Once
	o := &hold{who: who, op: opPublish, on: target{device: who.Device}, end: func(cause error) {
		_, why := oic.StatusOf(cause)
		once.Do(func() { time.AfterFunc(closeDelay, func() { s.Close(why) }) })
	}}
	remove := c.held.add(o)
	if err := errors.Join(c.directory.Renew(ctx, who.Device), c.authorize(o.who, o.op, o.on)); err != nil {
		remove()
		return nil, nil, err
	}
	c.flow(who.Device).connected()
	gone := c.directory.Attach(who.Device, s)
	c.commands.Arrived(who.Device)
	dev, _ := c.directory.Get(who.Device)
	return func() { gone(); remove() }, dev.Links, nil
}

// Devices implements cloudlink.Backend.
func (c *Cloud) Devices(ctx context.Context, who oic.Identity) ([]cloudlink.Publication, error) {
	devices, err := c.Inventory(ctx, who)
	list := make([]cloudlink.Publication, 0, len(devices))
	for _, dev := range devices {
		list = append(list, cloudlink.Publication{Device: dev.ID, Name: dev.Name, Links: dev.Links})
	}
	return list, err
}
