package directory_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/cloud/directory"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

const (
	lamp = "a1b2c3d4-0000-4000-8000-000000000001"
	door = "a1b2c3d4-0000-4000-8000-000000000002"
)

func openStore(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{Dir: dir, Sync: time.Minute, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openDirectory(t *testing.T, s *store.Store) *directory.Directory {
	t.Helper()
	d, err := directory.Open(t.Context(), directory.Config{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func newDirectory(t *testing.T) *directory.Directory {
	t.Helper()
	s := openStore(t, filepath.Join(t.TempDir(), "store"))
	d := openDirectory(t, s)
	t.Cleanup(func() { d.Close(); s.Close() })
	return d
}

func claim(t *testing.T, d *directory.Directory, account, di string) {
	t.Helper()
	if err := d.Claim(t.Context(), account, di); err != nil {
		t.Fatal(err)
	}
}

func wantStatus(t *testing.T, what string, err error, want oic.Status) {
	t.Helper()
	if got, _ := oic.StatusOf(err); err == nil || got != want {
		t.Errorf("%s: %v, want %s", what, err, want)
	}
}

func link(href string, mask uint8, rt ...string) oic.Link {
	return oic.Link{Href: href, Types: rt, Interfaces: []string{oic.IfBaseline}, Policy: oic.Policy{Mask: mask}}
}

// A device that signs up again, having lost what it knew, takes nothing back: what
// it publishes first is what it has. A publication beyond that only adds. Until
// then all stays as it was, for the sign-up may be a repetition (rule 12).
func TestSignUpAgainReplaces(t *testing.T) {
	d := newDirectory(t)
	claim(t, d, "home", lamp)
	hrefs := func() (list string) {
		dev, _ := d.Get(lamp)
		for _, l := range dev.Links {
			list += fmt.Sprintf("%s ", l.Href)
		}
		return list
	}
	publish := func(links ...oic.Link) []oic.Link {
		t.Helper()
		p, err := d.Publish(t.Context(), lamp, "", "", 0, links)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	before := publish(link("/a", 3, "x"), link("/b", 3, "x"))
	publish(link("/c", 3, "x"))
	if got := hrefs(); got != "/a /b /c " {
		t.Fatalf("published %s", got)
	}
	claim(t, d, "home", lamp)
	if got := hrefs(); got != "/a /b /c " {
		t.Errorf("after the sign-up: %s", got)
	}
	after := publish(link("/d", 3, "x"), link("/b", 3, "x"))
	if got := hrefs(); got != "/d /b " || after[1].Instance != before[1].Instance {
		t.Errorf("after the first publication: %s, %d of /b was %d", got, after[1].Instance, before[1].Instance)
	}
	publish(link("/a", 3, "x"))
	if got := hrefs(); got != "/d /b /a " {
		t.Errorf("after the second: %s", got)
	}
}

// TestTooManyDevices: an account has 1,000 of them; who is among them may come
// again, and other accounts have their own (threats section 3.5).
func TestTooManyDevices(t *testing.T) {
	d := newDirectory(t)
	id := func(n int) string { return fmt.Sprintf("a1b2c3d4-0000-4000-8000-%012d", n) }
	for n := range 1000 {
		claim(t, d, "home", id(n))
	}
	wantStatus(t, "one too many", d.Claim(t.Context(), "home", id(1000)), oic.Forbidden)
	if _, ok := d.Get(id(1000)); ok {
		t.Error("it is there")
	}
	claim(t, d, "home", id(7))
	claim(t, d, "office", id(1000))
	if err := d.Delete(t.Context(), id(7)); err != nil {
		t.Fatal(err)
	}
	claim(t, d, "home", id(1001))
}

func TestClaim(t *testing.T) {
	d := newDirectory(t)
	claim(t, d, "home", lamp)
	claim(t, d, "home", lamp) // again: nothing changes
	claim(t, d, "home", door)
	wantStatus(t, "another account", d.Claim(t.Context(), "barn", lamp), oic.Forbidden)
	if list := d.Of("home"); len(list) != 2 || list[0].ID != lamp || list[1].ID != door {
		t.Errorf("Of(home) = %+v", list)
	}
	if list := d.Of("barn"); len(list) != 0 {
		t.Errorf("Of(barn) = %+v", list)
	}
	if err := d.Delete(t.Context(), lamp); err != nil {
		t.Fatal(err)
	}
	claim(t, d, "barn", lamp)
	if list := d.Of("home"); len(list) != 1 {
		t.Errorf("Of(home) = %+v after one was deleted", list)
	}
}

func TestClaimAtOnce(t *testing.T) {
	d := newDirectory(t)
	errs := make(chan error, 8)
	for i := range cap(errs) {
		go func() { errs <- d.Claim(context.Background(), fmt.Sprint("account", i), lamp) }()
	}
	owners := 0
	for range cap(errs) {
		if err := <-errs; err == nil {
			owners++
		} else {
			wantStatus(t, "who was slower", err, oic.Forbidden)
		}
	}
	if owners != 1 {
		t.Errorf("the device has %d owners", owners)
	}
}

// TestAccountHas1000Devices: threats section 3.5.
func TestAccountHas1000Devices(t *testing.T) {
	d := newDirectory(t)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < 1000; i += 8 {
				if err := d.Claim(context.Background(), "home", fmt.Sprintf("a1b2c3d4-0000-4000-8000-%012d", i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	wantStatus(t, "one too many", d.Claim(t.Context(), "home", "a1b2c3d4-0000-4000-8000-000000001000"), oic.Forbidden)
	claim(t, d, "home", lamp) // is there already
	claim(t, d, "barn", "a1b2c3d4-0000-4000-8000-000000001000")
}

// TestPublish: links persist with the device, ins is stable (rule 11).
func TestPublish(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s := openStore(t, dir)
	d := openDirectory(t, s)
	ctx := t.Context()
	claim(t, d, "home", lamp)
	first, err := d.Publish(ctx, lamp, "lamp", "", 0, []oic.Link{
		link("/a/light", 3, "oic.r.switch.binary"),
		link("/oic/d", 1, "oic.wk.d", "oic.d.light"),
	})
	if err != nil || len(first) != 2 || first[0].Instance <= 0 || first[0].Instance == first[1].Instance {
		t.Fatalf("Publish = %+v, %v", first, err)
	}
	again, err := d.Publish(ctx, lamp, "", "", 0, []oic.Link{link("/a/light", 1, "oic.r.light"), link("/a/dimmer", 3, "oic.r.dimmer")})
	if err != nil || again[0].Instance != first[0].Instance || again[1].Instance == first[1].Instance {
		t.Fatalf("Publish = %+v, %v; want ins %d again", again, err, first[0].Instance)
	}
	d.Close()
	s.Close()

	s = openStore(t, dir)
	d = openDirectory(t, s)
	defer func() { d.Close(); s.Close() }()
	dev, ok := d.Get(lamp)
	if !ok || dev.Name != "lamp" || dev.Type != "oic.d.light" || dev.Account != "home" || len(dev.Links) != 3 {
		t.Fatalf("after a restart: %+v, %v", dev, ok)
	}
	if l, ok := dev.Link("/a/light"); !ok || l.Instance != first[0].Instance || l.Types[0] != "oic.r.light" || l.Observable() {
		t.Errorf("the link published twice: %+v", l)
	}
	if err := d.Unpublish(ctx, lamp, []int64{first[0].Instance, 5}); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, "unpublish what is gone", d.Unpublish(ctx, lamp, []int64{first[0].Instance}), oic.BadRequest)
	back, err := d.Publish(ctx, lamp, "", "", 0, []oic.Link{link("/a/light", 3, "oic.r.light")})
	if err != nil || back[0].Instance != first[0].Instance {
		t.Errorf("published again with ins %+v, %v; want %d", back, err, first[0].Instance)
	}
	if err := d.Unpublish(ctx, lamp, nil); err != nil {
		t.Fatal(err)
	}
	if dev, _ := d.Get(lamp); len(dev.Links) != 0 || dev.Type != "oic.d.light" {
		t.Errorf("after all were unpublished: %+v", dev)
	}
	_, err = d.Publish(ctx, door, "", "", 0, []oic.Link{link("/a", 1)})
	wantStatus(t, "publish for a device that is not", err, oic.NotFound)
	wantStatus(t, "unpublish for a device that is not", d.Unpublish(ctx, door, nil), oic.NotFound)
}

func TestPublishNormalizes(t *testing.T) {
	d := newDirectory(t)
	claim(t, d, "home", lamp)
	got, err := d.Publish(t.Context(), lamp, "", "", 0, []oic.Link{
		link("/a/light", 1, "x.old"),
		{
			Href: "/a/light", Types: []string{"oic.r.light", "oic.r.light"}, Interfaces: []string{oic.IfRead}, Rel: []string{"hosts"},
			Anchor: "ocf://" + door, Device: door, Instance: 77, Policy: oic.Policy{Mask: 0xff},
			Endpoints: []oic.Endpoint{{URI: "coap://169.254.169.254"}}, Title: "lamp",
		},
		link("/oic/sec/doxm", 1, "oic.r.doxm"),
		link("/hidden", 1, "oic.r.cred"),
	})
	want := []oic.Link{{
		Href: "/a/light", Types: []string{"oic.r.light"}, Interfaces: []string{oic.IfRead}, Rel: []string{"hosts"},
		Policy: oic.Policy{Mask: 3}, Title: "lamp",
	}}
	if len(got) == 1 {
		want[0].Instance = got[0].Instance
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Publish = %+v, %v\n  want %+v", got, err, want)
	}
}

func TestPublishRefuses(t *testing.T) {
	d := newDirectory(t)
	claim(t, d, "home", lamp)
	many := func(n, size int) (links []oic.Link) {
		for i := range n {
			links = append(links, link(fmt.Sprintf("/%d/%s", i, strings.Repeat("x", size)), 1, "x.y"))
		}
		return links
	}
	for _, c := range []struct {
		what  string
		name  string
		links []oic.Link
		want  oic.Status
	}{
		{"no path", "", []oic.Link{link("light", 1)}, oic.BadRequest},
		{"a query", "", []oic.Link{link("/a?b", 1)}, oic.BadRequest},
		{"a way up", "", []oic.Link{link("/a/../b", 1)}, oic.BadRequest},
		{"another host", "", []oic.Link{link("coap://192.0.2.1/a", 1)}, oic.BadRequest},
		{"an empty type", "", []oic.Link{link("/a", 1, "")}, oic.BadRequest},
		{"a control character", "", []oic.Link{link("/a", 1, "x\x1b[31m")}, oic.BadRequest},
		{"a name that is no text", "\xff", []oic.Link{link("/a", 1)}, oic.BadRequest},
		{"a long name", strings.Repeat("x", 129), []oic.Link{link("/a", 1)}, oic.BadRequest},
		{"513 links", "", many(513, 1), oic.TooLarge},
		{"64 KiB", "", many(100, 1000), oic.TooLarge},
	} {
		_, err := d.Publish(t.Context(), lamp, c.name, "", 0, c.links)
		wantStatus(t, c.what, err, c.want)
	}
	if _, err := d.Publish(t.Context(), lamp, "", "", 0, many(512, 1)); err != nil {
		t.Fatalf("512 links: %v", err)
	}
	_, err := d.Publish(t.Context(), lamp, "", "", 0, []oic.Link{link("/one/more", 1)})
	wantStatus(t, "one more", err, oic.TooLarge)
	if dev, _ := d.Get(lamp); len(dev.Links) != 512 {
		t.Errorf("%d links are kept, want 512", len(dev.Links))
	}
}

// session is a device's connection, for the registry alone.
type session struct {
	oic.Observer
	seen   time.Time
	closed []string
}

func (s *session) LastSeen() time.Time { return s.seen }
func (s *session) Close(reason string) { s.closed = append(s.closed, reason) }

// TestBad43PresenceIsProved: after a start nothing is known; a session proves
// that a device is there, its end that it is not.
func TestBad43PresenceIsProved(t *testing.T) {
	d := newDirectory(t)
	claim(t, d, "home", lamp)
	if p := d.Presence(lamp); p.State != directory.Unknown || !p.Proven.IsZero() || time.Since(p.Since) > time.Minute {
		t.Errorf("at first: %+v", p)
	}
	s := &session{seen: time.Now()}
	detach := d.Attach(lamp, s)
	if p := d.Presence(lamp); p.State != directory.Reachable || !p.Proven.Equal(s.seen) {
		t.Errorf("attached: %+v", p)
	}
	if d.Session(lamp) != s || d.Session(door) != nil {
		t.Error("Session is not the one that was attached")
	}
	s.seen = s.seen.Add(time.Second)
	detach()
	detach()
	if p := d.Presence(lamp); p.State != directory.Offline || !p.Proven.Equal(s.seen) || time.Since(p.Since) > time.Minute {
		t.Errorf("detached: %+v", p)
	}
	if d.Session(lamp) != nil || len(s.closed) != 0 {
		t.Errorf("a session that has gone is there, or was closed: %q", s.closed)
	}
}

// A device that was reached through a gateway is offline when the gateway says so,
// which is there; and unknown, because of it, when that has gone itself.
func TestGatewayGone(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), "store"))
	var mu sync.Mutex // guards told
	told := map[string]int{}
	d, err := directory.Open(t.Context(), directory.Config{Store: s, Presence: func(di string) {
		mu.Lock()
		defer mu.Unlock()
		told[di]++
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close(); s.Close() })
	const bridge, stranger = "a1b2c3d4-0000-4000-8000-00000000000b", "a1b2c3d4-0000-4000-8000-00000000000c"
	for di, account := range map[string]string{lamp: "home", door: "home", bridge: "home", stranger: "away"} {
		claim(t, d, account, di)
	}
	publish := func(di, gateway string) {
		t.Helper()
		if _, err := d.Publish(t.Context(), di, "", gateway, 0, []oic.Link{link("/a", 1)}); err != nil {
			t.Fatal(err)
		}
	}
	publish(lamp, strings.ToUpper(bridge))
	publish(door, "")
	publish(stranger, bridge)
	attach := func(di string) func() { return d.Attach(di, &session{seen: time.Now()}) }
	is := func(di string, want directory.State, because string) {
		t.Helper()
		if p := d.Presence(di); p.State != want || p.Gateway != because {
			t.Errorf("%s is %+v, want %s because of %q", di, p, want, because)
		}
	}
	gone, lampGone, doorGone, strangerGone := attach(bridge), attach(lamp), attach(door), attach(stranger)
	is(lamp, directory.Reachable, "")
	lampGone()
	doorGone()
	strangerGone()
	is(lamp, directory.Offline, "")
	before := told[lamp]
	gone()
	is(lamp, directory.Unknown, bridge)
	is(door, directory.Offline, "")
	is(stranger, directory.Offline, "")
	is(bridge, directory.Offline, "")
	if told[lamp] != before+1 {
		t.Errorf("of the lamp was told %d times when its gateway went", told[lamp]-before)
	}
	attach(bridge)
	is(lamp, directory.Offline, "")
	attach(bridge)() // the newer connection has gone
	publish(lamp, "")
	is(lamp, directory.Offline, "")
	publish(lamp, "no uuid")
	if dev, _ := d.Get(lamp); dev.Gateway != "" {
		t.Errorf("its gateway is %q", dev.Gateway)
	}
}

// TestRule13NewerSessionTakesOver: the older one is closed, and its end does
// not end the newer one.
func TestRule13NewerSessionTakesOver(t *testing.T) {
	d := newDirectory(t)
	claim(t, d, "home", lamp)
	older, newer := &session{seen: time.Now()}, &session{seen: time.Now()}
	detachOlder := d.Attach(lamp, older)
	detachNewer := d.Attach(lamp, newer)
	if len(older.closed) != 1 || len(newer.closed) != 0 || d.Session(lamp) != newer {
		t.Errorf("older closed %q, newer closed %q", older.closed, newer.closed)
	}
	detachOlder()
	if d.Session(lamp) != newer || d.Presence(lamp).State != directory.Reachable {
		t.Error("the end of the older session ended the newer one")
	}
	detachNewer()
	if d.Session(lamp) != nil {
		t.Error("a session that has gone is there")
	}
}

func TestSessionsOfManyAtOnce(t *testing.T) {
	d := newDirectory(t)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			di := fmt.Sprint("device", i%4)
			for range 200 {
				detach := d.Attach(di, &closable{})
				d.Presence(di)
				d.Session(di)
				detach()
			}
		})
	}
	wg.Wait()
	for i := range 4 {
		if p := d.Presence(fmt.Sprint("device", i)); p.State != directory.Offline {
			t.Errorf("%d: %+v", i, p)
		}
	}
}

type closable struct{ oic.Observer }

func (*closable) LastSeen() time.Time { return time.Time{} }
func (*closable) Close(string)        {}
