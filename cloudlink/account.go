package cloudlink

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
)

// accountRequest is what is sent to the account resources. No field is in all
// of them, and devices leave out what they can.
type accountRequest struct {
	Account    string `json:"uid,omitempty"`
	Device     string `json:"di,omitempty"`
	Provider   string `json:"authprovider,omitempty"`
	Access     string `json:"accesstoken,omitempty"` // sign-up: the code (rule 20)
	Code       string `json:"authcode,omitempty"`    // sign-up: the code, of IoTivity classic
	GrantType  string `json:"granttype,omitempty"`   // "refresh_token"
	Refresh    string `json:"refreshtoken,omitempty"`
	DeviceType string `json:"devicetype,omitempty"`
	App        string `json:"x.farreach.appid,omitempty"`
	Login      *bool  `json:"login,omitempty"` // nil: true
}

// grantAnswer answers a sign-up and a refresh. iotivity-lite takes a sign-up
// without any of the first four, or a refresh without any of the first three,
// for a failure.
type grantAnswer struct {
	Access   string `json:"accesstoken"`
	Refresh  string `json:"refreshtoken"`
	Expires  int64  `json:"expiresin"` // seconds; -1: never
	Account  string `json:"uid,omitempty"`
	Redirect string `json:"redirecturi,omitempty"`
	Type     string `json:"tokentype,omitempty"` // "bearer", of IoTivity classic
}

// never is an expiresin without end (rule 27).
const never = -1

func expiresIn(t time.Time) int64 {
	if t.IsZero() {
		return never
	}
	return max(0, int64(time.Until(t)/time.Second))
}

func expiresAt(seconds int64) time.Time {
	if seconds < 0 {
		return time.Time{}
	}
	const year = 365 * 24 * 60 * 60
	return time.Now().Add(time.Duration(min(seconds, 100*year)) * time.Second)
}

// SignUp asks for the device to be taken into the account of the code.
func (l *Link) SignUp(ctx context.Context, s SignUp) (Grant, error) {
	doc := accountRequest{Device: s.Device, Provider: s.Provider}
	if l.info.Dialect == Classic {
		doc.Code = s.Code.Reveal()
	} else {
		doc.Access, doc.DeviceType, doc.App = s.Code.Reveal(), s.DeviceType, s.App
	}
	return l.grant(ctx, pathAccount, "sign up", s.Device, doc)
}

// Refresh exchanges a refresh token for a new grant.
func (l *Link) Refresh(ctx context.Context, r Refresh) (Grant, error) {
	g, err := l.grant(ctx, pathRefresh, "refresh", r.Device, accountRequest{
		Device: r.Device, Account: r.Account, GrantType: "refresh_token", Refresh: r.Token.Reveal(),
	})
	g.Account = r.Account // whatever the answer says
	return g, err
}

func (l *Link) grant(ctx context.Context, path, what, device string, req accountRequest) (Grant, error) {
	var a grantAnswer
	if err := l.post(ctx, path, req, &a); err != nil {
		return Grant{}, fmt.Errorf("%s %s: %w", what, device, err)
	}
	if a.Access == "" || a.Refresh == "" || path == pathAccount && a.Account == "" {
		return Grant{}, fmt.Errorf("%s %s: %w: it lacks a token or the account", what, device, errAnswer)
	}
	return Grant{
		Account: a.Account, Access: secret.String(a.Access), Refresh: secret.String(a.Refresh),
		Expires: expiresAt(a.Expires), Redirect: a.Redirect,
	}, nil
}

// SignOff takes the device that is signed in out of its account. The server
// closes the link after its answer (rule 29).
func (l *Link) SignOff(ctx context.Context) error {
	in := l.login()
	query := url.Values{"di": {in.Device}, "uid": {in.Account}}
	if l.info.Dialect == Classic {
		query.Set("accesstoken", in.Access.Reveal()) // mandatory there
	}
	_, err := l.peer.Handle(ctx, &oic.Request{Op: oic.Delete, Href: l.info.Dialect.path(pathAccount) + "?" + query.Encode()})
	if err != nil {
		return fmt.Errorf("sign off %s: %w", in.Device, err)
	}
	l.setLogin(Login{})
	return nil
}

