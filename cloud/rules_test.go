package cloud

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/cloud/command"
	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/cloud/rule"
	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/oic"
)

var homeOwner = oic.Identity{Account: "home"}

// addRule makes a rule of home from YAML.
func (w *world) addRule(text string) rule.Rule {
	w.t.Helper()
	d, err := rule.Parse([]byte(text))
	w.must(err)
	r, err := w.AddRule(w.t.Context(), homeOwner, *d)
	w.must(err)
	return r
}

// openDoor publishes the door and returns a function that tells whether it is open.
func (w *world) openDoor() func(open bool) {
	w.t.Helper()
	_, err := w.Publish(w.t.Context(), w.door, cloudlink.Publication{Device: door, Name: "door", Links: []oic.Link{
		{Href: "/a/door", Types: []string{"oic.r.openlevel"}, Policy: oic.Policy{Mask: oic.Discoverable | oic.Observable}},
	}})
	w.must(err)
	return func(open bool) {
		w.t.Helper()
		body, err := oic.FromJSON(oic.OCF, fmt.Appendf(nil, `{"value":%v}`, open))
		w.must(err)
		w.must(w.tell(w.door, "/a/door", &oic.Response{Status: oic.Content, Format: oic.OCF, Body: body}))
	}
}

const doorRule = `
name: lamp-at-the-door
when:
  event: {device: door, href: /a/door, if: event.value}
then:
- command: {device: lamp, href: /a/light, set: {value: true}}
- message: "{{device.name}} is open: {{event.value}}"
`

// eventually waits until f returns "", which is to say what is missing.
func (w *world) eventually(f func() string) {
	w.t.Helper()
	end := time.Now().Add(time.Minute)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		missing := f()
		if missing == "" {
			return
		}
		if time.Now().After(end) {
			w.t.Fatal(missing)
		}
	}
}

// runs are the kinds of what a rule did, the newest first.
func (w *world) runs(id string) string {
	w.t.Helper()
	list, err := w.RuleRuns(w.t.Context(), homeOwner, id, 1000)
	w.must(err)
	var kinds []string
	for _, f := range list {
		kinds = append(kinds, string(f.Kind))
	}
	return strings.Join(kinds, " ")
}

// TestRule: the door opens, the lamp goes on; what was sent names the rule, and
// the message is an event.
func TestRule(t *testing.T) {
	w := newWorld(t)
	tell := w.openDoor()
	r := w.addRule(doorRule)
	tell(false)
	before := time.Now()
	tell(true)
	w.eventually(func() string {
		if n := len(w.thing.asked()); n != 1 {
			return fmt.Sprintf("the lamp was asked %d times", n)
		}
		return ""
	})
	t.Logf("the lamp was asked after %v", time.Since(before))
	req := w.thing.asked()[0]
	if req.Op != oic.Update || req.Href != "/a/light" || string(req.Body) != "\xa1\x65value\xf5" || req.From.Account != "home" {
		t.Errorf("the lamp was asked %+v", req)
	}
	w.eventually(func() string {
		list, err := w.Commands(t.Context(), homeOwner, command.Filter{})
		w.must(err)
		if len(list) != 1 || list[0].State != command.Done {
			return fmt.Sprintf("commands %+v", list)
		}
		if by := list[0].By; by.Kind != "rule" || by.ID != r.ID || by.Name != r.Name || by.Cause.Event == 0 || by.Cause.Revision != 1 {
			t.Errorf("it was asked by %+v", by)
		}
		return ""
	})
	w.eventually(func() string {
		ev, err := w.events.Last(t.Context(), "home", "rule:lamp-at-the-door", "/message")
		if err != nil {
			return fmt.Sprint("no message: ", err)
		}
		if text, err := oic.ToJSON(ev.Format, ev.Body); err != nil || !strings.Contains(string(text), `"text":"door is open: true"`) {
			t.Errorf("the message is %s, %v", text, err)
		}
		return ""
	})
	tell(true)
	tell(false)
	tell(true)
	w.eventually(func() string {
		if got := w.runs(r.ID); got != "fired fired" {
			return "runs: " + got
		}
		return ""
	})
}

// TestRuleChanges: what is disabled or removed does not fire, what is changed
// fires as it is now, and what was there before is no news.
func TestRuleChanges(t *testing.T) {
	w := newWorld(t)
	tell := w.openDoor()
	tell(true)
	r := w.addRule(doorRule)
	tell(true) // it was open already
	change := func(revision uint64, f func(*rule.Document)) {
		t.Helper()
		var err error
		r, err = w.ChangeRule(t.Context(), homeOwner, r.ID, revision, func(d *rule.Document) error { f(d); return nil })
		w.must(err)
	}
	change(1, func(d *rule.Document) { d.Disabled = true })
	tell(false)
	tell(true)
	tell(false)
	change(0, func(d *rule.Document) { d.Disabled = false })
	change(3, func(d *rule.Document) { d.Then = d.Then[:1] })
	_, err := w.ChangeRule(t.Context(), homeOwner, r.ID, 3, func(d *rule.Document) error { d.Name = "y"; return nil })
	w.status("change of an old revision", err, oic.PreconditionFailed)
	tell(true)
	w.eventually(func() string {
		if got := w.runs(r.ID); got != "fired" {
			return "runs: " + got
		}
		return ""
	})
	list, err := w.RuleRevisions(t.Context(), homeOwner, r.ID)
	if err != nil || len(list) != 4 || list[0].Revision != 4 || list[3].Revision != 1 || len(list[3].Then) != 2 {
		t.Errorf("revisions %+v, %v", list, err)
	}
	w.must(w.RemoveRule(t.Context(), homeOwner, r.ID, 0))
	tell(false)
	tell(true)
	again := w.addRule(doorRule)
	tell(false)
	tell(true)
	w.eventually(func() string {
		if got := w.runs(again.ID); got != "fired" {
			return "runs: " + got
		}
		return ""
	})
}

