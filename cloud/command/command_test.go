package command_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/farreach/farreach/cloud/command"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	lamp = "a1b2c3d4-0000-4000-8000-000000000001"
	door = "a1b2c3d4-0000-4000-8000-000000000002"
)

var (
	ann     = oic.Identity{Account: "home", Credential: "token:1", Token: "1", Name: "phone"}
	errAway = fmt.Errorf("away: %w", oic.ErrOffline)
)

// house is a home with a lamp that is there or not, and the commands to it.
type house struct {
	*command.Commands
	t     *testing.T
	dir   string
	store *store.Store

	mu     sync.Mutex // guards what follows
	away   bool
	denied error
	holds  map[int]func(error)
	got    []string                                                   // what the lamp was sent
	handle func(context.Context, *oic.Request) (*oic.Response, error) // nil: 2.04
}

func newHouse(t *testing.T) *house {
	h := &house{t: t, dir: filepath.Join(t.TempDir(), "data"), holds: map[int]func(error){}}
	h.open()
	t.Cleanup(func() { h.close() })
	return h
}

func (h *house) open() {
	h.t.Helper()
	log := slog.New(slog.NewTextHandler(h.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if h.store, err = store.Open(h.t.Context(), store.Config{Dir: h.dir, Sync: time.Minute, Log: slog.New(slog.DiscardHandler)}); err != nil {
		h.t.Fatal(err)
	}
	if h.Commands, err = command.Open(h.t.Context(), command.Config{Store: h.store, Log: log, Reach: h.reach, Hold: h.hold}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) close() {
	h.Close()
	h.store.Close()
	if len(h.holds) > 0 {
		h.t.Errorf("%d rights are held for ever", len(h.holds))
	}
}

func (h *house) reach(string) (oic.Handler, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.away {
		return nil, errAway
	}
	return oic.HandlerFunc(h.lamp), nil
}

// lamp is the device.
func (h *house) lamp(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	h.mu.Lock()
	h.got = append(h.got, string(req.Body))
	handle := h.handle
	h.mu.Unlock()
	if handle != nil {
		return handle(ctx, req)
	}
	return &oic.Response{Status: oic.Changed, Format: oic.OCF, Body: []byte("\xf5")}, nil
}

func (h *house) hold(_ oic.Identity, _, _ string, end func(error)) (func(), error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.denied != nil {
		return nil, h.denied
	}
	n := 0
	for h.holds[n] != nil {
		n++
	}
	h.holds[n] = end
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.holds, n)
	}, nil
}

// come and go make the lamp reachable or not.
func (h *house) come() { h.set(false); h.Arrived(lamp) }
func (h *house) go_()  { h.set(true) }

func (h *house) set(away bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.away = away
}

// deny takes away the right of all.
func (h *house) deny() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.denied = oic.Errorf(oic.Unauthorized, "the login no longer holds")
	for _, end := range h.holds {
		end(h.denied)
	}
}

func (h *house) sent() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.got)
}

func to(di string) command.Command {
	return command.Command{Account: "home", Device: di, By: command.Asker{Account: "home", Kind: "token", ID: "1", Name: "phone"}}
}

func update(body string) *oic.Request {
	return &oic.Request{Op: oic.Update, Href: "/a/light?if=oic.if.rw", Format: oic.OCF, Body: []byte(body)}
}

func (h *house) queue(body string, wait time.Duration) command.Command {
	h.t.Helper()
	cmd, err := h.Queue(h.t.Context(), to(lamp), update(body), ann, wait)
	if err != nil {
		h.t.Fatal(err)
	}
	return cmd
}

// becomes waits until a command has a state.
func (h *house) becomes(id string, state command.State) command.Command {
	h.t.Helper()
	var cmd command.Command
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		var err error
		if cmd, err = h.Get(h.t.Context(), "home", "", id); err != nil {
			h.t.Fatal(err)
		}
		if cmd.State == state {
			return cmd
		}
		<-time.After(time.Millisecond)
	}
	h.t.Fatalf("command is %s, want %s: %+v", cmd.State, state, cmd)
	return cmd
}

