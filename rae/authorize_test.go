package rae

import (
	"fmt"
	"strings"
	"testing"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/roster"
)

// guard is an endpoint of ann's lamp that does not run. bob's door and his
// phone may ask, and carol's, who may not see ann's presence.
func guard(t testing.TB, allow func(Peer, *Call) error) *Endpoint {
	bob, carol := mustJID(t, "bob@home.example"), mustJID(t, "carol@home.example")
	e, err := New(Config{XMPP: xmpp.Config{JID: mustJID(t, "ann@home.example"), Log: quiet}, Device: newLamp().Remote(), Log: quiet, Allow: allow,
		Shares: []Share{{bob, []string{strings.ToUpper(doorID), phoneID}}, {carol, []string{phoneID}}}})
	if err != nil {
		t.Fatal(err)
	}
	e.name = Name{1, 0, "oic.d.light", lampID}
	e.contacts.set([]roster.Item{{JID: bob, Subscription: roster.From}, {JID: carol, Subscription: roster.To}, {JID: mustJID(t, "dave@home.example"), Subscription: roster.Both}})
	t.Cleanup(e.x.close)
	return e
}

// rights is what somebody may do.
type rights int

const (
	nothing rights = iota
	all            // but what nobody may
)

// TestMatrix: threats rules 3 to 5; D13, D19, RA-068, RA-069: who × what Allow
// says × path × operation. What is not allowed is denied.
func TestMatrix(t *testing.T) {
	const anns, bobs = "ann@home.example/", "bob@home.example/"
	who := []struct {
		from          string
		alone, always rights // with Allow nil; with one that allows everything
	}{
		{annPhone, all, all},
		{annLamp, all, all}, // a clone, or the lamp itself: it has the password
		{anns + "OIC/1.0/oic.d.door/label", all, all},
		{anns + "phone", all, all}, // any program of the account
		{"ann@home.example", nothing, nothing},
		{bobDoor, nothing, all},
		{bobs + "OIC/1.0/Client/" + phoneID, nothing, all},
		{bobs + "OIC/1.0/Client/" + strings.ToUpper(phoneID), nothing, all},
		{bobs + "OIC/1.0/Client/" + lampID, nothing, nothing}, // not shared with
		{bobs + "OIC/1.0/oic.d.door/label", nothing, nothing}, // no subject
		{bobs + "phone", nothing, nothing},
		{"bob@home.example", nothing, nothing},
		{"carol@home.example/OIC/1.0/Client/" + phoneID, nothing, nothing}, // shared, but no contact that sees us
		{"dave@home.example/OIC/1.0/Client/" + phoneID, nothing, nothing},  // a contact, but not shared with
		{"eve@home.example/OIC/1.0/Client/" + phoneID, nothing, nothing},
		{"ann@elsewhere.example/OIC/1.0/Client/" + phoneID, nothing, nothing},
		{"home.example", nothing, nothing},
	}
	paths := map[string]bool{ // whether somebody may at all
		"/a/light": true, "/a/light?if=oic.if.b": true, "/oic/d": true, "/oic/p": true, "/oic/res": true, "/oic/res?if=oic.if.b": true, "/oic/con": true,
		"/XMPPResURI": true, "/XMPPUserResURIs": true, "/oic/secret": true, "/oic/security/x": true, "/a/oic/sec/doxm": true, "/": true,
		"/oic/sec": false, "/oic/sec/doxm": false, "/oic/sec/pstat": false, "/oic/sec/cred": false, "/oic/sec/acl2?aceid=1": false, "/oic/sec/anything/else": false,
		"/oic/mnt": false, "/oic/mnt?if=oic.if.rw": false, "/oic/mnt/x": false, "/XMPPUserResURI": false, "/XMPPUserResURI?if=oic.if.s": false,
	}
	ops := []oic.Op{oic.Retrieve, oic.Update, oic.Replace, oic.Create, oic.Delete}
	refuse := func(Peer, *Call) error { return oic.Errorf(oic.Forbidden, "no") }
	rows := 0
	for name, rule := range map[string]func(Peer, *Call) error{
		"nobody": nil, "everything": func(Peer, *Call) error { return nil }, "nothing": refuse,
	} {
		e := guard(t, rule)
		for _, w := range who {
			may := w.alone
			if name == "everything" {
				may = w.always
			} else if name == "nothing" {
				may = nothing
			}
			for path, open := range paths {
				for _, op := range ops {
					rows++
					c := newCall(op, path)
					want := may == all && open
					err := e.authorize(e.contacts.peer(mustJID(t, w.from)), c)
					if status, _ := oic.StatusOf(err); (err == nil) != want || err != nil && status != oic.Forbidden {
						t.Errorf("Allow says %s: %s %v %s: %v", name, w.from, op, path, err)
					}
				}
			}
		}
	}
	if want := 3 * len(who) * len(paths) * len(ops); rows != want {
		t.Errorf("%d rows, want %d", rows, want)
	}
}

