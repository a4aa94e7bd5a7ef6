package rae

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/internal/xmppservers"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmppd/xmppdtest"
)

// overEachServer runs the same test on our server, Prosody and ejabberd. login is
// how ann or bob logs in.
func overEachServer(t *testing.T, body func(t *testing.T, login func(name, resource string) xmpp.Config)) {
	t.Run("xmppd", func(t *testing.T) {
		srv := xmppdtest.Run(t, xmppdtest.Config{})
		body(t, srv.Client)
	})
	for _, kind := range xmppservers.Kinds {
		t.Run(string(kind), func(t *testing.T) {
			const password = "venus and mars"
			srv := xmppservers.Run(t, kind, xmppservers.Config{Accounts: map[string]string{"ann": password, "bob": password}})
			body(t, func(name, resource string) xmpp.Config {
				j, err := jid.New(name, srv.Domain, resource)
				if err != nil {
					t.Fatal(err)
				}
				return xmpp.Config{JID: j, Password: secret.String(password), Addr: srv.Addr, TLS: &tls.Config{RootCAs: srv.Roots}, Log: quiet}
			})
		})
	}
}

// TestEachServer: E-02, E-03, E-06 to E-09, and what goes wrong, on three
// servers.
func TestEachServer(t *testing.T) {
	overEachServer(t, func(t *testing.T, login func(name, resource string) xmpp.Config) {
		host := newLamp()
		lamp := start(t, Config{XMPP: login("ann", ""), Device: host.Remote()})
		phone := start(t, Config{XMPP: login("ann", ""), ID: phoneID})
		t.Run("crud", func(t *testing.T) { testCRUD(t, lamp, phone) })
		t.Run("strangers", func(t *testing.T) { testStranger(t, lamp, login) })
		t.Run("refused", func(t *testing.T) { testRefused(t, login) })
		t.Run("observe", func(t *testing.T) { testObserveUntilGone(t, lamp, phone) })
		t.Run("conflict", func(t *testing.T) { testConflict(t, phone, login) })
	})
}

func testCRUD(t *testing.T, lamp, phone *started) {
	lampJID := lamp.session().JID()
	lamp.await(t, func() bool { // RA-020, E-03
		d, ok := phone.dir.get(lampJID)
		return ok && d.Available && d.Name.Device() == lampID
	})
	for _, c := range []struct {
		call *Call
		want string
	}{
		{newCall(oic.Retrieve, "/a/light"), `2.05 Content {"value":false}`},
		{&Call{Request: oic.Request{Op: oic.Update, Href: "/a/light", Format: oic.OCF, Body: []byte("\xa1\x65value\xf5")}, Device: lampID}, "2.04 Changed"},
		{newCall(oic.Retrieve, "/a/light"), `2.05 Content {"value":true}`},
		{newCall(oic.Retrieve, "/OIC/sec/doxm"), "4.03 Forbidden: not by remote access, whoever asks acl"},
	} {
		if got := phone.asks(t, lamp, c.call); got != c.want {
			t.Errorf("%v %s: %s, want %s", c.call.Op, c.call.Href, got, c.want)
		}
	}
}

// testStranger: a stranger's stanzas reach the lamp on some servers (RA-069), and
// the answers are those of an entity that knows nothing of Remote Access.
func testStranger(t *testing.T, lamp *started, login func(name, resource string) xmpp.Config) {
	dull, err := xmpp.Dial(t.Context(), login("ann", "dull"))
	if err != nil {
		t.Fatal(err)
	}
	defer dull.Close()
	bob, err := xmpp.Dial(t.Context(), login("bob", "OIC/1.0/Client/"+phoneID))
	if err != nil {
		t.Fatal(err)
	}
	defer bob.Close()
	if lamp, other := asked(t, bob, lamp.session().JID()), asked(t, bob, dull.JID()); lamp != other || strings.Count(lamp, "service-unavailable") != 18 {
		t.Errorf("a stranger hears\n%s\nfrom the lamp, and from others\n%s", lamp, other)
	}
}

// testRefused: RA-031: wrong password and wrong certificate are told within 10 s.
func testRefused(t *testing.T, login func(name, resource string) xmpp.Config) {
	cfg := login("ann", "")
	cfg.Password, cfg.Keys = "another", nil
	begun := time.Now()
	e := begin(t, Config{XMPP: cfg, ID: phoneID})
	e.await(t, func() bool { return e.State().Status == Error })
	if st := e.State(); st.Reason != "auth-failed: not-authorized" || time.Since(begun) > 10*time.Second+20*time.Second { // a busy machine
		t.Errorf("wrong password: %v after %v", st, time.Since(begun))
	}
	e.stop()
	cfg = login("ann", "")
	cfg.TLS = &tls.Config{RootCAs: x509.NewCertPool()}
	e = begin(t, Config{XMPP: cfg, ID: phoneID})
	e.await(t, func() bool { return e.State().Status == Error })
	if st := e.State(); st.Reason != "tls-failed: the certificate is from somebody unknown" {
		t.Errorf("wrong certificate: %v", st)
	}
	e.stop()
}

// testObserveUntilGone: E-08, E-09: notifications, and the end of an observation
// whose device goes.
func testObserveUntilGone(t *testing.T, lamp, phone *started) {
	heard := make(chan string, 8)
	over := make(chan error, 1)
	go func() {
		over <- phone.x.observe(t.Context(), phone.session(), lamp.session().JID(), newCall(oic.Retrieve, "/a/light"), nil, func(a *Answer) { heard <- textOf(a) })
	}()
	if got := <-heard; got != `2.05 Content {"value":true} observed at /a/light` {
		t.Error(got)
	}
	if got := phone.asks(t, lamp, &Call{Request: oic.Request{Op: oic.Update, Href: "/a/light", Format: oic.OCF, Body: []byte("\xa1\x65value\xf4")}}); got != "2.04 Changed" {
		t.Error(got)
	}
	if got := <-heard; got != `2.05 Content {"value":false} observed at /a/light` {
		t.Error(got)
	}
	lampJID := lamp.session().JID()
	lamp.stop()
	if err := <-over; !errors.Is(err, errLost) {
		t.Errorf("observe = %v", err)
	}
	lamp.await(t, func() bool { d, _ := phone.dir.get(lampJID); return !d.Available })
	if _, err := phone.x.ask(t.Context(), phone.session(), lampJID, newCall(oic.Retrieve, "/a/light")); !errors.Is(err, oic.ErrNotSent) {
		t.Errorf("asking who has gone: %v", err)
	} else if refusal, ok := errors.AsType[*stanza.Error](err); !ok || refusal.Condition != stanza.ServiceUnavailable {
		t.Errorf("asking who has gone: %v", err)
	}
}

// testConflict: A-09: the newcomer gets the name, the other says why it is away.
func testConflict(t *testing.T, phone *started, login func(name, resource string) xmpp.Config) {
	clone := start(t, Config{XMPP: login("ann", ""), ID: phoneID})
	phone.await(t, func() bool { return strings.HasPrefix(phone.State().Reason, "conflict: ") })
	if st := clone.State(); st.Status != Connected {
		t.Errorf("the newcomer is %v", st)
	}
	clone.stop()
	phone.stop()
}
