package rule

import (
	"errors"
	"strings"
	"testing"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/interpreter"
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

// runaways pass and then want to cost too much.
var runaways = []string{
	"event.list.all(x, x + x + x + x + x + x >= 0)",
	"event.list.exists(x, event.text.contains(string(x)))",
	"event.list.map(x, event.text).size() < 0",
	"event.text.matches('(a?){14}(a*)*b')",
	"event.text.matches(event.pattern)",
	"event.text.matches('(a*)*b') || event.text.matches('(a*)*c') || event.text.matches('(a*)*d')",
	"event.list.filter(x, x % 2 == 0).map(x, x * 2).exists(x, x < 0)",
}

// hostile is the representation for them: as large as it may be.
func hostile() *input {
	list := make([]any, maxElements)
	for i := range list {
		list[i] = int64(i)
	}
	return &input{event: map[string]any{"list": list, "text": strings.Repeat("a", maxText), "pattern": "(a?){300}(a*)*b"}, now: time.Now()}
}

// TestRunaway: what one evaluation takes is bounded, in units of cost: one that
// is not watched takes what was estimated at most, and one that is watched is
// stopped. What a unit is in time, BenchmarkRunaway tells.
func TestRunaway(t *testing.T) {
	in, stopped := hostile(), 0
	for _, text := range runaways {
		c, err := Compile(text)
		if err != nil {
			continue // better still
		}
		if cost := spent(t, c, in); cost > maxCost {
			t.Errorf("%s takes %d, more than %d", text, cost, maxCost)
		} else if _, _, err := c.program.Eval(in); c.watched && errors.As(err, new(interpreter.EvalCancelledError)) {
			stopped++
		}
	}
	if stopped == 0 {
		t.Error("nothing was stopped")
	}
}

// spent is what an evaluation of c took until it ended, or was stopped.
func spent(t testing.TB, c *Condition, in *input) uint64 {
	t.Helper()
	env, err := environment()
	if err != nil {
		t.Fatal(err)
	}
	ast, issues := env.Compile(c.Text)
	if issues.Err() != nil {
		t.Fatal(issues.Err())
	}
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize), cel.CostTracking(sizes{})}
	if c.watched {
		options = append(options, cel.CostLimit(maxCost))
	}
	program, err := env.Program(ast, options...)
	if err != nil {
		t.Fatal(err)
	}
	_, details, err := program.Eval(in)
	if errors.As(err, new(interpreter.EvalCancelledError)) {
		return maxCost
	}
	return *details.ActualCost()
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

// FuzzCompile: no expression brings the program down, or costs more than is
// allowed.
func FuzzCompile(f *testing.F) {
	for _, text := range []string{"event.open", "event.list.map(x, x + 1)", "has(event.a.b) ? 1 : 2", "event.s.matches('^(a|b)*$')", "{'a': [1, 2u, 3.0]}['a'][0]", "'\\u0000' + b'x'", "timestamp(event.t) - now"} {
		f.Add(text)
	}
	in := &input{event: map[string]any{"open": true, "list": []any{int64(1), "x"}, "s": strings.Repeat("ab", 999), "t": "1970-01-01T00:00:00Z"}, now: time.Now()}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Compile(text)
		if err != nil {
			return
		}
		_, _ = c.holds(in) // an error is as good as an answer
		if cost := spent(t, c, in); cost > maxCost {
			t.Errorf("%q takes %d", text, cost)
		}
	})
}

// BenchmarkRunaway is how long it takes until the worst are done or stopped: 10 ms
// at most.
func BenchmarkRunaway(b *testing.B) {
	in := hostile()
	for _, text := range runaways {
		c, err := Compile(text)
		if err != nil {
			continue
		}
		b.Run(text, func(b *testing.B) {
			for b.Loop() {
				_, _ = c.holds(in)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/1e3, "ms/op")
		})
	}
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
