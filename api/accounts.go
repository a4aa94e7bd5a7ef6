package api

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/farreach/farreach/cloud/account"
	"github.com/farreach/farreach/internal/secret"
)

// PairingCode lets one device join the account.
type PairingCode struct {
	Schema  string    `json:"schema" enum:"farreach.pairing-code/v1"`
	Code    string    `json:"code" example:"7K3P-9QXM-4TBH"`
	Account string    `json:"account"`
	Expires time.Time `json:"expires"`
	URI     string    `json:"uri,omitempty" doc:"what a QR code for an onboarding application says"`
}

// Accounts is all accounts.
type Accounts struct {
	Schema   string    `json:"schema" enum:"farreach.accounts/v1"`
	Accounts []Account `json:"accounts"`
	Next     string    `json:"next,omitempty" doc:"cursor of the next page"`
}

// Account is a user's account.
type Account struct {
	Schema  string    `json:"schema" enum:"farreach.account/v1"`
	Name    string    `json:"name"`
	Admin   bool      `json:"admin" doc:"may manage accounts"`
	Locked  bool      `json:"locked,omitempty" doc:"nobody signs in, and its tokens are refused; its devices and rules go on"`
	Created time.Time `json:"created"`
}

// newAccount is the body that makes an account. The limits are the cloud's to
// tell.
type newAccount struct {
	Body struct {
		Name     string `json:"name"`
		Password string `json:"password" format:"password"`
		Admin    bool   `json:"admin,omitempty" doc:"may manage accounts"`
	}
}

// Logins is the log-ins of an account to its XMPP server, beside its password.
type Logins struct {
	Schema string  `json:"schema" enum:"farreach.logins/v1"`
	Logins []Login `json:"logins"`
}

// Login is one of them.
type Login struct {
	Schema   string    `json:"schema" enum:"farreach.login/v1"`
	Name     string    `json:"name"`
	Resource string    `json:"resource" doc:"resource that may be bound; * stands for anything"`
	Created  time.Time `json:"created"`
	Password string    `json:"password,omitempty" doc:"only when it was just made"`
}

// newLogin is the body that adds a log-in.
type newLogin struct {
	Name string `path:"name" maxLength:"1024"`
	Body struct {
		Name     string `json:"name" example:"lamp"`
		Resource string `json:"resource" example:"OIC/1.0/*/0685b960-736f-46f7-bec0-9e6cbd61adc1" doc:"resource that may be bound; * stands for anything"`
	}
}

// loginInput is a path with a log-in in it.
type loginInput struct {
	Name  string `path:"name" maxLength:"1024"`
	Login string `path:"login" maxLength:"1024"`
}

// created is an answer that names what was made.
type created[T any] struct {
	Location string `header:"Location"`
	Body     T
}

// accountInput is a path with an account in it.
type accountInput struct {
	Name string `path:"name" maxLength:"1024"`
}

// newPassword is the body that changes a password.
type newPassword struct {
	Name string `path:"name" maxLength:"1024"`
	Body struct {
		Password string `json:"password" format:"password"`
	}
}