// TestGuardedSpellings: threats rule 4: there is no way to write the URL of what
// is not done from afar such that it gets through.
func TestGuardedSpellings(t *testing.T) {
	e := guard(t, func(Peer, *Call) error { return nil })
	phone := e.contacts.peer(mustJID(t, annPhone))
	for _, url := range []string{
		"/oic/sec/doxm", "/oic/sec/doxm/", "//oic/sec/doxm", "/oic//sec/doxm", "/oic/sec//doxm", "/OIC/Sec/DOXM", "/oic/SEC", "/oic/sec/",
		"/oic/%73ec/doxm", "/%6f%69%63/sec/doxm", "/oic%2fsec%2fdoxm", "/oic/sec%2Fdoxm", "/oic%5csec/doxm", `/oic\sec\doxm`, "/%2foic/sec/doxm",
		"/oic/%2573ec/doxm", "/oic/%252573ec/doxm", "/oic/%25252573ec/doxm", "/oic/%2525252573ec/doxm", "/oic/%2573ec/a%25zz", "/oic%252fsec/doxm",
		"/./oic/sec/doxm", "/a/../oic/sec/doxm", "/oic/./sec/doxm", "/oic/x/../sec/doxm", "/%2e/oic/sec/doxm", "/a/%2e%2e/oic/sec/doxm", "/a/%252e%252e/oic/sec/doxm",
		"/oic/sec;x=1/doxm", "/oic;v=2/sec/doxm", "/oic/sec%20/doxm", "/%20oic/sec/doxm", "/oic/sec%00/doxm", "/oic/%00sec/doxm", "/oic/sec%09", "/oic/sec%c2%a0/doxm", "/oic/%e2%80%8bsec/doxm",
		"/oic/%C5%BFec/doxm", "/oic/sec/doxm?if=oic.if.baseline", "/oic/sec?x", "/oic/sec/doxm#x", "/oic/sec%3Fx", "/oic/sec%23x",
		"coap://" + lampID + "/oic/sec/doxm", "coap://" + strings.ToUpper(lampID) + "/oic/sec/doxm", "coap://" + doorID + "/oic/sec/doxm",
		"coaps+tcp://[::1]:5684/oic/sec/doxm", "http://user@" + lampID + ":80/oic/sec/doxm", "ocf:///oic/sec/doxm", "oic://x/oic/sec/doxm",
		"/oic/mnt", "/oic/mnt/", "/OIC/MNT", "/oic/%6dnt", "/oic/mnt?if=oic.if.rw", "coap://" + doorID + "/oic/mnt",
		"/XMPPUserResURI", "/xmppuserresuri", "/XMPPUserResURI/", "/%58MPPUserResURI", "/XMPPUserResURI%2f", "/XMPPUserResURI;x",
		"coap://" + doorID + "/oic/res?if=oic.if.b", "coap://" + doorID + "/OIC/Res?if=oic.if.b", "coap://" + doorID + "/oic/res?rt=x&if=OIC.if.b", "coap://" + doorID + "/oic/res?rt=x;if=oic%2eif.b",
	} {
		for _, method := range []string{Get, Post, Put, Delete} {
			c, err := ParseCall(&Document{Method: method, URL: []byte(url)})
			if err == nil {
				err = e.authorize(phone, c)
			}
			if status, _ := oic.StatusOf(err); err == nil || status != oic.Forbidden && status != oic.BadRequest {
				t.Errorf("%s %s: %v (href %q)", method, url, err, hrefOf(c))
			}
		}
	}
}

func hrefOf(c *Call) string {
	if c == nil {
		return ""
	}
	return c.Href
}

