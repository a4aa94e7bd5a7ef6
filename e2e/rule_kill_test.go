package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/oic"
)

// TestRuleKill kills the server 20 times between an event and the command that
// follows from it. Each event's rule fires exactly once, and the lamp never gets
// a command twice: what was on the wire at the kill is unknown.
func TestRuleKill(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: many starts of a server")
	}
	t.Parallel()
	const rounds = 20
	h := &ruleHouse{child: newChild(t), lampID: uuid.NewString(), lampState: filepath.Join(t.TempDir(), "lamp.json")}
	h.start()
	h.join()
	for round := range rounds {
		h.openAndDie(round)
		h.start()
	}
	stop := h.lamp()
	defer stop()
	h.settle()
	h.compare()
}

// ruleHouse is a door and a lamp, and a rule from one to the other.
type ruleHouse struct {
	*child
	door      *member
	lampID    string
	lampState string
	received  atomic.Int32 // commands that the lamp got
}

// join makes the devices and the rule.
func (h *ruleHouse) join() {
	h.t.Helper()
	ctx := h.t.Context()
	code, err := h.code(ctx)
	if err != nil {
		h.t.Fatal(err)
	}
	l := h.link()
	h.door = &member{di: uuid.NewString()}
	h.door.grant, err = l.SignUp(ctx, cloudlink.SignUp{Device: h.door.di, Code: code})
	if err == nil {
		err = signIn(ctx, l, h.door.grant.Account, h.door.di, h.door.grant.Access)
	}
	if err == nil {
		_, err = l.Publish(ctx, cloudlink.Publication{Device: h.door.di, Name: "door", Links: []oic.Link{{Href: "/a/door", Types: []string{"oic.r.door"}}}})
	}
	if err == nil {
		err = h.call(ctx, http.MethodPost, "/rules", map[string]any{
			"name": "lamp-at-the-door", "when": map[string]any{"event": map[string]any{"device": "door", "href": "/a/door", "if": "event.open"}},
			"then": []any{map[string]any{"command": map[string]any{"device": "lamp", "href": "/a/light", "set": map[string]any{"value": true}}}},
		}, nil)
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// lamp connects the lamp until stop is called.
func (h *ruleHouse) lamp() (stop func()) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.t.Context())
	code, err := h.code(ctx)
	if err != nil {
		h.t.Fatal(err)
	}
	registered := make(chan struct{})
	once := sync.OnceFunc(func() { close(registered) })
	c, err := cloudlink.New(cloudlink.Config{
		Servers: []string{h.uri()}, Device: h.lampID, Name: func() string { return "lamp" }, Code: code, Log: quiet, State: cloudlink.FileState(h.lampState),
		Links:   func() []oic.Link { return []oic.Link{{Href: "/a/light", Types: []string{"oic.r.switch.binary"}}} },
		Handler: h,
		OnChange: func(s cloudlink.Status) {
			if s.Registered {
				once()
			}
		},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { _ = c.Run(ctx) })
	select {
	case <-registered:
	case <-time.After(patience):
		h.t.Error("the lamp does not get in")
	}
	return func() { cancel(); running.Wait() }
}

// Handle implements oic.Handler: the lamp, which takes its time.
func (h *ruleHouse) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	if req.Op != oic.Update {
		return &oic.Response{Status: oic.Content, Format: oic.OCF, Body: []byte{0xa0}}, nil
	}
	h.received.Add(1)
	timer := time.NewTimer(rand.N(3 * time.Millisecond))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return &oic.Response{Status: oic.Changed}, nil
}

// openAndDie opens the door a few times and kills the server a moment after the
// last was acknowledged.
func (h *ruleHouse) openAndDie(round int) {
	h.t.Helper()
	ctx := h.t.Context()
	stop := h.lamp()
	defer stop()
	l := h.link()
	if err := signIn(ctx, l, h.door.grant.Account, h.door.di, h.door.grant.Access); err != nil {
		h.t.Fatal(err)
	}
	for range 2 {
		for _, open := range []bool{false, true} {
			body, err := oic.FromJSON(oic.OCF, fmt.Appendf(nil, `{"open":%v}`, open))
			if err == nil {
				err = l.Report(ctx, "/a/door", &oic.Response{Format: oic.OCF, Body: body})
			}
			if err != nil {
				h.t.Fatalf("round %d: %v", round, err)
			}
		}
	}
	timer := time.NewTimer(rand.N(5 * time.Millisecond))
	defer timer.Stop()
	<-timer.C
	h.kill()
}

// ruled are the answers that this test looks at.
type ruled struct {
	Events []struct {
		Seq uint64
		Rep struct{ Open bool }
	}
	Runs []struct {
		Event uint64
		Kind  string
		Do    []struct{ Command, State string }
	}
	Commands []struct {
		ID, State string
		By        struct{ Event uint64 }
	}
}

func (h *ruleHouse) look() (all ruled) {
	h.t.Helper()
	ctx := h.t.Context()
	for _, path := range []string{"/events?href=/a/door&limit=1000&from=1", "/runs?limit=1000", "/commands?limit=1000"} {
		if err := h.call(ctx, http.MethodGet, path, nil, &all); err != nil {
			h.t.Fatal(path, err)
		}
	}
	return all
}

// opened are the events at which the door was opened.
func (r *ruled) opened() map[uint64]bool {
	seqs, open := map[uint64]bool{}, false
	for _, ev := range r.Events {
		if ev.Rep.Open && !open {
			seqs[ev.Seq] = true
		}
		open = ev.Rep.Open
	}
	return seqs
}

// settle waits until nothing is under way any more.
func (h *ruleHouse) settle() {
	h.t.Helper()
	end := time.Now().Add(patience)
	for {
		all := h.look()
		left := len(all.opened()) - len(all.Runs)
		for _, c := range all.Commands {
			if c.State == "queued" || c.State == "sent" {
				left++
			}
		}
		if left += len(all.Runs) - len(all.Commands); left <= 0 {
			return
		}
		if time.Now().After(end) {
			h.t.Fatalf("%d things are still under way: %d events, %d runs, %d commands", left, len(all.opened()), len(all.Runs), len(all.Commands))
		}
		timer := time.NewTimer(20 * time.Millisecond)
		<-timer.C
	}
}

// compare counts.
func (h *ruleHouse) compare() {
	h.t.Helper()
	all := h.look()
	opened, fired := all.opened(), map[uint64]int{}
	for _, r := range all.Runs {
		if r.Kind != "fired" {
			h.t.Errorf("a run that %s", r.Kind)
		}
		fired[r.Event]++
	}
	for seq := range opened {
		if fired[seq] != 1 {
			h.t.Errorf("event %d fired %d times", seq, fired[seq])
		}
	}
	if len(opened) < 40 || len(fired) != len(opened) {
		h.t.Errorf("the door was opened %d times, for which 40 were acknowledged; %d fired", len(opened), len(fired))
	}
	states, commanded := map[string]int{}, map[uint64]int{}
	for _, c := range all.Commands {
		states[c.State]++
		commanded[c.By.Event]++
	}
	for seq, n := range commanded {
		if n != 1 || !opened[seq] {
			h.t.Errorf("event %d led to %d commands", seq, n)
		}
	}
	got := int(h.received.Load())
	if got < states["done"] || got > states["done"]+states["unknown"] || states["done"]+states["unknown"] != len(opened) {
		h.t.Errorf("the lamp got %d commands, of which the server says %v", got, states)
	}
	h.t.Logf("%d openings, %d firings; the lamp got %d commands: %v", len(opened), len(all.Runs), got, states)
}
