package account

import (
	"testing"
	"time"
)

// TestBrowserEnds: after 12 h without use, after 7 days at all, with the
// password (threats, section 4).
func TestBrowserEnds(t *testing.T) {
	r := &record{Password: "one"}
	at := func(hours float64) time.Time {
		return time.Unix(1_700_000_000, 0).Add(time.Duration(hours * float64(time.Hour)))
	}
	for _, c := range []struct {
		name      string
		used, now float64 // hours after the sign-in
		password  string
		holds     bool
	}{
		{"just signed in", 0, 0, "one", true},
		{"idle for long", 0, 11.9, "one", true},
		{"idle for too long", 0, 12, "one", false},
		{"used each day", 160, 167.9, "one", true},
		{"a week old", 167.9, 168, "one", false},
		{"new password", 1, 1, "two", false},
	} {
		b := browser{Password: byPassword + c.password, Created: at(0), Used: at(c.used)}
		if got := b.holds(r, at(c.now)); got != c.holds {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestBrowsersAreBounded: the one that was used longest ago goes.
func TestBrowsersAreBounded(t *testing.T) {
	a := newAccounts(t, Config{})
	if _, err := a.Create(t.Context(), "ann", "correct horse", false); err != nil {
		t.Fatal(err)
	}
	for range maxBrowsers + 3 {
		if _, _, err := a.newBrowser(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for range a.browsers.All() {
		n++
	}
	if n != maxBrowsers {
		t.Errorf("%d browsers are kept, want %d", n, maxBrowsers)
	}
}
