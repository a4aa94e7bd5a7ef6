package coap_test

import (
	"strings"
	"testing"

	"github.com/farreach/farreach/coap"
)

// Every scheme with its default port (CI-009).
func TestParseURI(t *testing.T) {
	for _, c := range []struct {
		uri  string
		want coap.URI
		addr string
		text string // "": as uri
	}{
		{"coap://h/", coap.URI{coap.UDP, false, "h", 5683, "/", ""}, "h:5683", ""},
		{"coaps://h/", coap.URI{coap.UDP, true, "h", 5684, "/", ""}, "h:5684", ""},
		{"coap+tcp://h/", coap.URI{coap.TCP, false, "h", 5683, "/", ""}, "h:5683", ""},
		{"coaps+tcp://h/", coap.URI{coap.TCP, true, "h", 5684, "/", ""}, "h:5684", ""},
		{"coap+ws://h/", coap.URI{coap.WebSocket, false, "h", 80, "/", ""}, "h:80", ""},
		{"coaps+ws://h/", coap.URI{coap.WebSocket, true, "h", 443, "/", ""}, "h:443", ""},

		{"coap+tcp://192.0.2.7:5683/a/light?if=oic.if.rw&x", coap.URI{coap.TCP, false, "192.0.2.7", 5683, "/a/light", "if=oic.if.rw&x"},
			"192.0.2.7:5683", "coap+tcp://192.0.2.7/a/light?if=oic.if.rw&x"},
		{"coap+tcp://h:1/a", coap.URI{coap.TCP, false, "h", 1, "/a", ""}, "h:1", ""},
		{"coap+tcp://h:65535", coap.URI{coap.TCP, false, "h", 65535, "/", ""}, "h:65535", "coap+tcp://h:65535/"},
		{"coaps+tcp://h:5683/", coap.URI{coap.TCP, true, "h", 5683, "/", ""}, "h:5683", ""},
		{"coap+tcp://h:", coap.URI{coap.TCP, false, "h", 5683, "/", ""}, "h:5683", "coap+tcp://h/"},
		{"coap+tcp://h:00080/", coap.URI{coap.TCP, false, "h", 80, "/", ""}, "h:80", "coap+tcp://h:80/"},
		{"CoAPs+TCP://Cloud.Example.ORG/A", coap.URI{coap.TCP, true, "cloud.example.org", 5684, "/A", ""},
			"cloud.example.org:5684", "coaps+tcp://cloud.example.org/A"},
		{"coap+tcp://h?x=/?", coap.URI{coap.TCP, false, "h", 5683, "/", "x=/?"}, "h:5683", "coap+tcp://h/?x=/?"},
		{"coap+tcp://h/?", coap.URI{coap.TCP, false, "h", 5683, "/", ""}, "h:5683", "coap+tcp://h/"},
		{"coap+tcp://h//a//b/", coap.URI{coap.TCP, false, "h", 5683, "//a//b/", ""}, "h:5683", ""},
		{"coap+tcp://h/a%2Fb%20c?n=%C3%BC", coap.URI{coap.TCP, false, "h", 5683, "/a%2Fb%20c", "n=%C3%BC"}, "h:5683", ""},
		{"coap+tcp://my_host-1.local./", coap.URI{coap.TCP, false, "my_host-1.local.", 5683, "/", ""}, "my_host-1.local.:5683", ""},

		{"coap://[2001:DB8::1]/a", coap.URI{coap.UDP, false, "2001:db8::1", 5683, "/a", ""}, "[2001:db8::1]:5683", "coap://[2001:db8::1]/a"},
		{"coap+tcp://[::1]:6000/", coap.URI{coap.TCP, false, "::1", 6000, "/", ""}, "[::1]:6000", ""},
		{"coap+tcp://[::1]:", coap.URI{coap.TCP, false, "::1", 5683, "/", ""}, "[::1]:5683", "coap+tcp://[::1]/"},
		{"coap://[fe80::1%25Eth0]:1234/", coap.URI{coap.UDP, false, "fe80::1%Eth0", 1234, "/", ""}, "[fe80::1%Eth0]:1234", ""},
		{"coap://[fe80::1%eth0]/", coap.URI{coap.UDP, false, "fe80::1%eth0", 5683, "/", ""}, "[fe80::1%eth0]:5683", "coap://[fe80::1%25eth0]/"},
	} {
		u, err := coap.ParseURI(c.uri)
		if err != nil || u != c.want {
			t.Errorf("ParseURI(%q) = %+v, %v", c.uri, u, err)
			continue
		}
		if c.text == "" {
			c.text = c.uri
		}
		if u.Addr() != c.addr || u.String() != c.text {
			t.Errorf("%q: %s %s, want %s %s", c.uri, u.Addr(), u.String(), c.addr, c.text)
		}
	}
}

