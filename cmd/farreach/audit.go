package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
)

type auditDoc struct {
	Schema  string                 `json:"schema"`
	Entries []apiclient.AuditEntry `json:"entries"`
}

func (a *app) auditCmd() *cobra.Command {
	var f apiclient.AuditFilter
	var since string
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Show who changed what about accounts and rights, and who was refused",
		Long: `Shows, newest first, who made and removed tokens, shares, log-ins, devices and the
like, and who tried to get in and was refused. Another account than your own, and
--everybody, are for admins.`,
		Example: `  farreach audit --since 48h
  farreach audit --everybody --json | jq '.entries[] | select(.what == "sign-in.refused")'`,
		GroupID: groupOperate,
		Args:    takes(),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.Account, "account", "", "of this `account`")
	flags.BoolVar(&f.Everybody, "everybody", false, "of all accounts, and the server")
	flags.StringVar(&since, "since", "", "from a `time` on: 2h ago, or 2026-01-31T08:00:00Z")
	flags.IntVar(&f.Limit, "limit", 100, "at most `N`")
	return a.overAPI(cmd, func(ctx context.Context, api *apiclient.Client, _ []string) error {
		if f.Limit <= 0 {
			return misuse("--limit 100", "--limit must be above 0")
		}
		var err error
		if f.Since, err = parseTime("--since", since, time.Now()); err != nil {
			return err
		}
		entries, err := api.Audit(ctx, f)
		if err != nil {
			return err
		}
		if a.json {
			return a.screen().Doc(auditDoc{"farreach.audit/v1", append([]apiclient.AuditEntry{}, entries...)})
		}
		rows := make([][]any, len(entries))
		for i, e := range entries {
			rows[i] = []any{e.Time, cmp.Or(e.Account, "(server)"), doneBy(e), e.What, doneTo(e)}
		}
		return a.screen().Table([]string{"when", "account", "by", "what", "on"}, rows)
	})
}

// doneBy is who did it, for a person.
func doneBy(e apiclient.AuditEntry) string {
	text := e.By.Kind
	if name := cmp.Or(e.By.Name, e.By.ID); name != "" {
		text += " " + name
	}
	if e.By.Account != "" {
		text = e.By.Account + ", " + text
	}
	if e.From != "" {
		text += " at " + e.From
	}
	return text
}

// doneTo is what it was done to.
func doneTo(e apiclient.AuditEntry) string {
	text := e.On
	if e.Times > 1 {
		text = fmt.Sprintf("%s, %d times", cmp.Or(text, "nobody's name"), e.Times)
	}
	if e.Detail != "" {
		text += ", " + e.Detail
	}
	return text
}