func (s *session) signUp(ctx context.Context, req *oic.Request) (outcome, error) {
	doc, err := s.accountRequest(req)
	if err != nil {
		return outcome{}, err
	}
	code := doc.Access
	if code == "" {
		code = doc.Code
	}
	if doc.Device == "" || code == "" {
		return outcome{}, missing(isClassic(req), "di and the code, in accesstoken or authcode, are needed")
	}
	if err := s.srv.admit(ctx); err != nil {
		return outcome{}, err
	}
	g, err := s.srv.cfg.Backend.SignUp(ctx, SignUp{
		Device: doc.Device, Provider: doc.Provider, Code: secret.String(code),
		DeviceType: doc.DeviceType, App: doc.App, From: req.From, Peer: s.peer,
	})
	if err != nil {
		return outcome{}, err
	}
	return answer(req, oic.Changed, grantDoc(req, g))
}

func (s *session) refresh(ctx context.Context, req *oic.Request) (outcome, error) {
	doc, err := s.accountRequest(req)
	if err != nil {
		return outcome{}, err
	}
	if doc.Device == "" || doc.Refresh == "" {
		return outcome{}, missing(isClassic(req), "di and refreshtoken are needed")
	}
	if doc.GrantType != "" && doc.GrantType != "refresh_token" {
		return outcome{}, oic.Errorf(oic.BadRequest, "granttype must be refresh_token")
	}
	g, err := s.srv.cfg.Backend.Refresh(ctx, Refresh{
		Account: doc.Account, Device: doc.Device, Token: secret.String(doc.Refresh), Peer: s.peer,
	})
	if err != nil {
		return outcome{}, err
	}
	return answer(req, oic.Changed, grantDoc(req, g))
}

// grantDoc is g as the answer to req.
func grantDoc(req *oic.Request, g Grant) grantAnswer {
	a := grantAnswer{
		Access: g.Access.Reveal(), Refresh: g.Refresh.Reveal(), Expires: expiresIn(g.Expires),
		Account: g.Account, Redirect: g.Redirect,
	}
	if isClassic(req) {
		a.Type = "bearer"
	}
	return a
}

func (s *session) signOff(ctx context.Context, req *oic.Request, query string) (outcome, error) {
	device, account := oic.QueryValue(query, "di"), oic.QueryValue(query, "uid")
	who := s.identity()
	if who.Anonymous() {
		token := oic.QueryValue(query, "accesstoken")
		if device == "" || token == "" {
			return outcome{}, missing(isClassic(req), "di and accesstoken are needed")
		}
		if err := s.mayProve(device); err != nil {
			return outcome{}, err
		}
		var err error
		who, _, err = s.srv.cfg.Backend.SignIn(ctx, Login{
			Account: account, Device: device, Access: secret.String(token), Peer: s.peer,
		})
		if err != nil {
			return outcome{}, err
		}
	}
	if who.Device == "" {
		return outcome{}, oic.Errorf(oic.Forbidden, "only a device signs off")
	}
	if err := same(who, account, device); err != nil {
		return outcome{}, err
	}
	if err := s.srv.cfg.Backend.SignOff(ctx, who); err != nil {
		return outcome{}, err
	}
	if isClassic(req) {
		s.leave(classicGrace)
		return outcome{resp: &oic.Response{Status: oic.Deleted}}, nil
	}
	s.leave(s.srv.cfg.SignIn)
	return outcome{resp: &oic.Response{Status: oic.Deleted}, then: s.goodbye}, nil
}

// accountRequest reads the body of req, and refuses it where nothing may be
// proved.
func (s *session) accountRequest(req *oic.Request) (doc accountRequest, err error) {
	if len(req.Body) == 0 {
		return doc, oic.Errorf(oic.BadRequest, "no payload")
	}
	if err := oic.Decode(format(req), req.Body, &doc); err != nil {
		return doc, err
	}
	return doc, s.mayProve(doc.Device)
}

// format is the content format of an answer: that of the request's body, for
// iotivity-lite closes on any other (rule 5), else what it accepts.
func format(req *oic.Request) oic.ContentFormat {
	switch {
	case req.Format != oic.NoFormat:
		return req.Format
	case req.Accept != oic.NoFormat:
		return req.Accept
	}
	return oic.OCF
}

// answer is v as the answer to req.
func answer(req *oic.Request, status oic.Status, v any) (outcome, error) {
	f := format(req)
	b, err := oic.Encode(f, v)
	if err != nil {
		return outcome{}, fmt.Errorf("encode %T: %w", v, err)
	}
	return outcome{resp: &oic.Response{Status: status, Format: f, Body: b}}, nil
}
