package sasl

import (
	"context"
	"strings"
	"testing"
)

// FuzzServer: whatever a client says, it is not let in without the proof that
// fits, and whatever it says first, the challenge continues its nonce.
func FuzzServer(f *testing.F) {
	for _, e := range exchanges(f) {
		f.Add(e.first, e.final)
		f.Add("y,a=x,n=a=2Cb,r=abc,x=y", strings.Replace(e.final, "biws", "eSxhPXgs", 1))
	}
	f.Fuzz(func(t *testing.T, first, final string) {
		s, err := (&Offer{
			Verifier: func(_ context.Context, m Mechanism, name string) (Verifier, error) {
				return Fake([]byte("key"), m, name, MinIterations), nil
			},
			Authorize: func(string, string) bool { return true },
		}).Start(ScramSHA256)
		if err != nil {
			t.Fatal(err)
		}
		challenge, done, err := s.Step(t.Context(), []byte(first))
		if err != nil {
			return
		}
		m, err := parseServerFirst(string(challenge))
		if err != nil || done || s.Claimed() == "" {
			t.Fatalf("%q was answered with %q, %v, for %q: %v", first, challenge, done, s.Claimed(), err)
		}
		c, _ := parseClientFirst(first)
		if added, ok := strings.CutPrefix(m.nonce, c.nonce); !ok || len(added) < minServerNonce {
			t.Fatalf("nonce %q does not continue %q", m.nonce, c.nonce)
		}
		if c.header+c.bare != first {
			t.Fatalf("%q is %q and %q", first, c.header, c.bare)
		}
		if _, done, err := s.Step(t.Context(), []byte(final)); done || err == nil || s.User() != "" {
			t.Fatalf("%q was let in with %q", first, final)
		}
	})
}

// FuzzClient: whatever a server says, the client trusts none that does not
// know the password, and sends a proof only to a challenge within the bounds.
func FuzzClient(f *testing.F) {
	for _, e := range exchanges(f) {
		f.Add(strings.TrimPrefix(e.challenge, "r=rOprNGfwEbeRWgbNEkqO"), e.success)
	}
	e := exchanges(f)[1]
	var k Keys
	f.Fuzz(func(t *testing.T, challenge, success string) {
		if m, err := parseServerFirst(challenge); err == nil && m.iterations > 2*MinIterations {
			t.Skip("allowed, and slow")
		}
		c := e.client(t, &k)
		answer, err := c.Step([]byte("r=rOprNGfwEbeRWgbNEkqO" + challenge))
		if (answer == nil) != (err != nil) {
			t.Fatalf("challenge %q: %q and %v", challenge, answer, err)
		}
		if err == nil {
			if _, err := parseClientFinal(string(answer)); err != nil {
				t.Fatalf("challenge %q: %q: %v", challenge, answer, err)
			}
		}
		if "r=rOprNGfwEbeRWgbNEkqO"+challenge == e.challenge && success == e.success {
			return
		}
		if c.Success([]byte(success)) == nil {
			t.Fatalf("trusts %q and %q", challenge, success)
		}
	})
}
