package rabridge

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stanza"
)

const lampLinks = "[/a/light /oic/con /oic/d /oic/p]"

// A device that comes to the XMPP server is in the cloud under its own name, is
// asked and commanded there, and what it says is reported; when it goes it is
// offline, and when it comes back it is the same.
func TestTakesPart(t *testing.T) {
	inHouse(t, func(h *house) {
		t := h.T
		lamp := newDevice(lampID, "lamp")
		leave := h.joins("ann", lamp.Remote())
		h.logged("comes", "adopted ann lamp "+lampLinks, "here", `/a/light {"value":false}`, `/oic/con {"n":"lamp"}`)
		s := h.cloud.session(lampID)
		if _, err := s.Handle(t.Context(), &oic.Request{Op: oic.Update, Href: "/a/light", Format: oic.OCF, Body: lightOn}); err != nil {
			t.Fatal(err)
		}
		h.logged("is commanded", `/a/light {"value":true}`)
		name, _ := oic.Encode(oic.OCF, map[string]string{"n": "attic"})
		if _, err := s.Handle(t.Context(), &oic.Request{Op: oic.Update, Href: "/oic/con", Format: oic.OCF, Body: name}); err != nil {
			t.Fatal(err)
		}
		h.logged("is renamed", "amended ann attic "+lampLinks, `/oic/con {"n":"attic"}`)
		minute()
		if last := s.LastSeen(); time.Since(last) > 30*time.Second {
			t.Errorf("last seen %v ago, though the server asks each 20 s", time.Since(last))
		}
		leave()
		h.logged("goes", "gone")
		h.joins("ann", lamp.Remote())
		h.logged("comes back", "adopted ann attic "+lampLinks, "here", `/a/light {"value":true}`, `/oic/con {"n":"attic"}`)
		h.stop()
		h.logged("the bridge ends", "gone")
	})
}

// What nobody does from afar is not asked of the device on behalf of the cloud
// either (RA-032), in any spelling.
func TestForbidden(t *testing.T) {
	inHouse(t, func(h *house) {
		t := h.T
		lamp := newDevice(lampID, "lamp").Remote()
		h.joins("ann", oic.HandlerFunc(func(ctx context.Context, req *oic.Request) (*oic.Response, error) {
			if rae.Guarded(req.Href) {
				t.Errorf("%s was asked", req.Href)
			}
			return lamp.Handle(ctx, req)
		}))
		s := h.cloud.session(lampID)
		items, _ := oic.Encode(oic.OCF, []map[string]any{{"href": "/oic/mnt", "rep": map[string]any{"fr": true}}})
		for _, req := range []oic.Request{
			{Href: "/oic/sec/doxm"}, {Href: "/OIC/sec/cred"}, {Href: "/oic/%6dnt"}, {Href: "/XMPPUserResURI"}, {Href: "/oic/res?if=" + oic.IfBatch},
			{Op: oic.Update, Href: "/oic/mnt", Format: oic.OCF, Body: lightOn},
			{Op: oic.Update, Href: "/room?if=" + oic.IfBatch, Format: oic.OCF, Body: items},
		} {
			_, err := s.Handle(t.Context(), &req)
			if status, _ := oic.StatusOf(err); status != oic.Forbidden {
				t.Errorf("%v %s: %v", req.Op, req.Href, err)
			}
			if req.Op != oic.Retrieve {
				continue
			}
			err = s.Observe(t.Context(), &req, func(*oic.Response) {})
			if status, _ := oic.StatusOf(err); status != oic.Forbidden {
				t.Errorf("observe %s: %v", req.Href, err)
			}
		}
	})
}

