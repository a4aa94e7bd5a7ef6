package directory

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// caller is a session that gives a sign of life when it is told to.
type caller struct {
	oic.Observer
	seen atomic.Int64
}

func (c *caller) says()               { c.seen.Store(time.Now().UnixNano()) }
func (c *caller) LastSeen() time.Time { return time.Unix(0, c.seen.Load()) }
func (*caller) Close(string)          {}

// TestSilenceIsTold: whoever watches is told when the proof of a device that
// stays connected lapses, and when it speaks again (CI-018).
func TestSilenceIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var mu sync.Mutex // guards told
		var told []string
		d := &Directory{
			started: start, sessions: map[string]*attached{}, lapsing: map[string]time.Time{},
			proofs: &proofs{all: map[string]time.Time{}, dirty: map[string]bool{}, wake: make(chan struct{}, 1)},
		}
		d.presence = func(di string) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, time.Since(start).String()+" "+string(d.Presence(di).State))
		}
		l := &caller{}
		l.says()
		detach := d.Attach("lamp", l)
		ctx, stop := context.WithCancel(t.Context())
		d.tasks.Go(func() { d.watch(ctx) })
		time.Sleep(20*time.Second + time.Millisecond)
		l.says()
		time.Sleep(60 * time.Second)
		l.says()
		time.Sleep(5 * time.Second)
		detach()
		time.Sleep(time.Minute)
		stop()
		d.tasks.Wait()
		want := "0s reachable, 51s unproven, 1m21s reachable, 1m25.001s offline"
		if got := strings.Join(told, ", "); got != want {
			t.Errorf("told: %s\nwant: %s", got, want)
		}
	})
}

// TestTTL: a link that was published for a time is there until that is over,
// unless it is published again: for another time, or for ever with 0. What has
// been unpublished meanwhile does not come into it.
func TestTTL(t *testing.T) {
	ctx := t.Context()
	s, err := store.Open(ctx, store.Config{Dir: filepath.Join(t.TempDir(), "store"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const lamp = "a1b2c3d4-0000-4000-8000-000000000001"
	open := func() *Directory {
		d, err := Open(ctx, Config{Store: s})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := open()
	defer func() { d.Close() }()
	if err := d.Claim(ctx, "home", lamp); err != nil {
		t.Fatal(err)
	}
	publish := func(ttl time.Duration, hrefs ...string) (ins []int64) {
		t.Helper()
		var links []oic.Link
		for _, href := range hrefs {
			links = append(links, oic.Link{Href: href, Types: []string{"x"}})
		}
		p, err := d.Publish(ctx, lamp, "lamp", "", ttl, links)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range p {
			ins = append(ins, l.Instance)
		}
		return ins
	}
	start := time.Now()
	at := func(after time.Duration, want string) {
		t.Helper()
		d.lapse(ctx, start.Add(after))
		dev, _ := d.Get(lamp)
		var got []string
		for _, l := range dev.Links {
			got = append(got, l.Href)
		}
		if slices.Sort(got); strings.Join(got, " ") != want {
			t.Errorf("after %v: %q, want %q", after, got, want)
		}
	}
	publish(0, "/always")
	publish(time.Hour, "/hour", "/again", "/forever", "/shorter")
	gone := publish(time.Hour, "/gone")
	if err := d.Unpublish(ctx, lamp, gone); err != nil {
		t.Fatal(err)
	}
	publish(2*time.Hour, "/again")
	publish(0, "/forever")
	publish(time.Minute, "/shorter")
	at(0, "/again /always /forever /hour /shorter")
	at(2*time.Minute, "/again /always /forever /hour")
	d.Close()
	d = open() // what expires meanwhile is noticed afterwards
	at(61*time.Minute, "/again /always /forever")
	at(61*time.Minute, "/again /always /forever")
	at(3*time.Hour, "/always /forever")
	if dev, _ := d.Get(lamp); dev.Expires != nil || len(d.lapsing) != 0 {
		t.Errorf("left: %v, %v", dev.Expires, d.lapsing)
	}
}
