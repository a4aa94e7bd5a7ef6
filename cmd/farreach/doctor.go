package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/cmd/farreach/internal/checkup"
	"github.com/farreach/farreach/cmd/farreach/internal/settings"
	"github.com/farreach/farreach/reach"
)

func (a *app) doctorCmd() *cobra.Command {
	var x access
	var f doctorXMPP
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Find out what is wrong with a server, and what to do",
		Long: `Looks at the server of the profile as its devices and people meet it, and says
of each thing whether it is ok, will not be for long (warn), is broken (FAIL) or
was not looked at (skip), with what to do about it.

With --xmpp it looks at an XMPP server instead, by any hand: whether devices can
be reached over it.

The exit status is 11 if something is broken.`,
		Example: `  farreach doctor
  farreach doctor --json | jq '.checks[] | select(.state == "FAIL")'
  farreach doctor --xmpp ann@home.example --password-file pw`,
		GroupID: groupOperate,
		Args:    takes(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.doctor(cmd.Context(), x, f) },
	}
	x.flags(cmd)
	f.flags(cmd)
	return cmd
}

// doctorXMPP says which XMPP server to look at, and as whom.
type doctorXMPP struct {
	xmppFlags
	pw passwordSource
}

func (f *doctorXMPP) flags(cmd *cobra.Command) {
	f.xmppFlags.flags(cmd, "look at the server of")
	f.pw.flags(cmd)
}

// doctorDoc is what doctor writes with --json.
type doctorDoc struct {
	Schema  string           `json:"schema"`
	Profile string           `json:"profile"`
	Checks  []checkup.Result `json:"checks"`
	OK      int              `json:"ok"`
	Warn    int              `json:"warn"`
	Fail    int              `json:"fail"`
	Skip    int              `json:"skip"`
	Took    float64          `json:"took_s"`
}

func (a *app) doctor(ctx context.Context, x access, f doctorXMPP) error {
	start := time.Now()
	look := a.lookAtProfile
	if f.jid != "" {
		look = f.look(a)
	}
	results, err := look(ctx, x)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	doc := doctorDoc{Schema: "farreach.doctor/v1", Profile: a.profile, Checks: results, Took: time.Since(start).Seconds()}
	for _, r := range results {
		*doc.count(r.State)++
	}
	if err := a.showDoctor(doc); err != nil {
		return err
	}
	if doc.Fail > 0 {
		return fail(exitChecks, "", "%s", doc.summary())
	}
	return nil
}

// lookAtProfile looks at the server of the profile.
func (a *app) lookAtProfile(ctx context.Context, x access) ([]checkup.Result, error) {
	subject, results, err := a.subject(x)
	if err != nil || subject == nil {
		return results, err
	}
	defer subject.API.Close()
	return append(results, checkup.Run(ctx, *subject)...), nil
}

// look looks at an XMPP server. Whom to believe is what --ca-file says, else the
// profile if there is one, else the system.
func (f doctorXMPP) look(a *app) func(context.Context, access) ([]checkup.Result, error) {
	return func(ctx context.Context, x access) ([]checkup.Result, error) {
		client, err := f.config()
		if err != nil {
			return nil, err
		}
		if client.Password, err = a.password(f.pw); err != nil {
			return nil, err
		}
		server, err := a.server()
		if err != nil {
			server = new(settings.Server)
		}
		if client.TLS, err = a.tls(x, server); err != nil {
			return nil, err
		}
		client.Log = a.log(slog.LevelError)
		return checkup.RunXMPP(ctx, checkup.XMPP{Timeout: x.timeout, Client: client}), nil
	}
}

// subject is the server to look at; nil if the profile is already what is
// wrong, which the results say then.
func (a *app) subject(x access) (*checkup.Subject, []checkup.Result, error) {
	broken := func(fix string, err error) (*checkup.Subject, []checkup.Result, error) {
		return nil, []checkup.Result{{Check: "profile", State: checkup.Fail, Text: oneLine(err), Fix: fix}}, nil
	}
	server, err := a.server()
	if err != nil {
		return broken("farreach up, which writes one", err)
	}
	cfg := reach.Config{Cloud: server.Cloud(), Account: a.accountOf(x, server), Log: a.log(slog.LevelError)}
	if cfg.Token, err = a.token(x, server); err != nil {
		return broken("--token-file, or a profile of farreach up", err)
	}
	if cfg.TLS, err = a.tls(x, server); err != nil {
		return broken("--ca-file, or a profile of farreach up", err)
	}
	api := apiclient.New(apiclient.Config{Base: server.API(), Token: cfg.Token, TLS: cfg.TLS, Timeout: x.timeout})
	found := checkup.Result{Check: "profile", State: checkup.OK, Text: profileText(a.profile, server)}
	if x.insecure {
		found.State, found.Fix = checkup.Warn, "leave out --insecure"
	}
	return &checkup.Subject{Server: server, API: api, Reach: cfg, Timeout: x.timeout}, []checkup.Result{found}, nil
}

func profileText(name string, s *settings.Server) string {
	if s.Account == "" {
		return name
	}
	return fmt.Sprintf("%s, account %s", name, s.Account)
}

func (d *doctorDoc) count(s checkup.State) *int {
	switch s {
	case checkup.OK:
		return &d.OK
	case checkup.Warn:
		return &d.Warn
	case checkup.Fail:
		return &d.Fail
	}
	return &d.Skip
}

func (d *doctorDoc) summary() string {
	return fmt.Sprintf("%d ok, %d warn, %d FAIL, %d skipped", d.OK, d.Warn, d.Fail, d.Skip)
}

func (a *app) showDoctor(doc doctorDoc) error {
	if a.json {
		return a.screen().Doc(doc)
	}
	for _, r := range doc.Checks {
		if !a.terminal {
			if err := a.screen().Line(string(r.State), r.Check, r.Text, r.Fix); err != nil {
				return err
			}
			continue
		}
		line := fmt.Sprintf(" %-4s  %-12s", r.State, r.Check)
		if err := a.screen().Line(line, r.Text); err != nil {
			return err
		}
		if r.Fix != "" {
			if err := a.screen().Line("       fix:", r.Fix); err != nil {
				return err
			}
		}
	}
	if a.terminal && doc.Fail == 0 {
		a.say("%s   %.1f s", doc.summary(), doc.Took)
	}
	return nil
}
