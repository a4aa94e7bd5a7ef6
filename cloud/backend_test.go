package cloud

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/cloud/directory"
	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
)

func TestSignUp(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	code := w.code("home")
	g, err := w.SignUp(ctx, cloudlink.SignUp{Device: strings.ToUpper(fresh), Code: code})
	w.must(err)
	if left := time.Until(g.Expires); g.Account != "home" || left > time.Hour || left < 59*time.Minute {
		t.Errorf("grant for %q, %v left", g.Account, left)
	}
	again, err := w.SignUp(ctx, cloudlink.SignUp{Device: fresh, Code: code})
	if err != nil {
		t.Errorf("rule 12, the same code again: %v", err)
	}
	if who := w.signIn(again, fresh); who != (oic.Identity{Account: "home", Device: fresh, Credential: who.Credential}) {
		t.Errorf("signed in as %+v", who)
	}
	for _, c := range []struct {
		what string
		s    cloudlink.SignUp
		want oic.Status
	}{
		{"used code", cloudlink.SignUp{Device: "a1b2c3d4-0000-4000-8000-000000000005", Code: code}, oic.Unauthorized},
		{"wrong code", cloudlink.SignUp{Device: fresh, Code: secret.Code()}, oic.Unauthorized},
		{"no code", cloudlink.SignUp{Device: fresh}, oic.Unauthorized},
		{"no di", cloudlink.SignUp{Code: code}, oic.BadRequest},
		{"di in braces", cloudlink.SignUp{Device: "{" + fresh + "}", Code: code}, oic.BadRequest},
		{"di that is no UUID", cloudlink.SignUp{Device: "../../../etc/passwd", Code: code}, oic.BadRequest},
		{"signed in as a device", cloudlink.SignUp{Device: fresh, Code: w.code("home"), From: w.lamp}, oic.Forbidden},
	} {
		_, err := w.SignUp(ctx, c.s)
		w.status(c.what, err, c.want)
	}
}

// TestSomebodyElsesDevice: a di of another account stays there, and the code
// stays good.
func TestSomebodyElsesDevice(t *testing.T) {
	w := newWorld(t)
	code := w.code("barn")
	_, err := w.SignUp(t.Context(), cloudlink.SignUp{Device: lamp, Code: code})
	w.status("sign up", err, oic.Forbidden)
	if dev, _ := w.directory.Get(lamp); dev.Account != "home" {
		t.Errorf("the lamp belongs to %q now", dev.Account)
	}
	if _, err := w.DeviceInfo(t.Context(), w.lamp, lamp); err != nil {
		t.Errorf("the lamp itself: %v", err)
	}
	if _, err := w.SignUp(t.Context(), cloudlink.SignUp{Device: fresh, Code: code}); err != nil {
		t.Errorf("the code for another device: %v", err)
	}
}

func TestSignInOfPeople(t *testing.T) {
	w := newWorld(t)
	token, want := w.token("home", 0)
	for _, name := range []string{"home", ""} {
		who, _, err := w.SignIn(t.Context(), cloudlink.Login{Account: name, Access: token})
		if err != nil || who != want {
			t.Errorf("as %q: %+v, %v", name, who, err)
		}
	}
	_, _, err := w.SignIn(t.Context(), cloudlink.Login{Account: "barn", Access: token})
	w.status("as another account", err, oic.Unauthorized)
	if who, err := w.Bearer(t.Context(), nowhere, token); err != nil || who != want {
		t.Errorf("Bearer = %+v, %v", who, err)
	}
}