// A device of a contact, whom the account sees and who may even be asked, is the
// contact's alone.
func TestContact(t *testing.T) {
	inHouse(t, func(h *house) {
		t := h.T
		ann, bob := h.dial("ann", "chat"), h.dial("bob", "chat")
		for _, say := range []struct {
			from, to *xmpp.Session
			kind     string
		}{{ann, bob, "subscribe"}, {bob, ann, "subscribed"}, {bob, ann, "subscribe"}, {ann, bob, "subscribed"}} {
			if err := say.from.Send(t.Context(), &stanza.Presence{To: say.to.JID().Bare(), Type: say.kind}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		h.joins("ann", newDevice(lampID, "lamp").Remote())
		h.logged("ann's lamp", "adopted ann lamp "+lampLinks, "here", `/a/light {"value":false}`, `/oic/con {"n":"lamp"}`)
		h.joins("bob", newDevice(doorID, "door").Remote())
		minute()
		h.logged("bob's door", "adopted bob door "+lampLinks, "here", `/a/light {"value":false}`, `/oic/con {"n":"door"}`)
		ann.Close()
		bob.Close()
	})
}

// dial is a plain session that is there.
func (h *house) dial(account, resource string) *xmpp.Session {
	h.Helper()
	s, err := xmpp.Dial(h.Context(), h.srv.Client(account, resource))
	if err == nil {
		err = s.Send(h.Context(), &stanza.Presence{})
	}
	if err != nil {
		h.Fatal(err)
	}
	synctest.Wait()
	return s
}

// Who has joined the cloud by himself is left alone, and one that does so
// meanwhile, or is taken out of the cloud, is let go: until it comes anew.
func TestStepsAside(t *testing.T) {
	inHouse(t, func(h *house) {
		h.cloud.refuse[lampID] = oic.Errorf(oic.Conflict, "the device has joined by itself")
		leave := h.joins("ann", newDevice(lampID, "lamp").Remote())
		time.Sleep(time.Hour)
		h.logged("has joined by itself", "refused "+lampID)
		leave()
		h.cloud.refuse[lampID] = errors.New("the store is away")
		leave = h.joins("ann", newDevice(lampID, "lamp").Remote())
		h.logged("while the store is away", "refused "+lampID)
		h.cloud.mu.Lock()
		delete(h.cloud.refuse, lampID)
		h.cloud.mu.Unlock()
		minute()
		took := []string{"adopted ann lamp " + lampLinks, "here", `/a/light {"value":false}`, `/oic/con {"n":"lamp"}`}
		h.logged("when it is back", took...)
		h.cloud.session(lampID).Close("a newer connection of the same device")
		time.Sleep(time.Hour)
		h.logged("let go", "gone")
		leave()
		h.joins("ann", newDevice(lampID, "lamp").Remote())
		h.logged("comes anew", took...)
	})
}

// Who answers at the address of a device as another one, or does not answer, is
// none: the cloud hears nothing of it.
func TestImpostor(t *testing.T) {
	inHouse(t, func(h *house) {
		s := h.dial("ann", "OIC/1.0/oic.d.light/"+lampID)
		other := newDevice(doorID, "door").Remote()
		first := true
		h.joins("ann", oic.HandlerFunc(func(ctx context.Context, req *oic.Request) (*oic.Response, error) {
			if path, _ := oic.SplitHref(req.Href); path == "/oic/d" && first {
				first = false
				return newDevice(uuid.NewString(), "x").Remote().Handle(ctx, req) // of which the address is made
			}
			return other.Handle(ctx, req)
		}))
		time.Sleep(50 * time.Second) // in a minute it finds out how it is called now
		h.logged("nobody takes part")
		s.Close()
	})
}

// However many addresses an account makes up, so many devices are looked at, and
// when they go nothing is left of them.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		account, _ := jid.New("ann", "home.example", "")
		cloud := &ledger{}
		b, err := New(Config{Cloud: cloud, Login: func(string) xmpp.Config { return xmpp.Config{JID: account} },
			Seen: func(jid.JID) (time.Time, bool) { return time.Now(), true }, Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		e, err := rae.New(rae.Config{XMPP: xmpp.Config{JID: account}, ID: clientID(account), Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		a := &branch{Bridge: b, name: "ann", e: e, here: map[jid.JID]rae.Device{}, now: map[string]*stay{}}
		ctx, cancel := context.WithCancel(t.Context())
		var all []rae.Device
		for range 2 * maxDevices {
			name := rae.Name{Major: 1, Type: "oic.d.light", ID: uuid.NewString()}
			j, _ := name.JID(account)
			all = append(all, rae.Device{JID: j, Name: name, Available: true, Since: time.Now()})
		}
		for _, d := range all {
			a.met(ctx, d)
		}
		if len(a.here) != maxDevices || len(a.now) != maxDevices {
			t.Errorf("%d are there, %d take part", len(a.here), len(a.now))
		}
		for _, d := range all {
			d.Available = false
			a.met(ctx, d)
		}
		if len(a.here) != 0 || len(a.now) != 0 {
			t.Errorf("%d are there, %d take part", len(a.here), len(a.now))
		}
		cancel()
		a.tasks.Wait()
	})
}

// TestAccounts: so many accounts are looked after at a time, and each as long as
// it has devices.
func TestAccounts(t *testing.T) {
	there := true
	b, err := New(Config{Cloud: &ledger{}, Login: func(string) xmpp.Config { return xmpp.Config{} },
		Seen: func(jid.JID) (time.Time, bool) { return time.Now(), there }, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	running, ended := map[string]context.CancelFunc{}, 0
	settle := func() {
		b.settle(running, func(string) context.CancelFunc { return func() { ended++ } })
	}
	all := func(resource string) {
		for i := range maxAccounts + 10 {
			j, _ := jid.New(fmt.Sprint("a", i), "home.example", resource)
			b.Presence(j)
		}
		settle()
	}
	for _, resource := range []string{"phone", "OIC/1.0/Client/" + lampID, "OIC/2.0/oic.d.light/" + lampID, "OIC/1.0/oic.d.light/7"} {
		if all(resource); len(running) != 0 {
			t.Errorf("%s is taken for a device", resource)
		}
	}
	if all("OIC/1.0/oic.d.light/" + lampID); len(running) != maxAccounts {
		t.Errorf("%d accounts", len(running))
	}
	there = false
	if all("OIC/1.0/oic.d.light/" + lampID); ended != maxAccounts || len(b.accounts) != 0 {
		t.Errorf("%d have ended, %d are left", ended, len(b.accounts))
	}
}

// TestAddresses: a device that is there under two addresses takes part once, and
// goes on by the other when one goes.
func TestAddresses(t *testing.T) {
	inHouse(t, func(h *house) {
		t := h.T
		leave := h.joins("ann", newDevice(lampID, "lamp").Remote())
		h.cloud.take()
		other := newDevice(lampID, "lamp")
		h.joins("ann", oic.HandlerFunc(func(ctx context.Context, req *oic.Request) (*oic.Response, error) {
			resp, err := other.Remote().Handle(ctx, req)
			if path, _ := oic.SplitHref(req.Href); err == nil && path == "/oic/d" {
				resp.Format = oic.OCF
				resp.Body, _ = oic.Encode(oic.OCF, map[string]any{"di": lampID, "n": "twin", "rt": []string{"oic.d.door"}})
			}
			return resp, err
		}))
		h.logged("a second address")
		leave()
		minute()
		if s := h.cloud.session(lampID); s == nil || h.cloud.sets[lampID].Name != "twin" {
			t.Errorf("it did not go on: %v", h.cloud.take())
		}
	})
}
