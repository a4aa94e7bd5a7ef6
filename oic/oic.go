// Package oic is the narrow waist of farreach: the request, the response and
// the one interface that everything else either speaks or carries.
//
// A request keeps its shape from end to end; only its wrapping changes:
//
//	farreach get ── oiccoap ──▶ coap/TLS ──▶ cloudlink ──▶ coap/TCP ── oiccoap ──▶ device
//	   Request                                 Request                           Request
//
// A lamp's resource tree is a Handler; a connection to a lamp on another
// continent is a Handler too, so a proxy is nothing but a Handler that picks
// another Handler.
//
// Package oic knows no wire and does no input or output. Package oiccoap is
// OIC over CoAP.
package oic

import "context"

// Handler answers requests. It may be called from several goroutines at once.
type Handler interface {
	// Handle answers req. It must not retain req.Body after it returns.
	//
	// If the device refuses, the error is a *StatusError, near or far alike.
	// Any other error means that no device answered: ErrOffline without a
	// session, or ctx.Err().
	Handle(ctx context.Context, req *Request) (*Response, error)
}

// Prompt is a Handler that knows of some requests that it answers them at once:
// whoever reads them from a wire may then do so in person, without a goroutine
// more.
type Prompt interface {
	Handler

	// Prompt reports whether Handle waits for nothing when it answers req: no
	// wire, no file, no hardware, and nobody who does.
	Prompt(req *Request) bool
}

// Observer is a Handler whose resources can be watched.
type Observer interface {
	Handler

	// Observe calls each with the representation as it is now and again after
	// every change, one call at a time, until ctx ends or the observation
	// does. While each has not returned, changes are merged: the next call
	// has the newest representation. each must not retain the Response.
	//
	// The error says why the observation ended, as for Handle; it is never
	// nil. A resource that exists but cannot be observed is answered once,
	// with Last set, and the error is ErrNotObservable.
	Observe(ctx context.Context, req *Request, each func(*Response)) error
}

// HandlerFunc is a function as a Handler.
type HandlerFunc func(ctx context.Context, req *Request) (*Response, error)

// Handle calls f.
func (f HandlerFunc) Handle(ctx context.Context, req *Request) (*Response, error) {
	return f(ctx, req)
}
