package account

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/xmpp/sasl"
)

const lampResource = "OIC/1.0/*/0685b960-736f-46f7-bec0-9e6cbd61adc1"

// proved logs in to home and returns whose the login is, and what for; ok says
// that the password was right.
func proved(t *testing.T, a *Accounts, m sasl.Mechanism, pw secret.String) (who oic.Identity, may func(string) bool, ok bool) {
	t.Helper()
	p, err := a.Begin(t.Context(), netip.Addr{}, "home")
	if err != nil {
		t.Fatal(err)
	}
	o := &sasl.Offer{Verifier: func(_ context.Context, _ sasl.Mechanism, _ string) (sasl.Verifier, error) { return p.Verifier(m), nil }}
	s, err := o.Start(m)
	if err != nil {
		t.Fatal(err)
	}
	l := sasl.Login{User: "home", Password: pw}
	c, err := l.Client([]sasl.Mechanism{m}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	challenge, _, err := s.Step(t.Context(), c.First())
	if err != nil {
		t.Fatal(err)
	}
	final, err := c.Step(challenge)
	if err != nil {
		t.Fatal(err)
	}
	if _, done, _ := s.Step(t.Context(), final); !done {
		return oic.Identity{}, nil, false
	}
	who, may = p.Proved(s.Which())
	return who, may, true
}

// an account has passwords of single devices beside its own. Each opens
// what it is for and ends alone; that of the account changes without them.
func TestLogins(t *testing.T) {
	a := newAccounts(t, Config{})
	ctx := t.Context()
	lamp, info, err := a.NewLogin(ctx, "home", "lamp", lampResource)
	if err != nil || info.Resource != lampResource || len(lamp) < 32 {
		t.Fatalf("NewLogin = %d bytes, %+v, %v", len(lamp), info, err)
	}
	door, _, err := a.NewLogin(ctx, "home", "door", "OIC/1.0/oic.d.door/x")
	if err != nil {
		t.Fatal(err)
	}
	before := a.account("home")
	for _, m := range []sasl.Mechanism{sasl.ScramSHA256, sasl.ScramSHA1} {
		for _, c := range []struct {
			pw            secret.String
			ok            bool
			lamp, another bool
		}{{password, true, true, true}, {lamp, true, true, false}, {door, true, false, false}, {"wrong password", false, false, false}} {
			who, may, ok := proved(t, a, m, c.pw)
			if ok != c.ok {
				t.Fatalf("%s: let in: %v", m, ok)
			}
			if !ok {
				continue
			}
			if _, valid := a.Valid(who, time.Now()); !valid || who.Account != "home" {
				t.Errorf("%s: %+v does not hold", m, who)
			}
			if l, o := may("OIC/1.0/oic.d.light/0685b960-736f-46f7-bec0-9e6cbd61adc1"), may("phone"); l != c.lamp || o != c.another {
				t.Errorf("%s: the lamp %v, another %v; want %v, %v", m, l, o, c.lamp, c.another)
			}
		}
	}
	own, _, _ := proved(t, a, sasl.ScramSHA256, password)
	ofLamp, _, _ := proved(t, a, sasl.ScramSHA256, lamp)
	ofDoor, _, _ := proved(t, a, sasl.ScramSHA256, door)
	if err := a.SetPassword(ctx, "home", "another long password"); err != nil {
		t.Fatal(err)
	}
	if string(a.account("home").SHA256.Salt) != string(before.SHA256.Salt) {
		t.Error("the salt has changed: it is that of the log-ins")
	}
	holds(t, a, own, false)
	holds(t, a, ofLamp, true)
	if _, _, ok := proved(t, a, sasl.ScramSHA256, lamp); !ok {
		t.Error("with the account's password the lamp's has changed")
	}
	if _, _, ok := proved(t, a, sasl.ScramSHA256, password); ok {
		t.Error("the old password is taken")
	}
	if err := a.RemoveLogin(ctx, "home", "lamp"); err != nil {
		t.Fatal(err)
	}
	holds(t, a, ofLamp, false)
	holds(t, a, ofDoor, true)
	if _, _, ok := proved(t, a, sasl.ScramSHA256, lamp); ok {
		t.Error("a log-in that was removed is taken")
	}
	if list, err := a.Logins("home"); err != nil || len(list) != 1 || list[0].Name != "door" {
		t.Errorf("Logins = %+v, %v", list, err)
	}
	if err := a.RemoveLogin(ctx, "home", "door"); err != nil {
		t.Fatal(err)
	}
	if err := a.SetPassword(ctx, "home", password); err != nil {
		t.Fatal(err)
	}
	if string(a.account("home").SHA256.Salt) == string(before.SHA256.Salt) {
		t.Error("without log-ins the salt stays")
	}
}

func holds(t *testing.T, a *Accounts, who oic.Identity, want bool) {
	t.Helper()
	if _, ok := a.Valid(who, time.Now()); ok != want {
		t.Errorf("%q holds: %v, want %v", who.Credential, ok, want)
	}
}

// What a log-in is good for is XMPP alone, and its name, resource and number
// are bounded.
func TestLoginRefusals(t *testing.T) {
	a := newAccounts(t, Config{})
	ctx := t.Context()
	pw, _, err := a.NewLogin(ctx, "home", "lamp", lampResource)
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.Login(ctx, bob, "home", pw)
	wantStatus(t, "the API with a device's password", err, oic.Unauthorized)
	for what, c := range map[string]struct {
		account, name, resource string
		status                  oic.Status
	}{
		"nobody":        {"nobody", "x", "r", oic.NotFound},
		"taken":         {"home", "lamp", "r", oic.Conflict},
		"no name":       {"home", "", "r", oic.BadRequest},
		"long name":     {"home", strings.Repeat("x", maxLabel+1), "r", oic.BadRequest},
		"control":       {"home", "a\nb", "r", oic.BadRequest},
		"no resource":   {"home", "x", "", oic.BadRequest},
		"long resource": {"home", "x", strings.Repeat("x", 1024), oic.BadRequest},
	} {
		_, _, err := a.NewLogin(ctx, c.account, c.name, c.resource)
		wantStatus(t, what, err, c.status)
	}
	wantStatus(t, "remove what is not there", a.RemoveLogin(ctx, "home", "x"), oic.NotFound)
	wantStatus(t, "remove of nobody", a.RemoveLogin(ctx, "nobody", "x"), oic.NotFound)
	_, err = a.Logins("nobody")
	wantStatus(t, "list of nobody", err, oic.NotFound)
	for i := range maxLogins - 1 {
		if _, _, err := a.NewLogin(ctx, "home", fmt.Sprint(i), "r"); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err = a.NewLogin(ctx, "home", "one more", "r")
	wantStatus(t, "one more", err, oic.Forbidden)
}

// However many log-ins an account has, and if there is none of the name, as many
// passwords are tried (threats section 3.5).
func TestLoginsAreNotCounted(t *testing.T) {
	a := newAccounts(t, Config{})
	if _, _, err := a.NewLogin(t.Context(), "home", "lamp", lampResource); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"home", "nobody"} {
		for m, size := range map[sasl.Mechanism]int{sasl.ScramSHA256: 32, sasl.ScramSHA1: 20} {
			v := verifierOf(t, a, name, m)
			if len(v.Others) != maxLogins {
				t.Errorf("%s, %s: %d others", name, m, len(v.Others))
			}
			for _, p := range v.Others {
				if len(p.StoredKey) != size || len(p.ServerKey) != size {
					t.Errorf("%s, %s: keys of %d and %d bytes", name, m, len(p.StoredKey), len(p.ServerKey))
				}
			}
		}
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"a", "a", true}, {"a", "A", false}, {"a", "ab", false}, {"", "", true},
		{"*", "", true}, {"*", "a/b", true}, {"a*", "ab", true}, {"a*", "b", false}, {"*b", "ab", true}, {"*b", "ba", false},
		{"a*b*c", "abc", true}, {"a*b*c", "aXbYbZc", true}, {"a*b*c", "acb", false}, {"a*a", "a", false},
		{lampResource, "OIC/1.0/oic.d.light/0685b960-736f-46f7-bec0-9e6cbd61adc1", true},
		{lampResource, "OIC/1.0/oic.d.light/0685b960-736f-46f7-bec0-9e6cbd61adc2", false},
		{lampResource, "OIC/1.0/0685b960-736f-46f7-bec0-9e6cbd61adc1", false},
	} {
		if got := matches(c.pattern, c.s); got != c.want {
			t.Errorf("matches(%q, %q) = %v", c.pattern, c.s, got)
		}
	}
}
