// Package api is the HTTP API: what a program that is not written in Go needs
// in order to use a cloud. It is thin; what may be done, and by whom, is
// decided in package cloud.
//
//	HTTP ──▶ guard ──▶ bearer ──▶ one function per route ──▶ cloud.Cloud
//	  Host, origin,     token,      JSON in, JSON out,
//	  limits, headers   identity    problems of RFC 9457
//
// Beside it, the same port takes CoAP and XMPP over WebSocket, which are not its
// business.
//
// Every document says what it is: "schema": "farreach.<thing>/v1". Within v1,
// fields are only added. /openapi.json describes it all, as OpenAPI 3.1.
package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/farreach/farreach/cloud"
	"github.com/farreach/farreach/cloud/metrics"
	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/tracing"
	"github.com/farreach/farreach/xmppd"
)

// The limits of threats.md, sections 3.5 and 4.
const (
	headerBytes    = 32 << 10
	headerTime     = 10 * time.Second
	bodyBytes      = 1 << 20
	bodyTime       = 30 * time.Second
	answerTime     = 60 * time.Second // for the client to take an answer
	idleTime       = 60 * time.Second
	requestsPerSec = 500 // of an account
	requestsBurst  = 1000
	maxStreams     = 200 // of an account
)

// Config says how the API behaves. Zero values work.
type Config struct {
	Hosts   []string        // names by which it may be asked, beside localhost and the addresses it listens on
	Version string          // of the program, for /openapi.json
	Log     *slog.Logger    // nil: slog.Default()
	Tracer  *tracing.Tracer // nil: nothing is traced

	// CoAP takes the WebSockets that come to coap.WebSocketPath, behind the
	// same guard as the API; nil: none are taken.
	CoAP http.Handler

	// XMPP is that for xmppd.WebSocketPath.
	XMPP http.Handler

	// Pages is put before the API's own routes, behind the guard: the pages for
	// a browser. It lets the handler given answer what is no page; nil: none.
	Pages func(http.Handler) http.Handler

	// PairingURI is what the QR code of a pairing code says; nil: there is none.
	PairingURI func(code string) string

	// Operate is what operators are told; nil: they have no routes.
	Operate *Operate
}

// Handler is the API as an http.Handler.
type Handler struct {
	cloud   *cloud.Cloud
	log     *slog.Logger
	tracer  *tracing.Tracer
	huma    huma.API
	mux     *http.ServeMux
	guarded http.Handler
	load    load
	health  health
	encoded encoded
	version string
	operate *Operate
	metrics *metrics.Metrics // of operate; nil: none

	pairingURI func(code string) string

	ending  chan struct{} // closed when streams shall end
	end     func()
	leaving atomic.Bool // Leave was called
}

// New returns the API of c.
func New(c *cloud.Cloud, cfg Config) *Handler {
	h := &Handler{cloud: c, log: cfg.Log, tracer: cfg.Tracer, mux: http.NewServeMux(), ending: make(chan struct{}),
		version: cfg.Version, operate: cfg.Operate, pairingURI: cfg.PairingURI}
	h.end = sync.OnceFunc(func() { close(h.ending) })
	if h.log == nil {
		h.log = slog.Default()
	}
	if cfg.Operate != nil {
		h.metrics = cfg.Operate.Metrics
	}
	h.huma = humago.New(h.mux, description(cfg.Version))
	h.huma.UseMiddleware(h.trace, h.bearer)
	h.healthRoutes()
	h.sessionRoutes()
	h.deviceRoutes()
	h.resourceRoutes()
	h.commandRoutes()
	h.webhookRoutes()
	h.eventRoutes()
	h.ruleRoutes()
	h.accountRoutes()
	h.tokenRoutes()
	h.shareRoutes()
	h.auditRoutes()
	h.operateRoutes()
	h.documentRoute()
	if cfg.CoAP != nil {
		h.mux.Handle("GET "+coap.WebSocketPath, cfg.CoAP)
	}
	if cfg.XMPP != nil {
		h.mux.Handle("GET "+xmppd.WebSocketPath, cfg.XMPP)
	}
	h.mux.HandleFunc("/", h.unknown)
	var routes http.Handler = h.mux
	if cfg.Pages != nil {
		routes = cfg.Pages(routes)
	}
	h.guarded = h.guard(cfg.Hosts, routes)
	return h
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.guarded.ServeHTTP(w, r) }

// Server returns an HTTP server for h with the time limits of the API. Its
// Shutdown ends the streams of events, too.
func (h *Handler) Server() *http.Server {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    headerBytes,
		ErrorLog:          slog.NewLogLogger(h.log.Handler(), slog.LevelDebug),
	}
	s.RegisterOnShutdown(h.EndStreams)
	return s
}

// Leave has /readyz say that the server is not ready, whatever it can do still:
// it is about to stop, and whoever balances load is to send nobody here.
func (h *Handler) Leave() { h.leaving.Store(true) }

// EndStreams ends the streams of events that are open, and those to come: the
// server is about to stop.
func (h *Handler) EndStreams() { h.end() }

// description is the head of the OpenAPI document, and how huma is to behave.
func description(version string) huma.Config {
	cfg := huma.DefaultConfig("Farreach", version)
	cfg.Info.Description = "Reach and automate OIC/OCF devices from anywhere."
	cfg.OpenAPIPath, cfg.DocsPath, cfg.SchemasPath = "", "", "" // nothing is loaded from elsewhere
	cfg.CreateHooks = nil                                       // no "$schema" beside "schema"
	cfg.RejectUnknownQueryParameters = true
	cfg.Transformers = []huma.Transformer{discreet}
	cfg.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		byToken:    {Type: "http", Scheme: "bearer", Description: "An API token: fut_…"},
		byCookie:   {Type: "apiKey", In: "cookie", Name: cookieName, Description: "The cookie of a browser that has signed in; over TLS it is called " + secureCookieName + "."},
		byPassword: {Type: "http", Scheme: "basic", Description: "The name of an account and its password, to make a token with"},
	}
	return cfg
}

// operation describes a route that needs a token. The statuses are errors it
// may answer beside 400, 401, 422 and 429.
func operation(method, path, id, summary, tag string, status int, errors ...int) huma.Operation {
	return huma.Operation{
		Method: method, Path: path, OperationID: id, Summary: summary, Tags: []string{tag},
		DefaultStatus: status, Errors: append(errors, 401, 429),
		Security:     []map[string][]string{{byToken: {}}, {byCookie: {}}},
		MaxBodyBytes: bodyBytes, BodyReadTimeout: bodyTime,
	}
}

// unknown answers what no route does: 405 if another method would.
func (h *Handler) unknown(w http.ResponseWriter, r *http.Request) {
	var allow string
	for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
		other := r.Clone(context.Background())
		other.Method = method
		if _, pattern := h.mux.Handler(other); pattern != "/" {
			allow += ", " + method
		}
	}
	if allow == "" {
		writeProblem(w, http.StatusNotFound, "there is nothing at this path; see /openapi.json")
		return
	}
	w.Header().Set("Allow", allow[2:])
	writeProblem(w, http.StatusMethodNotAllowed, fmt.Sprintf("%s is not for this path, but %s", r.Method, allow[2:]))
}
