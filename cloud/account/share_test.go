package account

import (
	"testing"
	"time"

	"github.com/farreach/farreach/oic"
)

const thing = "a1b2c3d4-0000-4000-8000-00000000000a"

func TestShares(t *testing.T) {
	a := newAccounts(t, Config{})
	ctx := t.Context()
	role := func(device string, want Role) {
		t.Helper()
		if got := a.Role("barn", "home", device); got != want {
			t.Errorf("barn is %v to %q of home, want %v", got, device, want)
		}
	}
	role(thing, Nobody)
	s, err := a.NewShare(ctx, "home", thing, "Barn", Viewer)
	if err != nil || s.With != "barn" || !s.Accepted.IsZero() {
		t.Fatalf("NewShare = %+v, %v", s, err)
	}
	role(thing, Nobody) // not accepted

	for _, name := range []string{"home", "other", ""} {
		_, err := a.AcceptShare(ctx, name, s.ID)
		wantStatus(t, "accepted by "+name, err, oic.NotFound)
	}
	if _, err := a.AcceptShare(ctx, "barn", s.ID); err != nil {
		t.Fatal(err)
	}
	role(thing, Viewer)
	role("another", Nobody)
	role("", Nobody)
	if got := a.Role("home", "barn", thing); got != Nobody {
		t.Errorf("home is %v to barn", got)
	}

	again, err := a.NewShare(ctx, "home", thing, "barn", Member) // another role
	if err != nil || again.ID != s.ID || again.Accepted.IsZero() {
		t.Fatalf("NewShare = %+v, %v", again, err)
	}
	role(thing, Member)

	all, err := a.NewShare(ctx, "home", "", "barn", Viewer)
	if err != nil {
		t.Fatal(err)
	}
	role("", Nobody)
	if _, err := a.AcceptShare(ctx, "barn", all.ID); err != nil {
		t.Fatal(err)
	}
	role("", Viewer)
	role("another", Viewer)
	role(thing, Member) // the greater of both

	given, received := a.Shares("home")
	if len(given) != 2 || len(received) != 0 || given[0].ID != s.ID {
		t.Errorf("home gives %+v, is given %+v", given, received)
	}
	_, err = a.EndShare(ctx, "other", s.ID)
	wantStatus(t, "ended by another", err, oic.NotFound)
	if _, err := a.EndShare(ctx, "barn", s.ID); err != nil { // by who was given it
		t.Fatal(err)
	}
	role(thing, Viewer)
	if _, err := a.EndShare(ctx, "home", all.ID); err != nil {
		t.Fatal(err)
	}
	role(thing, Nobody)
	_, err = a.EndShare(ctx, "home", all.ID)
	wantStatus(t, "ended twice", err, oic.NotFound)
}

func TestShareRefusals(t *testing.T) {
	a := newAccounts(t, Config{})
	for with, role := range map[string]Role{"home": Viewer, "HOME": Member, "barn": Owner, "nobody": Nobody, "a b": Viewer, "": Viewer} {
		_, err := a.NewShare(t.Context(), "home", thing, with, role)
		wantStatus(t, with, err, oic.BadRequest)
	}
	for _, name := range []string{"", "owner", "nobody", "Viewer", "admin"} {
		if r, err := ParseRole(name); err == nil || r != Nobody {
			t.Errorf("ParseRole(%q) = %v, %v", name, r, err)
		}
	}
}

// TestSharesEnd: with what they are of, with either account, and if nobody
// accepts them.
func TestSharesEnd(t *testing.T) {
	a := newAccounts(t, Config{})
	ctx := t.Context()
	share := func(device, with string, accept bool) Share {
		t.Helper()
		s, err := a.NewShare(ctx, "home", device, with, Viewer)
		if err == nil && accept {
			s, err = a.AcceptShare(ctx, with, s.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	left := func(want int) {
		t.Helper()
		if given, _ := a.Shares("home"); len(given) != want {
			t.Errorf("home gives %+v, want %d", given, want)
		}
	}
	share(thing, "barn", true)
	share("", "barn", true)
	share(thing, "attic", false)
	left(3)
	if err := a.EndShares(ctx, "home", thing); err != nil {
		t.Fatal(err)
	}
	left(1)
	share(thing, "attic", false)
	if err := a.removeExpired(ctx, time.Now().Add(shareOffered+time.Minute)); err != nil {
		t.Fatal(err)
	}
	left(1)
	if err := a.FinishDelete(ctx, "barn"); err != nil {
		t.Fatal(err)
	}
	left(0)
}
