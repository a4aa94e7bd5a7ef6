package account

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
	"github.com/farreach/farreach/xmpp/sasl"
)

const (
	password = secret.String("a long enough password")
	door     = "a1b2c3d4-0000-4000-8000-000000000002"
)

var nobody netip.Addr

func openStore(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{Dir: dir, Sync: time.Minute, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openAccounts(t *testing.T, s *store.Store, cfg Config) *Accounts {
	t.Helper()
	cfg.Store, cfg.Log = s, slog.New(slog.DiscardHandler)
	a, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// newAccounts returns accounts with one called home, an admin.
func newAccounts(t *testing.T, cfg Config) *Accounts {
	t.Helper()
	s := openStore(t, filepath.Join(t.TempDir(), "store"))
	a := openAccounts(t, s, cfg)
	t.Cleanup(func() { a.Close(); s.Close() })
	if _, err := a.Create(t.Context(), "home", password, true); err != nil {
		t.Fatal(err)
	}
	return a
}

func wantStatus(t *testing.T, what string, err error, want oic.Status) {
	t.Helper()
	if got, _ := oic.StatusOf(err); err == nil || got != want {
		t.Errorf("%s: %v, want %s", what, err, want)
	}
}

func TestAccounts(t *testing.T) {
	a := newAccounts(t, Config{})
	ctx := t.Context()
	if _, err := a.Create(ctx, "Barn", password, false); err != nil {
		t.Fatal(err)
	}
	_, err := a.Create(ctx, "home", password, false)
	wantStatus(t, "a second home", err, oic.Conflict)
	_, err = a.Create(ctx, "a>b", password, false)
	wantStatus(t, "a bad name", err, oic.BadRequest)
	for _, bad := range []secret.String{"", "short", "control\u0000characters", secret.String(strings.Repeat("x", 1025))} {
		_, err = a.Create(ctx, "shed", bad, false)
		wantStatus(t, fmt.Sprintf("password of %d bytes", len(bad)), err, oic.BadRequest)
	}
	if list := a.List(); len(list) != 2 || list[0].Name != "barn" || list[1].Name != "home" || !list[1].Admin {
		t.Errorf("List = %+v", list)
	}
	if info, ok := a.Get("barn"); !ok || info.Admin || time.Since(info.Created) > time.Minute {
		t.Errorf("Get = %+v, %v", info, ok)
	}
}

func TestLogin(t *testing.T) {
	a := newAccounts(t, Config{})
	ctx := t.Context()
	who, err := a.Login(ctx, alice, "Home", password)
	if err != nil || who.Account != "home" || !who.Admin || who.Device != "" {
		t.Fatalf("Login = %+v, %v", who, err)
	}
	if _, ok := a.Valid(who, time.Now()); !ok {
		t.Error("who has just logged in does not hold")
	}
	var first error
	for _, c := range []struct {
		name     string
		password secret.String
	}{
		{"home", "a wrong one, also long"}, {"home", ""}, {"home", password + "x"}, {"nobody", password}, {"a>b", password},
		{"home", secret.String(strings.Repeat("x", 1<<20))}, {strings.Repeat("a", 1<<20), password}, {"home", "\x00\xff"},
	} {
		_, err := a.Login(ctx, netip.MustParseAddr("192.0.2."+fmt.Sprint(10+len(c.password)%200)), c.name, c.password)
		wantStatus(t, "wrong login", err, oic.Unauthorized)
		if first == nil {
			first = err
		}
		if err.Error() != first.Error() {
			t.Errorf("login as %.20q says %q, others %q: that tells who has an account", c.name, err, first)
		}
	}
	if err := a.SetPassword(ctx, "home", "another long password"); err != nil {
		t.Fatal(err)
	}
	if _, ok := a.Valid(who, time.Now()); ok {
		t.Error("a login holds although its password was replaced")
	}
	_, err = a.Login(ctx, bob, "home", password)
	wantStatus(t, "the old password", err, oic.Unauthorized)
	if _, err = a.Login(ctx, bob, "home", "another long password"); err != nil {
		t.Errorf("the new password: %v", err)
	}
	wantStatus(t, "password of nobody", a.SetPassword(ctx, "nobody", password), oic.NotFound)
}

// TestUnknownAccountIsLikeAKnownOne: same salt each time, also after a restart,
// same iterations, about the same time; the proof fails (threats section 3.5).
func TestUnknownAccountIsLikeAKnownOne(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	var salts []string
	for range 2 {
		s := openStore(t, dir)
		a := openAccounts(t, s, Config{})
		for _, m := range []sasl.Mechanism{sasl.ScramSHA256, sasl.ScramSHA1, sasl.ScramSHA256} {
			c := verifierOf(t, a, "nobody", m)
			if len(c.Salt) != saltLen || c.Iterations != iterations {
				t.Errorf("%s: salt of %d bytes, %d iterations", m, len(c.Salt), c.Iterations)
			}
			salts = append(salts, string(m)+string(c.Salt))
		}
		if string(verifierOf(t, a, "nobody", sasl.ScramSHA256).Salt) == string(verifierOf(t, a, "somebody", sasl.ScramSHA256).Salt) {
			t.Error("two unknown accounts have one salt")
		}
		a.Close()
		s.Close()
	}
	if salts[0] != salts[2] || salts[0] != salts[3] || salts[1] != salts[4] {
		t.Error("the salt of an unknown account changes")
	}
}

// verifierOf is what a try to prove to be name meets.
func verifierOf(t *testing.T, a *Accounts, name string, m sasl.Mechanism) sasl.Verifier {
	t.Helper()
	p, err := a.Begin(t.Context(), netip.Addr{}, name)
	if err != nil {
		t.Fatal(err)
	}
	return p.Verifier(m)
}

func TestUnknownAccountTakesAsLong(t *testing.T) {
	a := newAccounts(t, Config{})
	fastest := map[string]time.Duration{"home": time.Hour, "nobody": time.Hour}
	for i, begin := 0, time.Now(); ; i++ { // on a machine that is busy one of many tries meets a quiet moment
		for name, best := range fastest { // each from elsewhere: not throttled
			start := time.Now()
			_, err := a.Login(t.Context(), netip.AddrFrom4([4]byte{10, byte(len(name)), byte(i >> 8), byte(i)}), name, "wrong password")
			fastest[name] = min(best, time.Since(start))
			wantStatus(t, name, err, oic.Unauthorized)
		}
		known, unknown := fastest["home"], fastest["nobody"]
		alike := known < 2*unknown && unknown < 2*known
		if i >= 10 && alike {
			return
		}
		if time.Since(begin) > time.Minute {
			t.Fatalf("a known account takes %v, an unknown one %v", known, unknown)
		}
	}
}

// TestScram: the verifiers serve RFC 5802 and RFC 7677 logins, as somebody else
// has written them.
func TestScram(t *testing.T) {
	a := newAccounts(t, Config{})
	for _, m := range []sasl.Mechanism{sasl.ScramSHA256, sasl.ScramSHA1} {
		for _, c := range []struct {
			name     string
			password secret.String
			ok       bool
		}{{"home", password, true}, {"home", "wrong password", false}, {"nobody", password, false}} {
			ok, err := converse(verifierOf(t, a, c.name, m), m, c.name, c.password)
			if ok != c.ok {
				t.Errorf("%s as %s: %v, %v; want %v", m, c.name, ok, err, c.ok)
			}
		}
	}
}

func converse(v sasl.Verifier, m sasl.Mechanism, name string, password secret.String) (bool, error) {
	hash := scram.SHA256
	if m == sasl.ScramSHA1 {
		hash = scram.SHA1
	}
	client, err := hash.NewClient(name, password.Reveal(), "")
	if err != nil {
		return false, err
	}
	server, err := hash.NewServer(func(string) (scram.StoredCredentials, error) {
		return scram.StoredCredentials{KeyFactors: scram.KeyFactors{Salt: string(v.Salt), Iters: v.Iterations}, StoredKey: v.StoredKey, ServerKey: v.ServerKey}, nil
	})
	if err != nil {
		return false, err
	}
	cc, sc := client.NewConversation(), server.NewConversation()
	var said string
	for !sc.Done() {
		if said, err = cc.Step(said); err != nil {
			return false, err
		}
		if said, err = sc.Step(said); err != nil {
			return false, err
		}
	}
	_, err = cc.Step(said)
	return sc.Valid() && cc.Valid(), err
}

func TestTokens(t *testing.T) {
	a := newAccounts(t, Config{})
	ctx := t.Context()
	clear, info, err := a.NewToken(ctx, "home", "phone", oic.ScopeAdmin, 0)
	if err != nil || info.Label != "phone" || !info.Expires.IsZero() {
		t.Fatalf("NewToken = %+v, %v", info, err)
	}
	who, until, err := a.Bearer(ctx, alice, clear)
	if err != nil || who.Account != "home" || !who.Admin || !until.IsZero() {
		t.Fatalf("Bearer = %+v, %v, %v", who, until, err)
	}
	for _, bad := range []secret.String{"", "fut_", clear[:len(clear)-1], clear + "x", secret.Token(secret.User), secret.String(strings.Repeat("x", 1<<16))} {
		_, _, err := a.Bearer(ctx, netip.MustParseAddr("192.0.2."+fmt.Sprint(1+len(bad)%250)), bad)
		wantStatus(t, "a wrong token", err, oic.Unauthorized)
	}
	short, brief, err := a.NewToken(ctx, "home", "", oic.ScopeAdmin, time.Nanosecond)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = a.Bearer(ctx, bob, short)
	wantStatus(t, "an expired token", err, oic.Unauthorized)
	if _, said := oic.StatusOf(err); !strings.Contains(said, "expired at") {
		t.Errorf("who shows an expired token is told %q", said)
	}
	if list := a.Tokens("home"); len(list) != 1 || list[0].ID != info.ID {
		t.Errorf("Tokens = %+v, want the one that holds", list)
	}
	if err := a.removeExpired(ctx, time.Now().Add(expiredKept+time.Minute)); err != nil {
		t.Fatal(err)
	}
	_, err = a.RevokeToken(ctx, "home", brief.ID)
	wantStatus(t, "revoke what is gone", err, oic.NotFound)
	_, err = a.RevokeToken(ctx, "barn", info.ID)
	wantStatus(t, "revoke another's", err, oic.NotFound)
	if _, err := a.RevokeToken(ctx, "home", info.ID); err != nil {
		t.Fatal(err)
	}
	if _, ok := a.Valid(who, time.Now()); ok {
		t.Error("an identity holds although its token was revoked")
	}
	_, _, err = a.Bearer(ctx, bob, clear)
	wantStatus(t, "a revoked token", err, oic.Unauthorized)
}

func TestTokenLimits(t *testing.T) {
	a := newAccounts(t, Config{})
	for _, label := range []string{strings.Repeat("x", 65), "a\nb", "\x1b[31m"} {
		_, _, err := a.NewToken(t.Context(), "home", label, oic.ScopeAdmin, 0)
		wantStatus(t, fmt.Sprintf("label %.10q", label), err, oic.BadRequest)
	}
	_, _, err := a.NewToken(t.Context(), "home", "", oic.ScopeAdmin, -1)
	wantStatus(t, "a life below 0", err, oic.BadRequest)
	for range maxTokens {
		if _, _, err := a.NewToken(t.Context(), "home", "", oic.ScopeAdmin, 0); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err = a.NewToken(t.Context(), "home", "", oic.ScopeAdmin, 0)
	wantStatus(t, "one too many", err, oic.Forbidden)
}

// TestTokenScope: an identity has the scope of its token, and none that claims
// another one holds.
func TestTokenScope(t *testing.T) {
	a := newAccounts(t, Config{})
	clear, info, err := a.NewToken(t.Context(), "home", "panel", oic.ScopeRead, 0)
	if err != nil || info.Scope != oic.ScopeRead {
		t.Fatalf("NewToken = %+v, %v", info, err)
	}
	who, _, err := a.Bearer(t.Context(), alice, clear)
	if err != nil || who.Scope != oic.ScopeRead || who.Token != info.ID || who.Name != "panel" {
		t.Fatalf("Bearer = %+v, %v", who, err)
	}
	if _, ok := a.Valid(who, time.Now()); !ok {
		t.Error("the identity does not hold")
	}
	who.Scope = oic.ScopeAdmin
	if _, ok := a.Valid(who, time.Now()); ok {
		t.Error("an identity with a wider scope than its token holds")
	}
}

// TestTokenUsed: when a token was used is told, and survives a restart.
func TestTokenUsed(t *testing.T) {
	a := newAccounts(t, Config{})
	clear, info, err := a.NewToken(t.Context(), "home", "", oic.ScopeRead, 0)
	if err != nil || !info.Used.IsZero() {
		t.Fatalf("NewToken = %+v, %v", info, err)
	}
	before := time.Now()
	if _, _, err := a.Bearer(t.Context(), alice, clear); err != nil {
		t.Fatal(err)
	}
	if used := a.Tokens("home")[0].Used; used.Before(before) {
		t.Errorf("used at %v, want now", used)
	}
	a.Close()
	again := openAccounts(t, a.cfg.Store, Config{})
	defer again.Close()
	if used := again.Tokens("home")[0].Used; before.Sub(used) > time.Second {
		t.Errorf("after a restart: used at %v, want %v", used, before)
	}
}

// TestExpiredTokensAreFew: of tokens that have expired an account has no more
// than of others, the youngest.
func TestExpiredTokensAreFew(t *testing.T) {
	a := newAccounts(t, Config{})
	for range maxTokens + 5 {
		if _, _, err := a.NewToken(t.Context(), "home", "", oic.ScopeAdmin, time.Nanosecond); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.removeExpired(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	n := 0
	for range a.tokens.All() {
		n++
	}
	if n != maxTokens {
		t.Errorf("%d expired tokens are kept, want %d", n, maxTokens)
	}
}

// join signs a device up.
func join(t *testing.T, a *Accounts, name, di string) Grant {
	t.Helper()
	ctx := t.Context()
	clear, _, err := a.NewCode(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := a.CheckCode(ctx, nobody, clear, di); err != nil || got != name {
		t.Fatalf("CheckCode = %q, %v", got, err)
	}
	if got, err := a.Redeem(ctx, clear, di); err != nil || got != name {
		t.Fatalf("Redeem = %q, %v", got, err)
	}
	g, err := a.NewGrant(ctx, name, di)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestPairing(t *testing.T) {
	a := newAccounts(t, Config{})
	ctx := t.Context()
	clear, expires, err := a.NewCode(ctx, "home")
	if left := time.Until(expires); err != nil || left > codeLife || left < codeLife-time.Minute {
		t.Fatalf("NewCode: %v left, %v", left, err)
	}
	typed := secret.String(strings.ToLower(strings.ReplaceAll(clear.Reveal(), "-", " ")))
	if _, err := a.Redeem(ctx, typed, lamp); err != nil {
		t.Errorf("as typed: %v", err)
	}
	if _, err := a.Redeem(ctx, clear, lamp); err != nil {
		t.Errorf("rule 12, the same device again: %v", err)
	}
	for name, bad := range map[string]secret.String{"used": clear, "unknown": secret.Code(), "not a code": "xyz", "empty": ""} {
		_, err := a.Redeem(ctx, bad, door)
		wantStatus(t, name, err, oic.Unauthorized)
		_, err = a.CheckCode(ctx, netip.MustParseAddr("192.0.2."+fmt.Sprint(len(name))), bad, door)
		wantStatus(t, name, err, oic.Unauthorized)
	}
}

func TestPairingCodeOfTwoDevicesAtOnce(t *testing.T) {
	a := newAccounts(t, Config{})
	clear, _, err := a.NewCode(t.Context(), "home")
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, 8)
	for i := range cap(errs) {
		go func() {
			_, err := a.Redeem(t.Context(), clear, fmt.Sprintf("a1b2c3d4-0000-4000-8000-%012d", i))
			errs <- err
		}()
	}
	joined := 0
	for range cap(errs) {
		if err := <-errs; err == nil {
			joined++
		} else {
			wantStatus(t, "who was slower", err, oic.Unauthorized)
		}
	}
	if joined != 1 {
		t.Errorf("%d devices joined with one code", joined)
	}
}

func TestSignIn(t *testing.T) {
	a := newAccounts(t, Config{AccessTTL: time.Hour})
	ctx := t.Context()
	g := join(t, a, "home", lamp)
	other := join(t, a, "home", door)
	who, until, err := a.SignIn(ctx, nobody, "home", lamp, g.Access)
	if err != nil || who.Account != "home" || who.Device != lamp || who.Admin || !until.Equal(g.Expires) {
		t.Fatalf("SignIn = %+v, %v, %v", who, until, err)
	}
	if _, ok := a.Valid(who, time.Now()); !ok {
		t.Error("a device that has just signed in does not hold")
	}
	for what, try := range map[string]Grant{
		"another device's token":  {Account: "home", Device: lamp, Access: other.Access},
		"of another device":       {Account: "home", Device: door, Access: g.Access},
		"another account":         {Account: "barn", Device: lamp, Access: g.Access},
		"no device":               {Account: "home", Device: "", Access: g.Access},
		"the refresh token":       {Account: "home", Device: lamp, Access: g.Refresh},
		"no token":                {Account: "home", Device: lamp},
		"a device that is no one": {Account: "home", Device: "x", Access: g.Access},
	} {
		_, _, err := a.SignIn(ctx, netip.MustParseAddr("192.0.2."+fmt.Sprint(len(what))), try.Account, try.Device, try.Access)
		wantStatus(t, what, err, oic.Unauthorized)
	}
	if err := a.Revoke(ctx, lamp); err != nil {
		t.Fatal(err)
	}
	if _, ok := a.Valid(who, time.Now()); ok {
		t.Error("an identity holds although its grant was revoked")
	}
	_, _, err = a.SignIn(ctx, nobody, "home", lamp, g.Access)
	wantStatus(t, "a revoked grant", err, oic.Unauthorized)
	_, err = a.Refresh(ctx, nobody, "home", lamp, g.Refresh)
	wantStatus(t, "a revoked grant", err, oic.Unauthorized)
}

func TestRefreshKeepsTheSession(t *testing.T) {
	a := newAccounts(t, Config{})
	ctx := t.Context()
	g := join(t, a, "home", lamp)
	who, _, err := a.SignIn(ctx, nobody, "home", lamp, g.Access)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if g, err = a.Refresh(ctx, nobody, "home", lamp, g.Refresh); err != nil {
			t.Fatal(err)
		}
		again, _, err := a.SignIn(ctx, nobody, "home", lamp, g.Access)
		if err != nil || again != who {
			t.Fatalf("SignIn = %+v, %v; want the same identity %+v", again, err, who)
		}
	}
	if _, ok := a.Valid(who, time.Now()); !ok {
		t.Error("the session did not survive a refresh")
	}
	again := join(t, a, "home", lamp)
	if _, ok := a.Valid(who, time.Now()); ok {
		t.Error("the session survived another sign-up")
	}
	_, err = a.Refresh(ctx, nobody, "home", lamp, g.Refresh)
	wantStatus(t, "the tokens of the sign-up before", err, oic.Unauthorized)
	if _, _, err := a.SignIn(ctx, nobody, "home", lamp, again.Access); err != nil {
		t.Errorf("a foreign refresh token revoked the grant: %v", err)
	}
}

// TestStolenRefreshToken16: threats rule 16.
func TestStolenRefreshToken16(t *testing.T) {
	a := newAccounts(t, Config{})
	ctx := t.Context()
	g := join(t, a, "home", lamp)
	one, err := a.Refresh(ctx, nobody, "home", lamp, g.Refresh)
	if err != nil {
		t.Fatal(err)
	}
	two, err := a.Refresh(ctx, nobody, "home", lamp, one.Refresh)
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.Refresh(ctx, nobody, "home", lamp, g.Refresh)
	wantStatus(t, "an old token", err, oic.Unauthorized)
	_, _, err = a.SignIn(ctx, nobody, "home", lamp, two.Access)
	wantStatus(t, "the family", err, oic.Unauthorized)
}

// TestNothingSecretIsStored: threats rule 13 and T9.
func TestNothingSecretIsStored(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s := openStore(t, dir)
	a := openAccounts(t, s, Config{})
	if _, err := a.Create(t.Context(), "home", password, true); err != nil {
		t.Fatal(err)
	}
	token, _, err := a.NewToken(t.Context(), "home", "", oic.ScopeAdmin, 0)
	if err != nil {
		t.Fatal(err)
	}
	open, _, err := a.NewCode(t.Context(), "home")
	if err != nil {
		t.Fatal(err)
	}
	g := join(t, a, "home", lamp)
	g2, err := a.Refresh(t.Context(), nobody, "home", lamp, g.Refresh)
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	s.Close()
	files := 0
	err = filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		b, err := os.ReadFile(name)
		for what, s := range map[string]secret.String{
			"password": password, "token": token, "code": open, "access": g.Access, "refresh": g.Refresh,
			"family": g.Refresh[:familyLen], "access 2": g2.Access, "refresh 2": g2.Refresh,
		} {
			if strings.Contains(string(b), s.Reveal()) {
				t.Errorf("%s has the %s in clear", name, what)
			}
		}
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("%d files, %v", files, err)
	}
}

// TestDeleteLeavesNothing: a later account of the same name inherits nothing,
// even if the process died in between.
func TestDeleteLeavesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s := openStore(t, dir)
	a := openAccounts(t, s, Config{})
	ctx := t.Context()
	if _, err := a.Create(ctx, "home", password, false); err != nil {
		t.Fatal(err)
	}
	g := join(t, a, "home", lamp)
	token, _, err := a.NewToken(ctx, "home", "", oic.ScopeAdmin, 0)
	if err != nil {
		t.Fatal(err)
	}
	pair, _, err := a.NewCode(ctx, "home")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.BeginDelete(ctx, "home"); err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		_, err := a.Login(ctx, nobody, "home", password)
		wantStatus(t, when+": password", err, oic.Unauthorized)
		_, _, err = a.Bearer(ctx, nobody, token)
		wantStatus(t, when+": token", err, oic.Unauthorized)
		_, err = a.CheckCode(ctx, nobody, pair, door)
		wantStatus(t, when+": code", err, oic.Unauthorized)
		_, _, err = a.SignIn(ctx, nobody, "home", lamp, g.Access)
		wantStatus(t, when+": access token", err, oic.Unauthorized)
		_, err = a.Refresh(ctx, nobody, "home", lamp, g.Refresh)
		wantStatus(t, when+": refresh token", err, oic.Unauthorized)
	}
	check("begun")
	_, err = a.Create(ctx, "home", password, false)
	wantStatus(t, "create meanwhile", err, oic.Conflict)
	_, _, err = a.NewCode(ctx, "home")
	wantStatus(t, "a code meanwhile", err, oic.NotFound)
	a.Close()
	s.Close()

	s = openStore(t, dir)
	a = openAccounts(t, s, Config{})
	defer func() { a.Close(); s.Close() }()
	if names := a.Deleting(); len(names) != 1 || names[0] != "home" {
		t.Fatalf("Deleting = %q after a restart", names)
	}
	if err := a.FinishDelete(ctx, "home"); err != nil {
		t.Fatal(err)
	}
	if _, err = a.Create(ctx, "home", "another long password", false); err != nil {
		t.Fatal(err)
	}
	check("created again")
}

func TestAccountsSurviveARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s := openStore(t, dir)
	a := openAccounts(t, s, Config{})
	if _, err := a.Create(t.Context(), "home", password, true); err != nil {
		t.Fatal(err)
	}
	g := join(t, a, "home", lamp)
	a.Close()
	s.Close()
	s = openStore(t, dir)
	a = openAccounts(t, s, Config{})
	defer func() { a.Close(); s.Close() }()
	if _, err := a.Login(t.Context(), nobody, "home", password); err != nil {
		t.Errorf("login after a restart: %v", err)
	}
	if _, _, err := a.SignIn(t.Context(), nobody, "home", lamp, g.Access); err != nil {
		t.Errorf("sign-in after a restart: %v", err)
	}
}

// TestChangesOfAnotherProcess: what one node of a cluster changes, the others
// know within a second (threats rule 2).
func TestChangesOfAnotherProcess(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), "store"))
	here := openAccounts(t, s, Config{})
	var mu sync.Mutex
	told := map[string]int{}
	there := openAccounts(t, s, Config{Changed: func(name, by string) { mu.Lock(); told[name+" "+by]++; mu.Unlock() }})
	defer func() { here.Close(); there.Close(); s.Close() }()
	if _, err := here.Create(t.Context(), "home", password, true); err != nil {
		t.Fatal(err)
	}
	clear, info, err := here.NewToken(t.Context(), "home", "", oic.ScopeAdmin, 0)
	if err != nil {
		t.Fatal(err)
	}
	// The account may be known later than its token, and is asked for then.
	eventually(t, "the token is known", func() bool { return len(there.Tokens("home")) == 1 })
	who, _, err := there.Bearer(t.Context(), nobody, clear)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := here.RevokeToken(t.Context(), "home", info.ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the token is revoked", func() bool { _, ok := there.Valid(who, time.Now()); return !ok })
	eventually(t, "the listener is told of all three", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return told["home "] == 1 && told["home "+By(who)] == 2
	})
}

// eventually waits for what another process did.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

func TestValid(t *testing.T) {
	a := newAccounts(t, Config{})
	if _, err := a.Create(t.Context(), "barn", password, false); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		who oic.Identity
		ok  bool
	}{
		{oic.Identity{}, false},
		{oic.Identity{Admin: true}, true},
		{oic.Identity{Admin: true, Credential: "token:x"}, false},
		{oic.Identity{Device: lamp}, false},
		{oic.Identity{Account: "home"}, true},
		{oic.Identity{Account: "home", Admin: true}, true},
		{oic.Identity{Account: "barn", Admin: true}, false},
		{oic.Identity{Account: "nobody"}, false},
		{oic.Identity{Account: "home", Credential: "token:x"}, false},
		{oic.Identity{Account: "home", Credential: "password:x"}, false},
		{oic.Identity{Account: "home", Device: lamp, Credential: "grant:x"}, false},
		{oic.Identity{Account: "home", Credential: "x"}, false},
	} {
		if _, ok := a.Valid(c.who, time.Now()); ok != c.ok {
			b, _ := json.Marshal(c.who)
			t.Errorf("Valid(%s) = %v, want %v", b, ok, c.ok)
		}
	}
}
