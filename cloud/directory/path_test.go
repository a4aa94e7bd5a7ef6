package directory_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/farreach/farreach/cloud/directory"
	"github.com/farreach/farreach/oic"
)

var paths = []struct{ href, want string }{ // want "": refused
	{"/a/light", "/a/light"},
	{"/a/light?if=oic.if.baseline", "/a/light"},
	{"/a/light?x=%zz/../", "/a/light"},
	{"/", "/"},
	{"/a/", "/a/"},
	{"/k%C3%BCche", "/küche"},
	{"/a%20b", "/a b"},
	{"/oic/sec/doxm", "/oic/sec/doxm"},
	{"/%6fic/%73ec/doxm", "/oic/sec/doxm"},
	{"", ""},
	{"a/light", ""},
	{"coap://[fe80::1]/a/light", ""},
	{"//a", ""}, {"/a//b", ""}, {"//", ""},
	{"/.", ""}, {"/..", ""}, {"/a/../b", ""}, {"/a/./b", ""},
	{"/%2e%2e/b", ""}, {"/a/%2E/b", ""},
	{"/a%2Fb", ""}, {"/a%2fb", ""},
	{"/%252e", ""}, {"/%25", ""},
	{"/%zz", ""}, {"/%2", ""}, {"/%", ""},
	{`/a\b`, ""}, {"/a%5Cb", ""},
	{"/a%00", ""}, {"/a\x00", ""}, {"/a%0a", ""}, {"/a\x7f", ""},
	{"/a\xff", ""}, {"/a%ff", ""},
	{"/" + strings.Repeat("a", 2047), "/" + strings.Repeat("a", 2047)},
	{"/" + strings.Repeat("a", 2048), ""},
}

// TestBad41Paths: nothing that could mean something else to the device.
func TestBad41Paths(t *testing.T) {
	for _, p := range paths {
		got, err := directory.Path(p.href)
		if got != p.want || (p.want == "") != (err != nil) {
			t.Errorf("Path(%.60q) = %.60q, %v; want %.60q", p.href, got, err, p.want)
		}
		if status, _ := oic.StatusOf(err); err != nil && status != oic.BadRequest {
			t.Errorf("Path(%.60q): %v, want a 4.00", p.href, err)
		}
	}
}

func TestReserved(t *testing.T) {
	for _, c := range []struct {
		path  string
		types []string
		want  bool
	}{
		{"/a/light", []string{"oic.r.switch.binary"}, false},
		{"/oic/d", []string{"oic.wk.d"}, false},
		{"/oic/security", nil, false},
		{"/oic/sec", nil, true},
		{"/oic/sec/", nil, true},
		{"/oic/sec/doxm", nil, true},
		{"/OIC/Sec/cred", nil, true},
		{"/XMPPUserResURI", nil, true},
		{"/oic/con", []string{"oic.wk.con"}, false},
		{"/oic/mnt", nil, true},
		{"/CoapCloudConfResURI", nil, true},
		{"/reset", []string{"oic.wk.mnt"}, true},
		{"/cloud", []string{"oic.r.coapcloudconf"}, true},
		{"/elsewhere", []string{"x.y", "oic.r.acl2"}, true},
		{"/elsewhere", []string{"oic.ra.user"}, true},
	} {
		if got := directory.Reserved(c.path, c.types); got != c.want {
			t.Errorf("Reserved(%q, %q) = %v", c.path, c.types, got)
		}
	}
}

// FuzzPath: whatever is written, a device that decodes the path in its own way
// never sees a reserved resource where we see another.
func FuzzPath(f *testing.F) {
	for _, p := range paths {
		f.Add(p.href)
	}
	f.Fuzz(func(t *testing.T, href string) {
		path, err := directory.Path(href)
		if err != nil || directory.Reserved(path, nil) {
			return
		}
		seen := path
		for range 4 { // decoded again and again, cleaned, in any case
			next, err := url.PathUnescape(seen)
			if err != nil || next == seen {
				break
			}
			seen = next
		}
		u := (&url.URL{Path: "/"}).JoinPath(seen).Path
		for _, s := range []string{seen, u} {
			if s = strings.ToLower(s); s == "/oic/sec" || strings.HasPrefix(s, "/oic/sec/") {
				t.Fatalf("%q is let through as %q, and may be seen as %q", href, path, s)
			}
		}
	})
}
