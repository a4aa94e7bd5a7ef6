package cloud

import (
	"context"
	"slices"
	"testing"

	"github.com/farreach/farreach/cloud/account"
	"github.com/farreach/farreach/cloud/command"
	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/oic"
)

var (
	guest   = oic.Identity{Account: "guest"}
	partner = oic.Identity{Account: "partner"}
	home    = oic.Identity{Account: "home"}
)

// TestSharedInventory: what is shared with somebody stands among his own, with
// what he is to it.
func TestSharedInventory(t *testing.T) {
	w := newWorld(t)
	for name, want := range map[string]map[string]account.Role{
		"home":    {lamp: account.Owner, door: account.Owner},
		"barn":    {shed: account.Owner},
		"guest":   {lamp: account.Viewer},
		"partner": {lamp: account.Member, door: account.Member},
	} {
		list, err := w.Inventory(t.Context(), oic.Identity{Account: name})
		w.must(err)
		if len(list) != len(want) {
			t.Errorf("%s has %d devices, want %d", name, len(list), len(want))
		}
		for _, dev := range list {
			if dev.Role != want[dev.ID] {
				t.Errorf("%s is %v of %s, want %v", name, dev.Role, dev.ID, want[dev.ID])
			}
		}
	}
	dev, err := w.DeviceInfo(t.Context(), operator, lamp)
	w.must(err)
	if dev.Role != account.Nobody {
		t.Errorf("the operator is %v of a device", dev.Role)
	}
}

// TestNobodyElseShares: what somebody was given he cannot give on, and what is
// not his he cannot give at all.
func TestNobodyElseShares(t *testing.T) {
	w := newWorld(t)
	for who, want := range map[oic.Identity]oic.Status{
		guest: oic.Forbidden, partner: oic.Forbidden, {Account: "barn"}: oic.NotFound, w.lamp: oic.Forbidden, {}: oic.Unauthorized,
	} {
		_, err := w.NewShare(t.Context(), who, lamp, "other", account.Viewer)
		w.status(who.Account, err, want)
	}
	_, err := w.NewShare(t.Context(), home, fresh, "other", account.Viewer)
	w.status("a device that there is not", err, oic.NotFound)
	given, received, err := w.Shares(t.Context(), home)
	if len(given) != 2 || len(received) != 0 || err != nil {
		t.Errorf("home gives %+v, is given %+v (%v)", given, received, err)
	}
}

// TestShareEnds: what is open by a share ends with it, and what is open by the
// role of a member with that (threats rule 2, bad input 44).
func TestShareEnds(t *testing.T) {
	w := newWorld(t)
	w.report("/a/light", 0xf4)
	observe := func(who oic.Identity) <-chan error {
		way, err := w.Device(t.Context(), who, lamp)
		w.must(err)
		begun, done := make(chan bool, 8), make(chan error, 1)
		go func() {
			done <- way.Observe(t.Context(), &oic.Request{Href: "/a/light"}, func(*oic.Response) { begun <- true })
		}()
		<-begun
		return done
	}
	byDevice, byAccount := observe(guest), observe(partner)
	given, _, err := w.Shares(t.Context(), home)
	w.must(err)
	w.must(w.EndShare(t.Context(), home, given[0].ID))
	w.status("a viewer's observation", w.within("unshare", byDevice), oic.NotFound)
	if _, err := w.Device(t.Context(), guest, lamp); err == nil {
		t.Error("the device can still be had")
	}
	w.must(w.EndShare(t.Context(), partner, given[1].ID)) // by who was given it
	w.status("a member's observation", w.within("unshare", byAccount), oic.NotFound)

	w.share("", "partner", account.Member)
	w.thing.mu.Lock()
	begun := make(chan bool, 1)
	w.thing.handle = func(ctx context.Context, _ *oic.Request) (*oic.Response, error) {
		begun <- true
		<-ctx.Done()
		return nil, ctx.Err()
	}
	w.thing.mu.Unlock()
	way, err := w.Device(t.Context(), partner, lamp)
	w.must(err)
	done := make(chan error, 1)
	go func() {
		_, err := way.Handle(t.Context(), &oic.Request{Op: oic.Update, Href: "/a/light"})
		done <- err
	}()
	<-begun
	w.share("", "partner", account.Viewer)
	w.status("a command of who is a viewer now", w.within("role", done), oic.Forbidden)
}

// TestShareIsSeen: who watches learns of what is shared with him, and of what
// is not any more.
func TestShareIsSeen(t *testing.T) {
	w := newWorld(t)
	seen := make(chan string, 16)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- w.WatchPresence(ctx, guest, PresenceWatch{
			Each: func(dev DeviceInfo) error { seen <- dev.ID; return nil },
			Gone: func(di string) error { seen <- "gone " + di; return nil },
		})
	}()
	if di := <-seen; di != lamp {
		t.Errorf("guest sees %s first", di)
	}
	all := w.share("", "guest", account.Viewer)
	var got []string
	for len(got) < 2 || !slices.Contains(got, door) {
		got = append(got, <-seen)
	}
	w.must(w.EndShare(t.Context(), oic.Identity{Account: "home"}, all.ID))
	for what := range seen {
		if what == "gone "+door {
			break
		}
		if what == "gone "+lamp {
			t.Error("the lamp is gone, which is shared by itself")
		}
	}
	w.must(w.DeleteDevice(t.Context(), home, lamp))
	for what := range seen {
		if what == "gone "+lamp {
			break
		}
	}
	cancel()
	<-done
}

