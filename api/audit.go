package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/farreach/farreach/cloud/audit"
)

// Audit is what was done about accounts and rights, and who was refused, newest
// first.
type Audit struct {
	Schema  string       `json:"schema" enum:"farreach.audit/v1"`
	Entries []AuditEntry `json:"entries"`
	Next    string       `json:"next,omitempty" doc:"cursor of the next page"`
}

// AuditEntry is one thing that was done, or tried.
type AuditEntry struct {
	Schema  string    `json:"schema" enum:"farreach.audit-entry/v1"`
	Seq     uint64    `json:"seq" doc:"the order of entries; there may be gaps"`
	Time    time.Time `json:"time"`
	Account string    `json:"account,omitempty" doc:"whose matter it is; none: the server's"`
	By      AuditBy   `json:"by"`
	What    string    `json:"what" example:"token.create"`
	On      string    `json:"on,omitempty" doc:"what it was done to, for a person"`
	From    string    `json:"from,omitempty" doc:"address of who was refused; of IPv6 the first 64 bits"`
	Times   int       `json:"times,omitempty" doc:"how often, within 10 s"`
	Detail  string    `json:"detail,omitempty"`
}

// AuditBy is who did it.
type AuditBy struct {
	Account string `json:"account,omitempty"`
	Kind    string `json:"kind" example:"token" doc:"token, password, browser, device; server: the program itself; nobody: who was refused"`
	ID      string `json:"id,omitempty" doc:"of the token or device"`
	Name    string `json:"name,omitempty" doc:"of the token at that time"`
}

// auditInput selects entries.
type auditInput struct {
	PageInput
	Account   string    `query:"account" maxLength:"1024" doc:"another account than the own one: for admins"`
	Everybody bool      `query:"everybody" doc:"all accounts, and the server: for admins"`
	Since     time.Time `query:"since" doc:"not before this time"`
}

func (h *Handler) auditRoutes() {
	huma.Register(h.huma, operation(http.MethodGet, "/api/v1/audit", "list-audit",
		"List who did what about accounts and rights, and who was refused, newest first", "audit", 200, 403, 503), h.listAudit)
}

func (h *Handler) listAudit(ctx context.Context, in *auditInput) (*paged[Audit], error) {
	who := asker(ctx)
	before, err := in.afterSeq()
	if err != nil {
		return nil, err
	}
	f := audit.Filter{Everybody: in.Everybody, Account: in.Account, Since: in.Since, Before: before, Limit: in.limit(100)}
	if f.Account == "" {
		f.Account = who.Account
	}
	entries, err := h.cloud.Audit(ctx, who, f)
	if err != nil {
		return nil, h.problem(err)
	}
	out := Audit{Schema: "farreach.audit/v1", Entries: make([]AuditEntry, len(entries))}
	for i, e := range entries {
		out.Entries[i] = AuditEntry{
			Schema: "farreach.audit-entry/v1", Seq: e.Seq, Time: e.Time, Account: e.Account, By: AuditBy(e.By),
			What: e.What, On: e.On, From: e.From, Times: e.Times, Detail: e.Detail,
		}
	}
	if len(entries) == f.Limit {
		out.Next = cursorSeq(entries[len(entries)-1].Seq)
	}
	return onePage(ctx, out, out.Next), nil
}