// TestRuleAfterRestart: what was fired is not fired again, what was not is.
func TestRuleAfterRestart(t *testing.T) {
	w := newWorld(t)
	tell := w.openDoor()
	r := w.addRule(doorRule)
	for n := 1; n <= 5; n++ {
		tell(false)
		tell(true)
		if n%2 == 0 {
			w.eventually(func() string {
				if got := strings.Count(w.runs(r.ID), "fired"); got != n {
					return fmt.Sprintf("%d runs, want %d", got, n)
				}
				return ""
			})
		}
		w.close()
		w.open()
		w.thing = w.attach(w.lamp)
	}
	w.eventually(func() string {
		if got := strings.Count(w.runs(r.ID), "fired"); got != 5 {
			return fmt.Sprintf("%d runs, want 5", got)
		}
		list, err := w.Commands(t.Context(), homeOwner, command.Filter{})
		w.must(err)
		done := 0
		for _, c := range list {
			if c.State.Final() {
				done++
			}
		}
		if len(list) != 5 || done != 5 {
			return fmt.Sprintf("%d commands, %d of them over, want 5", len(list), done)
		}
		return ""
	})
}

// TestRuleCausesItself: two rules that undo each other are stopped, and it is
// told.
func TestRuleCausesItself(t *testing.T) {
	w := newWorld(t)
	w.thing.handle = func(_ context.Context, req *oic.Request) (*oic.Response, error) {
		err := w.tell(w.lamp, "/a/light", &oic.Response{Status: oic.Content, Format: oic.OCF, Body: slices.Clone(req.Body)})
		return &oic.Response{Status: oic.Changed}, err
	}
	const text = "name: %s\nwhen: {event: {device: lamp, href: /a/light, if: event.value == %s}}\nthen: [{command: {device: lamp, href: /a/light, set: {value: %s}}}]"
	on := w.addRule(fmt.Sprintf(text, "off-again", "true", "false"))
	off := w.addRule(fmt.Sprintf(text, "on-again", "false", "true"))
	w.report("/a/light", []byte("\xa1\x65value\xf5")...)
	w.eventually(func() string {
		both := w.runs(on.ID) + " " + w.runs(off.ID)
		if strings.Count(both, "fired") != 8 || strings.Count(both, "stopped") != 1 {
			return "runs: " + both
		}
		return ""
	})
}

// TestTooManyRules: an account has 100 of them (threats section 3.5).
func TestTooManyRules(t *testing.T) {
	w := newWorld(t)
	const text = "name: rule-%d\nwhen: {every: 24h}\nthen: [{message: x}]"
	for n := range 100 {
		w.addRule(fmt.Sprintf(text, n))
	}
	d, err := rule.Parse(fmt.Appendf(nil, text, 100))
	w.must(err)
	_, err = w.AddRule(t.Context(), homeOwner, *d)
	w.status("one too many", err, oic.Forbidden)
	_, err = w.AddRule(t.Context(), oic.Identity{Account: "office"}, *d)
	w.must(err)
}

// TestRuleOnThePast: what would have been.
func TestRuleOnThePast(t *testing.T) {
	w := newWorld(t)
	w.openDoor()
	start := time.Now().Add(-24 * time.Hour).Truncate(time.Second)
	for i := range 100 {
		body, err := oic.FromJSON(oic.OCF, fmt.Appendf(nil, `{"value":%v}`, i%10 == 0))
		w.must(err)
		_, err = w.events.Append(t.Context(), event.Event{Account: "home", Device: door, Href: "/a/door", Format: oic.OCF, Body: body, Time: start.Add(time.Duration(i) * time.Minute)})
		w.must(err)
	}
	d, err := rule.Parse([]byte(doorRule))
	w.must(err)
	var first *rule.Firing
	n := 0
	events, err := w.TestRule(t.Context(), homeOwner, *d, start.Add(5*time.Minute), time.Now(), func(f *rule.Firing) bool {
		if n++; n == 1 {
			first = f
		}
		return true
	})
	if err != nil || events != 95 || n != 9 {
		t.Fatalf("%d events, %d firings, %v; want 95 and 9", events, n, err)
	}
	if !first.Time.Equal(start.Add(10*time.Minute)) || first.Do[0].Device != lamp || first.Do[1].Message != "door is open: true" {
		t.Errorf("the first: %+v", first)
	}
	d.When = rule.When{Every: rule.Duration(time.Hour)}
	d.Then = d.Then[:1]
	n = 0
	_, err = w.TestRule(t.Context(), homeOwner, *d, start, start.Add(24*time.Hour), func(*rule.Firing) bool { n++; return true })
	if err != nil || n != 24 {
		t.Errorf("each hour of a day: %d times, %v", n, err)
	}
}
