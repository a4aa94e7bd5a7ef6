package directory

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// A device that has not joined by itself is told of by who reaches it otherwise:
//
//	Adopt ──▶ record, with Via ──▶ as any other
//	         Claim ──▶ no Via: from now on it speaks for itself
//
// What Adopt tells is all that there is to know of it, each time.

// ViaXMPP is the Device.Via of those that are on the account's XMPP server alone.
const ViaXMPP = "xmpp"

// maxAdopted is how many devices of an account others may tell of: whoever has
// the password of an account can pretend that there are some.
const maxAdopted = 200

// Adopt makes what set says the record of a device of account that is reached via
// via, and returns it. Nothing is stored if nothing has changed.
//
// It is a 4.09 if the device has joined by itself, and a 4.03 if it is one of
// another account, or one too many. Links are as those of Publish.
func (d *Directory) Adopt(ctx context.Context, account, via string, set oic.LinkSet) (Device, error) {
	told, err := tellingOf(account, via, set)
	if err != nil {
		return Device{}, err
	}
	if _, known := d.Get(set.Device); known {
		return d.amend(ctx, told)
	}
	if err := d.adoptable(account); err != nil {
		return Device{}, err
	}
	dev := told.record(Device{})
	if err := fits(dev.Links); err != nil {
		return Device{}, err
	}
	if err := d.devices.Create(ctx, dev.ID, dev); !errors.Is(err, store.ErrExists) {
		return dev, failed("adopt device", err)
	}
	return d.amend(ctx, told)
}

// Amend is Adopt for a device that has been adopted. It is a 4.04 if that has been
// deleted since.
func (d *Directory) Amend(ctx context.Context, account, via string, set oic.LinkSet) (Device, error) {
	told, err := tellingOf(account, via, set)
	if err != nil {
		return Device{}, err
	}
	return d.amend(ctx, told)
}

func (d *Directory) amend(ctx context.Context, told telling) (Device, error) {
	now, known := d.Get(told.dev.ID)
	if !known {
		return Device{}, errNoDevice
	}
	if adopted(now, told.dev.Account) == nil && same(now, told.record(now)) {
		return now, nil
	}
	dev, err := d.devices.Modify(ctx, told.dev.ID, func(now *Device) error {
		if err := adopted(*now, told.dev.Account); err != nil {
			return err
		}
		*now = told.record(*now)
		return fits(now.Links)
	})
	if errors.Is(err, store.ErrNotFound) {
		err = errNoDevice
	}
	return dev, failed("adopt device", err)
}

// telling is what was told of a device, checked.
type telling struct {
	dev   Device // without links
	links []oic.Link
}

func tellingOf(account, via string, set oic.LinkSet) (t telling, err error) {
	if t.links, err = normalize(set.Links); err != nil {
		return t, err
	}
	if len(set.Name) > maxName || !printable(set.Name) {
		return t, oic.Errorf(oic.BadRequest, "the name of a device is text of %d bytes at most", maxName)
	}
	t.dev = Device{ID: set.Device, Account: account, Name: set.Name, Via: via}
	if gateway := strings.ToLower(set.Gateway); gateway != set.Device && uuid.Validate(gateway) == nil {
		t.dev.Gateway = gateway
	}
	return t, nil
}

// record is the record of the device, in the place of before: hrefs keep their
// instance numbers.
func (t *telling) record(before Device) Device {
	dev := t.dev
	_, dev.Links = merge(before.Links, t.links)
	dev.Type = typeOf(dev.Links, before.Type)
	if dev.Created = before.Created; dev.Created.IsZero() {
		dev.Created = time.Now().UTC()
	}
	return dev
}

// adopted is nil if others may tell of dev, to account.
func adopted(dev Device, account string) error {
	if err := claimed(dev, account); err != nil {
		return err
	}
	if dev.Via == "" {
		return oic.Errorf(oic.Conflict, "the device has joined by itself")
	}
	return nil
}

// same reports whether two records are stored as the same bytes.
func same(a, b Device) bool {
	x, err := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err == nil && err2 == nil && bytes.Equal(x, y)
}

// adoptable reports whether an account may have one more device that others tell
// of.
func (d *Directory) adoptable(account string) error {
	all := d.Of(account)
	if len(all) >= maxDevices {
		return oic.Errorf(oic.Forbidden, "%d devices are all that an account may have", maxDevices)
	}
	if len(slices.DeleteFunc(all, func(dev Device) bool { return dev.Via == "" })) >= maxAdopted {
		return oic.Errorf(oic.Forbidden, "%d devices that have not joined by themselves are all that an account may have", maxAdopted)
	}
	return nil
}
