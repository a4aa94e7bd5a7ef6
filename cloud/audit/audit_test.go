package audit

import (
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/farreach/farreach/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openLog(t *testing.T) (*Log, *store.Store) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{Dir: filepath.Join(t.TempDir(), "store"), Sync: time.Minute, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	l, err := Open(t.Context(), s, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return l, s
}

// list returns what was done, newest first, as text.
func list(t *testing.T, l *Log, f Filter) (text string, last uint64) {
	t.Helper()
	entries, err := l.List(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text += e.On + " "
		last = e.Seq
	}
	return text, last
}

func TestList(t *testing.T) {
	l, s := openLog(t)
	for i := range 7 {
		account := []string{"home", "", "barn"}[i%3]
		if err := l.Add(t.Context(), Entry{Account: account, By: By{Kind: "token"}, What: "x", On: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	l, err := Open(t.Context(), s, slog.New(slog.DiscardHandler)) // in another life
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, c := range []struct {
		f    Filter
		want string
	}{
		{Filter{Account: "home"}, "6 3 0 "},
		{Filter{Account: "barn"}, "5 2 "},
		{Filter{}, "4 1 "},
		{Filter{Account: "other"}, ""},
		{Filter{Account: "home", Limit: 2}, "6 3 "},
		{Filter{Everybody: true, Limit: 5}, "6 5 4 3 2 "},
		{Filter{Everybody: true, Since: time.Now().Add(time.Hour)}, ""},
	} {
		if got, _ := list(t, l, c.f); got != c.want {
			t.Errorf("%+v: %q, want %q", c.f, got, c.want)
		}
	}
	var all string // page by page
	f := Filter{Everybody: true, Limit: 3}
	for {
		text, last := list(t, l, f)
		if text == "" {
			break
		}
		all, f.Before = all+text, last
	}
	if all != "6 5 4 3 2 1 0 " {
		t.Errorf("page by page: %s", all)
	}
	if err := l.Forget(t.Context(), "home"); err != nil {
		t.Fatal(err)
	}
	if got, _ := list(t, l, Filter{Everybody: true}); got != "5 4 2 1 " {
		t.Errorf("home is forgotten: %s", got)
	}
}

// TestRefused: many tries are one entry, and of a name that nobody has nothing
// is kept.
func TestRefused(t *testing.T) {
	l, s := openLog(t)
	from := netip.MustParseAddr("2001:db8::7")
	for range 30 {
		l.Refused("home", "home", from)
	}
	l.Refused("", "my secret password", from)
	l.Refused("", "another", from)
	for i := range maxRefusals + 10 {
		l.Refused("barn", fmt.Sprint(i), netip.Addr{})
	}
	l.Close()
	l, err := Open(t.Context(), s, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	entries, err := l.List(t.Context(), Filter{Account: "home"})
	if err != nil || len(entries) != 1 {
		t.Fatalf("%+v, %v", entries, err)
	}
	if e := entries[0]; e.Times != 30 || e.What != "sign-in.refused" || e.On != "home" || e.From != "2001:db8::/64" || e.By.Kind != "nobody" {
		t.Errorf("entry %+v", e)
	}
	entries, err = l.List(t.Context(), Filter{})
	if err != nil || len(entries) != 2 { // of nobody, and what was too much
		t.Fatalf("%+v, %v", entries, err)
	}
	for _, e := range entries {
		if e.On != "" || e.Times != 2 && e.Times != 12 {
			t.Errorf("entry %+v", e)
		}
	}
}
