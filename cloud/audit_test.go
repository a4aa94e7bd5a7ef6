package cloud

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/farreach/farreach/cloud/account"
	"github.com/farreach/farreach/cloud/audit"
	"github.com/farreach/farreach/oic"
)

// TestAudit: what is done about accounts and rights is written down where it
// belongs, and no secret with it.
func TestAudit(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	token, _, err := w.NewToken(ctx, home, "panel", oic.ScopeAdmin, 0)
	w.must(err)
	who, err := w.Authenticate(ctx, nowhere, token)
	w.must(err)
	s, err := w.NewShare(ctx, who, lamp, "barn", account.Viewer)
	w.must(err)
	_, err = w.AcceptShare(ctx, oic.Identity{Account: "barn"}, s.ID)
	w.must(err)
	w.must(w.EndShare(ctx, who, s.ID))
	w.must(w.SetPassword(ctx, operator, "home", password))
	_, _, err = w.NewLogin(ctx, who, "home", "phone", "OIC/1.0/Client/*")
	w.must(err)
	w.must(w.RemoveLogin(ctx, who, "home", "phone"))
	w.must(w.DeleteDevice(ctx, who, door))
	w.must(w.SignOff(ctx, w.lamp))
	w.must(w.RevokeToken(ctx, who, who.Token))
	_, err = w.Login(ctx, netip.MustParseAddr("192.0.2.7"), "home", "hunter2")
	w.status("a wrong password", err, oic.Unauthorized)
	w.must(w.DeleteAccount(ctx, operator, "barn"))
	w.close()
	w.open() // what is written down survives

	whats := func(f audit.Filter) (list []string) {
		t.Helper()
		entries, err := w.Audit(ctx, operator, f)
		w.must(err)
		for _, e := range entries {
			list = append(list, e.What)
			if text, _ := json.Marshal(e); strings.Contains(string(text), token.Reveal()) || strings.Contains(string(text), "hunter2") || strings.Contains(string(text), password.Reveal()) {
				t.Errorf("a secret: %s", text)
			}
		}
		slices.Reverse(list)
		return list
	}
	got := whats(audit.Filter{Account: "home"})
	want := []string{"share.delete", "password.set", "login.create", "login.delete", "device.delete", "device.leave", "token.revoke", "sign-in.refused"}
	if len(got) < len(want) || !slices.Equal(got[len(got)-len(want):], want) {
		t.Errorf("home: %v\nwant at the end %v", got, want)
	}
	for _, what := range []string{"pairing-code.create", "device.join", "token.create", "share.create"} {
		if !slices.Contains(got, what) {
			t.Errorf("home: no %s in %v", what, got)
		}
	}
	if got := whats(audit.Filter{Account: "barn"}); len(got) != 0 {
		t.Errorf("an account that is no more has %v", got)
	}
	if got := whats(audit.Filter{}); got[len(got)-1] != "account.delete" || got[0] != "account.create" {
		t.Errorf("the server: %v", got)
	}

	entries, err := w.Audit(ctx, home, audit.Filter{Account: "home"})
	w.must(err)
	i := slices.IndexFunc(entries, func(e audit.Entry) bool { return e.What == "token.revoke" })
	if by := entries[i].By; by.Kind != "token" || by.Name != "panel" || by.Account != "home" || by.ID != who.Token {
		t.Errorf("by %+v", by)
	}
	_, err = w.Audit(ctx, home, audit.Filter{Everybody: true})
	w.status("everybody's, for a person", err, oic.Forbidden)
	_, err = w.Audit(ctx, home, audit.Filter{})
	w.status("the server's, for a person", err, oic.Forbidden)
}
