package account

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/internal/secret"
)

const (
	lamp = "a1b2c3d4-0000-4000-8000-000000000001"
	ttl  = time.Hour
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestRefreshTokensAreReplaced(t *testing.T) {
	g, one := newGrant("home", lamp, start, ttl)
	two, what := g.refresh(one.Refresh, start.Add(50*time.Minute), ttl)
	if what != replaced || two.Refresh == one.Refresh || two.Access == one.Access {
		t.Fatalf("refresh = %v, want new tokens", what)
	}
	if want := start.Add(110 * time.Minute); !two.Expires.Equal(want) {
		t.Errorf("expires %v, want %v", two.Expires, want)
	}
	if three, what := g.refresh(two.Refresh, start.Add(100*time.Minute), ttl); what != replaced || three.Account != "home" || three.Device != lamp {
		t.Errorf("refresh = %+v, %v", three, what)
	}
}

// TestRefreshAgain16: the same request within 60 s is answered, for the answer
// may have been lost; later it is a theft (threats rule 16).
func TestRefreshAgain16(t *testing.T) {
	for _, c := range []struct {
		after time.Duration
		want  exchange
	}{
		{0, replaced},
		{59 * time.Second, replaced},
		{60 * time.Second, stolen},
		{time.Hour, stolen},
	} {
		g, one := newGrant("home", lamp, start, ttl)
		two, _ := g.refresh(one.Refresh, start, ttl)
		again, what := g.refresh(one.Refresh, start.Add(c.after), ttl)
		if what != c.want {
			t.Errorf("again after %v: %v, want %v", c.after, what, c.want)
			continue
		}
		if what != replaced {
			continue
		}
		for name, got := range map[string]Grant{"first": two, "second": again} {
			if _, ok := g.access(got.Access, start.Add(c.after)); !ok {
				t.Errorf("after %v: the access token of the %s answer is not good", c.after, name)
			}
		}
		if _, what := g.refresh(two.Refresh, start.Add(c.after), ttl); what != replaced {
			t.Errorf("after %v: the refresh token of the first answer is not good", c.after)
		}
		if _, what := g.refresh(again.Refresh, start.Add(c.after), ttl); what != stolen {
			t.Errorf("after %v: both answers were used, %v", c.after, what)
		}
	}
}

func TestRepeatingDoesNotLengthenTheMinute(t *testing.T) {
	g, one := newGrant("home", lamp, start, ttl)
	for _, after := range []time.Duration{0, 30 * time.Second, 59 * time.Second} {
		if _, what := g.refresh(one.Refresh, start.Add(after), ttl); what != replaced {
			t.Fatalf("after %v: %v", after, what)
		}
	}
	if _, what := g.refresh(one.Refresh, start.Add(61*time.Second), ttl); what != stolen {
		t.Errorf("after 61 s: %v, want stolen", what)
	}
}

// TestForeignRefreshTokens: what never belonged to a grant does not revoke it,
// or anybody who knows a di could.
func TestForeignRefreshTokens(t *testing.T) {
	g, one := newGrant("home", lamp, start, ttl)
	_, other := newGrant("home", lamp, start, ttl)
	for name, tok := range map[string]secret.String{
		"empty": "", "short": "frt_", "of another grant": other.Refresh, "access": one.Access,
		"other family": other.Refresh[:familyLen] + one.Refresh[familyLen:],
	} {
		if _, what := g.refresh(tok, start, ttl); what != unknown {
			t.Errorf("%s: %v, want unknown", name, what)
		}
	}
	if _, what := g.refresh(one.Refresh+"x", start, ttl); what != stolen {
		t.Errorf("the family with another end: %v, want stolen", what)
	}
}

func TestAccessTokensExpire(t *testing.T) {
	g, one := newGrant("home", lamp, start, ttl)
	for _, c := range []struct {
		after time.Duration
		good  bool
	}{{0, true}, {59 * time.Minute, true}, {time.Hour, false}, {time.Hour + time.Second, false}} {
		if _, good := g.access(one.Access, start.Add(c.after)); good != c.good {
			t.Errorf("after %v: good = %v", c.after, good)
		}
	}
	two, _ := g.refresh(one.Refresh, start.Add(10*time.Minute), ttl)
	if _, good := g.access(one.Access, start.Add(10*time.Minute+59*time.Second)); !good {
		t.Error("a replaced access token is not good while the answer is on its way")
	}
	if _, good := g.access(one.Access, start.Add(11*time.Minute)); good {
		t.Error("a replaced access token is good a minute later")
	}
	if _, good := g.access(two.Access, start.Add(69*time.Minute)); !good {
		t.Error("the new access token does not live its hour")
	}
}

func TestAccessForEver(t *testing.T) {
	g, one := newGrant("home", lamp, start, -1)
	if !one.Expires.IsZero() {
		t.Errorf("expires %v, want never", one.Expires)
	}
	if _, good := g.access(one.Access, start.AddDate(10, 0, 0)); !good {
		t.Error("a token that never ends has ended")
	}
	g.refresh(one.Refresh, start.AddDate(10, 0, 0), -1)
	if _, good := g.access(one.Access, start.AddDate(10, 0, 1)); good {
		t.Error("a replaced token that never ends is good a day later")
	}
}

// TestGrantStaysSmallAndSecret: whatever a device does, its record has a few
// tokens, and none of them in clear.
func TestGrantStaysSmallAndSecret(t *testing.T) {
	g, out := newGrant("home", lamp, start, ttl)
	all, first := []Grant{out}, out.Refresh
	for range 100 {
		again, what := g.refresh(first, start, ttl)
		if what != replaced {
			t.Fatal(what)
		}
		all = append(all, again)
	}
	b, err := json.Marshal(g)
	if err != nil || len(b) > 2048 {
		t.Errorf("the record has %d bytes, %v", len(b), err)
	}
	for _, out := range all {
		for _, tok := range []secret.String{out.Access, out.Refresh, out.Refresh[:familyLen]} {
			if strings.Contains(string(b), tok.Reveal()) {
				t.Fatalf("the record has a token in clear: %s", b)
			}
		}
	}
	var back grant
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if _, ok := back.access(all[100].Access, start); !ok {
		t.Error("the record does not know the newest token when it comes back")
	}
}

func TestPairingCodeIsUsedOnce(t *testing.T) {
	const door = "a1b2c3d4-0000-4000-8000-000000000002"
	c := code{Account: "home", Expires: start.Add(codeLife)}
	if c.usable(lamp, start.Add(codeLife)) {
		t.Error("an expired code is usable")
	}
	if err := c.use(lamp, start); err != nil {
		t.Fatal(err)
	}
	for _, u := range []struct {
		di    string
		after time.Duration
		ok    bool
	}{
		{door, 0, false},
		{lamp, 0, true}, // cloud-interface rule 12
		{lamp, 59 * time.Second, true},
		{lamp, 60 * time.Second, false},
		{door, 61 * time.Second, false},
	} {
		if err := c.use(u.di, start.Add(u.after)); (err == nil) != u.ok {
			t.Errorf("%s after %v: %v", u.di, u.after, err)
		}
	}
}
