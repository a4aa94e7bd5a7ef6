package checkup

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/internal/xmppservers"
	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
)

// client is how to log in at a server as ann.
func client(t *testing.T, s *xmppservers.Server, password secret.String) xmpp.Config {
	t.Helper()
	j, err := jid.New("ann", s.Domain, "")
	if err != nil {
		t.Fatal(err)
	}
	return xmpp.Config{JID: j, Password: password, Addr: s.Addr, TLS: &tls.Config{RootCAs: s.Roots, MinVersion: tls.VersionTLS12}}
}

// Servers of others fit, as their configuration here is.
func TestXMPPServersFit(t *testing.T) {
	for k, want := range map[xmppservers.Kind]map[string]State{
		xmppservers.Prosody:  {},
		xmppservers.Ejabberd: {"mechanism": Warn}, // keeps passwords for SHA-1
	} {
		t.Run(string(k), func(t *testing.T) {
			s := xmppservers.Run(t, k, xmppservers.Config{SHA256: k == xmppservers.Prosody})
			results := RunXMPP(t.Context(), XMPP{Client: client(t, s, "venus and mars")})
			if len(results) != 13 {
				t.Errorf("%d results", len(results))
			}
			for _, r := range results {
				expected := want[r.Check]
				if expected == "" {
					expected = OK
				}
				if r.State != expected || r.Text == "" || (r.Fix == "") != (r.State == OK) {
					t.Errorf("%+v, want %s", r, expected)
				}
				t.Logf("%-4s %-12s %s", r.State, r.Check, r.Text)
			}
			refused := RunXMPP(t.Context(), XMPP{Client: client(t, s, "wrong")})
			if refused[0].State != Fail || refused[0].Fix == "" || refused[1].State != Skip {
				t.Errorf("wrong password: %+v", refused[:2])
			}
		})
	}
}

// What a server does not do is found.
func TestXMPPServerThatDoesNotFit(t *testing.T) {
	s := xmppservers.Run(t, xmppservers.Ejabberd, xmppservers.Config{MaxStanza: 65_536, NoResume: true})
	got := map[string]Result{}
	for _, r := range RunXMPP(t.Context(), XMPP{Client: client(t, s, "venus and mars"), Timeout: 3 * time.Second}) {
		got[r.Check] = r
	}
	for _, name := range []string{"stanza size", "resumption"} {
		if got[name].State != Warn || got[name].Fix == "" {
			t.Errorf("%s: %+v", name, got[name])
		}
	}
	if got["replacement"].State != OK { // a session that was killed harms no other check
		t.Errorf("replacement: %+v", got["replacement"])
	}
}
