package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
)

// cookieName is the cookie of a browser that is signed in. Over TLS it has the
// prefix with which a browser takes it from this very host alone (RFC 6265bis,
// section 4.1.3.2).
const (
	cookieName       = "farreach"
	secureCookieName = "__Host-farreach"
)

// Session is who is signed in.
type Session struct {
	Schema  string    `json:"schema" enum:"farreach.session/v1"`
	Account string    `json:"account"`
	Admin   bool      `json:"admin" doc:"may manage accounts"`
	Expires time.Time `json:"expires,omitzero" required:"false" doc:"when the browser must sign in again, if it asks nothing until then"`
}

// newSession is the body that signs a browser in.
type newSession struct {
	Body struct {
		Link     string `json:"link,omitempty" maxLength:"64" format:"password" doc:"what a sign-in link has; good once"`
		Account  string `json:"account,omitempty" maxLength:"1024" doc:"with password, instead of link"`
		Password string `json:"password,omitempty" format:"password"`
	}
}

// SignInLink signs one browser in, once.
type SignInLink struct {
	Schema  string    `json:"schema" enum:"farreach.sign-in-link/v1"`
	Link    string    `json:"link" doc:"goes behind the address of the dashboard: /#k=…"`
	Expires time.Time `json:"expires"`
}

// withCookie is a document, and a cookie to keep or to forget.
type withCookie[T any] struct {
	Cookie http.Cookie `header:"Set-Cookie"`
	Body   T
}

// onlyCookie is a cookie to forget.
type onlyCookie struct {
	Cookie http.Cookie `header:"Set-Cookie"`
}

func (h *Handler) sessionRoutes() {
	const path, tag = "/api/v1/session", "session"
	in := operation(http.MethodPost, path, "sign-in", "Sign this browser in: a cookie stands for it from then on", tag, 200, 400)
	in.Security = nil // it is what makes one
	huma.Register(h.huma, in, h.signIn)
	huma.Register(h.huma, operation(http.MethodGet, path, "get-session", "Who is signed in", tag, 200), h.session)
	huma.Register(h.huma, operation(http.MethodDelete, path, "sign-out", "Sign this browser out, or all of the account", tag, 204, 403), h.signOut)
	huma.Register(h.huma, operation(http.MethodPost, "/api/v1/sign-in-links", "create-sign-in-link",
		"Make a link that signs one browser in, once", tag, 201, 403, 429),
		func(ctx context.Context, _ *struct{}) (*body[SignInLink], error) {
			link, expires, err := h.cloud.NewSignInLink(ctx, asker(ctx))
			if err != nil {
				return nil, h.problem(err)
			}
			return &body[SignInLink]{SignInLink{"farreach.sign-in-link/v1", link.Reveal(), expires}}, nil
		})
}

func (h *Handler) signIn(ctx context.Context, in *newSession) (*withCookie[Session], error) {
	var shown secret.String
	var who oic.Identity
	var err error = oic.Errorf(oic.BadRequest, "either a link, or an account and a password")
	c := callerOf(ctx)
	switch b := &in.Body; {
	case b.Link != "" && b.Account == "" && b.Password == "":
		shown, who, err = h.cloud.FollowLink(ctx, c.from, secret.String(b.Link))
	case b.Link == "" && b.Account != "" && b.Password != "":
		shown, who, err = h.cloud.LoginBrowser(ctx, c.from, b.Account, secret.String(b.Password))
	}
	h.metrics.Token(err)
	if err != nil {
		return nil, h.problem(err)
	}
	_, expires, err := h.cloud.Browser(ctx, shown)
	if err != nil {
		return nil, h.problem(err)
	}
	return &withCookie[Session]{newCookie(shown.Reveal(), c.secure), sessionOf(who, expires)}, nil
}

func (h *Handler) session(ctx context.Context, _ *struct{}) (*body[Session], error) {
	c := callerOf(ctx)
	return &body[Session]{sessionOf(c.who, c.until)}, nil
}

// signOutInput says which browsers.
type signOutInput struct {
	Everywhere bool `query:"everywhere" doc:"all browsers of the account"`
}

func (h *Handler) signOut(ctx context.Context, in *signOutInput) (*onlyCookie, error) {
	if err := h.cloud.SignOut(ctx, asker(ctx), in.Everywhere); err != nil {
		return nil, h.problem(err)
	}
	gone := newCookie("", callerOf(ctx).secure)
	gone.MaxAge = -1
	return &onlyCookie{gone}, nil
}

func sessionOf(who oic.Identity, expires time.Time) Session {
	return Session{"farreach.session/v1", who.Account, who.Admin, expires.UTC()}
}

// newCookie is what a browser shows from now on, to this server alone, and
// never to a page of it (threats, section 4).
func newCookie(value string, secure bool) http.Cookie {
	c := http.Cookie{Name: cookieName, Value: value, Path: "/", HttpOnly: true, Secure: secure, SameSite: http.SameSiteStrictMode}
	if secure {
		c.Name = secureCookieName
	}
	return c
}

// shownCookie is what the browser shows, "" if nothing.
func shownCookie(ctx huma.Context) secret.String {
	name := cookieName
	if ctx.TLS() != nil {
		name = secureCookieName
	}
	if c, err := huma.ReadCookie(ctx, name); err == nil {
		return secret.String(c.Value)
	}
	return ""
}