func TestRefreshAndExpiry(t *testing.T) {
	w := newWorld(t)
	g, err := w.SignUp(t.Context(), cloudlink.SignUp{Device: fresh, Code: w.code("home")})
	w.must(err)
	g2, err := w.Refresh(t.Context(), cloudlink.Refresh{Account: "home", Device: strings.ToUpper(fresh), Token: g.Refresh})
	w.must(err)
	w.signIn(g2, fresh)
	_, err = w.Refresh(t.Context(), cloudlink.Refresh{Account: "home", Device: lamp, Token: g2.Refresh})
	w.status("another device's refresh token", err, oic.Unauthorized)

	w.close()
	w.cfg.AccessTTL = time.Nanosecond
	w.open()
	g3, err := w.Refresh(t.Context(), cloudlink.Refresh{Account: "home", Device: fresh, Token: g2.Refresh})
	w.must(err)
	_, _, err = w.SignIn(t.Context(), cloudlink.Login{Account: "home", Device: fresh, Access: g3.Access})
	w.status("an expired access token", err, oic.Unauthorized)
}

// TestSignOff: the device can no longer sign in, its session is closed after
// the answer had its time, its events stay with the account.
func TestSignOff(t *testing.T) {
	w := newWorld(t)
	w.report("/a/light", 0xf5)
	w.must(w.SignOff(t.Context(), w.lamp))
	if len(w.thing.closed) != 0 {
		t.Error("the session was closed before the answer could be sent")
	}
	w.status("sign off again", w.SignOff(t.Context(), w.lamp), oic.Unauthorized)
	_, err := w.DeviceInfo(t.Context(), w.who("home"), lamp)
	w.status("see it", err, oic.NotFound)
	w.within("close the session", closed(w.thing))
	if n := w.count("home"); n != 1 {
		t.Errorf("%d events are left, want 1", n)
	}
}

// TestRemovedDeviceNeedsANewCode: the minute in which a device may repeat its
// code does not outlive its place in the account.
func TestRemovedDeviceNeedsANewCode(t *testing.T) {
	w := newWorld(t)
	for what, remove := range map[string]func(oic.Identity) error{
		"deleted":    func(oic.Identity) error { return w.DeleteDevice(t.Context(), w.who("home"), fresh) },
		"signed off": func(who oic.Identity) error { return w.SignOff(t.Context(), who) },
	} {
		code := w.code("home")
		g, err := w.SignUp(t.Context(), cloudlink.SignUp{Device: fresh, Code: code})
		w.must(err)
		w.must(remove(w.signIn(g, fresh)))
		_, err = w.SignUp(t.Context(), cloudlink.SignUp{Device: fresh, Code: code})
		w.status(what, err, oic.Unauthorized)
		w.join("home", fresh)
	}
}

// closed tells when a session was closed.
func closed(s *thing) <-chan error {
	done := make(chan error, 1)
	go func() { done <- errors.New(<-s.closed) }()
	return done
}

// count returns how many events an account has.
func (w *world) count(name string) (n int) {
	w.t.Helper()
	w.must(w.Events(w.t.Context(), oic.Identity{Account: name}, event.Filter{}, func(event.Event) bool { n++; return true }))
	return n
}

func TestReport(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.report("/a/light", 0xf4)
	w.report("/oic/d", 0xa0)
	for _, c := range []struct {
		what, href string
		who        oic.Identity
		want       oic.Status
	}{
		{"not published", "/a/other", w.lamp, oic.NotFound},
		{"a query", "/a/light?if=oic.if.r", w.lamp, oic.NotFound},
		{"no path", "a/light", w.lamp, oic.BadRequest},
		{"of a device that published nothing", "/a/light", w.door, oic.NotFound},
		{"by nobody", "/a/light", oic.Identity{}, oic.Unauthorized},
		{"by a person", "/a/light", w.who("home"), oic.Forbidden},
	} {
		w.status(c.what, w.tell(c.who, c.href, &oic.Response{}), c.want)
	}
	err := w.tell(w.lamp, "/a/light", &oic.Response{Body: make([]byte, 2<<20)})
	w.status("2 MiB", err, oic.TooLarge)
	var got []string
	w.must(w.Events(ctx, w.who("home"), event.Filter{Account: "barn"}, func(ev event.Event) bool {
		got = append(got, fmt.Sprintf("%s %s %s %x", ev.Account, ev.Device[35:], ev.Href, ev.Body))
		return true
	}))
	if want := "[home 1 /a/light f4 home 1 /oic/d a0]"; fmt.Sprint(got) != want {
		t.Errorf("events %v, want %s", got, want)
	}
	if n := w.count("barn"); n != 0 {
		t.Errorf("the other account has %d events", n)
	}
}

