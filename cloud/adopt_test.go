package cloud

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/farreach/farreach/cloud/directory"
	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/oic"
)

// told is what is said of a device that is on XMPP alone.
func told(di, name string) cloudlink.Publication {
	light := oic.Link{Href: "/a/light", Types: []string{"oic.r.light"}, Policy: oic.Policy{Mask: oic.Discoverable | oic.Observable}}
	return cloudlink.Publication{Device: di, Name: name, Links: []oic.Link{light, {Href: "/oic/d", Types: []string{"oic.d.light", "oic.wk.d"}},
		{Href: "/oic/mnt", Types: []string{"oic.wk.mnt"}}, {Href: "/x", Types: []string{"oic.ra.user"}}}}
}

// adopt has a device take part, with a session.
func (w *world) adopt(account, di, name string) (oic.Identity, *thing) {
	w.t.Helper()
	who, _, err := w.Adopt(w.t.Context(), account, told(di, name))
	w.must(err)
	s := &thing{body: []byte{0xf5}, closed: make(chan string, 8)}
	s.detach, err = w.AttachSpare(w.t.Context(), who, s)
	w.must(err)
	return who, s
}

// A device that is on XMPP alone is one of its account: what it has is listed, but
// for what is nobody's from afar, it is read and commanded by who may, and what it
// reports is kept. After a restart it is the same.
func TestAdopt(t *testing.T) {
	w := newWorld(t)
	home, partner, guest := oic.Identity{Account: "home"}, oic.Identity{Account: "partner"}, oic.Identity{Account: "guest"}
	who, s := w.adopt("home", fresh, "attic")
	dev, err := w.DeviceInfo(t.Context(), home, fresh)
	if err != nil || dev.Name != "attic" || dev.Type != "oic.d.light" || dev.Via != directory.ViaXMPP || dev.Presence.State != directory.Reachable || len(dev.Links) != 2 {
		t.Fatalf("%+v, %v", dev, err)
	}
	w.must(w.tell(who, "/a/light", &oic.Response{Status: oic.Content, Format: oic.OCF, Body: []byte{0xf5}}))
	if w.newestEvent(t, fresh) == 0 {
		t.Error("what it reports is not kept")
	}
	w.status("report what it does not have", w.tell(who, "/a/door", &oic.Response{Status: oic.Content, Body: []byte{0xf5}}), oic.NotFound)
	w.status("report for another", w.tell(oic.Identity{Account: "barn", Device: fresh, Credential: who.Credential}, "/a/light", &oic.Response{Status: oic.Content, Body: []byte{0xf5}}), oic.NotFound)
	ask := func(who oic.Identity, req oic.Request) error {
		d, err := w.Device(t.Context(), who, fresh)
		if err == nil {
			_, err = d.Handle(t.Context(), &req)
		}
		return err
	}
	change := oic.Request{Op: oic.Update, Href: "/a/light", Format: oic.OCF, Body: []byte{0xf4}}
	w.must(errors.Join(ask(home, oic.Request{Href: "/a/light"}), ask(home, change), ask(partner, change)))
	w.status("somebody else", ask(guest, oic.Request{Href: "/a/light"}), oic.NotFound)
	w.status("another device", ask(w.lamp, oic.Request{Href: "/a/light"}), oic.NotFound)
	w.status("its security", ask(home, oic.Request{Href: "/oic/sec/doxm"}), oic.Forbidden)
	if n := len(s.asked()); n != 3 {
		t.Errorf("it was asked %d times", n)
	}
	s.detach()
	w.close()
	w.open()
	again, _, err := w.Adopt(t.Context(), "home", told(fresh, "attic"))
	if after, _ := w.DeviceInfo(t.Context(), home, fresh); err != nil || again != who || !after.Created.Equal(dev.Created) || after.Presence.State != directory.Unknown {
		t.Errorf("after a restart: %+v, %+v, %v", again, after, err)
	}
}

