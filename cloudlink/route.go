package cloudlink

import (
	"context"
	"errors"
	"strings"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
)

// Device returns the device di behind the server. Whether it exists shows when
// it is asked.
func (l *Link) Device(di string) oic.Observer {
	if l.info.Dialect == Classic {
		return behind{l.peer, pathRoute + "/" + di}
	}
	return behind{l.peer, "/" + di}
}

// Peer returns the server itself.
func (l *Link) Peer() oic.Observer { return behind{l.peer, ""} }

// behind is a device whose hrefs begin with prefix at a server.
type behind struct {
	server oic.Observer
	prefix string
}

func (b behind) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	resp, err := b.server.Handle(ctx, b.routed(req))
	if resp != nil {
		resp.Location = strings.TrimPrefix(resp.Location, b.prefix)
	}
	return resp, offline(err)
}

func (b behind) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	return offline(b.server.Observe(ctx, b.routed(req), each))
}

func (b behind) routed(req *oic.Request) *oic.Request {
	r := *req
	r.Href = b.prefix + req.Href
	return &r
}

// offline recognizes the refusal of a server whose device is not connected: it
// is an oic.ErrOffline again, and keeps what the server said about it. Who knows
// since when did not ask the device (oic.ErrNotSent); "device offline" alone can
// also mean that it went while it was asked.
func offline(err error) error {
	refusal, ok := errors.AsType[*oic.StatusError](err)
	if !ok || refusal.Status != oic.Unavailable {
		return err
	}
	for _, said := range []string{"device offline since", "device not seen since"} { // what a cloud of ours says
		if strings.HasPrefix(refusal.Diag, said) {
			return offlineError{refusal, []error{oic.ErrOffline, oic.ErrNotSent, refusal}}
		}
	}
	if strings.HasPrefix(refusal.Diag, "device offline") {
		return offlineError{refusal, []error{oic.ErrOffline, refusal}}
	}
	return err
}

type offlineError struct {
	refusal *oic.StatusError
	is      []error
}

func (e offlineError) Error() string   { return e.refusal.Diag }
func (e offlineError) Unwrap() []error { return e.is }

// routed is one request that came in on a session, for what lies behind the
// server: /oic/res, and the devices at /<di>/<href>.
type routed struct {
	session *session
	before  <-chan struct{} // closed when the ordered requests before it are served
	bearer  secret.String
}

// Handle implements oic.Handler.
func (q *routed) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	to, r, err := q.route(ctx, req)
	if err != nil {
		return nil, err
	}
	if to == nil {
		return q.session.discover(ctx, r.From, r)
	}
	resp, err := to.Handle(ctx, r)
	if err != nil || resp.Location == "" {
		return resp, err
	}
	// What was made is here where the device that made it is here.
	here := *resp
	here.Location = strings.TrimSuffix(req.Href, r.Href) + resp.Location
	return &here, nil
}

// Observe implements oic.Observer.
func (q *routed) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	to, r, err := q.route(ctx, req)
	if err != nil {
		return err
	}
	if to != nil {
		return to.Observe(ctx, r, each)
	}
	resp, err := q.session.discover(ctx, r.From, r)
	if err != nil {
		return err
	}
	resp.Last = true
	each(resp)
	return oic.ErrNotObservable
}

// route returns the device that req is for and the request as that device
// knows it; no device for /oic/res.
func (q *routed) route(ctx context.Context, req *oic.Request) (oic.Observer, *oic.Request, error) {
	select {
	case <-q.before:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	who, err := q.session.prove(ctx, q.bearer)
	if err != nil {
		return nil, nil, err
	}
	if who.Anonymous() {
		return nil, nil, errSignIn
	}
	r := *req
	r.From = who
	path, _ := oic.SplitHref(req.Href)
	if path == pathRes {
		if req.Op != oic.Retrieve {
			return nil, nil, oic.Errorf(oic.MethodNotAllowed, "%v is not for %s", req.Op, path)
		}
		return nil, &r, nil
	}
	front := ""
	for _, p := range []string{pathRoute, pathHub} {
		if strings.HasPrefix(path, p+"/") {
			front = p
		}
	}
	path, r.Href = path[len(front):], req.Href[len(front):]
	di, _, _ := strings.Cut(path[1:], "/")
	r.Href = r.Href[1+len(di):]
	if !strings.HasPrefix(r.Href, "/") || strings.HasPrefix(path, "/oic/") {
		return nil, nil, oic.Errorf(oic.NotFound, "no %.80s here: devices are at /<di>/<href>", path)
	}
	if r.Op == oic.Update && who.Device != "" && strings.EqualFold(di, who.Device) {
		return events{to: q.session}, &r, nil
	}
	to, err := q.session.srv.cfg.Backend.Device(ctx, who, di)
	if front == pathRoute {
		return classicRoute{to, di}, &r, classicRefusal(err)
	}
	return to, &r, err
}

// What stands in front of /<di>/<href> elsewhere, in IoTivity classic and in
// plgd's hub. It may stand there here, too.
const (
	pathRoute = "/oic/route"
	pathHub   = "/api/v1/devices"
)

// Handle implements oic.Handler: req goes to the device at the other end. What
// is too much at once for the device is refused with 5.03, what is too long
// with 4.13 (rule 8).
func (s *session) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.srv.cfg.Request)
		defer cancel()
	}
	return s.client.Handle(ctx, s.inDialect(req))
}

// Observe implements oic.Observer. With too many observations of the device
// under way, it is read once.
func (s *session) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	if s.watch.reserve() {
		defer s.watch.release()
		return s.client.Observe(ctx, s.inDialect(req), each)
	}
	resp, err := s.Handle(ctx, req)
	if err != nil {
		return err
	}
	resp.Last = true
	each(resp)
	return oic.ErrNotObservable
}
