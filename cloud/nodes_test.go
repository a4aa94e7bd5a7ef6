package cloud

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/farreach/farreach/cloud/command"
	"github.com/farreach/farreach/cloud/directory"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
	"github.com/farreach/farreach/store/storetest"
)

// newNodes returns n clouds on one NATS server; the first is the world.
func newNodes(t *testing.T, n int) (w *world, all []*Cloud) {
	t.Helper()
	url := storetest.Server(t)
	for i := range n {
		s, err := store.Open(t.Context(), store.Config{URL: url, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		c, err := Open(t.Context(), Config{Store: s, Name: fmt.Sprint("node ", i), Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		all = append(all, c)
	}
	w = &world{t: t, Cloud: all[0], store: all[0].store, people: map[string]oic.Identity{}}
	w.fill()
	return w, all
}

// soon waits until is is true.
func soon(t *testing.T, what string, is func() bool) {
	t.Helper()
	for start := time.Now(); !is(); pauseFor(time.Millisecond) {
		if time.Since(start) > time.Minute {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

func pauseFor(d time.Duration) { <-time.After(d) }

// TestNodes: what is connected to one node is seen, read, commanded and observed
// at any other, for whom may; what it answers and refuses comes back as it is.
func TestNodes(t *testing.T) {
	w, all := newNodes(t, 3)
	home := oic.Identity{Account: "home"}
	for i, c := range all {
		soon(t, "the lamp is reachable", func() bool {
			dev, err := c.DeviceInfo(t.Context(), home, lamp)
			return err == nil && dev.Presence.State == directory.Reachable
		})
		way, err := c.Device(t.Context(), home, lamp)
		w.must(err)
		resp, err := way.Handle(t.Context(), &oic.Request{Op: oic.Retrieve, Href: "/a/plain", Accept: oic.OCF})
		if err != nil || !bytes.Equal(resp.Body, []byte{0xf4}) || resp.Format != oic.OCF {
			t.Errorf("node %d: read %+v, %v", i, resp, err)
		}
		resp, err = way.Handle(t.Context(), &oic.Request{Op: oic.Update, Href: "/a/light", Format: oic.OCF, Body: []byte{0xf5}})
		if err != nil || resp.Status != oic.Content {
			t.Errorf("node %d: command %+v, %v", i, resp, err)
		}
		asked := w.thing.asked()
		if last := asked[len(asked)-1]; last.Op != oic.Update || last.Href != "/a/light" || !bytes.Equal(last.Body, []byte{0xf5}) || last.From != home {
			t.Errorf("node %d: the device was asked %+v", i, last)
		}
		_, err = c.Device(t.Context(), oic.Identity{Account: "barn"}, lamp)
		w.status("a stranger at another node", err, oic.NotFound)
	}
	w.thing.mu.Lock()
	w.thing.handle = func(context.Context, *oic.Request) (*oic.Response, error) {
		return nil, &oic.StatusError{Status: oic.TooMany, Diag: "slowly", Retry: time.Minute}
	}
	w.thing.mu.Unlock()
	way, err := all[2].Device(t.Context(), home, lamp)
	w.must(err)
	_, err = way.Handle(t.Context(), &oic.Request{Op: oic.Update, Href: "/a/light", Format: oic.OCF, Body: []byte{0xf5}})
	if refusal, ok := errors.AsType[*oic.StatusError](err); !ok || refusal.Status != oic.TooMany || refusal.Diag != "slowly" || refusal.Retry != time.Minute {
		t.Errorf("the device's refusal at another node: %v", err)
	}
	w.report("/a/light", 0xf6)
	if ev, err := all[1].events.Last(t.Context(), "home", lamp, "/a/light"); err != nil || !bytes.Equal(ev.Body, []byte{0xf6}) {
		t.Errorf("the last event, at another node: %+v, %v", ev, err)
	}
	list, kept, err := all[1].Nodes(t.Context(), operator)
	w.must(err)
	if len(list) != 3 || !list[0].Self || list[0].Name != "node 1" || list[1].Name != "node 0" || list[1].Devices != 1 {
		t.Errorf("nodes: %+v", list)
	}
	if kept.Replicas != 1 || kept.Streams < 8 || kept.Leaders != kept.Streams || len(kept.Behind) != 0 {
		t.Errorf("kept: %+v", kept)
	}
	_, _, err = all[1].Nodes(t.Context(), home)
	w.status("nodes, for who is no operator", err, oic.Forbidden)
}

// TestNodesMove: a device that connects to another node is there, for all nodes,
// and its connection at the first is closed; so is one whose right is taken away
// at yet another. A node that is closed leaves its devices offline.
func TestNodesMove(t *testing.T) {
	w, all := newNodes(t, 3)
	state := func(c *Cloud) directory.State { return c.directory.Presence(lamp).State }
	second := &thing{body: []byte{0xf5}, closed: make(chan string, 8)}
	soon(t, "the grant is known", func() bool { return all[1].authorize(w.lamp, opPublish, target{device: lamp}) == nil })
	soon(t, "its links are known", func() bool { dev, _ := all[1].directory.Get(lamp); return len(dev.Links) == 2 })
	detach, links, err := all[1].Attach(t.Context(), w.lamp, second)
	w.must(err)
	second.detach = detach
	if len(links) != 2 {
		t.Errorf("the other node knows %d links", len(links))
	}
	select {
	case <-w.thing.closed:
	case <-time.After(time.Minute):
		t.Fatal("the older connection is still open")
	}
	home := oic.Identity{Account: "home"}
	for i, c := range all {
		soon(t, "the device has moved", func() bool {
			way, err := c.Device(t.Context(), home, lamp)
			if err != nil {
				return false // this node has not heard of it yet
			}
			resp, err := way.Handle(t.Context(), &oic.Request{Op: oic.Retrieve, Href: "/a/plain"})
			return err == nil && bytes.Equal(resp.Body, []byte{0xf5})
		})
		if got := state(c); got != directory.Reachable {
			t.Errorf("node %d: %s", i, got)
		}
	}

	w.must(all[2].DeleteDevice(t.Context(), home, lamp))
	select {
	case <-second.closed:
	case <-time.After(time.Minute):
		t.Error("a device that was deleted at another node is still connected")
	}

	other := &thing{body: []byte{0xf4}, closed: make(chan string, 8)}
	soon(t, "the grant is known", func() bool { return all[2].authorize(w.door, opPublish, target{device: door}) == nil })
	other.detach, _, err = all[2].Attach(t.Context(), w.door, other)
	w.must(err)
	soon(t, "the door is reachable", func() bool { return all[0].directory.Presence(door).State == directory.Reachable })
	other.detach()
	all[2].Close()
	soon(t, "the door is offline", func() bool { return all[0].directory.Presence(door).State == directory.Offline })
	soon(t, "two nodes are left", func() bool { return len(all[0].directory.Nodes()) == 2 })
}

// TestNodesObserve: an observation at another node goes on, ends with the right,
// with the connection of the device, and with who observes.
func TestNodesObserve(t *testing.T) {
	w, all := newNodes(t, 2)
	far := all[1]
	_, home := w.token("home", 0)
	soon(t, "the lamp is reachable", func() bool { return far.directory.Session(lamp) != nil })
	soon(t, "the token is known", func() bool { return far.authorize(home, opRead, target{device: lamp}) == nil })
	observing := func(ctx context.Context) (chan *oic.Response, chan error) {
		news, done := make(chan *oic.Response, 8), make(chan error, 1)
		way, err := far.Device(ctx, home, lamp)
		w.must(err)
		go func() {
			done <- way.Observe(ctx, &oic.Request{Op: oic.Retrieve, Href: "/a/plain"}, func(r *oic.Response) { news <- r })
		}()
		if r := <-news; !bytes.Equal(r.Body, []byte{0xf4}) {
			t.Errorf("observed %+v", r)
		}
		return news, done
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, done := observing(ctx)
	cancel()
	if err := w.within("the end of the observer", done); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	_, done = observing(t.Context())
	tokens, err := w.Tokens(t.Context(), oic.Identity{Account: "home"})
	w.must(err)
	w.must(w.RevokeToken(t.Context(), oic.Identity{Account: "home"}, tokens[0].ID))
	w.status("observing, with a token that was revoked at another node", w.within("the end of the right", done), oic.Unauthorized)
}

// TestNodesQueue: a command that was queued at one node, for a device that was
// nowhere, is delivered once, by the node to which the device comes, whichever of
// the two happens first.
func TestNodesQueue(t *testing.T) {
	w, all := newNodes(t, 3)
	home := oic.Identity{Account: "home"}
	order := func(n byte) Order {
		return Order{Device: door, Queue: time.Minute,
			Request: oic.Request{Op: oic.Update, Href: "/a/light", Format: oic.OCF, Body: []byte{n}}}
	}
	queued, _, err := all[0].Send(t.Context(), home, order(1))
	if err != nil || queued.State != command.Queued {
		t.Fatalf("%+v, %v", queued, err)
	}
	other := &thing{body: []byte{0xf4}, closed: make(chan string, 8)}
	soon(t, "the grant is known", func() bool { return all[2].authorize(w.door, opPublish, target{device: door}) == nil })
	detach, _, err := all[2].Attach(t.Context(), w.door, other)
	w.must(err)
	defer detach()
	becomes := func(id string, state command.State) {
		t.Helper()
		soon(t, string(state), func() bool {
			cmd, err := all[1].Command(t.Context(), home, id)
			return err == nil && cmd.State == state
		})
	}
	becomes(queued.ID, command.Done)
	// It may seem to be away still, to a node that has not heard: then the command
	// waits for a device that is there.
	late := order(2)
	waits, err := all[1].commands.Queue(t.Context(), command.Command{Account: "home", Device: door}, &late.Request, home, time.Minute)
	w.must(err)
	becomes(waits.ID, command.Done)
	var got []byte
	for _, req := range other.asked() {
		if req.Op == oic.Update {
			got = append(got, req.Body...)
		}
	}
	if !bytes.Equal(got, []byte{1, 2}) {
		t.Errorf("the device was sent %v", got)
	}
}

// TestNodesMoveRule: what a rule asks of a device in the moment in which that leaves
// a node waits until it is at another, and is sent once.
func TestNodesMoveRule(t *testing.T) {
	w, all := newNodes(t, 3)
	w.thing.detach()
	second := &thing{body: []byte{0xf5}, closed: make(chan string, 8)}
	second.handle = func(_ context.Context, req *oic.Request) (*oic.Response, error) {
		return &oic.Response{Status: oic.Changed}, nil
	}
	asked := make(chan struct{}, 8)
	first := &thing{closed: make(chan string, 8)}
	first.handle = func(_ context.Context, req *oic.Request) (*oic.Response, error) {
		asked <- struct{}{} // its connection is just being closed
		return nil, errors.Join(oic.ErrOffline, oic.ErrNotSent)
	}
	soon(t, "the grant is known", func() bool { return all[1].authorize(w.lamp, opPublish, target{device: lamp}) == nil })
	var err error
	first.detach, _, err = all[1].Attach(t.Context(), w.lamp, first)
	w.must(err)
	defer first.detach()
	soon(t, "the lamp is at the second", func() bool { return all[0].directory.Session(lamp) != nil })
	tell := w.openDoor()
	r := w.addRule("name: at-the-door\nwhen: {event: {device: door, href: /a/door, if: event.value}}\nthen: [{command: {device: lamp, href: /a/light, set: {value: true}}}]\n")
	tell(true)
	select {
	case <-asked:
	case <-time.After(time.Minute):
		t.Fatal("the rule does not fire")
	}
	soon(t, "the grant is known", func() bool { return all[2].authorize(w.lamp, opPublish, target{device: lamp}) == nil })
	second.detach, _, err = all[2].Attach(t.Context(), w.lamp, second)
	w.must(err)
	defer second.detach()
	soon(t, "the command is done", func() bool {
		runs, err := all[2].RuleRuns(t.Context(), homeOwner, r.ID, 10)
		return err == nil && len(runs) == 1 && len(runs[0].Commands) == 1 && runs[0].Commands[0].State == command.Done
	})
	var got []oic.Op
	for _, req := range second.asked() {
		if req.Op != oic.Retrieve {
			got = append(got, req.Op)
		}
	}
	if !slices.Equal(got, []oic.Op{oic.Update}) {
		t.Errorf("the device was sent %v", got)
	}
}

// TestNodesLeave: a node that is about to stop delivers no more of what waits; the
// others do.
func TestNodesLeave(t *testing.T) {
	w, all := newNodes(t, 2)
	home := oic.Identity{Account: "home"}
	all[0].Leave()
	req := oic.Request{Op: oic.Update, Href: "/a/light", Format: oic.OCF, Body: []byte{7}}
	waits, err := all[0].commands.Queue(t.Context(), command.Command{Account: "home", Device: lamp}, &req, home, time.Minute)
	w.must(err)
	second := &thing{body: []byte{0xf5}, closed: make(chan string, 8)}
	soon(t, "the grant is known", func() bool { return all[1].authorize(w.lamp, opPublish, target{device: lamp}) == nil })
	detach, _, err := all[1].Attach(t.Context(), w.lamp, second)
	w.must(err)
	defer detach()
	soon(t, "it is delivered", func() bool {
		cmd, err := all[1].Command(t.Context(), home, waits.ID)
		return err == nil && cmd.State == command.Done
	})
	if n := len(second.asked()); n != 1 || slices.ContainsFunc(w.thing.asked(), func(r oic.Request) bool { return r.Op == oic.Update }) {
		t.Errorf("the second was asked %d times, the first %v", n, w.thing.asked())
	}
}

// TestNodesGuess: who guesses passwords gains nothing by asking one node after the
// other.
func TestNodesGuess(t *testing.T) {
	w, all := newNodes(t, 3)
	from, elsewhere := netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("198.51.100.8")
	for i := range 60 { // as many as are too many; three of each name do not wait
		_, err := all[i%2].Login(t.Context(), from, fmt.Sprint("nobody", i/3), "wrong")
		w.status("a guess", err, oic.Unauthorized)
	}
	soon(t, "the third node has heard", func() bool {
		_, err := all[2].Login(t.Context(), from, "somebody", "wrong")
		status, _ := oic.StatusOf(err)
		return status == oic.TooMany
	})
	_, err := all[2].Login(t.Context(), elsewhere, "home", "wrong")
	w.status("from elsewhere", err, oic.Unauthorized)
}
