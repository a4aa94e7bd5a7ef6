package rule

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestCompile: what is refused says where and why.
func TestCompile(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"event.open", ""},
		{"has(event.temperature) && event.temperature > 21", ""},
		{"event.name.matches('^a+$') || event.list.exists(x, x > 3)", ""},
		{"now.getHours('Europe/Berlin') >= 22 && device.type == 'oic.d.light'", ""},
		{"", "is empty"},
		{"  \n", "is empty"},
		{strings.Repeat("x", maxCondition+1), "longer than 4096 bytes"},
		{"1 + 2", "gives int, and must be true or false"},
		{"event.open &&\n  foo", "2:3: undeclared reference to 'foo'"},
		{"event.", "1:7: no viable alternative at input '.'"},
		{"'a' + 1 == 2", "1:5: found no matching overload for '_+_' applied to '(string, int)'"},
		{strings.Repeat("(", 99) + "true" + strings.Repeat(")", 99), "expression recursion limit exceeded: 50"},
		{"event.name.matches('(a{1000}){1000}')", "1:20: invalid matches argument"},
		{"timestamp('yesterday') < now", "1:11: invalid timestamp argument"},
		{"event.list.all(x, event.list.all(y, x > y))", "may cost 441307987971, more than 1000000"},
		{"event.texts.all(x, event.text.matches(x))", "may cost 1610727427, more than 1000000"},
	} {
		_, err := Compile(c.text)
		got := ""
		if err != nil {
			e, ok := errors.AsType[*ConditionError](err)
			if !ok {
				t.Fatalf("%.40q: a %T", c.text, err)
			}
			got = e.Error()
		}
		if got != c.want {
			t.Errorf("%.40q: %s\n want %s", c.text, got, c.want)
		}
	}
}

// TestRunaway: an expression that passes and then costs too much is stopped, and
// not by the test's end.
func TestRunaway(t *testing.T) {
	list := make([]any, maxElements)
	for i := range list {
		list[i] = int64(i)
	}
	long := strings.Repeat("a", maxText)
	in := &input{event: map[string]any{"list": list, "text": long, "pattern": "(a?){300}(a*)*b"}, now: time.Now()}
	for _, text := range []string{
		"event.list.all(x, x + x + x + x + x + x >= 0)",
		"event.list.exists(x, event.text.contains(string(x)))",
		"event.list.map(x, event.text).size() < 0",
		"event.text.matches('(a?){14}(a*)*b')",
		"event.text.matches(event.pattern)",
		"event.text.matches('(a*)*b') || event.text.matches('(a*)*c') || event.text.matches('(a*)*d')",
		"event.list.filter(x, x % 2 == 0).map(x, x * 2).exists(x, x < 0)",
	} {
		c, err := Compile(text)
		if err != nil {
			continue // better still
		}
		start := time.Now()
		_, err = c.holds(in)
		took := time.Since(start) // on a quiet machine 10 ms at most
		t.Logf("%v: %s: %v", took, text, err)
		if took > 5*time.Second {
			t.Errorf("%s: %v after %v", text, err, took)
		}
	}
}

// TestHolds: what is missing, or not of the right kind, is an error and no
// false.
func TestHolds(t *testing.T) {
	in := &input{
		event: map[string]any{"open": true, "level": 3.5, "count": int64(3), "name": "x"}, href: "/a/door",
		about: Device{"d", "door", "oic.d.door"}, now: time.Unix(0, 0).UTC(),
	}
	for text, want := range map[string]string{
		"event.open": "true", "event.level > 3": "true", "event.count > 2.5": "true", "event.count == 3.0": "true", "!event.open": "false",
		"device.name == 'door' && href == '/a/door'": "true", "now.getFullYear() == 1970": "true", "event.count + 1 == 4": "true",
		"event.missing": "error", "event.name": "error", "event.name > 3": "error", "has(event.missing)": "false",
		"event.missing > 3 || event.open": "true", // as CEL has it
	} {
		c, err := Compile(text)
		if err != nil {
			t.Fatal(err)
		}
		ok, err := c.holds(in)
		got := map[bool]string{true: "true", false: "false"}[ok]
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%s is %s (%v), want %s", text, got, err, want)
		}
	}
}

// FuzzCompile: no expression brings the program down, or holds it up.
func FuzzCompile(f *testing.F) {
	for _, text := range []string{"event.open", "event.list.map(x, x + 1)", "has(event.a.b) ? 1 : 2", "event.s.matches('^(a|b)*$')", "{'a': [1, 2u, 3.0]}['a'][0]", "'\\u0000' + b'x'", "timestamp(event.t) - now"} {
		f.Add(text)
	}
	in := &input{event: map[string]any{"open": true, "list": []any{int64(1), "x"}, "s": strings.Repeat("ab", 999), "t": "1970-01-01T00:00:00Z"}, now: time.Now()}
	f.Fuzz(func(t *testing.T, text string) {
		start := time.Now()
		c, err := Compile(text)
		if err == nil {
			_, _ = c.holds(in) // an error is as good as an answer
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("%q took %v", text, took)
		}
	})
}

func BenchmarkCondition(b *testing.B) {
	in := &input{event: map[string]any{"open": true, "value": 3.5, "list": []any{int64(1), int64(2)}}, about: Device{Name: "door"}}
	for _, text := range []string{"event.open", "event.value > -12.0", "has(event.value) && event.value > 3 && device.name == 'door'", "event.list.exists(x, x > 1)"} {
		b.Run(text, func(b *testing.B) {
			c, err := Compile(text)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if ok, err := c.holds(in); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
}