// TestGuardedBatch: what is in a batch is looked at, too.
func TestGuardedBatch(t *testing.T) {
	e := guard(t, nil)
	phone := e.contacts.peer(mustJID(t, annPhone))
	for body, open := range map[string]bool{
		`[{"href":"/a/light","rep":{"value":true}}]`:                              true,
		`[{"href":"/a/light","rep":{}},{"href":"/oic/sec/doxm","rep":{}}]`:        false,
		`[{"href":"ocf://` + lampID + `/oic/%73ec/pstat","rep":{"dos":{"s":0}}}]`: false,
		`[{"href":"ocf://` + lampID + `/a/light","rep":{}}]`:                      true,
		`[{"href":"/OIC/mnt","rep":{"fr":true}}]`:                                 false,
		`[1,2]`:               false,
		`{"href":"/oic/mnt"}`: true, // a representation that happens to have an href
		`[]`:                  true,
		``:                    true,
	} {
		for _, f := range []oic.ContentFormat{oic.OCF, oic.CBOR} {
			for _, op := range []oic.Op{oic.Update, oic.Replace, oic.Create, oic.Delete} {
				c := newCall(op, "/rooms?if=oic.if.b")
				var err error
				if c.Format, c.Body, err = f, nil, nil; body != "" {
					if c.Body, err = oic.FromJSON(f, []byte(body)); err != nil {
						t.Fatal(err)
					}
				}
				if err := e.authorize(phone, c); (err == nil) != open {
					t.Errorf("%v %s: %v", op, body, err)
				}
			}
		}
	}
	indefinite := newCall(oic.Update, "/rooms?if=oic.if.b")
	indefinite.Format = oic.CBOR
	indefinite.Body = []byte("\x9f\xbf\x64href\x68/oic/mnt\xff\xff")
	if err := e.authorize(phone, indefinite); err == nil {
		t.Error("a batch of indefinite length gets through")
	}
}

// TestAllowIsAsked: it sees who asks, and its word is what the peer hears.
func TestAllowIsAsked(t *testing.T) {
	var saw []string
	e := guard(t, func(p Peer, c *Call) error {
		saw = append(saw, fmt.Sprintf("%v %s %s %v %s", p.Own, p.JID.Local(), p.Name.Device(), c.Op, c.Href))
		return oic.Errorf(oic.Unauthorized, "show me more")
	})
	for _, from := range []string{annPhone, bobDoor, "ann@home.example/tablet", "eve@home.example/x"} {
		var j jid.JID = mustJID(t, from)
		err := e.authorize(e.contacts.peer(j), newCall(oic.Delete, "/a/light"))
		if status, _ := oic.StatusOf(err); status != oic.Unauthorized && j.Local() != "eve" {
			t.Errorf("%s: %v", from, err)
		}
	}
	want := "true ann " + phoneID + " delete /a/light\nfalse bob " + doorID + " delete /a/light\ntrue ann  delete /a/light"
	if got := strings.Join(saw, "\n"); got != want {
		t.Errorf("asked for\n%s\nwant\n%s", got, want)
	}
}

// FuzzGuarded: whatever of a path is spelled otherwise, what is guarded stays so.
func FuzzGuarded(f *testing.F) {
	f.Add("/oic/sec/doxm", uint64(0))
	f.Add("/oic/mnt", uint64(0b1011))
	f.Add("/XMPPUserResURI", uint64(7))
	f.Fuzz(func(t *testing.T, path string, bits uint64) {
		if !Guarded(path) {
			return
		}
		var b strings.Builder
		for i := range len(path) {
			switch c := path[i]; {
			case bits>>(i%32)&1 == 1:
				fmt.Fprintf(&b, "%%%02x", c)
			case bits>>(i%32+32)&1 == 1 && c < 0x80:
				b.WriteString(strings.ToUpper(string(rune(c))))
			default:
				b.WriteByte(c)
			}
		}
		if spelled := b.String(); !Guarded(spelled) {
			t.Errorf("%q is guarded, %q is not", path, spelled)
		}
	})
}

// FuzzPlainPath: what is not looked at closely because there is no other way to
// write it is what a close look gives.
func FuzzPlainPath(f *testing.F) {
	for _, s := range []string{"/a/light", "/oic/sec", "/OIC/mnt/x", "/XMPPuserResURI", "/a.b/c-d_e", "/", "/a/", "//a", "/.a", "/a/..", "/a?b", "/a%20", "/a;b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if !isPlain(path) {
			return
		}
		if s, err := respelled(path); err != nil || s != path {
			t.Errorf("%q is %q, %v", path, s, err)
		}
		if Guarded(path) != guardedAnyhow(path) {
			t.Errorf("%q: guarded %v, anyhow %v", path, Guarded(path), guardedAnyhow(path))
		}
	})
}
