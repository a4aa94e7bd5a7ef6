package rae_test

import (
	"strings"
	"testing"

	"github.com/farreach/farreach/rae"
	"github.com/farreach/farreach/xmpp/jid"
)

const (
	di       = "0685b960-736f-46f7-bec0-9e6cbd61adc1"
	clientID = "3d2c5a10-52a7-4e0f-9c1b-6b2f0a9e7b55"
)

// RA-053 to RA-059, A-07: what is an endpoint, and which.
func TestParseName(t *testing.T) {
	for _, c := range []struct{ resource, want string }{
		{"OIC/1.0/oic.d.light/" + di, "server oic.d.light " + di},
		{"OIC/1.0/Client/" + clientID, "client " + clientID},
		{"OIC/1.0/oic.d.light/" + strings.ToUpper(di), "server oic.d.light " + di},                      // D13
		{"OIC/1.0/oic.d.light/0685B960-736f-46f7-bec0-9e6cbd61adc12", "server oic.d.light, no subject"}, // 13 digits
		{"OIC/1.0/oic.d.light/0685b960-736f-46f7-bec0-9e6cbX61adc1", "server oic.d.light, no subject"},  // X
		{"OIC/1.7/oic.d.light/" + di, "server oic.d.light " + di},                                       // same major
		{"OIC/2.0/oic.d.light/" + di, "server oic.d.light " + di + ", only listed"},                     // RA-059
		{"OIC/0.9/oic.d.light/" + di, "server oic.d.light " + di + ", only listed"},
		{"OIC/1.0/client/" + clientID, "server client " + clientID}, // Client has its case
		{"OIC/1.0/x.com.example_2.a-b/lamp in the hall", "server x.com.example_2.a-b, no subject"},
		{"oic/1.0/oic.d.light/" + di, ""},
		{"OIC/1/oic.d.light/" + di, ""},
		{"OIC/1./oic.d.light/" + di, ""},
		{"OIC/+1.0/oic.d.light/" + di, ""},
		{"OIC/1.0.0/oic.d.light/" + di, ""},
		{"OIC/99999999999.0/oic.d.light/" + di, ""},
		{"OIC/1.0//" + di, ""},
		{"OIC/1.0/oic d/" + di, ""},
		{"OIC/1.0/lämp/" + di, ""},
		{"OIC/1.0/oic.d.light/", ""},
		{"OIC/1.0/oic.d.light", ""},
		{"OIC/1.0/oic.d.light/" + di + "/", ""},
		{"OIC/1.0/oic.d.light/" + strings.Repeat("a", 1024), ""},
		{"phone", ""},
		{"", ""},
	} {
		got := ""
		if n, ok := rae.ParseName(c.resource); ok {
			got = describeName(n)
		}
		if got != c.want {
			t.Errorf("%q: %q, want %q", c.resource, got, c.want)
		}
	}
}

func describeName(n rae.Name) string {
	s := "client"
	if !n.IsClient() {
		s = "server " + n.Type
	}
	if n.Device() == "" {
		s += ", no subject"
	} else {
		s += " " + n.Device()
	}
	if !n.Speaks() {
		s += ", only listed"
	}
	return s
}

// A-08, RA-056, RA-057: what a device calls itself; A-07: only with a UUID.
func TestServerName(t *testing.T) {
	for _, c := range []struct{ rt, di, want string }{
		{"oic.wk.d oic.d.light", di, "OIC/1.0/oic.d.light/" + di},
		{"oic.d.tv oic.d.light", di, "OIC/1.0/oic.d.tv/" + di},
		{"oic.wk.d x.com.example oic.d.light", di, "OIC/1.0/oic.d.light/" + di},
		{"oic.wk.d x.com.example x.com.other", di, "OIC/1.0/x.com.example/" + di},
		{"oic.wk.d", di, "OIC/1.0/oic.wk.d/" + di},
		{"", di, "OIC/1.0/oic.wk.d/" + di},
		{"oic.wk.d oic.d.a/b Client oic.d." + strings.Repeat("a", 999), di, "OIC/1.0/oic.wk.d/" + di},
		{"oic.d.light", strings.ToUpper(di), "OIC/1.0/oic.d.light/" + di},
		{"oic.d.light", di + "2", ""},
		{"oic.d.light", "", ""},
	} {
		n, err := rae.ServerName(strings.Fields(c.rt), c.di)
		if got := n.String(); err == nil && got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%s, %s: %s, %v, want %q", c.rt, c.di, got, err, c.want)
		}
	}
}

// E-02 and E-03: both addresses, byte for byte. A-20: a client's is its own di.
func TestFullJID(t *testing.T) {
	account, err := jid.Parse("ann@home.example")
	if err != nil {
		t.Fatal(err)
	}
	light, _ := rae.ServerName([]string{"oic.wk.d", "oic.d.light"}, di)
	phone, err := rae.ClientName(clientID)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name rae.Name
		want string
	}{
		{light, "ann@home.example/OIC/1.0/oic.d.light/0685b960-736f-46f7-bec0-9e6cbd61adc1"},
		{phone, "ann@home.example/OIC/1.0/Client/3d2c5a10-52a7-4e0f-9c1b-6b2f0a9e7b55"},
	} {
		j, err := c.name.JID(account)
		if err != nil || j.String() != c.want {
			t.Errorf("%v, %v, want %s", j, err, c.want)
		}
		if n, ok := rae.ParseName(j.Resource()); !ok || n != c.name {
			t.Errorf("%v came back as %v", c.name, n)
		}
	}
}
