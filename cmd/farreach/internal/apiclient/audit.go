package apiclient

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// AuditEntry is one thing that was done about accounts and rights.
type AuditEntry struct {
	Schema  string    `json:"schema"`
	Seq     uint64    `json:"seq"`
	Time    time.Time `json:"time"`
	Account string    `json:"account,omitempty"` // whose matter it is; "": the server's
	By      struct {
		Account string `json:"account,omitempty"`
		Kind    string `json:"kind"`
		ID      string `json:"id,omitempty"`
		Name    string `json:"name,omitempty"`
	} `json:"by"`
	What   string `json:"what"`
	On     string `json:"on,omitempty"`
	From   string `json:"from,omitempty"`
	Times  int    `json:"times,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// AuditFilter selects entries. The zero filter selects those of the own account.
type AuditFilter struct {
	Account   string // another one
	Everybody bool
	Since     time.Time
	Limit     int // the newest ones
}

// auditPage is how many entries are asked for at once.
const auditPage = 1000

// Audit lists what was done about accounts and rights, newest first.
func (c *Client) Audit(ctx context.Context, f AuditFilter) (all []AuditEntry, err error) {
	query := url.Values{}
	if f.Account != "" {
		query.Set("account", f.Account)
	}
	if f.Everybody {
		query.Set("everybody", "true")
	}
	if !f.Since.IsZero() {
		query.Set("since", f.Since.UTC().Format(time.RFC3339Nano))
	}
	for {
		query.Set("limit", strconv.Itoa(min(f.Limit-len(all), auditPage)))
		var answer struct {
			Entries []AuditEntry `json:"entries"`
			Next    string       `json:"next"`
		}
		if err := c.call(ctx, http.MethodGet, "/audit", query, nil, &answer); err != nil {
			return nil, err
		}
		all = append(all, answer.Entries...)
		if answer.Next == "" || len(all) >= f.Limit || len(answer.Entries) == 0 {
			return all, nil
		}
		query.Set("cursor", answer.Next)
	}
}