// TestBad41: hosts and paths that are too long or lead astray.
func TestBad41ParseURI(t *testing.T) {
	for _, c := range []struct{ uri, want string }{
		{"", "scheme"},
		{"h/a", "scheme"},
		{"coap+tcp:h/a", "scheme"},
		{"coap:/h/a", "scheme"},
		{"http://h/", `scheme "http"`},
		{"coap+udp://h/", `scheme "coap+udp"`},
		{" coap://h/", `scheme " coap"`},
		{strings.Repeat("x", 99999) + "://h/", `xxx" is none`},

		{"coap+tcp://", "without a host"},
		{"coap+tcp:///a", "without a host"},
		{"coap+tcp://:5683/a", "without a host"},
		{"coap+tcp://" + strings.Repeat("h", 256) + "/", "host of 256 bytes"},
		{"coap+tcp://h%6f/", `"%"`},
		{"coap+tcp://küche/", "not allowed"},
		{"coap+tcp://a b/", `" "`},
		{"coap+tcp://a\\b/", `not allowed`},
		{"coap+tcp://::1/", "without a host"},
		{"coap+tcp://2001:db8::1/", `port "db8::1"`},
		{"coap+tcp://[::1/", `"["`},
		{"coap+tcp://[::1]a/", `"a"`},
		{"coap+tcp://[::1]5683/", `"5683"`},
		{"coap+tcp://[192.0.2.1]/", "not an IPv6 address"},
		{"coap+tcp://[]/", "not an IPv6 address"},
		{"coap+tcp://[v1.x]/", "not an IPv6 address"},
		{"coap+tcp://[fe80::1%]/", "zone"},
		{"coap+tcp://[fe80::1%25]/", "zone"},
		{"coap+tcp://[fe80::1%25a/b]/", `"["`},
		{"coap+tcp://[fe80::1%25a b]/", "zone"},

		{"coap+tcp://h:0/", `port "0"`},
		{"coap+tcp://h:65536/", `port "65536"`},
		{"coap+tcp://h:+80/", `port "+80"`},
		{"coap+tcp://h:-1/", `port "-1"`},
		{"coap+tcp://h:0x50/", `port "0x50"`},
		{"coap+tcp://h:99999999999999999999/", `port "99999999999999999999"`},
		{"coap+tcp://h:80:80/", `port "80:80"`},

		{"coap+tcp://h/a#b", "fragment"},
		{"coap+tcp://h#b", "fragment"},
		{"coap+tcp://h/?a#", "fragment"},
		{"coap+tcp://h/a b", "%20"},
		{"coap+tcp://h/a\\b", "%5C"},
		{"coap+tcp://h/ü", "%C3"},
		{"coap+tcp://h/\x00", "%00"},
		{"coap+tcp://h/?\x7f", "%7F"},
		{"coap+tcp://h/%", "percent-encoding"},
		{"coap+tcp://h/%2", "percent-encoding"},
		{"coap+tcp://h/?%zz", "percent-encoding"},
		{"coap+tcp://h/%00", "NUL"},
		{"coap+tcp://h/?a%00", "NUL"},
		{"coap+tcp://h/./a", "segment ."},
		{"coap+tcp://h/a/..", "segment .."},
		{"coap+tcp://h/%2e%2E/a", "segment .."},
		{"coap+tcp://h/" + strings.Repeat("/", 32), "more than 32"},
		{"coap+tcp://h/?" + strings.Repeat("a&", 33), "more than 32"},
		{"coap+tcp://h/" + strings.Repeat("a", 256), "256 bytes, at most 255"},
		{"coap+tcp://h/?" + strings.Repeat("%61", 256), "256 bytes, at most 255"},
		{"coap+tcp://h/" + strings.Repeat(strings.Repeat("a", 255)+"/", 9), "more than 2048"},
	} {
		u, err := coap.ParseURI(c.uri)
		if err == nil || !strings.Contains(err.Error(), c.want) || u != (coap.URI{}) {
			t.Errorf("ParseURI(%.80q) = %v, %v; want %s", c.uri, u, err, c.want)
		}
		if err != nil && len(err.Error()) > 150 {
			t.Errorf("ParseURI(%.80q): an error of %d bytes", c.uri, len(err.Error()))
		}
	}
}

// A password, though it has no business there, is not repeated.
func TestParseURIKeepsSecrets(t *testing.T) {
	for _, uri := range []string{"coap+tcp://me:hunter2@h/", "coap+tcp://me:hunter2@h:x/#", "coap+tcp://h/?token=hunter2#x"} {
		if _, err := coap.ParseURI(uri); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("ParseURI = %v", err)
		}
	}
}
