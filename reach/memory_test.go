package reach_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
	"github.com/farreach/farreach/reach"
	"github.com/farreach/farreach/xmppd/xmppdtest"
)

// visit is a client that comes, looks who is there, and goes.
func visit(t *testing.T, srv *xmppdtest.Server, memory string) []reach.Present {
	t.Helper()
	w, err := reach.Open(t.Context(), reach.Config{XMPP: &reach.XMPP{Config: srv.Client("ann", ""), Memory: memory}, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	list, err := w.OnXMPP(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// said is how the devices of a list are, in the order of names.
func said(list []reach.Present) string {
	var all []string
	for _, p := range list {
		text := p.Name + " offline"
		switch {
		case p.Here:
			text = p.Name + " here"
		case p.Gone:
			text = p.Name + " unknown"
		}
		all = append(all, text)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// A client that comes when the gateway has gone knows the devices that it spoke
// for, from the time when it was there: nobody knows how they are. When the
// gateway is back it knows better.
func TestRemembered(t *testing.T) {
	onXMPP(t, func(t *testing.T, srv *xmppdtest.Server) {
		memory := filepath.Join(t.TempDir(), "clients", "seen.json")
		hall := simulated(t, "door", other, "hall")
		b, leave := bridged(t, srv, simulated(t, "lamp", di, "attic"), hall)
		const third = "0685b960-736f-46f7-bec0-9e6cbd61ade3"
		porch := attendBy(t, srv, rae.Config{Device: simulated(t, "lamp", third, "porch").Remote(), Gateway: bridgeID})
		const all = "attic here, hall here, porch here, proxy here"
		expect := func(want string) []reach.Present {
			t.Helper()
			list := visit(t, srv, memory)
			if got := said(list); got != want {
				t.Errorf("there are %s; want %s", got, want)
			}
			return list
		}
		expect(all)
		began := time.Now()
		time.Sleep(10 * time.Minute)
		expect(all)
		seen := time.Now()
		porch()
		leave()
		time.Sleep(time.Hour)
		for _, p := range expect("attic unknown, hall unknown, porch unknown, proxy offline") {
			if p.Since.Before(seen.Add(-time.Minute)) || p.Since.After(seen) || p.Gateway != bridgeID && p.ID != bridgeID {
				t.Errorf("%s was seen at %v, by %s; the latest time was %v, the first %v", p.Name, p.Since, p.Gateway, seen, began)
			}
		}
		if list := visit(t, srv, ""); len(list) != 0 {
			t.Errorf("without a memory there is %s", said(list))
		}

		w, err := reach.Open(t.Context(), reach.Config{XMPP: &reach.XMPP{Config: srv.Client("ann", ""), Memory: memory}, Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		for _, name := range []string{"attic", third} {
			d, err := w.Device(t.Context(), reach.Target{Device: name})
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			_, err = d.Handle(t.Context(), &oic.Request{Href: "/a/light"})
			if reach.KindOf(err) != reach.Offline || !strings.Contains(err.Error(), "its gateway is gone") {
				t.Errorf("%s: %v", name, err)
			}
		}

		b.lost(other)
		again, _ := bridged(t, srv, simulated(t, "lamp", di, "attic"))
		expect("attic here, proxy here")
		again.found(hall)
		synctest.Wait()
		expect("attic here, hall here, proxy here")
	})
}

// Nobody is remembered for ever, and a file that makes no sense is none.
func TestForgotten(t *testing.T) {
	onXMPP(t, func(t *testing.T, srv *xmppdtest.Server) {
		memory := filepath.Join(t.TempDir(), "seen.json")
		_, leave := bridged(t, srv, device.NewHost(device.Config{ID: di, Type: "oic.d.light", Name: "attic", Log: quiet}))
		visit(t, srv, memory)
		leave()
		time.Sleep(29 * 24 * time.Hour)
		if got := said(visit(t, srv, memory)); got != "attic unknown, proxy offline" {
			t.Errorf("after 29 days there are %s", got)
		}
		time.Sleep(2 * 24 * time.Hour)
		if got := said(visit(t, srv, memory)); got != "" {
			t.Errorf("after 31 days there are %s", got)
		}
		for _, text := range []string{"", "[]", `{"version":2}`, `{"version":1,"seen":[{"di":"x","jid":"@@","gateway":"y"}]}`} {
			if err := os.WriteFile(memory, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := said(visit(t, srv, memory)); got != "" {
				t.Errorf("with %q there are %s", text, got)
			}
		}
	})
}
