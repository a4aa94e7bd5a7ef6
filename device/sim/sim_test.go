package sim_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/device/sim"
	"github.com/farreach/farreach/oic"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const di = "00000000-cafe-4bad-8000-00000000000"

// event is what an observer of a device saw, and when.
type event struct {
	at   time.Duration
	body string
}

func (e event) number(t *testing.T, name string) float64 {
	t.Helper()
	var rep map[string]any
	if err := json.Unmarshal([]byte(e.body), &rep); err != nil {
		t.Fatal(err)
	}
	n, ok := rep[name].(float64)
	if !ok {
		t.Fatalf("%s has no number %s", e.body, name)
	}
	return n
}

// watch runs a device for a while, and returns what its resource told. With
// act, something is done to it at first.
func watch(t *testing.T, kind, id, href string, d time.Duration, act func(*testing.T, oic.Handler)) (events []event) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, err := sim.New(kind, device.Config{ID: di + id, Name: "thing"})
		if err != nil {
			t.Fatal(err)
		}
		if act != nil {
			act(t, s.Host())
		}
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		err = s.Host().Observe(ctx, &oic.Request{Href: href}, func(resp *oic.Response) {
			b, err := oic.ToJSON(resp.Format, resp.Body)
			if err != nil {
				t.Error(err)
			}
			events = append(events, event{time.Since(start), string(b)})
		})
		if err != context.DeadlineExceeded || <-done != err {
			t.Errorf("Observe = %v", err)
		}
	})
	return events
}

