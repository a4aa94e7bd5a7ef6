package cloud

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/cloud/command"
	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/oic"
)

// chain is a reason as text: "event /a/light, command 1, event /a/door; begin".
func chain(r Reason) string {
	var text []string
	for _, s := range r.Steps {
		switch {
		case s.Event != nil:
			text = append(text, "event "+s.Event.Href)
		case s.Perhaps:
			text = append(text, "perhaps "+s.Command.Href)
		default:
			text = append(text, "command "+s.Command.Href)
		}
	}
	return strings.Join(text, ", ") + "; " + r.Begin
}

// TestWhy: from an effect back to its cause.
func TestWhy(t *testing.T) {
	w := newWorld(t)
	_, err := w.Publish(t.Context(), w.door, cloudlink.Publication{Device: door, Name: "door", Links: []oic.Link{{Href: "/a/door"}}})
	w.must(err)
	_, ann := w.token("home", 0)
	ann.Name = "phone"
	w.thing.handle = func(_ context.Context, req *oic.Request) (*oic.Response, error) { // a lamp that reports before it answers
		w.report("/a/light", req.Body...)
		return &oic.Response{Status: oic.Changed}, nil
	}
	why := func(what, want string) {
		t.Helper()
		r, err := w.Why(t.Context(), ann, lamp, "/a/light", time.Time{})
		if err != nil || chain(r) != want {
			t.Errorf("%s: %s, %v\nwant %s", what, chain(r), err, want)
		}
	}
	_, err = w.Why(t.Context(), ann, lamp, "/a/light", time.Time{})
	w.status("nothing reported", err, oic.NotFound)

	w.report("/a/light", 0xf4)
	before := time.Now()
	why("by hand", "event /a/light; the device itself; no command was sent around then")

	update := oic.Request{Op: oic.Update, Href: "/a/light?if=oic.if.rw", Body: []byte{0xf5}}
	_, _, err = w.Send(t.Context(), ann, Order{Device: lamp, Request: update})
	w.must(err)
	why("a person", "event /a/light, command /a/light?if=oic.if.rw; home, by token phone")

	w.must(w.tell(w.door, "/a/door", &oic.Response{Status: oic.Content, Body: []byte{0xf5}}))
	opened := w.newestEvent(t, door)
	fire := func(cause command.Cause) {
		_, _, err := w.Send(t.Context(), oic.Identity{Account: "home"}, Order{
			Device: lamp, Request: update, RuleID: "r1", RuleName: "door-lamp", Cause: &cause,
		})
		w.must(err)
	}
	fire(command.Cause{Revision: 3, Event: opened, At: time.Now()})
	why("a rule on an event", "event /a/light, command /a/light?if=oic.if.rw, event /a/door; the device itself; no command was sent around then")

	fire(command.Cause{Revision: 3, At: time.Date(2026, 1, 5, 7, 0, 0, 0, time.UTC)})
	why("a rule by the clock", "event /a/light, command /a/light?if=oic.if.rw; rule door-lamp, revision 3, which was due at 2026-01-05T07:00:00Z")

	fire(command.Cause{Revision: 3, Event: 1 << 40, At: time.Now()})
	why("an event that has gone", "event /a/light, command /a/light?if=oic.if.rw; rule door-lamp, revision 3, on event 1099511627776, which is not kept any more")

	r, err := w.Why(t.Context(), ann, lamp, "", before)
	if err != nil || chain(r) != "event /a/light; the device itself; no command was sent around then" {
		t.Errorf("at an earlier time: %s, %v", chain(r), err)
	}

	w.thing.handle = func(context.Context, *oic.Request) (*oic.Response, error) {
		return &oic.Response{Status: oic.Changed}, nil
	}
	_, _, err = w.Send(t.Context(), ann, Order{Device: lamp, Request: oic.Request{Op: oic.Update, Href: "/a/plain"}})
	w.must(err)
	w.report("/a/plain", 0xf5)
	r, err = w.Why(t.Context(), ann, lamp, "/a/plain", time.Time{})
	if err != nil || chain(r) != "event /a/plain, command /a/plain; home, by token phone" {
		t.Errorf("the newest command: %s, %v", chain(r), err)
	}
}

// TestWhyLoop: a chain without an end is followed for a while only.
func TestWhyLoop(t *testing.T) {
	w := newWorld(t)
	_, ann := w.token("home", 0)
	w.report("/a/light", 0xf4)
	seq := w.newestEvent(t, lamp) + 1 // of the event that the command will cause
	w.thing.handle = func(context.Context, *oic.Request) (*oic.Response, error) {
		w.report("/a/light", 0xf5)
		return &oic.Response{Status: oic.Changed}, nil
	}
	_, _, err := w.Send(t.Context(), oic.Identity{Account: "home"}, Order{
		Device: lamp, Request: oic.Request{Op: oic.Update, Href: "/a/light"}, RuleID: "r1", Cause: &command.Cause{Event: seq},
	})
	w.must(err)
	r, err := w.Why(t.Context(), ann, lamp, "/a/light", time.Time{})
	if err != nil || r.Begin != "more steps than are followed" || len(r.Steps) > 30 {
		t.Errorf("%d steps; %s, %v", len(r.Steps), r.Begin, err)
	}
}
