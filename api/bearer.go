package api

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/time/rate"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
)

// caller is what is known of a request beside what it asks: one value of its
// context, a *caller.
type caller struct {
	from   netip.Addr
	secure bool // it came by TLS
	url    url.URL

	who   oic.Identity // what its token proved
	until time.Time    // its browser is signed in until then
}

type callerKey struct{}

// callerOf is what is known of the request of ctx.
func callerOf(ctx context.Context) caller {
	if c, ok := ctx.Value(callerKey{}).(*caller); ok {
		return *c
	}
	return caller{}
}

// asker is who sent the request.
func asker(ctx context.Context) oic.Identity { return callerOf(ctx).who }

// The ways to say who asks, by their names in the OpenAPI document.
const (
	byToken    = "token"    // Authorization: Bearer (RFC 6750)
	byCookie   = "browser"  // Cookie, of a browser that has signed in
	byPassword = "password" // Authorization: Basic (RFC 7617), to make a token with
)

// bearer lets a request through to a route that needs a token only with a
// valid one, or from a browser that is signed in, and not too often.
func (h *Handler) bearer(ctx huma.Context, next func(huma.Context)) {
	c := &caller{from: peer(ctx.RemoteAddr()), secure: ctx.TLS() != nil, url: ctx.URL()}
	if len(ctx.Operation().Security) > 0 {
		err := h.authenticate(ctx, c)
		if err == nil && !h.load.admit(c.who.Account) {
			err = oic.Errorf(oic.TooMany, "more than %d requests/s of one account", requestsPerSec)
		}
		if err != nil {
			h.refuse(ctx, err)
			return
		}
	}
	next(huma.WithValue(ctx, callerKey{}, c))
}

// authenticate finds out who sent a request.
func (h *Handler) authenticate(ctx huma.Context, c *caller) (err error) {
	header := ctx.Header("Authorization")
	if token, ok := bearerToken(header); ok {
		c.who, err = h.cloud.Authenticate(ctx.Context(), c.from, token)
		h.metrics.Token(err)
		return err
	}
	if name, password, ok := basicAuth(header); ok && takes(ctx.Operation(), byPassword) {
		c.who, err = h.cloud.Login(ctx.Context(), c.from, name, password)
		h.metrics.Token(err)
		return err
	}
	if shown := shownCookie(ctx); shown != "" {
		c.who, c.until, err = h.cloud.Browser(ctx.Context(), shown)
		return err
	}
	return oic.Errorf(oic.Unauthorized, "token required: Authorization: Bearer fut_…")
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
