package main

import (
	"encoding/json"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/farreach/farreach/lan"
	"github.com/farreach/farreach/xcproxy"
)

// A file that makes no sense says in which line.
func TestPolicyFiles(t *testing.T) {
	for text, want := range map[string]string{
		"[]": "",
		`[{"di": "0685b960-736f-46f7-bec0-9e6cbd61adc1", "rt": "oic.d.light", "href": "/a", "readonly": true}]`: "",
		"":                               "p.json:1: EOF",
		"[\n{\"rt\": \"oic.d.light\"\n":  "p.json:3: unexpected EOF",
		"[\n{\"rt\": oic.d.light}\n]":    "p.json:2: invalid character",
		"[\n{},\n{\"type\": \"x\"}\n]":   `p.json:3: json: unknown field "type"`,
		"[\n{\"readonly\":\n\"yes\"}\n]": "p.json:3: json: cannot unmarshal string",
		"{\"rt\": \"x\"}":                "p.json:1: json: cannot unmarshal object",
		"[]\n[]":                         "p.json:1: more than one document",
		"[\nnull]":                       "p.json: rule 1 is null",
	} {
		_, err := parsePolicy("p.json", []byte(text))
		if got := ""; err != nil {
			if got = err.Error(); want == "" || !strings.HasPrefix(got, want) {
				t.Errorf("%q: %s, want %q", text, got, want)
			}
		} else if want != "" {
			t.Errorf("%q is taken, want %q", text, want)
		}
	}
}

// Whatever is in a file of the proxy: it is taken and means the same once more, or
// refused with a line that the file has; and nothing is shown that no rule in it
// allows.
func FuzzProxyFiles(f *testing.F) {
	for _, text := range []string{"[]", "[null]", "[{}]", "[\n{\"rt\":\"x\",\"readonly\":true}]", "[{\"rt\":1}]", "[{\"x\":1}]", "[] []", "[",
		`[{"address":"coaps://[fe80::1]","di":"0685b960-736f-46f7-bec0-9e6cbd61adc1","links":[{"href":"/a","rt":["x"],"p":{"bm":3}}]}]`} {
		f.Add([]byte(text))
	}
	line := regexp.MustCompile(`^f:([0-9]+): `)
	f.Fuzz(func(t *testing.T, b []byte) {
		policy, err := parsePolicy("f", b)
		var described []lan.Described
		for _, err := range []error{err, parseJSON("f", b, &described)} {
			if err == nil || strings.HasPrefix(err.Error(), "f: rule ") {
				continue
			}
			m := line.FindStringSubmatch(err.Error())
			if m == nil {
				t.Fatalf("%q: %v", b, err)
			}
			if n, _ := strconv.Atoi(m[1]); n < 1 || n > 1+strings.Count(string(b), "\n") {
				t.Fatalf("%q: %v", b, err)
			}
		}
		if err != nil {
			return
		}
		text, err := json.Marshal(policy)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parsePolicy("f", text); err != nil || !reflect.DeepEqual(again, policy) {
			t.Fatalf("%q came back as %s: %v", b, text, err)
		}
		if len(policy) > strings.Count(string(b), "{") {
			t.Fatalf("%q has %d rules", b, len(policy))
		}
		_, _ = xcproxy.New(xcproxy.Config{Policy: policy}) // refused, perhaps
	})
}