// TestDo: what is kept of a command, by what the device says to it.
func TestDo(t *testing.T) {
	h := newHouse(t)
	for _, test := range []struct {
		err    error
		state  command.State
		status oic.Status
		why    string
	}{
		{nil, command.Done, oic.Changed, ""},
		{oic.Errorf(oic.Forbidden, "locked"), command.Refused, oic.Forbidden, "locked"},
		{errAway, command.Failed, oic.Unavailable, "device offline"},
		{context.DeadlineExceeded, command.Failed, oic.GatewayTimeout, "device did not answer in time"},
		{errors.New("secret of ours"), command.Failed, oic.Internal, "internal error"},
	} {
		h.handle = func(ctx context.Context, req *oic.Request) (*oic.Response, error) {
			list, err := h.List(ctx, command.Filter{Account: "home", State: command.Sent})
			if err != nil || len(list) != 1 {
				t.Errorf("while the device is asked: %v, %v", list, err)
			}
			if test.err != nil {
				return nil, test.err
			}
			return &oic.Response{Status: oic.Changed, Format: oic.OCF, Body: []byte("\xf5")}, nil
		}
		cmd, resp, err := h.Do(t.Context(), to(lamp), update("\xf4"), oic.HandlerFunc(h.lamp))
		if err != test.err || (resp == nil) != (err != nil) {
			t.Fatalf("%v: answered with %v, %v", test.err, resp, err)
		}
		kept, err := h.Get(t.Context(), "home", "", cmd.ID)
		if err != nil {
			t.Fatal(err)
		}
		if kept.State != test.state || kept.Status != test.status || kept.Why != test.why || kept.Sent.IsZero() || kept.Ended.Before(kept.Sent) {
			t.Errorf("%v: kept as %+v", test.err, kept)
		}
		if kept.Op != oic.Update || kept.Href != "/a/light?if=oic.if.rw" || string(kept.Body) != "\xf4" || kept.Size != 1 || kept.By.Name != "phone" || kept.Device != lamp {
			t.Errorf("%v: what was asked is kept as %+v", test.err, kept)
		}
		if test.err == nil && string(kept.Answer) != "\xf5" {
			t.Errorf("answer kept as %x", kept.Answer)
		}
	}
	list, err := h.List(t.Context(), command.Filter{Account: "home"})
	if err != nil || len(list) != 5 || list[4].State != command.Done || list[0].State != command.Failed {
		t.Errorf("the list is %+v, %v", list, err)
	}
}

