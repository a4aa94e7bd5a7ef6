package reach_test

import (
	"strings"
	"testing"

	"github.com/farreach/farreach/reach"
	"github.com/farreach/farreach/xmpp/jid"
)

const di = "0685b960-736f-46f7-bec0-9e6cbd61adc1"

func lampJID(t testing.TB) jid.JID {
	j, err := jid.Parse("ann@home.example/OIC/1.0/oic.d.light/" + di)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// CI-009 among others: the schemes and their default ports.
func TestParseTarget(t *testing.T) {
	for _, test := range []struct {
		in   string
		want reach.Target
	}{
		{"lamp/a/light", reach.Target{Device: "lamp", Href: "/a/light"}},
		{"lamp/a/light?if=oic.if.baseline", reach.Target{Device: "lamp", Href: "/a/light?if=oic.if.baseline"}},
		{"lamp", reach.Target{Device: "lamp", Href: "/oic/res"}},
		{"lamp/", reach.Target{Device: "lamp", Href: "/oic/res"}},
		{"lamp?rt=x.y", reach.Target{Device: "lamp", Href: "/oic/res?rt=x.y"}},
		{"Living room/a/light", reach.Target{Device: "Living room", Href: "/a/light"}},
		{"a%2Fb/c", reach.Target{Device: "a/b", Href: "/c"}},
		{"Küche/oic/d", reach.Target{Device: "Küche", Href: "/oic/d"}},
		{"0685b960/a/light", reach.Target{Device: "0685b960", Href: "/a/light"}},
		{"ocf://" + di + "/a/light", reach.Target{Device: di, Href: "/a/light"}},
		{"OIC://" + di, reach.Target{Device: di, Href: "/oic/res"}},
		{"coap+tcp://host/a/light", reach.Target{URI: "coap+tcp://host/", Href: "/a/light"}},
		{"coap+tcp://host:5683", reach.Target{URI: "coap+tcp://host/", Href: "/oic/res"}},
		{"coap+tcp://host?rt=x", reach.Target{URI: "coap+tcp://host/", Href: "/oic/res?rt=x"}},
		{"coap+tcp://host/", reach.Target{URI: "coap+tcp://host/", Href: "/"}},
		{"coap+ws://host/a/light", reach.Target{URI: "coap+ws://host/", Href: "/a/light"}},
		{"coaps+ws://host:8443", reach.Target{URI: "coaps+ws://host:8443/", Href: "/oic/res"}},
		{"coap://host/a/light", reach.Target{URI: "coap://host/", Href: "/a/light"}},
		{"coaps://[2001:db8::1]:7000", reach.Target{URI: "coaps://[2001:db8::1]:7000/", Href: "/oic/res"}},
		{"coaps+tcp://[2001:db8::1]:7000/a?b=c", reach.Target{URI: "coaps+tcp://[2001:db8::1]:7000/", Href: "/a?b=c"}},
		{"xmpp:ann@home.example/OIC%2F1.0%2Foic.d.light%2F" + di + "?oic;href=%2Fa%2Flight%3Fif%3Doic.if.baseline", reach.Target{Peer: lampJID(t), Href: "/a/light?if=oic.if.baseline"}},
		{"XMPP:Ann@Home.Example/OIC/1.0/oic.d.light/" + di, reach.Target{Peer: lampJID(t), Href: "/oic/res"}},
		{"xmpp:ann@home.example/OIC%2F1.0%2Foic.d.light%2F" + di + "?oic;x=y;href=/a/light;href=/b", reach.Target{Peer: lampJID(t), Href: "/a/light"}},
		{"xmpp:ann@home.example/OIC%2F1.0%2Foic.d.light%2F" + di + "?oic;href=ocf%3A%2F%2F" + strings.ToUpper(other) + "%2Fa%2Flight", reach.Target{Peer: lampJID(t), Device: other, Href: "/a/light"}},
		{"xmpp:ann@home.example/OIC%2F1.0%2Foic.d.light%2F" + di + "?oic;href=ocf://" + other, reach.Target{Peer: lampJID(t), Device: other, Href: "/oic/res"}},
		{"xmpp:ann@home.example/OIC%2F1.0%2Foic.d.light%2F" + di + "?oic", reach.Target{Peer: lampJID(t), Href: "/oic/res"}},
	} {
		got, err := reach.ParseTarget(test.in)
		test.want.URI = strings.TrimSuffix(test.want.URI, "/")
		got.URI = strings.TrimSuffix(got.URI, "/")
		if err != nil || got != test.want {
			t.Errorf("%s is %+v, %v; want %+v", test.in, got, err, test.want)
			continue
		}
		if again, err := reach.ParseTarget(got.String()); err != nil || again.Device != got.Device || again.Peer != got.Peer || again.Href != got.Href {
			t.Errorf("%s is written as %s, and read as %+v, %v", test.in, got, again, err)
		}
	}
}

func TestParseTargetRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"":                                       "names no device",
		"/a/light":                               "names no device",
		"ocf:///a/light":                         "names no device",
		"a%zz/b":                                 "invalid URL escape",
		"lamp/a b":                               "must be written as %20",
		"lamp/a#b":                               "fragment",
		"http://host/a":                          "http:// is not a way to a device",
		"coap://user@host/a":                     "user information",
		"xmpp://a@b/c?oic;href=%2Fa":             "account to log in with",
		"xmpp:a@b?oic;href=%2Fa":                 "no device of it",
		"xmpp:a@b/c?message":                     "not of the form",
		"xmpp:a@b/c?oic;href=a":                  "not of the form",
		"xmpp:a@b/c?oic;href=%2Fa%2F..":          "..",
		"xmpp:a@b/c?oic;href=ocf:%2F%2Flamp%2Fa": "not of the form",
		"xmpp:a@b/c?oic;href=coap:%2F%2Fhost%2Fa": "not of the form",
		"xmpp:a@b/c%zz":                    "invalid URL escape",
		"xmpp:a@b/c#d":                     "fragment",
		"xmpp:a%2Fb@c/d":                   "no account",
		"xmpp:/c":                          "domain",
		"coap+tcp:///a":                    "without a host",
		"coap+tcp://host:99999/a":          "port",
		"coap+tcp://user@host/a":           "user information",
		"lamp/../a":                        "..",
		"lamp/" + strings.Repeat("a/", 40): "more than 32",
	} {
		_, err := reach.ParseTarget(in)
		if err == nil || reach.KindOf(err) != reach.Usage || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v (kind %d), want one with %q", in, err, reach.KindOf(err), want)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"lamp/a/light", "ocf://x/a?b=c", "coap+tcp://[::1]:1/a?b", "a%2Fb?c", "coaps+tcp://h//", "ocf://0://", "oCf://0/://", "xmpp:a@b/c%2Fd?oic;href=%2Fe", "xmpp:a@b/c?oic;href=ocf://" + di + "%2Fe", "xmpp:[::1]/%41"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := reach.ParseTarget(s)
		if err != nil {
			return
		}
		kinds := 0
		for _, there := range []bool{got.Device != "", got.URI != "", !got.Peer.IsZero()} {
			if there {
				kinds++
			}
		}
		if behind := !got.Peer.IsZero() && got.Device != "" && got.URI == ""; kinds != 1 && !behind || !strings.HasPrefix(got.Href, "/") {
			t.Fatalf("%q is %+v", s, got)
		}
		again, err := reach.ParseTarget(got.String())
		if err != nil || again != got {
			t.Fatalf("%q is %+v; written as %q that is %+v, %v", s, got, got.String(), again, err)
		}
	})
}
