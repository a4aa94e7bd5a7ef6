package e2e_test

import (
	"net/http"
	"os"
	"strings"
	"testing"
)

// onXMPPAlone is a device of the account home as the API tells of it.
type onXMPPAlone struct {
	ID    string `json:"di"`
	Name  string
	State string
	By    []string
	Links []struct{ Href string }
}

// TestXMPPDevice: a device that is on XMPP alone takes part in the cloud like any
// other: it is listed, read and changed over the API, has a history, and is where
// a rule begins and ends. It is the same after the server was killed, offline when
// it goes, and one that joins by itself is there once.
func TestXMPPDevice(t *testing.T) {
	t.Parallel()
	c := newChild(t)
	c.start()
	password, err := os.ReadFile(c.where().PasswordFile)
	if err != nil {
		t.Fatal(err)
	}
	g := newGadget("gadget")
	leave := onXMPP(t, g.Remote(), c.config("home", "", strings.TrimSpace(string(password))))
	ask := func(method, path string, in, out any) {
		t.Helper()
		if err := c.call(t.Context(), method, path, in, out); err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
	}
	// is waits until the API lists the device alone, in a state.
	is := func(state string) (d onXMPPAlone) {
		t.Helper()
		eventually(t, func() bool {
			var doc struct{ Devices []onXMPPAlone }
			ask(http.MethodGet, "/devices", nil, &doc)
			if len(doc.Devices) != 1 {
				return false
			}
			d = doc.Devices[0]
			return d.State == state
		})
		return d
	}
	// prints waits until a command says something.
	prints := func(want string, args ...string) {
		t.Helper()
		eventually(t, func() bool {
			out, _ := c.farreach(args...)
			return strings.Contains(string(out), want)
		})
	}

	d := is("reachable")
	if d.ID != g.ID() || d.Name != "gadget" || len(d.By) != 1 || d.By[0] != "xmpp" {
		t.Errorf("the API tells of %+v", d)
	}
	for _, l := range d.Links {
		if strings.HasPrefix(l.Href, "/oic/sec") || l.Href == "/oic/mnt" || l.Href == "/XMPPUserResURI" {
			t.Errorf("it has %s", l.Href)
		}
	}
	prints(`"by":["cloud","xmpp"]`, "devices", "--json")
	resource := "/devices/" + d.ID + "/resources"
	ask(http.MethodPost, resource+"/a/light", map[string]bool{"value": true}, nil)
	prints("\tgadget\t/a/light\t{\"value\":true}", "events", "--device", "gadget", "--href", "/a/light")
	prints(`post /a/light {"value":true}, done`, "why", "gadget/a/light")
	if err := c.call(t.Context(), http.MethodGet, resource+"/oic/sec/doxm", nil, nil); err == nil || !strings.Contains(err.Error(), "status 403") {
		t.Errorf("/oic/sec/doxm: %v", err)
	}

	ask(http.MethodPost, "/rules", map[string]any{
		"name": "never-on", "when": map[string]any{"event": map[string]any{"device": "gadget", "href": "/a/light", "if": "event.value"}},
		"then": []any{map[string]any{"command": map[string]any{"device": "gadget", "href": "/a/light", "set": map[string]any{"value": false}}}},
	}, nil)
	ask(http.MethodPost, resource+"/a/light", map[string]bool{"value": false}, nil)
	eventually(t, func() bool { // from when on the rule follows, nobody tells
		ask(http.MethodPost, resource+"/a/light", map[string]bool{"value": true}, nil)
		out, _ := c.farreach("rule", "runs", "never-on")
		return strings.Contains(string(out), `set gadget/a/light {"value":false} done`)
	})
	prints(`{"value":false}`, "get", "gadget/a/light")

	c.kill()
	c.start()
	if again := is("reachable"); again.ID != d.ID {
		t.Errorf("after a restart: %+v", again)
	}
	leave()
	is("offline")
	onXMPP(t, g.Remote(), c.config("home", "", strings.TrimSpace(string(password))))
	is("reachable")
	leaveCloud := inCloud(t, g, c)
	eventually(t, func() bool { return len(is("reachable").By) == 0 })
	leaveCloud()
	is("offline") // to the cloud, though it is on XMPP: it has joined by itself
}
