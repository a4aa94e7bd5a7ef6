package rule

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/oic"
)

var start = time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC)

// stepping makes a stepper of a document without its actions.
func stepping(t testing.TB, when string) *stepper {
	t.Helper()
	if !strings.Contains(when, "then:") {
		when += "\nthen: [{message: m}]"
	}
	d, err := Parse([]byte("name: x\nwhen: " + when))
	if err != nil {
		t.Fatal(err)
	}
	p, err := compileRule(&Rule{ID: "r", Account: "home", Revision: 1, Document: *d})
	if err != nil {
		t.Fatal(err)
	}
	return newStepper(p, fresh(p, 0, start, nil))
}

// reported is an event: seconds after the start, device and resource, JSON.
func reported(seq uint64, seconds float64, resource, body string) *Event {
	device, href := splitResource(resource)
	return &Event{
		Seq: seq, Time: start.Add(time.Duration(seconds * float64(time.Second))), Account: "home",
		Device: device, Href: href, Format: oic.JSON, Body: []byte(body), about: Device{device, device, "oic.d." + device},
	}
}

// TestStep: when a rule fires. An event is SECONDS RESOURCE BODY, an instant
// SECONDS; what comes of it is written behind: KIND@SECONDS.
func TestStep(t *testing.T) {
	const open, closed = `door/a {"v":true}`, `door/a {"v":false}`
	edge := "{event: {device: door, if: event.v}}"
	for _, c := range []struct{ name, when, script, want string }{
		{"edges, not levels", edge, "1 " + open + ";2 " + open + ";3 " + closed + ";4 " + open, "fired@1 fired@4"},
		{"each resource has its own", edge, "1 " + open + `;2 door/b {"v":true};3 lamp/a {"v":true}`, "fired@1 fired@2"},
		{"another device", edge, `1 lamp/a {"v":true}`, ""},
		{"by href", "{event: {href: /b, if: event.v}}", "1 " + open + `;2 lamp/b {"v":true}`, "fired@2"},
		{"by type", "{event: {type: oic.d.lamp, if: event.v}}", "1 " + open + `;2 lamp/b {"v":true}`, "fired@2"},
		{"every event", "{event: {device: door}}", "1 " + open + ";2 " + open, "fired@1 fired@2"},
		{"what cannot be evaluated does not hold", edge, "1 " + open + `;2 door/a {"w":1};3 ` + open, "fired@1 fired@3"},
		{"for", "{event: {if: event.v, for: 5m}}", "0 " + open + ";299;300;600", "fired@300"},
		{"for, interrupted", "{event: {if: event.v, for: 5m}}", "0 " + open + ";100 " + closed + ";200 " + open + ";300;499;501", "fired@500"},
		{"for, interrupted at the last moment", "{event: {if: event.v, for: 5m}}", "0 " + open + ";299.9 " + closed + ";600", ""},
		{"for, seen by a later event", "{event: {if: event.v, for: 5m}}", "0 " + open + ";400 " + closed, "fired@300"},
		{"for, of two", "{event: {if: event.v, for: 5m}}", "0 " + open + `;10 lamp/a {"v":true};20 ` + closed + ";1000", "fired@310"},
		{"cool-down", edge + "\nlimits: {cool_down: 10s}", "1 " + open + ";2 " + closed + ";3 " + open + ";4 " + closed + ";11 " + open, "fired@1 fired@11"},
		{"n per hour", "{event: {device: door}}\nlimits: {per_hour: 2}", "0 " + open + ";1 " + open + ";2 " + open + ";3599 " + open + ";3600 " + open + ";3601 " + open + ";3602 " + open, "fired@0 fired@1 fired@3600 fired@3601"},
		{"interval", "{every: 10s}", "9;10;25;30", "fired@10 fired@20 fired@30"},
		{"missed", "{every: 1h}", "7300", "missed@3600"}, // and then 7200, which is not yet too old, is passed over
		{"time of day", "{at: {time: 08:01, zone: UTC}}", "59;60;61;86461", "fired@60 fired@86460"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := stepping(t, c.when)
			if got := play(t, s, c.script); got != c.want {
				t.Errorf("%s\n want %s", got, c.want)
			}
		})
	}
}

// play steps s over a script and tells what it fired. Half way it goes on with
// a copy of the state, as after a restart.
func play(t *testing.T, s *stepper, script string) string {
	t.Helper()
	var got []string
	fire := func(f *Firing) { got = append(got, fmt.Sprintf("%s@%v", f.Kind, f.Time.Sub(start).Seconds())) }
	lines := strings.Split(script, ";")
	for i, line := range lines {
		if i == len(lines)/2 {
			s = newStepper(s.program, kept(t, s.state))
		}
		var seconds float64
		var resource, body string
		n, _ := fmt.Sscan(line, &seconds, &resource, &body)
		if ev := reported(uint64(i+1), seconds, resource, body); n == 1 {
			s.advance(ev.Time, fire)
		} else if s.selects(ev) {
			s.event(ev, fire)
		}
	}
	return strings.Join(got, " ")
}

