package payload

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		args string // parted by spaces
		want string
	}{
		{"", ""},
		{"value=true", `{"value":true}`},
		{"value=true dimming=40", `{"value":true,"dimming":40}`},
		{"b=1 a=2", `{"b":1,"a":2}`},
		{"target=21.5", `{"target":21.5}`},
		{"n=-3", `{"n":-3}`},
		{"name=kitchen", `{"name":"kitchen"}`},
		{`name="kitchen"`, `{"name":"kitchen"}`},
		{`code="40"`, `{"code":"40"}`},
		{"code=040", `{"code":"040"}`},
		{"x=", `{"x":""}`},
		{"x=null", `{"x":null}`},
		{"x=a=b", `{"x":"a=b"}`},
		{"rgb=[1,2,3]", `{"rgb":[1,2,3]}`},
		{"a.b=1 a.c=2 d=3", `{"a":{"b":1,"c":2},"d":3}`},
		{`{"value":true}`, `{"value":true}`},
		{"[]", "[]"},
		{"true", "true"},
		{"40", "40"},
		{`"x=1"`, `"x=1"`},
		{"-", `{"from":"stdin"}`},
	} {
		got, raw, err := Parse(strings.Fields(tt.args), strings.NewReader(`{"from":"stdin"}`))
		if err != nil || raw || string(got) != tt.want {
			t.Errorf("%s: %s, raw %v, %v; want %s", tt.args, got, raw, err, tt.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"value", "neither key=value nor JSON"},
		{"=true", "neither key=value nor JSON"},
		{"a=1 b", `"b" is neither`},
		{"a=1 a=2", "a is set twice"},
		{"a=1 a.b=2", "a is set twice"},
		{"a.b=1 a=2", "a is set twice"},
		{"a..b=1", "empty name"},
		{`{"value":tru}`, "the body is not JSON"},
		{"[1,", "the body is not JSON"},
		{"-", "standard input is not JSON"},
		{"@missing.json", "no such file"},
	} {
		_, _, err := Parse(strings.Fields(tt.args), strings.NewReader("off"))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: err = %v, want one with %q", tt.args, err, tt.want)
		}
	}
}

func TestParseFile(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"on.json": `{"value":true}`, "on.cbor": "\xa1\x65value\xf5"} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, raw, err := Parse([]string{"@" + file}, nil)
		if err != nil || string(got) != content || raw != strings.HasSuffix(name, ".cbor") {
			t.Errorf("%s: %q, raw %v, %v", name, got, raw, err)
		}
	}
}

func TestParseBounds(t *testing.T) {
	if _, _, err := Parse([]string{"-"}, strings.NewReader(strings.Repeat(" ", Max)+"1")); err == nil {
		t.Error("an endless input was taken")
	}
}

func FuzzPairs(f *testing.F) {
	f.Add("value=true", "dimming=40")
	f.Add("a.b=1", `a.c="x"`)
	f.Add("a=[1, 2]", "b=\xff")
	f.Fuzz(func(t *testing.T, a, b string) {
		got, err := Pairs([]string{a, b})
		if err == nil && !json.Valid(got) {
			t.Fatalf("%q %q made %s", a, b, got)
		}
	})
}
