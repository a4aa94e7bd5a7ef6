package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/farreach/farreach/cloud/account"
	"github.com/farreach/farreach/oic"
)

// Tokens is the API tokens of the account that are good now, oldest first.
type Tokens struct {
	Schema string  `json:"schema" enum:"farreach.tokens/v1"`
	Tokens []Token `json:"tokens"`
}

// Token is an API token.
type Token struct {
	Schema  string    `json:"schema" enum:"farreach.token/v1"`
	ID      string    `json:"id"`
	Name    string    `json:"name" doc:"may be empty"`
	Scope   string    `json:"scope" enum:"read,command,admin" doc:"what it may do at most"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero" required:"false" doc:"none: when it is revoked"`
	Used    time.Time `json:"used,omitzero" required:"false" doc:"the last time, to the minute; none: never"`
	Token   string    `json:"token,omitempty" doc:"only when it was just made"`
}

// newToken is the body that makes a token. The limits are the cloud's to tell.
type newToken struct {
	Body struct {
		Name    string    `json:"name,omitempty" example:"grafana" doc:"by which you will know it"`
		Scope   string    `json:"scope" enum:"read,command,admin" doc:"read: see and read; command: change what devices do, too; admin: everything that the account may"`
		Expires time.Time `json:"expires,omitzero" required:"false" doc:"none: it is good until it is revoked"`
	}
}

// tokenInput is a path with a token in it.
type tokenInput struct {
	ID string `path:"id" maxLength:"64" doc:"the token's id"`
}

func (h *Handler) tokenRoutes() {
	const path = "/api/v1/tokens"
	huma.Register(h.huma, operation(http.MethodGet, path, "list-tokens", "List the account's API tokens", "tokens", 200, 403),
		h.listTokens)
	first := operation(http.MethodPost, path, "new-token", "Make an API token", "tokens", 201, 403, 503)
	first.Security = append(first.Security, map[string][]string{byPassword: {}}) // who has no token yet
	huma.Register(h.huma, first, h.newToken)
	huma.Register(h.huma, operation(http.MethodDelete, path+"/{id}", "revoke-token",
		"Revoke an API token, and end what is open by it", "tokens", 204, 403, 404, 503),
		func(ctx context.Context, in *tokenInput) (*struct{}, error) {
			return nil, h.problem(h.cloud.RevokeToken(ctx, asker(ctx), in.ID))
		})
}

func (h *Handler) listTokens(ctx context.Context, _ *struct{}) (*body[Tokens], error) {
	list, err := h.cloud.Tokens(ctx, asker(ctx))
	if err != nil {
		return nil, h.problem(err)
	}
	out := Tokens{Schema: "farreach.tokens/v1", Tokens: make([]Token, len(list))}
	for i, t := range list {
		out.Tokens[i] = tokenOf(t)
	}
	return &body[Tokens]{out}, nil
}

func (h *Handler) newToken(ctx context.Context, in *newToken) (*created[Token], error) {
	scope, err := oic.ParseScope(in.Body.Scope)
	if err != nil {
		return nil, h.problem(err)
	}
	var life time.Duration
	if !in.Body.Expires.IsZero() {
		if life = time.Until(in.Body.Expires); life <= 0 {
			return nil, h.problem(oic.Errorf(oic.BadRequest, "expires: that is not in the future"))
		}
	}
	clear, t, err := h.cloud.NewToken(ctx, asker(ctx), in.Body.Name, scope, life)
	if err != nil {
		return nil, h.problem(err)
	}
	out := tokenOf(t)
	out.Token = clear.Reveal()
	return &created[Token]{Location: "/api/v1/tokens/" + t.ID, Body: out}, nil
}

func tokenOf(t account.Token) Token {
	return Token{
		Schema: "farreach.token/v1", ID: t.ID, Name: t.Label, Scope: t.Scope.String(),
		Created: t.Created.UTC(), Expires: t.Expires.UTC(), Used: t.Used.UTC(),
	}
}
