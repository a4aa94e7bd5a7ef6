package xmpptest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"time"

	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/sasl"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmpp/stream"
)

// testLogin: each way in (XEP-0368, RFC 7395), both versions of TLS, the
// strongest mechanism.
func testLogin(t *T) {
	for _, w := range t.ways() {
		for _, version := range []uint16{tls.VersionTLS13, tls.VersionTLS12} {
			cfg := t.config("login")
			cfg.Addr, cfg.Direct = w.addr, w.direct
			cfg.TLS.MaxVersion = version
			s, err := xmpp.Dial(t.Context(), cfg)
			if err != nil {
				t.Errorf("%s: %v", w.name, err)
				continue
			}
			terms := s.Terms()
			if terms.Mechanism != t.Mechanism || terms.TLS != version || terms.Direct != w.direct || terms.Addr != w.addr {
				t.Errorf("%s: %+v", w.name, terms)
			}
			if s.JID() != cfg.JID {
				t.Errorf("%s: bound %s", w.name, s.JID())
			}
			if err := s.Close(); err != nil || !errors.Is(s.Err(), xmpp.ErrClosed) {
				t.Errorf("%s: Close = %v, Err = %v", w.name, err, s.Err())
			}
			if err := s.Send(t.Context(), &stanza.Presence{}); !errors.Is(err, xmpp.ErrClosed) {
				t.Errorf("%s: Send after Close = %v", w.name, err)
			}
		}
	}
	cfg := t.config("") // the server chooses
	if s := t.dial(cfg); s.JID().Bare() != cfg.JID || s.JID().IsBare() {
		t.Errorf("bound %s", s.JID())
	}
}

// testRefused: a wrong password and an unknown account are the same to see, and
// a Client gives up.
func testRefused(t *T) {
	wrong := t.config("x")
	wrong.Password = "something else"
	unknown := t.config("x")
	unknown.JID = t.jid("nobody", "x")
	for _, cfg := range []xmpp.Config{wrong, unknown} {
		cfg.Keys = nil
		_, err := xmpp.Dial(t.Context(), cfg)
		e, ok := errors.AsType[*xmpp.AuthError](err)
		if !ok || e.Condition != sasl.NotAuthorized {
			t.Errorf("%s: %v", cfg.JID, err)
		}
		if err != nil && strings.Contains(err.Error(), cfg.Password.Reveal()) {
			t.Errorf("the error shows the password: %v", err)
		}
	}
	c, err := xmpp.New(wrong)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, ok := errors.AsType[*xmpp.AuthError](c.Run(ctx)); !ok {
		t.Error("a client goes on with a wrong password")
	}
	plain := t.config("x")
	plain.Least = sasl.Mechanism("SCRAM-SHA-256-PLUS")
	if t.Mechanism != plain.Least {
		if _, err := xmpp.Dial(t.Context(), plain); !errors.Is(err, sasl.ErrTooWeak) {
			t.Errorf("less than the least: %v", err)
		}
	}
}

// testCertificate: the certificate is for the domain of the address, and from
// somebody we trust (RFC 7590, section 3.4; Bad30).
func testCertificate(t *T) {
	stranger := t.config("x")
	stranger.TLS = &tls.Config{RootCAs: x509.NewCertPool()}
	other := t.config("x")
	other.JID, _ = jid.New(t.Ann, "other.example", "x")
	named := t.config("x")
	named.JID = other.JID
	named.TLS.ServerName = t.Domain // does not help: the address decides
	for _, cfg := range []xmpp.Config{stranger, other, named} {
		for _, w := range t.ways() {
			cfg.Addr, cfg.Direct = w.addr, w.direct
			s, err := xmpp.Dial(t.Context(), cfg)
			if err == nil {
				s.Close()
				t.Fatalf("%s, %s: logged in", cfg.JID, w.name)
			}
			// A server that knows it does not serve a domain may say so first.
			_, told := errors.AsType[*stream.Error](err)
			_, alert := errors.AsType[tls.AlertError](err)
			verify, checked := errors.AsType[*tls.CertificateVerificationError](err)
			if !checked && !told && !alert && !errors.Is(err, xmpp.ErrNoTLS) && !strings.Contains(err.Error(), "remote error") {
				t.Errorf("%s, %s: %v (%v)", cfg.JID, w.name, err, verify)
			}
		}
	}
}

// testResource: the resource is kept to the octet (RA-052, RA-054), or the
// session does not come to be (RA-063).
func testResource(t *T) {
	for _, r := range []string{
		"OIC/1.0/Client/3D2C5A10-52A7-4E0F-9C1B-6B2F0A9E7B55",
		"OIC/1.0/oic.d.light/0685b960-736f-46f7-bec0-9e6cbd61adc1",
		`a<b>&'"c`, "Küche", strings.Repeat("r", 1023),
	} {
		cfg := t.config(r)
		s, err := xmpp.Dial(t.Context(), cfg)
		if err != nil {
			t.Errorf("%.40q: %v", r, err)
			continue
		}
		if s.JID().Resource() != r {
			t.Errorf("%.40q is bound as %.40q", r, s.JID().Resource())
		}
		s.Close()
	}
}

// testConflict: who binds a resource again ends the session that had it, which
// is told why.
func testConflict(t *T) {
	first := t.dial(t.config("same"))
	second := t.dial(t.config("same"))
	select {
	case <-first.Done():
	case <-time.After(patience):
		t.Fatal("the first session goes on")
	}
	if e, ok := errors.AsType[*stream.Error](first.Err()); !ok || e.Condition != stream.Conflict {
		t.Errorf("the first session ended with %v", first.Err())
	}
	if second.Err() != nil {
		t.Errorf("the second session ended with %v", second.Err())
	}
}
