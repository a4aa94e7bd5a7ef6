// Package checkup looks at a server from outside, as its devices and people
// meet it, and says what is wrong and what to do about it:
//
//	profile ──▶ HTTP: clock, store ──▶ coaps+tcp: certificate, ALPN ──▶ sign-in ──▶ devices
//	        └──▶ this machine: disk, open files
//
//	JID ──▶ XMPP, by any hand: TLS, mechanism, presence, order, sizes, resumption
//
// What rests on something that failed is skipped, so that one fault gives one
// failure.
package checkup

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/cmd/farreach/internal/settings"
	"github.com/farreach/farreach/reach"
)

// State is how a check ended.
type State string

// The states.
const (
	OK   State = "ok"
	Warn State = "warn" // works, but not for ever, or not for everybody
	Fail State = "FAIL"
	Skip State = "skip" // could not be looked at, or is off on purpose
)

// Result is what one check found.
type Result struct {
	Check string `json:"check"`
	State State  `json:"state"`
	Text  string `json:"text"`
	Fix   string `json:"fix,omitempty"` // what to do; empty unless Warn or Fail
}

// Subject is the server to look at. Only Server, API and Reach have no default.
type Subject struct {
	Server  *settings.Server
	API     *apiclient.Client
	Reach   reach.Config
	Timeout time.Duration // for each question; 0: 5 s
}

// check is one question. It answers within its context.
type check struct {
	name  string
	needs string // the check that must not have failed; empty: none
	ask   func(context.Context) Result
}

// Run asks everything, in order. It returns early when ctx ends.
func Run(ctx context.Context, s Subject) []Result {
	return run(ctx, cmp.Or(s.Timeout, 5*time.Second), s.checks())
}

func (s Subject) checks() []check {
	return []check{
		{"http", "", s.http},
		{"clock", "http", s.clock},
		{"store", "http", s.store},
		{"replicas", "store", s.replicas},
		{"nodes", "http", s.nodes},
		{"tls", "", s.tls},
		{"alpn", "tls", s.alpn},
		{"plain port", "", s.plain},
		{"sign-in", "", s.signIn},
		{"devices", "http", s.devices},
		{"disk", "", s.disk},
		{"open files", "", openFiles},
	}
}

// run asks the checks, in order. What rests on one that failed is skipped.
func run(ctx context.Context, timeout time.Duration, checks []check) []Result {
	var results []Result
	bad := map[string]bool{}
	for _, c := range checks {
		if ctx.Err() != nil {
			return results
		}
		r := skip("rests on " + c.needs)
		if c.needs == "" || !bad[c.needs] {
			r = one(ctx, timeout, c)
		}
		r.Check = c.name
		bad[c.name] = r.State == Fail || r.State == Skip && bad[c.needs]
		results = append(results, r)
	}
	return results
}

func one(ctx context.Context, timeout time.Duration, c check) Result {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return c.ask(ctx)
}

func ok(format string, args ...any) Result {
	return Result{State: OK, Text: fmt.Sprintf(format, args...)}
}

func skip(why string) Result { return Result{State: Skip, Text: why} }

func warn(fix, format string, args ...any) Result {
	return Result{State: Warn, Text: fmt.Sprintf(format, args...), Fix: fix}
}

func failed(fix, format string, args ...any) Result {
	return Result{State: Fail, Text: fmt.Sprintf(format, args...), Fix: fix}
}

// config is the TLS configuration of the subject, to be changed freely.
func (s Subject) config() *tls.Config {
	if s.Reach.TLS == nil {
		return &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return s.Reach.TLS.Clone()
}