// post updates a resource with a JSON body.
func post(t *testing.T, h oic.Handler, op oic.Op, href, body string) error {
	t.Helper()
	b, err := oic.FromJSON(oic.OCF, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.Handle(t.Context(), &oic.Request{Op: op, Href: href, Format: oic.OCF, Body: b})
	return err
}

func TestDoorMovesByItself(t *testing.T) {
	events := watch(t, "door", "1", "/a/door", 5*time.Minute, nil)
	if n := len(events); n < 24 || n > 44 {
		t.Fatalf("%d events in five minutes", n)
	}
	open := false
	for i, e := range events {
		want := `{"open":false,"openState":"Closed"}`
		if open {
			want = `{"open":true,"openState":"Open"}`
		}
		if e.body != want {
			t.Fatalf("event %d is %s, want %s", i, e.body, want)
		}
		if i > 0 {
			if wait := e.at - events[i-1].at; wait < 7*time.Second || wait > 13*time.Second {
				t.Errorf("event %d came after %v", i, wait)
			}
		}
		open = !open
	}
	if again := watch(t, "door", "1", "/a/door", 5*time.Minute, nil); !slices.Equal(events, again) {
		t.Error("the same door moved differently")
	}
	if other := watch(t, "door", "2", "/a/door", 5*time.Minute, nil); slices.Equal(events, other) {
		t.Error("another door moved the same way")
	}
}

func TestThermostatKeepsWarm(t *testing.T) {
	events := watch(t, "thermostat", "1", "/a/thermostat", time.Hour, nil)
	if n := len(events); n < 60 || n > 900 {
		t.Errorf("%d events in an hour", n)
	}
	heated, cooled := false, false
	for i, e := range events {
		now := e.number(t, "temperature")
		if e.at > 5*time.Minute && (now < 20.5 || now > 21.5) {
			t.Fatalf("%v: %s", e.at, e.body)
		}
		if i > 0 {
			before := events[i-1].number(t, "temperature")
			heated, cooled = heated || now > before, cooled || now < before
		}
	}
	if !heated || !cooled {
		t.Errorf("it heated: %v, it cooled: %v", heated, cooled)
	}
}

func TestThermostatFollowsTarget(t *testing.T) {
	events := watch(t, "thermostat", "1", "/a/thermostat", 20*time.Minute, func(t *testing.T, h oic.Handler) {
		if err := post(t, h, oic.Update, "/a/thermostat", `{"target":24}`); err != nil {
			t.Fatal(err)
		}
	})
	if last := events[len(events)-1]; last.number(t, "temperature") < 23.5 {
		t.Errorf("after 20 minutes: %s", last.body)
	}
	events = watch(t, "thermostat", "1", "/a/thermostat", time.Hour, func(t *testing.T, h oic.Handler) {
		if err := post(t, h, oic.Update, "/a/thermostat", `{"mode":"off"}`); err != nil {
			t.Fatal(err)
		}
	})
	if last := events[len(events)-1]; last.number(t, "temperature") > 15 || !strings.Contains(last.body, `"mode":"off"`) {
		t.Errorf("an hour after it was switched off: %s", last.body)
	}
}

func TestMeterCounts(t *testing.T) {
	events := watch(t, "meter", "1", "/a/meter", time.Hour, nil)
	if n := len(events); n < 700 || n > 721 { // every five seconds
		t.Errorf("%d events in an hour", n)
	}
	counted := 0.0
	for i, e := range events {
		power := e.number(t, "power")
		if power < 60 || power > 3500 {
			t.Fatalf("power in %s", e.body)
		}
		if i > 0 {
			rise := e.number(t, "energy") - events[i-1].number(t, "energy")
			if rise < 0 {
				t.Fatalf("the meter ran backwards at %v", e.at)
			}
			counted += rise
		}
	}
	if counted < 60 || counted > 3500 {
		t.Errorf("%g Wh in an hour", counted)
	}
}

func TestLampStaysAsItIs(t *testing.T) {
	events := watch(t, "lamp", "1", "/a/light", time.Hour, nil)
	if len(events) != 1 || events[0].body != `{"value":false,"dimming":100}` {
		t.Errorf("a lamp that nobody touched told %v", events)
	}
}

func TestUpdate(t *testing.T) {
	for _, c := range []struct {
		kind string
		op   oic.Op
		href string
		body string
		want string // of the error; "": done
	}{
		{"oic.d.light", oic.Update, "/a/light", `{"value":true}`, ""},
		{"oic.d.light", oic.Update, "/a/light", `{"dimming":0}`, ""},
		{"oic.d.light", oic.Replace, "/a/light", `{"value":true,"dimming":5}`, ""},
		{"oic.d.light", oic.Replace, "/a/light", `{"value":true}`, "4.00 Bad Request: PUT takes both value and dimming, POST one of them"},
		{"oic.d.light", oic.Update, "/a/light", `{"dimming":101}`, "4.00 Bad Request: dimming must be 0 to 100"},
		{"oic.d.light", oic.Update, "/a/light", `{"dimming":-1}`, "4.00 Bad Request: dimming must be 0 to 100"},
		{"oic.d.light", oic.Update, "/a/light", `{"dimming":"5"}`, "4.00 Bad Request: dimming cannot be text"},
		{"oic.d.light", oic.Update, "/a/light", `{"dimming":5.5}`, "4.00 Bad Request: dimming cannot be a truth value or a fraction"},
		{"oic.d.light", oic.Update, "/a/light", `{"vlaue":true}`, "4.00 Bad Request: nothing to change: a lamp has value and dimming"},
		{"oic.d.thermostat", oic.Update, "/a/thermostat", `{"target":30.0,"mode":"heat"}`, ""},
		{"oic.d.thermostat", oic.Update, "/a/thermostat", `{"target":4}`, "4.00 Bad Request: target must be 5 to 30"},
		{"oic.d.thermostat", oic.Update, "/a/thermostat", `{"target":30.1}`, "4.00 Bad Request: target must be 5 to 30"},
		{"oic.d.thermostat", oic.Update, "/a/thermostat", `{"mode":"cool"}`, `4.00 Bad Request: mode must be "heat" or "off"`},
		{"oic.d.thermostat", oic.Update, "/a/thermostat", `{"temperature":25}`, "4.00 Bad Request: temperature is measured; set target"},
		{"oic.d.thermostat", oic.Update, "/a/thermostat", `{}`, "4.00 Bad Request: nothing to change: a thermostat has target and mode"},
		{"oic.d.thermostat", oic.Replace, "/a/thermostat", `{"target":20}`, "4.05 Method Not Allowed: /a/thermostat cannot be replaced as a whole"},
		{"oic.d.door", oic.Update, "/a/door", `{"open":true}`, "4.05 Method Not Allowed: oic.if.s does not take update"},
		{"oic.d.electricmeter", oic.Update, "/a/meter", `{"energy":0}`, "4.05 Method Not Allowed: oic.if.s does not take update"},
	} {
		s, err := sim.New(c.kind, device.Config{Name: "thing"})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := post(t, s.Host(), c.op, c.href, c.body); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%v %s %s: %q, want %q", c.op, c.href, c.body, got, c.want)
		}
	}
	// NaN, which JSON cannot say.
	s, _ := sim.New("thermostat", device.Config{})
	body := append([]byte("\xa1\x66target"), 0xf9, 0x7e, 0)
	_, err := s.Host().Handle(t.Context(), &oic.Request{Op: oic.Update, Href: "/a/thermostat", Body: body})
	if status, _ := oic.StatusOf(err); status != oic.BadRequest {
		t.Errorf("a target that is no number: %v", err)
	}
}

func TestNew(t *testing.T) {
	for _, kind := range sim.Types() {
		s, err := sim.New(kind, device.Config{Name: "n"})
		if err != nil || s.Host().Type() != kind || s.Host().Name() != "n" {
			t.Errorf("%s: %v, %v", kind, s, err)
		}
	}
	if _, err := sim.New("toaster", device.Config{}); err == nil || !strings.Contains(err.Error(), "oic.d.light, oic.d.door") {
		t.Errorf("toaster: %v", err)
	}
}
