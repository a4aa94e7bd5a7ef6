package cloud

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/cloud/account"
	"github.com/farreach/farreach/cloud/rule"
	"github.com/farreach/farreach/oic"
)

// ruleOf makes a rule of an account from YAML.
func (w *world) ruleOf(name, text string) rule.Rule {
	w.t.Helper()
	d, err := rule.Parse([]byte(text))
	w.must(err)
	r, err := w.AddRule(w.t.Context(), oic.Identity{Account: name}, *d)
	w.must(err)
	return r
}

// did is what the newest run of a rule did, and how often it fired.
func (w *world) did(r rule.Rule) (text string, n int) {
	w.t.Helper()
	list, err := w.RuleRuns(w.t.Context(), oic.Identity{Account: r.Account}, r.ID, 100)
	w.must(err)
	if len(list) == 0 {
		return "", 0
	}
	for i, do := range list[0].Do {
		text += strings.TrimSpace(fmt.Sprintf("%s%s%s ", do.Message, do.Problem, list[0].Commands[i].State)) + ";"
	}
	return text, len(list)
}

// TestSharedRules: rules wait for events of what is shared with their account, and
// command it, as far as its role goes and for as long as it is shared; why tells
// of them as far as who asks may see.
func TestSharedRules(t *testing.T) {
	w := newWorld(t) // partner is a member of all of home, guest a viewer of its lamp
	open := w.openDoor()
	w.thing.handle = func(_ context.Context, req *oic.Request) (*oic.Response, error) {
		w.report("/a/light", req.Body...)
		return &oic.Response{Status: oic.Changed}, nil
	}
	const text = "name: %s\nwhen: {event: {device: %s, if: event.value}}\nthen: [{command: {device: lamp, href: /a/light, set: {value: true}}}, {message: '{{device.name}}'}]"
	member := w.ruleOf("partner", fmt.Sprintf(text, "member", "door"))
	viewer := w.ruleOf("guest", fmt.Sprintf(text, "viewer", "lamp"))
	other := w.ruleOf("guest", fmt.Sprintf(text, "other", "door"))
	stranger := w.ruleOf("barn", "name: any\nwhen: {event: {}}\nthen: [{message: m}]")
	begun := time.Now()
	open(false)
	w.report("/a/light", []byte("\xa1\x65value\xf4")...)
	open(true)
	w.eventually(func() string {
		a, _ := w.did(member)
		b, _ := w.did(viewer)
		if a != "done;door;" || b != "not allowed to command lamp;lamp;" {
			return fmt.Sprintf("member: %s viewer: %s", a, b)
		}
		return ""
	})
	for _, r := range []rule.Rule{other, stranger} {
		if _, n := w.did(r); n != 0 {
			t.Errorf("%s fired on what its account may not see", r.Name)
		}
	}
	if asked := w.thing.asked(); len(asked) != 1 || asked[0].From.Account != "partner" {
		t.Errorf("the lamp was asked %+v", asked)
	}
	for _, c := range []struct{ who, want string }{
		{"home", "event /a/light, command /a/light, event /a/door; the device itself; no command was sent around then"},
		{"partner", "event /a/light, command /a/light, event /a/door; the device itself; no command was sent around then"},
		{"guest", "event /a/light, command /a/light; rule member, revision 1, of partner, on an event of a device that is not shared with you"},
	} {
		r, err := w.Why(t.Context(), oic.Identity{Account: c.who}, lamp, "/a/light", time.Time{})
		if err != nil || chain(r) != c.want {
			t.Errorf("why, for %s: %s, %v\nwant %s", c.who, chain(r), err, c.want)
		}
	}
	n, err := w.TestRule(t.Context(), oic.Identity{Account: "partner"}, member.Document, begun, time.Now(), func(*rule.Firing) bool { return true })
	if err != nil || n != 2 {
		t.Errorf("over the past: %d events, %v", n, err)
	}

	given, _ := w.accounts.Shares("home")
	share := given[slices.IndexFunc(given, func(s account.Share) bool { return s.With == "partner" })]
	w.must(w.EndShare(t.Context(), homeOwner, share.ID))
	own := w.addRule(doorRule)
	open(false)
	open(true)
	w.eventually(func() string {
		if w.runs(own.ID) != "fired" {
			return "the rule of home does not fire"
		}
		return ""
	})
	if _, n := w.did(member); n != 1 {
		t.Errorf("a rule fires without the share: %d times", n)
	}
}

// TestSharedNames: a name is that of one's own device first.
func TestSharedNames(t *testing.T) {
	w := newWorld(t)
	world := ruleWorld{w.Cloud}
	if got := world.Named("partner", "lamp"); !slices.Equal(got, []string{lamp}) {
		t.Errorf("of what is shared: %q", got)
	}
	const own = "a1b2c3d4-0000-4000-8000-000000000009"
	_, err := w.directory.Publish(t.Context(), w.join("partner", own).Device, "lamp", "", 0, nil)
	w.must(err)
	if got := world.Named("partner", "lamp"); !slices.Equal(got, []string{own}) {
		t.Errorf("of one's own: %q", got)
	}
	for name, want := range map[string]int{"home": 1, "guest": 1, "barn": 0} {
		if got := world.Named(name, "lamp"); len(got) != want {
			t.Errorf("of %s: %q", name, got)
		}
		if got := world.Named(name, lamp); len(got) != want {
			t.Errorf("of %s, by id: %q", name, got)
		}
	}
}
