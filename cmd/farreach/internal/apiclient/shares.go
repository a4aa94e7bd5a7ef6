package apiclient

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Share is what one account lets another one do with one of its devices, or
// with all that it has.
type Share struct {
	ID       string    `json:"id"`
	Account  string    `json:"account"` // who gives
	Device   string    `json:"di,omitempty"`
	With     string    `json:"with"`
	Role     string    `json:"role"` // viewer, member
	Created  time.Time `json:"created"`
	Accepted time.Time `json:"accepted,omitzero"` // zero: it does not count yet
}

// Shares lists what the account gives, and what it is given.
func (c *Client) Shares(ctx context.Context) (given, received []Share, err error) {
	var answer struct {
		Given    []Share `json:"given"`
		Received []Share `json:"received"`
	}
	err = c.call(ctx, http.MethodGet, "/shares", nil, nil, &answer)
	return answer.Given, answer.Received, err
}

// Share lets another account do what role says with a device, or with all if di
// is "".
func (c *Client) Share(ctx context.Context, di, with, role string) (s Share, err error) {
	body := map[string]string{"with": with, "role": role}
	if di != "" {
		body["di"] = di
	}
	err = c.call(ctx, http.MethodPost, "/shares", nil, body, &s)
	return s, err
}

// AcceptShare accepts what another account shares.
func (c *Client) AcceptShare(ctx context.Context, id string) (s Share, err error) {
	err = c.call(ctx, http.MethodPost, "/shares/"+url.PathEscape(id)+"/accept", nil, nil, &s)
	return s, err
}

// EndShare ends a share that was given or received.
func (c *Client) EndShare(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/shares/"+url.PathEscape(id), nil, nil, nil)
}