// TestDoStored: without the record of it, nothing is sent.
func TestDoStored(t *testing.T) {
	h := newHouse(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := h.Do(ctx, to(lamp), update("1"), oic.HandlerFunc(h.lamp)); err == nil || len(h.sent()) > 0 {
		t.Errorf("sent %v, err = %v", h.sent(), err)
	}
}

// TestSameTwice: a command that is made again, after a crash perhaps, is one.
func TestSameTwice(t *testing.T) {
	h := newHouse(t)
	cmd := to(lamp)
	at := time.Now()
	cmd.ID = command.NewID(at, "home", "rule", "7")
	if cmd.ID != command.NewID(at, "home", "rule", "7") || cmd.ID == command.NewID(at, "home", "rul", "e7") {
		t.Fatal("the id does not say what it was made of")
	}
	for range 3 {
		got, resp, err := h.Do(t.Context(), cmd, update("1"), oic.HandlerFunc(h.lamp))
		if err != nil || got.State != command.Done || resp.Status != oic.Changed || string(resp.Body) != "\xf5" {
			t.Fatalf("%+v, %+v, %v", got, resp, err)
		}
		h.close()
		h.open()
	}
	cmd.ID = command.NewID(at, "home", "rule", "8")
	refusal := oic.Errorf(oic.Conflict, "not now")
	h.handle = func(context.Context, *oic.Request) (*oic.Response, error) { return nil, refusal }
	for range 2 {
		_, _, err := h.Do(t.Context(), cmd, update("2"), oic.HandlerFunc(h.lamp))
		if status, why := oic.StatusOf(err); status != oic.Conflict || why != "not now" {
			t.Errorf("err = %v", err)
		}
	}
	cmd.ID = command.NewID(at, "home", "rule", "9")
	h.go_()
	for range 2 {
		if got, err := h.Queue(t.Context(), cmd, update("3"), ann, time.Hour); err != nil || got.State != command.Queued {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	h.handle = nil
	h.come()
	h.becomes(cmd.ID, command.Done)
	if got := h.sent(); !slices.Equal(got, []string{"1", "2", "3"}) {
		t.Errorf("the lamp was sent %q", got)
	}
}

// TestBadID: what is no id of a command is that of none.
func TestBadID(t *testing.T) {
	h := newHouse(t)
	for _, id := range []string{"", "x", lamp, command.NewID(time.Now()), "{" + command.NewID(time.Now()) + "}"} {
		if _, err := h.Get(t.Context(), "home", "", id); err == nil {
			t.Errorf("%q is a command", id)
		} else if status, _ := oic.StatusOf(err); status != oic.NotFound {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// TestLargeBodies are sent, and not kept.
func TestLargeBodies(t *testing.T) {
	h := newHouse(t)
	body := string(make([]byte, 600<<10))
	h.handle = func(context.Context, *oic.Request) (*oic.Response, error) {
		return &oic.Response{Status: oic.Changed, Body: []byte(body)}, nil
	}
	cmd, _, err := h.Do(t.Context(), to(lamp), update(body), oic.HandlerFunc(h.lamp))
	if err != nil || len(h.sent()[0]) != len(body) {
		t.Fatal(err)
	}
	kept, err := h.Get(t.Context(), "home", lamp, cmd.ID)
	if err != nil || kept.Body != nil || kept.Answer != nil || kept.Size != len(body) || kept.State != command.Done {
		t.Errorf("%+v, %v", kept, err)
	}
	_, err = h.Queue(t.Context(), to(lamp), update(body), ann, time.Minute)
	if status, _ := oic.StatusOf(err); status != oic.TooLarge {
		t.Errorf("queued: %v", err)
	}
}

// TestList: filters and pages.
func TestList(t *testing.T) {
	h := newHouse(t)
	var ids []string
	for i := range 300 {
		di := []string{lamp, door}[i%2]
		cmd, _, err := h.Do(t.Context(), to(di), update(fmt.Sprint(i)), oic.HandlerFunc(h.lamp))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, cmd.ID)
	}
	h.Fail(t.Context(), to(door), update("f"), errAway)
	for _, test := range []struct {
		f    command.Filter
		want int
	}{
		{command.Filter{Account: "home"}, 100},
		{command.Filter{Account: "home", Limit: 1000}, 301},
		{command.Filter{Account: "home", Device: lamp, Limit: 1000}, 150},
		{command.Filter{Account: "home", State: command.Failed}, 1},
		{command.Filter{Account: "home", State: command.Queued}, 0},
		{command.Filter{Account: "home", Before: ids[10], Limit: 50}, 10},
		{command.Filter{Account: "home", Before: ids[200], Limit: 50}, 50},
		{command.Filter{Account: "home", Since: time.Now()}, 0},
		{command.Filter{Account: "barn"}, 0},
	} {
		list, err := h.List(t.Context(), test.f)
		if err != nil || len(list) != test.want {
			t.Errorf("%+v: %d, %v; want %d", test.f, len(list), err, test.want)
		}
		if !slices.IsSortedFunc(list, func(x, y command.Command) int { return y.Made.Compare(x.Made) }) {
			t.Errorf("%+v: not the newest first", test.f)
		}
	}
	if err := h.Purge(t.Context(), "home", lamp); err != nil {
		t.Fatal(err)
	}
	if list, err := h.List(t.Context(), command.Filter{Account: "home", Limit: 1000}); err != nil || len(list) != 151 {
		t.Errorf("after Purge %d, %v", len(list), err)
	}
	if err := h.PurgeAccount(t.Context(), "home"); err != nil {
		t.Fatal(err)
	}
	if list, err := h.List(t.Context(), command.Filter{Account: "home"}); err != nil || len(list) != 0 {
		t.Errorf("after PurgeAccount %v, %v", list, err)
	}
}

// TestRecent: what an event may come from, while it is new.
func TestRecent(t *testing.T) {
	h := newHouse(t)
	before := time.Now()
	var during time.Time
	h.handle = func(context.Context, *oic.Request) (*oic.Response, error) {
		during = time.Now()
		return &oic.Response{Status: oic.Changed}, nil
	}
	cmd, _, err := h.Do(t.Context(), to(lamp), update("1"), oic.HandlerFunc(h.lamp))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		device, href string
		at           time.Time
		want         bool
	}{
		{lamp, "/a/light", during, true},
		{lamp, "/a/light?if=oic.if.baseline", during, true},
		{lamp, "/a/light", cmd.Ended.Add(time.Second), true},
		{lamp, "/a/light", cmd.Ended.Add(3 * time.Second), false},
		{lamp, "/a/light", before, false},
		{lamp, "/a/other", during, false},
		{door, "/a/light", during, false},
	} {
		id, by, ok := h.Recent(test.device, test.href, test.at)
		if ok != test.want || ok && (id != cmd.ID || by.Name != "phone") {
			t.Errorf("%s%s at %v: %s, %v, %v", test.device, test.href, test.at.Sub(cmd.Sent), id, by, ok)
		}
	}
}
