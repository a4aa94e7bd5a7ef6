package xmpptest_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/farreach/farreach/internal/xmppservers"
	"github.com/farreach/farreach/xmpp/sasl"
	"github.com/farreach/farreach/xmpp/xmpptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestForeignServers runs every test over Prosody and ejabberd.
func TestForeignServers(t *testing.T) {
	for _, k := range xmppservers.Kinds {
		t.Run(string(k), func(t *testing.T) {
			sha256 := k == xmppservers.Prosody
			s := xmppservers.Run(t, k, xmppservers.Config{SHA256: sha256, Accounts: map[string]string{"ann": "venus and mars", "bob": "venus and mars"}})
			mechanism := sasl.ScramSHA1
			if sha256 {
				mechanism = sasl.ScramSHA256
			}
			srv := xmpptest.Server{
				Domain: s.Domain, Addr: s.Addr, TLS: s.TLS, Roots: s.Roots, Ann: "ann", Bob: "bob", Password: "venus and mars", Mechanism: mechanism, WholeStanzas: true,
			}
			t.Run("TCP", func(t *testing.T) { xmpptest.Run(t, srv) })
			srv.Addr, srv.TLS, srv.NoResume = s.WebSocket(), "", k == xmppservers.Ejabberd
			t.Run("WebSocket", func(t *testing.T) { xmpptest.Run(t, srv) })
		})
	}
}
