package rae

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmppd/xmppdtest"
)

// provisionedLamp is a lamp whose owner says on which server it is: srv is at its
// domain, and nobody is anywhere else. It runs until the test ends.
func provisionedLamp(t *testing.T, srv *xmppdtest.Server, chosen Settings) (*device.Host, *Provisioning) {
	host := newLamp()
	p := NewProvisioning(ProvisioningConfig{Host: host, Chosen: chosen, Log: slog.New(slog.DiscardHandler),
		Serve: func(ctx context.Context, s Settings, tell func(State)) error {
			x := srv.Client(s.Account.Local(), "")
			x.JID, x.Password = s.Account, s.Password
			if s.Server.Address != srv.Domain {
				x.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED }
			}
			e, err := New(Config{XMPP: x, Device: host.Remote(), OnState: tell, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				return err
			}
			return e.Run(ctx)
		}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return host, p
}

// annAt is the account of ann, and the right password.
func annAt(t *testing.T, srv *xmppdtest.Server) Settings {
	ann, err := jid.New("ann", srv.Domain, "")
	if err != nil {
		t.Fatal(err)
	}
	return Settings{Account: ann, Password: xmppdtest.Password, Server: Server{srv.Domain, 5222}}
}

// awaitState waits until p shows a status, a minute at most (RA-031).
func awaitState(t *testing.T, p *Provisioning, want Status) State {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if s := p.State(); s.Status == want {
			return s
		}
	}
	t.Fatalf("state %v, want %s", p.State(), want)
	return State{}
}

func post(t *testing.T, h oic.Handler, who oic.Identity, href, body string) {
	t.Helper()
	b, err := oic.FromJSON(oic.OCF, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Handle(t.Context(), &oic.Request{Op: oic.Update, Href: href, From: who, Format: oic.OCF, Body: b}); err != nil {
		t.Fatal(err)
	}
}

// RA-031, over TLS: a wrong password is told, and the right one then.
func TestWrongPassword(t *testing.T) {
	srv := xmppdtest.Run(t, xmppdtest.Config{})
	host, p := provisionedLamp(t, srv, Settings{})
	owner := oic.Identity{Owner: true}
	post(t, host, owner, hrefUser, `{"jid":"ann@`+srv.Domain+`","credential":"eA=="}`)
	post(t, host, owner, hrefConf, `{"address":"`+srv.Domain+`","port":5222}`)
	if got := awaitState(t, p, Error); got.Reason != "auth-failed: not-authorized" {
		t.Errorf("reason %q", got.Reason)
	}
	post(t, host, owner, hrefUser, `{"jid":"ann@`+srv.Domain+`","credential":"`+base64Of(xmppdtest.Password)+`"}`)
	if got := awaitState(t, p, Connected); got.Reason != "" {
		t.Errorf("reason %q", got.Reason)
	}
}

func base64Of(s secret.String) string {
	return base64.StdEncoding.EncodeToString([]byte(s.Reveal()))
}

// RA-030, RA-032, A-19, A-24, by Remote Access itself: what is set is answered
// before the stream that brought it ends; a mistake is mended after five
// minutes; the password is out of reach, and rt is a string.
func TestProvisionedByRemoteAccess(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		_, p := provisionedLamp(t, srv, annAt(t, srv))
		phone := start(t, Config{XMPP: srv.Client("ann", ""), ID: phoneID})
		lamp, err := ServerName([]string{"oic.d.light"}, lampID)
		if err != nil {
			t.Fatal(err)
		}
		to, err := lamp.JID(phone.own)
		if err != nil {
			t.Fatal(err)
		}
		ask := func(op oic.Op, href, body string) string {
			c := newCall(op, href)
			if c.Body, err = oic.FromJSON(oic.OCF, []byte(body)); err != nil {
				t.Fatal(err)
			}
			c.Format = oic.OCF
			a, err := phone.x.ask(t.Context(), phone.session(), to, c)
			if err != nil {
				return err.Error()
			}
			return textOf(a)
		}
		rep := func(server, state string) string {
			return fmt.Sprintf(`{"rt":"oic.ra.xmpp","address":%q,"port":5222,"status":%q,"ErrorReason":""}`, server, state)
		}
		synctest.Wait()
		if got, want := ask(oic.Retrieve, hrefConf, ""), "2.05 Content "+rep(srv.Domain, "Connected"); got != want {
			t.Errorf("read %s, want %s", got, want)
		}
		for _, op := range []oic.Op{oic.Retrieve, oic.Update} {
			if got := ask(op, hrefUser, `{"jid":"ann@home.example","credential":"eA"}`); !strings.HasPrefix(got, "4.03 Forbidden") {
				t.Errorf("%v of the account: %s", op, got)
			}
		}
		if got, want := ask(oic.Update, hrefConf, `{"address":"nowhere.example","port":5222}`), "2.04 Changed "+rep("nowhere.example", "NotInitialized"); got != want {
			t.Errorf("set %s, want %s", got, want)
		}
		time.Sleep(4 * time.Minute)
		if got := p.State(); got.Status != Error || !strings.HasPrefix(got.Reason, "host-unreachable") {
			t.Errorf("state %v", got)
		}
		time.Sleep(2 * time.Minute)
		if got, want := ask(oic.Retrieve, hrefConf, ""), "2.05 Content "+rep(srv.Domain, "Connected"); got != want {
			t.Errorf("after the mistake %s, want %s", got, want)
		}
	})
}
