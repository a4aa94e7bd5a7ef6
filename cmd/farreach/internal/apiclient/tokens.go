package apiclient

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/farreach/farreach/internal/secret"
)

// Token is an API token of the account.
type Token struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Scope   string    `json:"scope"` // read, command, admin
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
	Used    time.Time `json:"used,omitzero"`    // zero: never
}

// NewToken is a Token that was just made.
type NewToken struct {
	Token
	Secret secret.String `json:"token"`
}

// Tokens lists the tokens of the account that are good, oldest first.
func (c *Client) Tokens(ctx context.Context) ([]Token, error) {
	return list[Token](ctx, c, "/tokens", nil, "tokens")
}

// AddToken makes a token. Without a life it is good until it is revoked.
func (c *Client) AddToken(ctx context.Context, name, scope string, life time.Duration) (made NewToken, err error) {
	body := map[string]any{"name": name, "scope": scope}
	if life > 0 {
		body["expires"] = time.Now().Add(life).UTC().Format(time.RFC3339)
	}
	err = c.call(ctx, http.MethodPost, "/tokens", nil, body, &made)
	return made, err
}

// RevokeToken ends a token, and what is open by it.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/tokens/"+url.PathEscape(id), nil, nil, nil)
}
