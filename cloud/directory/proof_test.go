package directory

import (
	"log/slog"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

type line struct {
	oic.Observer
	seen time.Time
}

func (l *line) LastSeen() time.Time { return l.seen }
func (*line) Close(string)          {}

// TestBad43ReachableIsProved: at no moment is a device reachable whose last
// sign of life is older than a keep-alive and its patience, whatever becomes
// of the connection; and it is again with the next one.
func TestBad43ReachableIsProved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &Directory{
			started: time.Now(), sessions: map[string]*attached{},
			proofs: &proofs{all: map[string]time.Time{}, dirty: map[string]bool{}, wake: make(chan struct{}, 1)},
		}
		start := time.Now()
		l := &line{seen: start}
		detach := d.Attach("lamp", l)
		for second := range 300 {
			switch second {
			case 20, 40, 130: // the device answers a Ping, then is frozen until it is back
				l.seen = time.Now()
			case 200:
				detach()
			}
			p, age := d.Presence("lamp"), time.Since(l.seen)
			want := Presence{State: Reachable, Since: start, Proven: l.seen}
			switch {
			case second >= 200:
				want.State, want.Since = Offline, start.Add(200*time.Second)
			case age > 30*time.Second:
				want.State, want.Since = Unproven, l.seen.Add(30*time.Second)
			}
			if p != want {
				t.Errorf("after %d s, %v after the proof: %+v, want %+v", second, age, p, want)
			}
			time.Sleep(time.Second)
		}
	})
}

// TestProofOutlivesRestart: after a restart a device is unknown, and when it
// was seen last is known: of one that had gone, one that was connected, and
// not of one that was deleted.
func TestProofOutlivesRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	begin := func() (d *Directory, end func()) {
		s, err := store.Open(t.Context(), store.Config{Dir: dir, Sync: time.Minute, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if d, err = Open(t.Context(), Config{Store: s}); err != nil {
			t.Fatal(err)
		}
		return d, func() { d.Close(); s.Close() }
	}
	seen := time.Now().Add(-time.Second)
	d, end := begin()
	for _, di := range []string{"gone", "there", "deleted", "never"} {
		if err := d.Claim(t.Context(), "home", di); err != nil {
			t.Fatal(err)
		}
	}
	d.Attach("gone", &line{seen: seen})()
	d.Attach("deleted", &line{seen: seen})()
	d.Attach("there", &line{seen: seen.Add(time.Millisecond)})
	if err := d.proofs.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.Delete(t.Context(), "deleted"); err != nil {
		t.Fatal(err)
	}
	end()
	d, end = begin()
	defer end()
	for di, want := range map[string]time.Time{"gone": seen, "there": seen.Add(time.Millisecond), "deleted": {}, "never": {}} {
		if p := d.Presence(di); p.State != Unknown || !p.Proven.Equal(want) || p.Since != d.started {
			t.Errorf("%s: %+v, want unknown, proven at %v", di, p, want)
		}
	}
}
