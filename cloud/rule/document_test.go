package rule

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// TestParse: the rules in testdata are read, are written, and are read again
// as the same.
func TestParse(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		d, err := Parse(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for what, write := range map[string]func() ([]byte, error){"YAML": d.YAML, "JSON": func() ([]byte, error) { return json.Marshal(d) }} {
			text, err := write()
			if err != nil {
				t.Fatal(err)
			}
			again, err := Parse(text)
			if err != nil || !reflect.DeepEqual(again, d) {
				t.Errorf("%s came back from %s as %+v, %v\n%s", name, what, again, err, text)
			}
		}
	}
}

// TestParseRefuses: what is wrong is told with its place in the file.
func TestParseRefuses(t *testing.T) {
	const then = "\nthen: [{message: m}]"
	for _, c := range []struct{ text, want string }{
		{"", "is empty"},
		{"# nothing", "is empty"},
		{"- 1", `1:1: is not a list of "key: value"`},
		{"name: [", "1:7: sequence end token ']' not found"},
		{"name: x\n---\nname: y", "3:5: a second document: one file has one rule"},
		{"name: x\nwen: 3", `2:1: has no member "wen", but disabled, limits, name, then, when`},
		{"name: x\nname: y", `2:1: mapping key "name" already defined at [1:1]`},
		{"name: &a x\nwhen: *a", "1:7: name: is no text"},
		{"name: x\nwhen:\n  event:\n    if: !event.v\n" + then, "4:9: when.event.if: begins with !, which YAML has for something else: put it in quotes"},
		{"name: a/b\nwhen: {every: 5m}" + then, "1:7: name: has a slash, a control character, or a space at its end"},
		{"name: x" + then, "1:1: when: needs one of event, at, every and sun"},
		{"name: x\nwhen: {every: 5m, at: 07:30}" + then, "2:1: when: needs one of event, at, every and sun"},
		{"name: x\nwhen: {every: 5}" + then, `2:15: when.every: "5" is no length of time such as 90s, 5m or 1h30m`},
		{"name: x\nwhen: {every: 10ms}" + then, "2:15: when.every: is not in whole seconds from 1s to 366d"},
		{"name: x\nwhen: {at: 25:30}" + then, `2:12: when.at.time: "25:30" is no time of day such as 07:30`},
		{"name: x\nwhen:\n  at: {time: 07:30, days: [mon, fry]}" + then, `3:21: when.at.days: "fry" is none of mon, tue, wed, thu, fri, sat and sun`},
		{"name: x\nwhen:\n  at: {time: 07:30, zone: Moon/Base}" + then, `3:27: when.at.zone: "Moon/Base" is no time zone that this machine knows, such as Europe/Berlin`},
		{"name: x\nwhen:\n  sun: {event: noon, latitude: 1, longitude: 1}" + then, `3:16: when.sun.event: "noon" is neither sunrise nor sunset`},
		{"name: x\nwhen:\n  sun: {event: sunset, latitude: 99, longitude: 1}" + then, "3:24: when.sun.latitude: is not from -90 to 90"},
		{"name: x\nwhen:\n  event:\n    if: event.open &&" + then, "4:9: when.event.if: 1:14: mismatched input '<EOF>' expecting"},
		{"name: x\nwhen:\n  event: {for: 5m}" + then, "3:16: when.event.for: needs a condition that can hold so long: if"},
		{"name: x\nwhen: {event: {href: a}}" + then, "2:22: when.event.href: is no path such as /a/light"},
		{"name: x\nwhen: {every: 5m}", "1:1: then: needs one action, and takes 16"},
		{"name: x\nwhen: {every: 5m}\nthen:\n- command: {device: d, href: /a}", "4:3: then.0.command.set: is missing: what is sent"},
		{"name: x\nwhen: {every: 5m}\nthen:\n- command: {device: d, href: /a, set: {a: 1}, keep: 2h}", "4:53: then.0.command.keep: is longer than 1h, or negative"},
		{"name: x\nwhen: {every: 5m}\nthen:\n- command: {device: d, href: /a, set: {a: .inf}}", "4:43: then.0.command.set.a: is not what a rule takes: no anchors, aliases, tags or merges"},
		{"name: x\nwhen: {every: 5m}\nthen: [{}]", "3:8: then.0: needs one of command, message and webhook"},
		{"name: x\nwhen: {every: 5m}\nthen: [{message: m, webhook: pager}]", "3:8: then.0: needs one of command, message and webhook"},
		{"name: x\nwhen: {every: 5m}\nthen: [{webhook: {name: ''}}]", "3:25: then.0.webhook.name: is no name of a webhook"},
		{"name: x\nwhen: {every: 5m}\nthen:\n- webhook: {url: https://example.org}", `4:13: then.0.webhook: has no member "url", but name`},
		{"name: x\nwhen: {every: 5m}\nthen: [{message: 'it is {{event.x}}'}]", "3:18: then.0.message.text: has an expression about an event, and there will be none"},
		{"name: x\nwhen: {event: {}}\nthen: [{message: 'it is {{event.x'}]", "3:18: then.0.message.text: has {{ without }}"},
		{"name: x\nwhen: {every: 5m}\nlimits: {per_hour: 1.5}" + then, "3:20: limits.per_hour: is no whole number"},
		{strings.Repeat("[", 100), "nested deeper than 40"},
		{strings.Repeat("x", maxDocument+1), "longer than 65536 bytes"},
	} {
		_, err := Parse([]byte(c.text))
		if err == nil {
			t.Errorf("%q is taken", c.text)
			continue
		}
		if _, ok := errors.AsType[*DocumentError](err); !ok || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%.60q: %v\n want %s", c.text, err, c.want)
		}
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]string{"90s": "1m30s", "5m": "5m", "1h30m": "1h30m", "60m": "1h", "7d": "7d", "48h": "2d", "0": "0s", "-30m": "-30m", "1.5s": "1.5s"} {
		d, err := ParseDuration(text)
		again, err2 := ParseDuration(d.String())
		if err != nil || err2 != nil || d.String() != want || again != d {
			t.Errorf("%s is %v (%v), want %s", text, d, err, want)
		}
	}
	for _, text := range []string{"", "5", "d", "1e9d", "999999999d", "1y", "5 m"} {
		if d, err := ParseDuration(text); err == nil {
			t.Errorf("%q is %v", text, d)
		}
	}
}

// FuzzParse: what is taken can be written and is taken again as the same.
func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.yaml")
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"name":"x","when":{"every":"15m"},"then":[{"command":{"device":"lamp","href":"/a","set":{"value":true}}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Parse(b)
		if err != nil {
			return
		}
		text, err := d.YAML()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(text)
		if err != nil {
			t.Fatalf("%q was written as %q, which is not taken: %v", b, text, err)
		}
		one, _ := json.Marshal(d)
		two, _ := json.Marshal(again)
		if string(one) != string(two) {
			t.Fatalf("%s came back as %s", one, two)
		}
	})
}