// What is told anew takes the place of what was; the links that stay keep their
// numbers.
func TestAmend(t *testing.T) {
	w := newWorld(t)
	who, _ := w.adopt("home", fresh, "attic")
	before, _ := w.directory.Get(fresh)
	set := told(fresh, "loft")
	set.Links = append(set.Links[1:2], oic.Link{Href: "/a/door", Types: []string{"oic.r.door"}})
	links, err := w.Amend(t.Context(), who, set)
	after, _ := w.directory.Get(fresh)
	hrefs := func(links []oic.Link) (all []string) {
		for _, l := range links {
			all = append(all, fmt.Sprint(l.Href, l.Instance))
		}
		return all
	}
	if err != nil || after.Name != "loft" || len(links) != 2 || !slices.Equal(hrefs(links), hrefs(after.Links)) || links[0].Instance != before.Links[1].Instance {
		t.Errorf("%v, %+v, was %+v", err, after, before)
	}
	w.must(w.DeleteDevice(t.Context(), oic.Identity{Account: "home"}, fresh))
	_, err = w.Amend(t.Context(), who, set)
	w.status("amend what was deleted", err, oic.NotFound)
	if _, ok := w.directory.Get(fresh); ok {
		t.Error("it is back")
	}
}

// A device that joins by itself speaks for itself from then on: who told of it is
// let go, and not let in again. So it is with one that is deleted, and with one of
// another account.
func TestAdoptedStepsAside(t *testing.T) {
	w := newWorld(t)
	w.status("one of another account", func() error { _, _, err := w.Adopt(t.Context(), "home", told(shed, "x")); return err }(), oic.Forbidden)
	w.status("one that has joined", func() error { _, _, err := w.Adopt(t.Context(), "home", told(lamp, "x")); return err }(), oic.Conflict)
	w.status("no account", func() error { _, _, err := w.Adopt(t.Context(), "nobody", told(fresh, "x")); return err }(), oic.NotFound)
	w.status("no device", func() error { _, _, err := w.Adopt(t.Context(), "home", told("fresh", "x")); return err }(), oic.BadRequest)

	who, s := w.adopt("home", fresh, "attic")
	w.status("a second session", func() error { _, err := w.AttachSpare(t.Context(), who, &thing{}); return err }(), oic.Conflict)
	own := w.join("home", fresh)
	w.closed(s)
	w.status("report", w.tell(who, "/a/light", &oic.Response{Status: oic.Content, Body: []byte{0xf5}}), oic.Conflict)
	w.status("attach", func() error { _, err := w.AttachSpare(t.Context(), who, s); return err }(), oic.Conflict)
	w.status("adopt", func() error { _, _, err := w.Adopt(t.Context(), "home", told(fresh, "x")); return err }(), oic.Conflict)
	if dev, _ := w.directory.Get(fresh); dev.Via != "" {
		t.Errorf("it is still said to be reached by %s", dev.Via)
	}
	self := w.attach(own)
	if w.directory.Session(fresh) != directory.Session(self) {
		t.Error("its own session is not the one by which it is reached")
	}

	gone := uuid.NewString()
	who, s = w.adopt("home", gone, "cellar")
	w.must(w.DeleteDevice(t.Context(), oic.Identity{Account: "home"}, gone))
	w.closed(s)
	w.status("attach what was deleted", func() error { _, err := w.AttachSpare(t.Context(), who, s); return err }(), oic.NotFound)
	_, s = w.adopt("barn", gone, "cellar")
	w.must(w.DeleteAccount(t.Context(), operator, "barn"))
	w.closed(s)
}

// closed waits until a session was closed.
func (w *world) closed(s *thing) {
	w.t.Helper()
	select {
	case <-s.closed:
	case <-time.After(time.Minute):
		w.t.Fatal("who told of the device was not let go")
	}
}

// Whoever has the password of an account can pretend that there are devices: so
// many, and there is still room for those that join by themselves.
func TestAdoptedAreBounded(t *testing.T) {
	w := newWorld(t)
	n := 0
	for ; n < 1000; n++ {
		if _, _, err := w.Adopt(t.Context(), "home", told(uuid.NewString(), "x")); err != nil {
			w.status("one too many", err, oic.Forbidden)
			break
		}
	}
	if n != 200 {
		t.Errorf("%d devices", n)
	}
	w.join("home", fresh)
}
