package cloud

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/farreach/farreach/cloud/command"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
	"github.com/farreach/farreach/store/storetest"
)

// mortal is a node that can be cut off from the store as if it had died: what it
// leads it does not give back, and nothing of what it does is heard any more.
type mortal struct {
	*Cloud
	die func()
}

func newMortal(t *testing.T, url, name string) *mortal {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	s, err := store.Open(t.Context(), store.Config{URL: url, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	c, err := Open(t.Context(), Config{Store: s, Name: name, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &mortal{c, func() { s.Close() }}
}

// TestRuleLeaderDies: the node that follows the rules dies between an event and
// its command, while the devices are at another. Each event fires once, and leads
// to one command.
func TestRuleLeaderDies(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the other node waits 6 s")
	}
	for round := range 3 { // each dies in another moment
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			t.Parallel()
			ruleLeaderDies(t)
		})
	}
}

func ruleLeaderDies(t *testing.T) {
	url := storetest.Server(t)
	leader := newMortal(t, url, "leader") // of all there is, alone
	w := &world{t: t, Cloud: leader.Cloud, store: leader.store}
	w.fill()
	tell := w.openDoor()
	r := w.addRule(doorRule[:len(doorRule)-len("- message: \"{{device.name}} is open: {{event.value}}\"\n")])
	tell(true)
	w.eventually(func() string {
		if len(w.thing.asked()) == 0 {
			return "the leader does not follow the rules"
		}
		return ""
	})
	tell(false)

	w.Cloud = newMortal(t, url, "heir").Cloud
	w.store = w.Cloud.store
	w.thing.detach()
	w.thing = w.attach(w.lamp)
	var received atomic.Int32
	w.thing.handle = func(context.Context, *oic.Request) (*oic.Response, error) {
		received.Add(1)
		pauseFor(rand.N(time.Millisecond))
		return &oic.Response{Status: oic.Changed}, nil
	}
	const openings = 8
	var death sync.WaitGroup
	defer death.Wait()
	for i := range openings {
		tell(true)
		if i == openings/2 {
			pauseFor(rand.N(3 * time.Millisecond))
			death.Go(leader.die)
		}
		tell(false)
	}
	w.onceEach(r.ID, openings+1, &received)
}

// onceEach waits until a rule has fired so often, and compares that with the
// commands: one before received is counted.
func (w *world) onceEach(rule string, want int, received *atomic.Int32) {
	w.t.Helper()
	var list []command.Command
	for end := time.Now().Add(time.Minute); len(list) < want; { // lest it fails where a machine is slow
		if time.Now().After(end) {
			w.t.Fatalf("%d commands of %d, runs: %s", len(list), want, w.runs(rule))
		}
		pauseFor(20 * time.Millisecond)
		var err error
		list, err = w.Commands(w.t.Context(), homeOwner, command.Filter{})
		w.must(err)
	}
	w.eventually(func() string { // what the heir has sent is answered
		states := 0
		all, err := w.Commands(w.t.Context(), homeOwner, command.Filter{})
		w.must(err)
		for _, c := range all {
			if c.State == command.Done {
				states++
			}
		}
		if n := int(received.Load()) + 1; states > n || len(all) != want {
			w.t.Fatalf("%d commands, %d of them done; the lamp got %d", len(all), states, n)
		} else if states < want-1 { // one may have been on its way when the leader died
			return fmt.Sprintf("%d of %d are done", states, want)
		}
		return ""
	})
	runs, err := w.RuleRuns(w.t.Context(), homeOwner, rule, 1000)
	w.must(err)
	fired := map[uint64]int{}
	for _, f := range runs {
		fired[f.Cause.Event]++
	}
	if len(runs) != want || len(fired) != want {
		w.t.Errorf("%d firings on %d events, want %d", len(runs), len(fired), want)
	}
	if n := int(received.Load()) + 1; n < want-1 || n > want {
		w.t.Errorf("the lamp got %d commands of %d", n, want)
	}
}
