package cloudlink

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/farreach/farreach/oic"
)

// What the Java cloud of IoTivity does otherwise than OCF's, for peers that have
// used one of its paths (cloud-interface section 5). Where it is stricter than
// its devices need, we are not: what it calls mandatory and we do not use may be
// left out, and links of devices that are offline are listed too.

// pathSearch is where the C++ client searches for users; others do it at
// /oic/account.
const pathSearch = "/oic/account/search"

// missing refuses a request because of what it lacks.
func missing(classic bool, what string) error {
	if classic {
		return oic.Errorf(oic.PreconditionFailed, "%s", what)
	}
	return oic.Errorf(oic.BadRequest, "%s", what)
}

// wrongMethod refuses a request because of its method.
func wrongMethod(req *oic.Request, path string) error {
	status := oic.MethodNotAllowed
	if isClassic(req) {
		status = oic.BadRequest
	}
	return oic.Errorf(status, "%v is not for %s", req.Op, path)
}

// spoken notes in which dialect the peer asked. One of IoTivity classic is asked
// in content format 60 and without the options of OCF. If it has sent no CSM it
// does not know Pings either: one that does not announce its own with /oic/ping is
// not dropped, and counts as unknown while it is silent.
func (s *session) spoken(req *oic.Request) {
	if !isClassic(req) || s.classic.Swap(true) {
		return
	}
	s.client.Simplify()
	if !s.conn.Peer().SentCSM {
		s.conn.SetKeepAlive(-1)
	}
}

// format is the content format in which the peer is asked.
func (s *session) format() oic.ContentFormat {
	if s.classic.Load() {
		return oic.CBOR
	}
	return oic.OCF
}

// inDialect is req as the peer understands it.
func (s *session) inDialect(req *oic.Request) *oic.Request {
	if !s.classic.Load() {
		return req
	}
	r := *req
	if r.Accept = oic.CBOR; r.Format == oic.OCF {
		r.Format = oic.CBOR
	}
	return &r
}

// user is one entry in the answer to a search for users.
type user struct {
	ID   string   `json:"uid"`
	Info userInfo `json:"uinfo"`
}

type userInfo struct {
	ID string `json:"userid"`
}

// users answers GET /oic/account?uid=… and ?search=userid:…: of all accounts,
// everybody sees their own and no other.
func (s *session) users(req *oic.Request, query string) (outcome, error) {
	if req.Op != oic.Retrieve {
		return outcome{}, wrongMethod(req, pathSearch)
	}
	if req.From.Anonymous() {
		return outcome{then: func() { s.Close(errSignIn.Diag) }}, errSignIn
	}
	own := req.From.Account
	ids, criteria := oic.QueryValues(query, "uid"), oic.QueryValues(query, "search")
	if len(ids) == 0 && len(criteria) == 0 {
		return outcome{}, missing(true, "uid or search is needed")
	}
	found := slices.Contains(ids, own)
	for _, all := range criteria { // "userid:x,…": what is joined by commas must all be so
		found = found || !slices.ContainsFunc(strings.Split(all, ","), func(one string) bool {
			key, value, _ := strings.Cut(one, ":")
			return key != "userid" || value != own
		})
	}
	list := []user{}
	if found {
		list = append(list, user{own, userInfo{own}})
	}
	if req.Format == oic.NoFormat && req.Accept == oic.NoFormat {
		req.Accept = oic.CBOR
	}
	return answer(req, oic.Content, struct {
		List []user `json:"ulist"`
	}{list})
}

// classicRoute is the way to a device as the classic cloud shows it: a device
// that is not there is not found, and one that is another's needs a sign-in. In
// links that the device lists, it is a part of the href.
type classicRoute struct {
	oic.Observer
	device string
}

func (c classicRoute) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	resp, err := c.Observer.Handle(ctx, req)
	if err != nil {
		return nil, classicRefusal(err)
	}
	_, query := oic.SplitHref(req.Href)
	if req.Op == oic.Retrieve && oic.QueryValue(query, "if") == oic.IfLinkList {
		return c.routed(resp)
	}
	return resp, nil
}

func (c classicRoute) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	return classicRefusal(c.Observer.Observe(ctx, req, each))
}

// routed is resp with the hrefs of its links as they are here.
func (c classicRoute) routed(resp *oic.Response) (*oic.Response, error) {
	sets, err := oic.ParseLinks(resp.Format, resp.Body)
	if err != nil {
		return nil, oic.Errorf(oic.BadGateway, "links of the device: %v", err)
	}
	links := []oic.Link{}
	for _, set := range sets {
		for _, l := range set.Links {
			l.Href = pathRoute + "/" + c.device + l.Href
			links = append(links, l)
		}
	}
	out := *resp
	out.Format = oic.CBOR
	out.Body, err = oic.Encode(out.Format, links)
	return &out, err
}

func classicRefusal(err error) error {
	if e, ok := errors.AsType[*oic.StatusError](err); ok && e.Status == oic.Forbidden {
		return oic.Errorf(oic.Unauthorized, "%s", e.Diag)
	}
	if errors.Is(err, oic.ErrOffline) {
		return oic.Errorf(oic.NotFound, "device offline")
	}
	return err
}
