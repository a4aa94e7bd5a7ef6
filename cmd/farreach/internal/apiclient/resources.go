package apiclient

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/farreach/farreach/internal/secret"
)

// Device is one device as the directory knows it.
type Device struct {
	Schema  string    `json:"schema"` // farreach.device/v1
	ID      string    `json:"di"`
	Name    string    `json:"name"`
	Type    string    `json:"type"`
	Account string    `json:"account"`
	Role    string    `json:"role,omitempty"` // what the asker is to it: owner, member, viewer
	State   string    `json:"state"`          // reachable, unproven, offline, unknown
	Since   time.Time `json:"since,omitzero"`
	Proven  time.Time `json:"proven,omitzero"`
	Gateway string    `json:"gateway,omitempty"` // di of who speaks for it
	Reason  string    `json:"reason,omitempty"`  // why State is unknown: gateway-gone
	Links   []Link    `json:"links"`
}

// Link is one resource of a device.
type Link struct {
	Href       string   `json:"href"`
	Types      []string `json:"rt"`
	Interfaces []string `json:"if"`
	Title      string   `json:"title,omitempty"`
	Observable bool     `json:"observable"`
}

// Code is a one-time pairing code.
type Code struct {
	Code    secret.String `json:"code"`
	Expires time.Time     `json:"expires"`
	URI     string        `json:"uri"` // with where it is good, as the server knows that; may be empty
}

// Account is one user's account.
type Account struct {
	Name   string `json:"name"`
	Admin  bool   `json:"admin"`
	Locked bool   `json:"locked,omitempty"`
}

// Devices lists the devices that the token's account may see.
func (c *Client) Devices(ctx context.Context) ([]Device, error) {
	return list[Device](ctx, c, "/devices", nil, "devices")
}

// Device returns one device.
func (c *Client) Device(ctx context.Context, di string) (d Device, err error) {
	err = c.call(ctx, http.MethodGet, "/devices/"+url.PathEscape(di), nil, nil, &d)
	return d, err
}

// Forget takes a device out of its account.
func (c *Client) Forget(ctx context.Context, di string) error {
	return c.call(ctx, http.MethodDelete, "/devices/"+url.PathEscape(di), nil, nil, nil)
}

// NewCode makes a pairing code.
func (c *Client) NewCode(ctx context.Context) (Code, error) {
	var code Code
	err := c.call(ctx, http.MethodPost, "/pairing-codes", nil, nil, &code)
	return code, err
}

// SignInLink signs one browser in to the dashboard.
type SignInLink struct {
	Link    secret.String `json:"link"`
	Expires time.Time     `json:"expires"`
}

// NewSignInLink makes a link that signs one browser in.
func (c *Client) NewSignInLink(ctx context.Context) (SignInLink, error) {
	var link SignInLink
	err := c.call(ctx, http.MethodPost, "/sign-in-links", nil, nil, &link)
	return link, err
}

// Accounts lists the accounts of the server.
func (c *Client) Accounts(ctx context.Context) ([]Account, error) {
	return list[Account](ctx, c, "/accounts", nil, "accounts")
}

// credentials is the body that makes or changes an account. The password is a
// string here because a secret.String would be sent as stars.
type credentials struct {
	Name     string `json:"name,omitempty"`
	Password string `json:"password"`
	Admin    bool   `json:"admin,omitempty"`
}

// AddAccount makes an account.
func (c *Client) AddAccount(ctx context.Context, name string, password secret.String, admin bool) error {
	return c.call(ctx, http.MethodPost, "/accounts", nil, credentials{name, password.Reveal(), admin}, nil)
}

// SetPassword changes the password of an account.
func (c *Client) SetPassword(ctx context.Context, name string, password secret.String) error {
	path := "/accounts/" + url.PathEscape(name) + "/password"
	return c.call(ctx, http.MethodPut, path, nil, credentials{Password: password.Reveal()}, nil)
}

// LockAccount locks an account, or unlocks it.
func (c *Client) LockAccount(ctx context.Context, name string, locked bool) error {
	method := http.MethodPut
	if !locked {
		method = http.MethodDelete
	}
	return c.call(ctx, method, "/accounts/"+url.PathEscape(name)+"/lock", nil, nil, nil)
}

// RemoveAccount deletes an account with all its devices.
func (c *Client) RemoveAccount(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, "/accounts/"+url.PathEscape(name), nil, nil, nil)
}

// Login is a log-in of an account to its XMPP server, beside its password.
type Login struct {
	Name     string    `json:"name"`
	Resource string    `json:"resource"`
	Created  time.Time `json:"created"`
}

// NewLogin is a Login that was just made.
type NewLogin struct {
	Login
	Password secret.String `json:"password"`
}

// Logins lists the log-ins of an account, oldest first.
func (c *Client) Logins(ctx context.Context, account string) ([]Login, error) {
	var answer struct {
		Logins []Login `json:"logins"`
	}
	err := c.call(ctx, http.MethodGet, loginsOf(account), nil, nil, &answer)
	return answer.Logins, err
}

// AddLogin makes a log-in for a resource of XMPP, in which * stands for
// anything.
func (c *Client) AddLogin(ctx context.Context, account, name, resource string) (made NewLogin, err error) {
	body := map[string]string{"name": name, "resource": resource}
	err = c.call(ctx, http.MethodPost, loginsOf(account), nil, body, &made)
	return made, err
}

// RemoveLogin removes a log-in, and ends its sessions.
func (c *Client) RemoveLogin(ctx context.Context, account, name string) error {
	return c.call(ctx, http.MethodDelete, loginsOf(account)+"/"+url.PathEscape(name), nil, nil, nil)
}

func loginsOf(account string) string { return "/accounts/" + url.PathEscape(account) + "/logins" }