func (h *Handler) accountRoutes() {
	const path = "/api/v1/accounts"
	huma.Register(h.huma, operation(http.MethodPost, "/api/v1/pairing-codes", "new-pairing-code",
		"Make a code with which one device joins the account", "devices", 201, 403, 503), h.newPairingCode)
	huma.Register(h.huma, operation(http.MethodGet, path, "list-accounts",
		"List all accounts", "accounts", 200, 403), h.listAccounts)
	huma.Register(h.huma, operation(http.MethodPost, path, "new-account",
		"Make an account", "accounts", 201, 403, 409, 503), h.newAccount)
	huma.Register(h.huma, operation(http.MethodPut, path+"/{name}/password", "set-password",
		"Replace an account's password", "accounts", 204, 403, 404, 503),
		func(ctx context.Context, in *newPassword) (*struct{}, error) {
			return nil, h.problem(h.cloud.SetPassword(ctx, asker(ctx), in.Name, secret.String(in.Body.Password)))
		})
	lock := func(locked bool) func(context.Context, *accountInput) (*struct{}, error) {
		return func(ctx context.Context, in *accountInput) (*struct{}, error) {
			return nil, h.problem(h.cloud.LockAccount(ctx, asker(ctx), in.Name, locked))
		}
	}
	huma.Register(h.huma, operation(http.MethodPut, path+"/{name}/lock", "lock-account",
		"Lock an account: nobody signs in and its tokens are refused, its devices and rules go on", "accounts", 204, 403, 404, 409, 503), lock(true))
	huma.Register(h.huma, operation(http.MethodDelete, path+"/{name}/lock", "unlock-account",
		"Unlock an account: what was good before is good again", "accounts", 204, 403, 404, 503), lock(false))
	huma.Register(h.huma, operation(http.MethodGet, path+"/{name}/logins", "list-logins",
		"List the log-ins that an account has beside its password", "accounts", 200, 403, 404), h.listLogins)
	huma.Register(h.huma, operation(http.MethodPost, path+"/{name}/logins", "new-login",
		"Make a log-in with a password of its own, for one XMPP resource", "accounts", 201, 403, 404, 409, 503), h.newLogin)
	huma.Register(h.huma, operation(http.MethodDelete, path+"/{name}/logins/{login}", "delete-login",
		"Remove a log-in, and end its sessions", "accounts", 204, 403, 404, 503),
		func(ctx context.Context, in *loginInput) (*struct{}, error) {
			return nil, h.problem(h.cloud.RemoveLogin(ctx, asker(ctx), in.Name, in.Login))
		})
	huma.Register(h.huma, operation(http.MethodDelete, path+"/{name}", "delete-account",
		"Delete an account with its devices and events", "accounts", 204, 403, 404, 503),
		func(ctx context.Context, in *accountInput) (*struct{}, error) {
			return nil, h.problem(h.cloud.DeleteAccount(ctx, asker(ctx), in.Name))
		})
}

func (h *Handler) newPairingCode(ctx context.Context, _ *struct{}) (*body[PairingCode], error) {
	who := asker(ctx)
	code, expires, err := h.cloud.NewPairingCode(ctx, who)
	if err != nil {
		return nil, h.problem(err)
	}
	out := PairingCode{Schema: "farreach.pairing-code/v1", Code: code.Reveal(), Account: who.Account, Expires: expires.UTC()}
	if h.pairingURI != nil {
		out.URI = h.pairingURI(out.Code)
	}
	return &body[PairingCode]{out}, nil
}

func (h *Handler) listAccounts(ctx context.Context, in *PageInput) (*paged[Accounts], error) {
	list, err := h.cloud.Accounts(ctx, asker(ctx))
	if err != nil {
		return nil, h.problem(err)
	}
	list, next, err := page(list, *in, maxPage, func(info account.Info) string { return info.Name })
	if err != nil {
		return nil, err
	}
	out := Accounts{Schema: "farreach.accounts/v1", Accounts: make([]Account, len(list)), Next: next}
	for i, info := range list {
		out.Accounts[i] = accountOf(info)
	}
	return onePage(ctx, out, next), nil
}

func (h *Handler) newAccount(ctx context.Context, in *newAccount) (*created[Account], error) {
	info, err := h.cloud.CreateAccount(ctx, asker(ctx), in.Body.Name, secret.String(in.Body.Password), in.Body.Admin)
	if err != nil {
		return nil, h.problem(err)
	}
	return &created[Account]{Location: "/api/v1/accounts/" + url.PathEscape(info.Name), Body: accountOf(info)}, nil
}

func accountOf(info account.Info) Account {
	return Account{Schema: "farreach.account/v1", Name: info.Name, Admin: info.Admin, Locked: info.Locked, Created: info.Created.UTC()}
}

func (h *Handler) listLogins(ctx context.Context, in *accountInput) (*body[Logins], error) {
	list, err := h.cloud.Logins(ctx, asker(ctx), in.Name)
	if err != nil {
		return nil, h.problem(err)
	}
	out := Logins{Schema: "farreach.logins/v1", Logins: make([]Login, len(list))}
	for i, l := range list {
		out.Logins[i] = loginOf(l)
	}
	return &body[Logins]{out}, nil
}

func (h *Handler) newLogin(ctx context.Context, in *newLogin) (*created[Login], error) {
	password, l, err := h.cloud.NewLogin(ctx, asker(ctx), in.Name, in.Body.Name, in.Body.Resource)
	if err != nil {
		return nil, h.problem(err)
	}
	out := loginOf(l)
	out.Password = password.Reveal()
	return &created[Login]{
		Location: "/api/v1/accounts/" + url.PathEscape(in.Name) + "/logins/" + url.PathEscape(l.Name), Body: out,
	}, nil
}

func loginOf(l account.Login) Login {
	return Login{Schema: "farreach.login/v1", Name: l.Name, Resource: l.Resource, Created: l.Created.UTC()}
}
