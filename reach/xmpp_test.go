package reach_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
	"github.com/farreach/farreach/reach"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmppd/xmppdtest"
)

// onXMPP runs a test with fake time and an XMPP server in memory.
func onXMPP(t *testing.T, test func(t *testing.T, srv *xmppdtest.Server)) {
	synctest.Test(t, func(t *testing.T) { test(t, xmppdtest.Run(t, xmppdtest.Config{Memory: true})) })
}

// attend has a device be there as one of ann's until the test ends or leave is
// called.
func attend(t *testing.T, srv *xmppdtest.Server, h oic.Handler) (leave func()) {
	t.Helper()
	return attendBy(t, srv, rae.Config{Device: h})
}

// attendBy is attend of a device that says more of itself.
func attendBy(t *testing.T, srv *xmppdtest.Server, cfg rae.Config) (leave func()) {
	t.Helper()
	cfg.XMPP, cfg.Log = srv.Client("ann", ""), quiet
	e, err := rae.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { e.Run(ctx) })
	leave = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	t.Cleanup(leave)
	<-e.Complete() // its presence is known to the server then
	return leave
}

// phone opens ann's ways.
func phone(t *testing.T, srv *xmppdtest.Server) *reach.Ways {
	t.Helper()
	w, err := reach.Open(t.Context(), reach.Config{XMPP: &reach.XMPP{Config: srv.Client("ann", "")}, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func read(o oic.Handler, href string) string {
	resp, err := o.Handle(context.Background(), &oic.Request{Href: href})
	if err != nil {
		return fmt.Sprintf("kind %d: %v", reach.KindOf(err), err)
	}
	text, _ := oic.ToJSON(resp.Format, resp.Body)
	return string(text)
}

// A device that joins by XMPP only is found by its name, which is asked for, and
// by its address, which tells type and di without a question (RA-059).
func TestXMPPDevice(t *testing.T) {
	onXMPP(t, func(t *testing.T, srv *xmppdtest.Server) {
		attend(t, srv, simulated(t, "lamp", di, "lamp").Remote())
		leave := attend(t, srv, simulated(t, "door", other, "Front door").Remote())
		w := phone(t, srv)
		lamp := lampJID(t)
		for _, target := range []reach.Target{{Device: "lamp"}, {Device: "LAMP"}, {Device: di}, {Device: strings.ToUpper(di)}, {Peer: lamp}} {
			d, err := w.Device(t.Context(), target)
			if err != nil {
				t.Errorf("%+v: %v", target, err)
				continue
			}
			if got := read(d, "/a/light"); !strings.Contains(got, `"value":false`) {
				t.Errorf("%+v is %s", target, got)
			}
			if want := (reach.Target{Peer: lamp}).String(); d.ID() != di || d.Via() != want {
				t.Errorf("%+v is %s, via %s; want %s via %s", target, d.ID(), d.Via(), di, want)
			}
			if took, err := d.Ping(t.Context()); err != nil {
				t.Errorf("the server answers in %v, %v", took, err)
			}
		}
		for name, want := range map[string]struct {
			kind reach.Kind
			hint string
		}{
			"lmap":  {reach.NotFound, "did you mean lamp?"},
			di[:35]: {reach.Ambiguous, "say which: "},
		} {
			if _, err := w.Device(t.Context(), reach.Target{Device: name}); reach.KindOf(err) != want.kind || !strings.HasPrefix(reach.HintOf(err), want.hint) {
				t.Errorf("%s: %v (kind %d), hint %q", name, err, reach.KindOf(err), reach.HintOf(err))
			}
		}
		d, err := w.Device(t.Context(), reach.Target{Device: "front door"})
		if err != nil {
			t.Fatal(err)
		}
		leave()
		synctest.Wait()
		if got := read(d, "/a/door"); !strings.HasPrefix(got, fmt.Sprintf("kind %d: ann@home.example/OIC/1.0/", reach.Offline)) || !strings.Contains(got, "offline since 2000-01-01T00:00:") {
			t.Errorf("a door that has gone: %s", got)
		}
		if _, err := w.Device(t.Context(), reach.Target{Device: "front door"}); err != nil {
			t.Errorf("its name is forgotten: %v", err)
		}
	})
}

// Some servers have presence come behind the answer to what was sent after ours:
// who is missed is waited for a little.
func TestXMPPLatePresence(t *testing.T) {
	onXMPP(t, func(t *testing.T, srv *xmppdtest.Server) {
		w := phone(t, srv)
		go func() {
			time.Sleep(200 * time.Millisecond)
			attend(t, srv, simulated(t, "lamp", di, "lamp").Remote())
		}()
		if _, err := w.Device(t.Context(), reach.Target{Device: "lamp"}); err != nil {
			t.Error(err)
		}
		start := time.Now()
		_, err := w.Device(t.Context(), reach.Target{Device: "door"})
		if took := time.Since(start); reach.KindOf(err) != reach.NotFound || took > time.Second {
			t.Errorf("who is not there: %v after %v", err, took)
		}
		time.Sleep(time.Second)
		start = time.Now()
		if _, err = w.Device(t.Context(), reach.Target{Device: "door"}); reach.KindOf(err) != reach.NotFound || time.Since(start) > 0 {
			t.Errorf("later on: %v after %v", err, time.Since(start))
		}
	})
	onXMPP(t, func(t *testing.T, srv *xmppdtest.Server) {
		_, err := phone(t, srv).Device(t.Context(), reach.Target{Device: "lamp"})
		if reach.KindOf(err) != reach.NotFound || reach.HintOf(err) != "nobody is on ann@home.example now" {
			t.Errorf("nobody there: %v, %q", err, reach.HintOf(err))
		}
	})
}

// RA-020, A-15: who is there, and who was, with names that are asked for once.
func TestOnXMPP(t *testing.T) {
	onXMPP(t, func(t *testing.T, srv *xmppdtest.Server) {
		var mu sync.Mutex
		asked := 0
		lamp := simulated(t, "lamp", di, "lamp").Remote()
		counting := oic.HandlerFunc(func(ctx context.Context, req *oic.Request) (*oic.Response, error) {
			if req.Href == "/oic/d" {
				mu.Lock()
				asked++
				mu.Unlock()
			}
			return lamp.Handle(ctx, req)
		})
		leave := attend(t, srv, counting)
		w := phone(t, srv)
		list := func() string {
			t.Helper()
			all, err := w.OnXMPP(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var text []string
			for _, p := range all {
				text = append(text, fmt.Sprint(p.Name, " ", p.Type, " ", p.ID, " ", p.Peer == lampJID(t), " ", p.Here))
			}
			return strings.Join(text, "\n")
		}
		const here, away = "lamp oic.d.light " + di + " true true", "lamp oic.d.light " + di + " true false"
		for range 3 {
			if got := list(); got != here {
				t.Errorf("there is %q, want %q", got, here)
			}
		}
		leave()
		synctest.Wait()
		if got := list(); got != away {
			t.Errorf("there is %q, want %q", got, away)
		}
		if asked != 1 {
			t.Errorf("the lamp was asked %d times for its name", asked)
		}
		time.Sleep(time.Second)
		attend(t, srv, counting)
		synctest.Wait()
		if got := list(); got != here || asked != 2 {
			t.Errorf("there is %q, asked %d times; want %q, once more", got, asked, here)
		}
	})
}

// Who has a resource of some type is asked for it, if he is there.
func TestOffering(t *testing.T) {
	onXMPP(t, func(t *testing.T, srv *xmppdtest.Server) {
		leave := attend(t, srv, simulated(t, "lamp", di, "lamp").Remote())
		w := phone(t, srv)
		offering := func(resourceType string) int {
			t.Helper()
			all, err := w.OnXMPP(t.Context())
			if err != nil || len(all) != 1 {
				t.Fatalf("%v, %v", all, err)
			}
			return len(w.Offering(t.Context(), all, resourceType))
		}
		for resourceType, want := range map[string]int{"oic.r.switch.binary": 1, "oic.r.temperature": 0, "oic.r.nothing": 0} {
			if got := offering(resourceType); got != want {
				t.Errorf("%d with %s, want %d", got, resourceType, want)
			}
		}
		leave()
		synctest.Wait()
		if got := offering("oic.r.switch.binary"); got != 0 {
			t.Errorf("%d of those who are away", got)
		}
	})
}

// What can be wrong with an account has a kind and a hint.
func TestXMPPAccountErrors(t *testing.T) {
	onXMPP(t, func(t *testing.T, srv *xmppdtest.Server) {
		wrong := srv.Client("ann", "")
		wrong.Password = "wrong"
		nobody := srv.Client("ann", "")
		nobody.JID = jid.JID{}
		for name, c := range map[string]struct {
			x    reach.XMPP
			kind reach.Kind
			want string
		}{
			"password": {reach.XMPP{Config: wrong}, reach.NotAllowed, "not connected to home.example: auth-failed: not-authorized"},
			"account":  {reach.XMPP{Config: nobody}, reach.Usage, "account"},
			"id":       {reach.XMPP{Config: srv.Client("ann", ""), ID: "me"}, reach.Usage, "UUID"},
		} {
			_, err := reach.Open(t.Context(), reach.Config{XMPP: &c.x, Log: quiet})
			if reach.KindOf(err) != c.kind || err == nil || !strings.Contains(err.Error(), c.want) || reach.HintOf(err) == "" {
				t.Errorf("%s: %v (kind %d), hint %q; want kind %d, %q", name, err, reach.KindOf(err), reach.HintOf(err), c.kind, c.want)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := reach.Open(ctx, reach.Config{XMPP: &reach.XMPP{Config: srv.Client("ann", "")}, Log: quiet}); !errors.Is(err, context.Canceled) {
			t.Errorf("after Ctrl-C: %v", err)
		}
	})
	if _, err := reach.Open(t.Context(), reach.Config{}); reach.KindOf(err) != reach.Usage {
		t.Errorf("no way at all: %v", err)
	}
}

// Over the connection of a server that refuses connections, at once.
func TestXMPPServerAway(t *testing.T) {
	srv := xmppdtest.Run(t, xmppdtest.Config{})
	cfg := srv.Client("ann", "")
	srv.Stop()
	_, err := reach.Open(t.Context(), reach.Config{XMPP: &reach.XMPP{Config: cfg}, Log: quiet})
	if reach.KindOf(err) != reach.NoConnect || !strings.Contains(err.Error(), "host-unreachable: connection refused") || reach.HintOf(err) == "" {
		t.Errorf("%v (kind %d), hint %q", err, reach.KindOf(err), reach.HintOf(err))
	}
}
