package coap_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/vector"
)

// strs is the values of the options with number n, each in quotes.
func strs(os coap.Options, n coap.Number) string {
	var all []string
	for _, o := range os {
		if o.Number == n {
			all = append(all, fmt.Sprintf("%q", o.Value))
		}
	}
	return strings.Join(all, " ")
}

// Paths become options and come back (RFC 7252, sections 6.4 and 6.5).
func TestPath(t *testing.T) {
	for _, c := range []struct{ path, options, back string }{
		{"", ``, "/"},
		{"/", ``, "/"},
		{"/oic/res", `"oic" "res"`, "/oic/res"},
		{"oic/res", `"oic" "res"`, "/oic/res"},
		{"/a/", `"a" ""`, "/a/"},
		{"/a//b", `"a" "" "b"`, "/a//b"},
		{"//", `"" ""`, "//"},
		{"//a", `"" "a"`, "//a"},
		{"/a%2Fb/%3f", `"a/b" "?"`, "/a%2Fb/%3F"},
		{"/%61", `"a"`, "/a"},
		{"/k%C3%BCche", `"küche"`, "/k%C3%BCche"},
		{"/küche", `"küche"`, "/k%C3%BCche"},
		{"/100%", `"100%"`, "/100%25"},
		{"/%zz%", `"%zz%"`, "/%25zz%25"},
		{"/%2", `"%2"`, "/%252"},
		{"/a b#", `"a b#"`, "/a%20b%23"},
		{"/-._~!$&'()*+,;=:@", `"-._~!$&'()*+,;=:@"`, "/-._~!$&'()*+,;=:@"},
	} {
		var m coap.Message
		m.SetPath(c.path)
		if got := strs(m.Options, coap.URIPath); got != c.options {
			t.Errorf("SetPath(%q) = %s, want %s", c.path, got, c.options)
		}
		if got := m.Options.Path(); got != c.back {
			t.Errorf("%q came back as %q, want %q", c.path, got, c.back)
		}
	}
}

// A query comes as one option for each pair, or as one for all (rule 19 of the
// cloud interface: "&" and ";" part pairs wherever they stand).
func TestQuery(t *testing.T) {
	for _, c := range []struct{ query, options, back string }{
		{"", ``, ""},
		{"if=oic.if.ll", `"if=oic.if.ll"`, "if=oic.if.ll"},
		{"di=x&ins=1&ins=2", `"di=x" "ins=1" "ins=2"`, "di=x&ins=1&ins=2"},
		{"&&a&&b&", `"a" "b"`, "a&b"},
		{"a=1;b=2", `"a=1;b=2"`, "a=1;b=2"},
		{"n=my%20lamp&p=50%", `"n=my lamp" "p=50%"`, "n=my%20lamp&p=50%25"},
		{"x=/a?b", `"x=/a?b"`, "x=/a?b"},
		{"x=%26", `"x=&"`, "x=&"},
	} {
		var m coap.Message
		m.SetQuery(c.query)
		if got := strs(m.Options, coap.URIQuery); got != c.options {
			t.Errorf("SetQuery(%q) = %s, want %s", c.query, got, c.options)
		}
		if got := m.Options.Query(); got != c.back {
			t.Errorf("%q came back as %q, want %q", c.query, got, c.back)
		}
	}
	together := coap.Options{{Number: coap.URIQuery}, {Number: coap.URIQuery, Value: []byte("di=x&ins=1")}, {Number: coap.URIQuery, Value: []byte("ins=2")}}
	if got := together.Query(); got != "di=x&ins=1&ins=2" {
		t.Errorf("Query = %q", got)
	}
}

func TestPathOfVectors(t *testing.T) {
	for name, want := range map[string]string{
		"O1":             "/oic/sec/account?",
		"O13":            "/oic/res?if=oic.if.ll",
		"O11":            "/oic/rd?di=00000000-cafe-4bad-8000-000000000001&ins=42",
		"O18":            "/api/v1/devices/00000000-cafe-4bad-8000-000000000001/light/1?",
		"S5":             "/?",
		"empty-segments": "/a//b/?",
		"delimiters":     "/a%2Fb%3F/%25?x=/?&y",
	} {
		os := fromVector(vector.Get(name).Message).Options
		if got := os.Path() + "?" + os.Query(); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		if got := string(os.AppendQuery([]byte("x&"))); got != "x&"+os.Query() {
			t.Errorf("%s: AppendQuery = %s", name, got)
		}
	}
}

func TestLocation(t *testing.T) {
	for _, c := range []struct {
		options coap.Options
		want    string
	}{
		{nil, ""},
		{coap.Options{{8, []byte("a")}, {8, []byte("1")}}, "/a/1"},
		{coap.Options{{8, []byte("a")}, {20, []byte("x=1")}, {20, []byte("y")}}, "/a?x=1&y"},
		{coap.Options{{20, []byte("x=1")}}, "/?x=1"},
	} {
		if got := c.options.Location(); got != c.want {
			t.Errorf("%v: %q, want %q", c.options, got, c.want)
		}
	}
}
