package xmpp_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stanza"
)

// TestPatience: what lasts until somebody puts it right is tried again after
// 30 s, doubled to 10 min, and an address that somebody else took after 60 s,
// doubled to 1 h: no storm, whatever the cause.
func TestPatience(t *testing.T) {
	conflict := func(p *script) {
		p.session("")
		p.say("<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>")
		p.rest()
	}
	for name, c := range map[string]struct {
		serve func(p *script)
		waits []time.Duration // a tenth more at most
	}{
		"PLAIN alone": {func(p *script) {
			p.open(strings.Replace(withSASL, "SCRAM-SHA-256", "DIGEST-MD5", 1))
			p.rest()
		}, []time.Duration{30, 60, 120, 240, 480, 600, 600}},
		"no proof of the server": {func(p *script) {
			p.open(withSASL)
			p.expect("<auth")
			p.say("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
			p.rest()
		}, []time.Duration{30, 60, 120, 240, 480, 600, 600}},
		"renamed": {func(p *script) {
			p.login()
			p.open(withBind)
			p.bindAs("ann@home.example/another")
			p.rest()
		}, []time.Duration{30, 60, 120, 240, 480, 600, 600}},
		"conflict": {conflict, []time.Duration{60, 120, 240, 480, 960, 1920, 3600, 3600}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var at []time.Time
				cfg := scripted(t, c.serve)
				dial := cfg.Dial
				cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
					at = append(at, time.Now())
					return dial(ctx, network, addr)
				}
				if err := runClient(t, cfg, 4*time.Hour); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Run = %v", err)
				}
				if len(at) <= len(c.waits) {
					t.Fatalf("%d attempts", len(at))
				}
				for i, want := range c.waits {
					want *= time.Second
					if wait := at[i+1].Sub(at[i]); wait < want || wait > want*11/10+time.Second {
						t.Errorf("wait %d is %v, want %v", i, wait, want)
					}
				}
			})
		})
	}
}

// TestAllow: who is not allowed learns nothing but that nobody answers.
func TestAllow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		answers := make(chan string, 2)
		cfg := scripted(t, func(p *script) {
			p.session("")
			for _, from := range []string{"eve@home.example/x", "ann@home.example/x"} {
				p.say("<message from='" + from + "'><body>b</body></message><iq type='get' id='1' from='" + from + "'><q xmlns='q'/></iq>")
				answers <- string(p.expect("<iq").Raw)
			}
			p.rest()
		})
		cfg.Handlers.Allow(func(_ *xmpp.Session, from jid.JID) bool { return from.Local() != "eve" })
		cfg.Handlers.IQ("q", "q", func(*xmpp.Session, *stanza.IQ) (*stanza.Element, error) { return nil, nil })
		cfg.Handlers.OtherMessage(func(_ *xmpp.Session, m *stanza.Message) { got = append(got, m.From.Local()) })
		s, err := xmpp.Dial(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		stranger, own := <-answers, <-answers
		s.Close()
		if !strings.Contains(stranger, "<service-unavailable") || !strings.Contains(own, "type='result'") || strings.Join(got, " ") != "ann" {
			t.Errorf("a stranger got %s, the own account %s; messages of %q", stranger, own, got)
		}
	})
}