// kept is a state as the store gives it back.
func kept(t testing.TB, s State) (again State) {
	t.Helper()
	b, err := json.Marshal(s)
	if err == nil {
		err = json.Unmarshal(b, &again)
	}
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// TestStepTwice: what is stepped again after a crash fires under the same
// names, and ends in the same state.
func TestStepTwice(t *testing.T) {
	events := func() (list []*Event) {
		for i := range 200 {
			list = append(list, reported(uint64(i+1), float64(i)*1.7, fmt.Sprintf("door/%d", i%3), fmt.Sprintf(`{"v":%v}`, i%7 < 4)))
		}
		return list
	}
	run := func(s *stepper, from int) (ids []string) {
		for _, ev := range events()[from:] {
			s.event(ev, func(f *Firing) { ids = append(ids, f.ID) })
		}
		return ids
	}
	for _, when := range []string{"{event: {if: event.v}}", "{event: {if: event.v, for: 3s}}", "{event: {if: event.v}}\nlimits: {per_hour: 9, cool_down: 4s}"} {
		whole := stepping(t, when)
		want := run(whole, 0)
		if len(want) < 5 {
			t.Errorf("%s: %d firings", when, len(want))
		}
		first := stepping(t, when)
		var before []string
		for _, ev := range events()[:100] {
			first.event(ev, func(f *Firing) { before = append(before, f.ID) })
		}
		checkpoint := kept(t, first.state)
		run(first, 100) // and then it dies
		again := newStepper(first.program, checkpoint)
		got := append(before, run(again, 50)...) // 50 events come again
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v\n want %v", when, got, want)
		}
		if !reflect.DeepEqual(kept(t, again.state), kept(t, whole.state)) {
			t.Errorf("%s: state %+v\n want %+v", when, again.state, whole.state)
		}
	}
}

// TestFresh: what holds when a rule begins is no news.
func TestFresh(t *testing.T) {
	s := stepping(t, "{event: {if: event.v}}")
	s = newStepper(s.program, fresh(s.program, 7, start, []*Event{reported(5, 0, "door/a", `{"v":true}`), reported(6, 0, "door/b", `{"v":false}`)}))
	var got []string
	for i, ev := range []*Event{reported(7, 1, "door/b", `{"v":true}`), reported(8, 1, "door/a", `{"v":true}`), reported(9, 2, "door/b", `{"v":true}`)} {
		s.event(ev, func(f *Firing) { got = append(got, fmt.Sprint(i, f.Cause.Href)) })
	}
	if fmt.Sprint(got) != "[2/b]" {
		t.Errorf("fired for %v", got)
	}
}

// TestSleep: a rule that fires too often sleeps for a minute, and says so.
func TestSleep(t *testing.T) {
	s := stepping(t, "{event: {device: door}}")
	count := map[Kind]int{}
	for i := range 10_000 { // 100 a second
		s.event(reported(uint64(i+1), float64(i)/100, "door/a", "{}"), func(f *Firing) { count[f.Kind]++ })
	}
	// In 100 s: a burst, with what is given back meanwhile; a minute of sleep; and again.
	if count[Fired] != 2*22 || count[Asleep] != 2 || s.state.Held == 0 {
		t.Errorf("%v, %d held back", count, s.state.Held)
	}
}

// TestHops: a firing that was led to by eight others is stopped.
func TestHops(t *testing.T) {
	s := stepping(t, "{event: {device: door}}")
	var got []Kind
	for hops := range 10 {
		ev := reported(uint64(hops+1), float64(hops), "door/a", "{}")
		ev.hops = hops
		s.event(ev, func(f *Firing) { got = append(got, f.Kind) })
	}
	if want := "[fired fired fired fired fired fired fired fired stopped stopped]"; fmt.Sprint(got) != want {
		t.Errorf("%v\n want %s", got, want)
	}
}

// TestMessage: what a message says is what was reported last.
func TestMessage(t *testing.T) {
	const then = "\nthen: [{message: 'at {{event.v}} in {{device.name}}{{href}}: {{event.missing}}'}]"
	for when, want := range map[string]string{
		"{event: {if: event.v > 3}}":           "at 4 in door/a: ?",
		"{event: {if: event.v > 3, for: 10s}}": "at 5.5 in door/a: ?",
	} {
		s := stepping(t, when+then)
		got := ""
		fire := func(f *Firing) { got += f.Do[0].Message }
		s.event(reported(1, 0, "door/a", `{"v":4}`), fire)
		s.event(reported(2, 1, "door/a", `{"v":5.5}`), fire)
		s.advance(start.Add(time.Minute), fire)
		if got != want {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
	}
}

// TestManyResources: what a rule remembers is bounded.
func TestManyResources(t *testing.T) {
	s := stepping(t, "{event: {if: event.v, for: 1h}}")
	for i := range maxOn + 100 {
		s.event(reported(uint64(i+1), 0, fmt.Sprintf("d%d/a", i), `{"v":true}`), func(*Firing) { t.Error("fired") })
	}
	if len(s.state.On) != maxOn {
		t.Errorf("%d resources are remembered", len(s.state.On))
	}
}

// BenchmarkStep is what an event costs a rule that waits for it.
func BenchmarkStep(b *testing.B) {
	body, err := oic.FromJSON(oic.OCF, []byte(`{"temperature":21.5,"units":"C"}`))
	if err != nil {
		b.Fatal(err)
	}
	s := stepping(b, "{event: {device: door, if: event.temperature > 25.0}}")
	b.ReportAllocs()
	for seq := uint64(1); b.Loop(); seq++ {
		ev := Event{Seq: seq, Time: start, Device: "door", Href: "/a", Format: oic.OCF, Body: body, about: Device{"door", "door", ""}}
		if s.selects(&ev) {
			s.event(&ev, func(*Firing) { b.Fatal("fired") })
		}
	}
}
