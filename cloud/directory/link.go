package directory

import (
	"context"
	"encoding/json"
	"errors"
	"hash/crc32"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// The limits of what a device publishes.
const (
	maxLinks = 512
	maxEntry = 64 << 10 // bytes of all links of a device, as they are kept
	maxName  = 128      // bytes
)

// Link returns the link that a device published with this href, which has no
// query.
func (dev *Device) Link(href string) (oic.Link, bool) {
	for i := range dev.Links { // which are too large to be copied for a look
		if dev.Links[i].Href == href {
			return dev.Links[i], true
		}
	}
	return oic.Link{}, false
}

// Publish adds links to those of a device and replaces those with an equal
// href; after a sign-up the first to be published replace all. It returns the
// links it was given as they are kept now: with instance numbers, which stay
// the same for an href, and without endpoints. A name, if given, becomes that
// of the device, and gateway in any case whoever speaks for it. The links are
// there for the time ttl, unless they are published again; 0: without end.
//
// Links that Reserved names are left out. A link that cannot be one is refused
// with 4.00, and more than a device may have with 4.13.
func (d *Directory) Publish(ctx context.Context, di, name, gateway string, ttl time.Duration, links []oic.Link) (published []oic.Link, err error) {
	fresh, err := normalize(links)
	if err != nil {
		return nil, err
	}
	if len(name) > maxName || !printable(name) {
		return nil, oic.Errorf(oic.BadRequest, "the name of a device is text of %d bytes at most", maxName)
	}
	if gateway = strings.ToLower(gateway); gateway == di || uuid.Validate(gateway) != nil {
		gateway = ""
	}
	_, err = d.devices.Modify(ctx, di, func(dev *Device) error {
		if name != "" {
			dev.Name = name
		}
		dev.Gateway = gateway
		dev.Links, published = merge(dev.Links, fresh)
		if dev.Anew {
			dev.Links, dev.Anew = slices.Clone(published), false
		}
		dev.Type = typeOf(dev.Links, dev.Type)
		dev.last(published, ttl, time.Now())
		return fits(dev.Links)
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, errNoDevice
	}
	return published, failed("publish", err)
}

var errNoDevice = oic.Errorf(oic.NotFound, "no such device")

// Unpublish removes the links of a device with these instance numbers; none:
// all. It is a 4.00 if none of them is there.
func (d *Directory) Unpublish(ctx context.Context, di string, ins []int64) error {
	_, err := d.devices.Modify(ctx, di, func(dev *Device) error {
		before := len(dev.Links)
		dev.Links = slices.DeleteFunc(dev.Links, func(l oic.Link) bool {
			return len(ins) == 0 || slices.Contains(ins, l.Instance)
		})
		if len(ins) > 0 && len(dev.Links) == before {
			return oic.Errorf(oic.BadRequest, "no link has one of these instance numbers")
		}
		dev.tidy()
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		return errNoDevice
	}
	return failed("unpublish", err)
}

// merge puts fresh links into old ones, and returns both all and the fresh
// ones with their instance numbers.
func merge(old, fresh []oic.Link) (all, published []oic.Link) {
	all = slices.Clone(old)
	for _, l := range fresh {
		if i := slices.IndexFunc(all, func(o oic.Link) bool { return o.Href == l.Href }); i >= 0 {
			l.Instance = all[i].Instance
			all[i] = l
		} else {
			l.Instance = instance(all, l.Href)
			all = append(all, l)
		}
		published = append(published, l)
	}
	return all, published
}

// instance chooses the instance number of a new href: what others choose too,
// its CRC-32, as far as a device's int holds it.
func instance(links []oic.Link, href string) int64 {
	n := int64(crc32.ChecksumIEEE([]byte(href)) & 0x7fffffff)
	for n == 0 || slices.ContainsFunc(links, func(l oic.Link) bool { return l.Instance == n }) {
		n = (n + 1) & 0x7fffffff
	}
	return n
}

// typeOf returns the type of the device that published links, as /oic/d tells
// it, or else what was known.
func typeOf(links []oic.Link, known string) string {
	for _, l := range links {
		if l.Href != "/oic/d" {
			continue
		}
		for _, rt := range l.Types {
			if rt != "oic.wk.d" {
				return rt
			}
		}
	}
	return known
}

func fits(links []oic.Link) error {
	if len(links) > maxLinks {
		return oic.Errorf(oic.TooLarge, "a device may publish %d links, not %d", maxLinks, len(links))
	}
	if b, err := json.Marshal(links); err != nil || len(b) > maxEntry {
		return oic.Errorf(oic.TooLarge, "the links of a device may take %d bytes", maxEntry)
	}
	return nil
}

// normalize checks what a device published and keeps what means something to
// others. Of links with the same href the last counts.
func normalize(links []oic.Link) (list []oic.Link, err error) {
	if len(links) > maxLinks {
		return nil, oic.Errorf(oic.TooLarge, "a device may publish %d links, not %d", maxLinks, len(links))
	}
	for _, l := range links {
		path, err := Path(l.Href)
		if err != nil {
			return nil, err
		}
		if strings.Contains(l.Href, "?") || !texts(l.Types) || !texts(l.Interfaces) || !texts(l.Rel) || !printable(l.Title) {
			return nil, oic.Errorf(oic.BadRequest, "not a link that can be published: %q", clip(l.Href))
		}
		if Reserved(path, l.Types) {
			continue
		}
		list = slices.DeleteFunc(list, func(o oic.Link) bool { return o.Href == l.Href })
		list = append(list, oic.Link{
			Href:       l.Href,
			Types:      unique(l.Types),
			Interfaces: unique(l.Interfaces),
			Rel:        unique(l.Rel),
			Policy:     oic.Policy{Mask: l.Policy.Mask & (oic.Discoverable | oic.Observable)},
			Title:      l.Title,
		})
	}
	return list, nil
}

// texts reports whether each of list is a name that can be passed on.
func texts(list []string) bool {
	return !slices.ContainsFunc(list, func(s string) bool { return s == "" || !printable(s) })
}

// printable reports whether s is text without control characters.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// unique returns list without repetitions.
func unique(list []string) (out []string) {
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func clip(s string) string { return s[:min(len(s), 80)] }