// TestReconnectionIsNoEvent: what a connection reports first is an event only
// if it is news; the same value again later is one.
func TestReconnectionIsNoEvent(t *testing.T) {
	w := newWorld(t)
	w.report("/a/light", 0xf5)
	w.report("/a/light", 0xf5)
	if n := w.count("home"); n != 2 {
		t.Fatalf("%d events, want 2", n)
	}
	w.attach(w.lamp)
	w.report("/a/light", 0xf5)
	if n := w.count("home"); n != 2 {
		t.Errorf("%d events after a reconnection, want 2", n)
	}
	w.report("/a/light", 0xf5)
	w.attach(w.lamp)
	w.report("/a/light", 0xf4)
	if n := w.count("home"); n != 4 {
		t.Errorf("%d events, want 4", n)
	}
}

// TestTooManyEvents: a device that reports too fast waits (threats section
// 3.5), and does not get more by connecting again.
func TestTooManyEvents(t *testing.T) {
	w := newWorld(t)
	w.flow(lamp).events.ReserveN(time.Now(), eventBurst)
	w.flow(lamp).events.ReserveN(time.Now(), 2*eventsPerSecond) // of the next two seconds
	w.attach(w.lamp)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	errs := w.Report(ctx, w.lamp, []cloudlink.Report{{Href: "/a/light", Rep: &oic.Response{}}})
	w.status("beyond the burst", errs[0], oic.TooMany)
	w.report("/a/light", 0xf5) // waits its turn
}

// TestReports: of reports that come together each has its own fate, and those
// that are kept are kept in their order, also when the device is made to wait.
func TestReports(t *testing.T) {
	w := newWorld(t)
	w.flow(lamp).events.AllowN(time.Now(), eventBurst-3)
	href := []string{"/a/light", "/oic/sec/doxm", "/a/light", "/a/none", "/oic/d", "/a//b", "/a/light", "/a/light"}
	want := []oic.Status{0, oic.Forbidden, 0, oic.NotFound, 0, oic.BadRequest, 0, 0}
	var reports []cloudlink.Report
	for i, h := range href {
		reports = append(reports, cloudlink.Report{Href: h, Rep: &oic.Response{Format: oic.OCF, Body: []byte{byte(i)}}})
	}
	errs := w.Report(t.Context(), w.lamp, reports)
	for i, err := range errs {
		if want[i] != 0 {
			w.status(href[i], err, want[i])
		} else if err != nil {
			t.Errorf("report %d: %v", i, err)
		}
	}
	var got []byte
	w.must(w.events.Query(t.Context(), event.Filter{Account: "home"}, func(ev event.Event) bool {
		got = append(got, ev.Body...)
		return true
	}))
	if string(got) != "\x00\x02\x04\x06\x07" {
		t.Errorf("kept: %v", got)
	}
	if errs := w.Report(t.Context(), w.people["barn"], reports); len(errs) != len(reports) || slices.Contains(errs, nil) {
		t.Errorf("of somebody else: %v", errs)
	}
}

func TestAttach(t *testing.T) {
	w := newWorld(t)
	home := w.who("home")
	info, err := w.DeviceInfo(t.Context(), home, lamp)
	w.must(err)
	if info.Presence.State != directory.Reachable || info.Name != "lamp" || len(info.Links) != 2 {
		t.Errorf("attached: %+v", info)
	}
	newer := w.attach(w.lamp)
	w.within("rule 13, close the older session", closed(w.thing))
	if info, _ = w.DeviceInfo(t.Context(), home, lamp); info.Presence.State != directory.Reachable {
		t.Errorf("taken over: %+v", info.Presence)
	}
	_, links, err := w.Attach(t.Context(), w.lamp, newer)
	if err != nil || len(links) != 2 {
		t.Errorf("rule 11: %d links, %v", len(links), err)
	}
}