// TestSharesEndWithDevice: a device that comes back to its account is shared
// with nobody.
func TestSharesEndWithDevice(t *testing.T) {
	w := newWorld(t)
	w.must(w.DeleteDevice(t.Context(), home, lamp))
	w.join("home", lamp)
	_, err := w.DeviceInfo(t.Context(), guest, lamp)
	w.status("guest", err, oic.NotFound)
	_, err = w.DeviceInfo(t.Context(), partner, lamp) // all that home has is still shared
	w.must(err)
}

// TestSharedHistory: events and commands of what is shared can be read, those of
// the rest cannot.
func TestSharedHistory(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.report("/a/light", 0xf4)
	_, err := w.events.Append(ctx, event.Event{Account: "home", Device: door, Href: "/a/door"})
	w.must(err)
	cmd, _, err := w.Send(ctx, home, Order{Device: lamp, Request: oic.Request{Op: oic.Update, Href: "/a/light"}})
	w.must(err)
	other, _, _ := w.Send(ctx, home, Order{Device: door, Request: oic.Request{Op: oic.Update, Href: "/a/door"}}) // which is away
	for who, want := range map[oic.Identity]struct{ lampEvents, doorEvents, commands, ofDoor int }{
		home: {1, 1, 2, 1}, partner: {1, 1, 2, 1}, guest: {1, 0, 1, 0}, {Account: "barn"}: {0, 0, 0, 0},
	} {
		events := func(di string) (n int) {
			w.must(w.Events(ctx, who, event.Filter{Device: di}, func(event.Event) bool { n++; return true }))
			return n
		}
		if n, m := events(lamp), events(door); n != want.lampEvents || m != want.doorEvents {
			t.Errorf("%s reads %d events of the lamp and %d of the door, want %+v", who.Account, n, m, want)
		}
		if n := events(""); n != want.lampEvents+want.doorEvents {
			t.Errorf("%s reads %d events in all, want %+v", who.Account, n, want)
		}
		all, err := w.Commands(ctx, who, command.Filter{})
		w.must(err)
		ofDoor, err := w.Commands(ctx, who, command.Filter{Device: door})
		w.must(err)
		if len(all) != want.commands || len(ofDoor) != want.ofDoor {
			t.Errorf("%s reads %d commands, %d of the door, want %+v", who.Account, len(all), len(ofDoor), want)
		}
		_, err = w.Command(ctx, who, cmd.ID)
		if (err == nil) != (want.lampEvents > 0) {
			t.Errorf("%s reads the command to the lamp: %v", who.Account, err)
		}
		_, err = w.Command(ctx, who, other.ID)
		if (err == nil) != (want.ofDoor > 0) {
			t.Errorf("%s reads the command to the door: %v", who.Account, err)
		}
	}
}

// TestSharedEventsInOrder: what lies in several places is read as if it lay in
// one, in every order and page by page, however long it is; and it is followed.
func TestSharedEventsInOrder(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	var seqs []uint64
	for i := range 24 {
		ev := event.Event{Account: "home", Device: lamp, Href: "/a/light", Body: make([]byte, 1<<20)}
		if i%3 > 0 {
			ev = event.Event{Account: "guest", Device: fresh, Href: "/a/x", Body: []byte{byte(i)}}
		}
		ev, err := w.events.Append(ctx, ev)
		w.must(err)
		seqs = append(seqs, ev.Seq)
	}
	read := func(f event.Filter) (got []uint64) {
		t.Helper()
		w.must(w.Events(ctx, guest, f, func(ev event.Event) bool { got = append(got, ev.Seq); return true }))
		return got
	}
	if got := read(event.Filter{Limit: 5}); !slices.Equal(got, seqs[19:]) {
		t.Errorf("the newest five: %v of %v", got, seqs)
	}
	var up, down []uint64
	for f := (event.Filter{From: 1, Order: event.OldestFirst}); ; f.From = up[len(up)-1] + 1 {
		got := read(f)
		if len(got) == 0 {
			break
		}
		up = append(up, got...)
	}
	for f := (event.Filter{Order: event.NewestFirst}); ; f.Before = down[len(down)-1] {
		got := read(f)
		if len(got) == 0 {
			break
		}
		down = append(down, got...)
	}
	slices.Reverse(down)
	if !slices.Equal(up, seqs) || !slices.Equal(down, seqs) {
		t.Errorf("page by page: %v and back %v, want %v", up, down, seqs)
	}
	var followed []uint64
	var newest []uint64
	w.must(w.States(ctx, guest, func(ev event.Event) bool { newest = append(newest, ev.Seq); return true }))
	if !slices.Equal(newest, []uint64{seqs[23], seqs[21]}) {
		t.Errorf("states: %v of %v", newest, seqs)
	}
	var news []event.Event
	err := w.FollowNews(ctx, guest, event.Filter{From: 1}, event.Everything, func(n event.News) error {
		if news = append(news, n.Events...); len(news) == len(seqs) {
			return errStop
		}
		return nil
	})
	if err != errStop || !slices.EqualFunc(news, seqs, func(ev event.Event, seq uint64) bool { return ev.Seq == seq }) {
		t.Errorf("news: %d events, %v", len(news), err)
	}
	given, _, err := w.Shares(ctx, home)
	w.must(err)
	w.must(w.EndShare(ctx, home, given[0].ID))
	if left := w.visible(guest, news); len(left) != 16 {
		t.Errorf("without the share %d events are seen", len(left))
	}
	w.share(lamp, "guest", account.Viewer)
	err = w.FollowEvents(ctx, guest, event.Filter{From: 1}, func(ev event.Event) error {
		if followed = append(followed, ev.Seq); len(followed) == len(seqs) {
			return errStop
		}
		return nil
	})
	if err != errStop || !slices.Equal(followed, seqs) {
		t.Errorf("followed: %v, %v", followed, err)
	}
}
