package api

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/time/rate"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
)

// identityKey is where a request's context has its oic.Identity.
type identityKey struct{}

// asker is who sent the request: what its token proved.
func asker(ctx context.Context) oic.Identity {
	who, _ := ctx.Value(identityKey{}).(oic.Identity)
	return who
}

// untilKey is where a request's context has until when its browser is signed in.
type untilKey struct{}

// connectionKey is where a request's context has its connection.
type connectionKey struct{}

type connection struct {
	from   netip.Addr
	secure bool
}

// connectionOf is where the request came from, and whether by TLS.
func connectionOf(ctx context.Context) (from netip.Addr, secure bool) {
	c, _ := ctx.Value(connectionKey{}).(connection)
	return c.from, c.secure
}

// The ways to say who asks, by their names in the OpenAPI document.
const (
	byToken    = "token"    // Authorization: Bearer (RFC 6750)
	byCookie   = "browser"  // Cookie, of a browser that has signed in
	byPassword = "password" // Authorization: Basic (RFC 7617), to make a token with
)

// bearer lets a request through to a route that needs a token only with a
// valid one, or from a browser that is signed in, and not too often.
func (h *Handler) bearer(ctx huma.Context, next func(huma.Context)) {
	from := connection{peer(ctx.RemoteAddr()), ctx.TLS() != nil}
	ctx = huma.WithValue(ctx, connectionKey{}, from)
	if len(ctx.Operation().Security) == 0 {
		next(ctx)
		return
	}
	ctx, who, err := h.authenticate(ctx, from.from)
	if err == nil && !h.load.admit(who.Account) {
		err = oic.Errorf(oic.TooMany, "more than %d requests/s of one account", requestsPerSec)
	}
	if err != nil {
		h.refuse(ctx, err)
		return
	}
	ctx = huma.WithValue(ctx, identityKey{}, who)
	next(huma.WithValue(ctx, urlKey{}, ctx.URL()))
}

// authenticate returns who sent a request, and the request with what else is
// known of him.
func (h *Handler) authenticate(ctx huma.Context, from netip.Addr) (_ huma.Context, who oic.Identity, err error) {
	header := ctx.Header("Authorization")
	if name, password, ok := basicAuth(header); ok && takes(ctx.Operation(), byPassword) {
		who, err = h.cloud.Login(ctx.Context(), from, name, password)
		h.metrics.Token(err)
	} else if token, ok := bearerToken(header); ok {
		who, err = h.cloud.Authenticate(ctx.Context(), from, token)
		h.metrics.Token(err)
	} else if shown := shownCookie(ctx); shown != "" {
		var until time.Time
		who, until, err = h.cloud.Browser(ctx.Context(), shown)
		ctx = huma.WithValue(ctx, untilKey{}, until)
	} else {
		err = oic.Errorf(oic.Unauthorized, "token required: Authorization: Bearer fut_…")
	}
	return ctx, who, err
}

// takes reports whether a route can be had in this way.
func takes(op *huma.Operation, way string) bool {
	return slices.ContainsFunc(op.Security, func(ways map[string][]string) bool { _, ok := ways[way]; return ok })
}

// basicAuth takes account and password out of a header.
func basicAuth(header string) (name string, password secret.String, ok bool) {
	name, text, ok := (&http.Request{Header: http.Header{"Authorization": {header}}}).BasicAuth()
	return name, secret.String(text), ok
}

// refuse answers with what err means.
func (h *Handler) refuse(ctx huma.Context, err error) {
	err = h.problem(err)
	if head, ok := errors.AsType[huma.HeadersError](err); ok {
		for name, values := range head.GetHeaders() {
			ctx.SetHeader(name, values[0])
		}
	}
	p := newProblem(http.StatusInternalServerError, "internal error")
	if known, ok := errors.AsType[*huma.ErrorModel](err); ok {
		p = known
	}
	if err := huma.WriteErr(h.huma, ctx, p.Status, p.Detail); err != nil {
		h.log.Debug("problem not sent", "err", err)
	}
}

// bearerToken takes the token out of a header (RFC 6750, section 2.1).
func bearerToken(header string) (secret.String, bool) {
	scheme, token, _ := strings.Cut(header, " ")
	token = strings.TrimSpace(token)
	return secret.String(token), strings.EqualFold(scheme, "Bearer") && token != ""
}

// load counts what each account does at the moment.
type load struct {
	mu       sync.Mutex // guards what follows
	requests map[string]*rate.Limiter
	streams  map[string]int
}

// admit takes note of a request, unless there are too many.
func (l *load) admit(account string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	limit := l.requests[account]
	if limit == nil {
		if len(l.requests) >= 10_000 {
			l.requests = nil // start anew rather than grow
		}
		if l.requests == nil {
			l.requests = map[string]*rate.Limiter{}
		}
		limit = rate.NewLimiter(requestsPerSec, requestsBurst)
		l.requests[account] = limit
	}
	return limit.Allow()
}

// openStream takes note of a stream until close, unless there are too many.
func (l *load) openStream(account string) (closeStream func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.streams[account] >= maxStreams {
		return nil, false
	}
	if l.streams == nil {
		l.streams = map[string]int{}
	}
	l.streams[account]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.streams[account]--; l.streams[account] == 0 {
			delete(l.streams, account)
		}
	}, true
}