// TestRestart: devices and their links are there, their presence is not
// remembered, and a deletion that was cut short is finished (Bad43).
func TestRestart(t *testing.T) {
	w := newWorld(t)
	w.must(w.accounts.BeginDelete(t.Context(), "barn"))
	w.report("/a/light", 0xf5)
	w.close()
	w.open()
	list, err := w.Inventory(t.Context(), w.who("home"))
	w.must(err)
	if len(list) != 2 || list[1].ID != lamp || len(list[1].Links) != 2 || list[1].Presence.State != directory.Unknown {
		t.Fatalf("inventory: %+v", list)
	}
	all, err := w.Inventory(t.Context(), operator)
	if err != nil || len(all) != 2 {
		t.Errorf("%d devices are left, %v; want those of home", len(all), err)
	}
	if _, err := w.CreateAccount(t.Context(), operator, "barn", password, false); err != nil {
		t.Errorf("the name is not free again: %v", err)
	}
	w.attach(w.lamp)
	if info, _ := w.DeviceInfo(t.Context(), w.lamp, lamp); info.Presence.State != directory.Reachable {
		t.Errorf("%+v after the device came back", info.Presence)
	}
}

// TestDeletedAccountLeavesNothing: not to anybody who takes its name later.
func TestDeletedAccountLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.report("/a/light", 0xf5)
	w.must(w.DeleteDevice(t.Context(), w.who("home"), door))
	w.must(w.DeleteAccount(t.Context(), w.who("office"), "home"))
	_, err := w.CreateAccount(t.Context(), operator, "home", password, false)
	w.must(err)
	_, again := w.token("home", 0)
	if list, err := w.Inventory(t.Context(), again); err != nil || len(list) != 0 {
		t.Errorf("devices: %+v, %v", list, err)
	}
	if n := w.count("home"); n != 0 {
		t.Errorf("%d events", n)
	}
	w.join("barn", lamp) // free for everybody
}

func TestDevicesForDiscovery(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		who  oic.Identity
		want string
	}{
		{w.who("home"), "[2 1]"}, {w.who("barn"), "[3]"}, {w.lamp, "[1]"}, {w.door, "[2]"}, {w.who("office"), "[]"},
	} {
		list, err := w.Devices(t.Context(), c.who)
		got := []string{}
		for _, p := range list {
			got = append(got, p.Device[35:])
		}
		if err != nil || fmt.Sprint(got) != c.want {
			t.Errorf("%+v sees %v, %v; want %s", c.who, got, err, c.want)
		}
	}
}

// An event that a device sends is kept even if it repeats the last one, which
// the first report of a connection is not.
func TestEventRepeated(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	rep := func() *oic.Response { return &oic.Response{Status: oic.Content, Format: oic.OCF, Body: []byte{0xf5}} }
	count := func() (n int) {
		w.must(w.events.Query(ctx, event.Filter{Account: "home", Device: lamp, Href: "/a/light"}, func(event.Event) bool { n++; return true }))
		return n
	}
	before := count()
	for range 3 {
		w.must(w.Event(ctx, w.lamp, "/a/light", rep()))
	}
	if got := count() - before; got != 3 {
		t.Errorf("%d events kept, want 3", got)
	}
	w.flow(lamp).connected()
	w.must(w.tell(w.lamp, "/a/light", rep()))
	if got := count() - before; got != 3 {
		t.Errorf("%d events after a repeated report, want 3", got)
	}
	w.status("not published", w.Event(ctx, w.lamp, "/b", rep()), oic.NotFound)
	w.status("security", w.Event(ctx, w.lamp, "/oic/sec/doxm", rep()), oic.Forbidden)
}
