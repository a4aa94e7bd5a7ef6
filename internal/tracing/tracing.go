// Package tracing tells what led to what, and how long each took, in spans that
// other programs collect and show (OpenTelemetry):
//
//	HTTP request ── Take ──▶ span ──┬── command ──▶ span: queued, sent, answered
//	                                └── webhook ──▶ span ── Parent ──▶ its header
//	reports ── span, Remember ─ ─ ─▶ rule ──▶ span, linked to the event ──▶ commands, webhooks
//
// A nil *Tracer makes no span, and a nil *Span takes for nothing what it is told:
// whoever traces nothing pays nothing. No value that is a secret may be given to
// a span: neither tokens nor queries nor bodies nor the URLs of webhooks.
package tracing

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Kind says which part of a request a span is.
type Kind trace.SpanKind

// The kinds of spans.
const (
	Task   = Kind(trace.SpanKindInternal) // neither
	Server = Kind(trace.SpanKindServer)   // somebody asked us
	Client = Kind(trace.SpanKindClient)   // we ask somebody
)

// remembered is how many events a Tracer knows the spans of: those of the last
// moments, on which rules fire now.
const remembered = 4096

// Tracer makes spans. Its methods may be called from several goroutines at once,
// and on nil.
type Tracer struct {
	tracer trace.Tracer

	mu     sync.Mutex // guards what follows
	events map[uint64]trace.SpanContext
	order  []uint64 // of events, a ring
	oldest int
}

// New returns a Tracer whose spans go to p.
func New(p trace.TracerProvider) *Tracer {
	return &Tracer{tracer: p.Tracer("github.com/farreach/farreach"), events: map[uint64]trace.SpanContext{}}
}

// Start begins a span, as a part of that in ctx if there is one. End is to be
// called on it.
func (t *Tracer) Start(ctx context.Context, kind Kind, name string) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	ctx, s := t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKind(kind)))
	return ctx, &Span{s}
}

// StartAfter is Start for a span that follows from the event with this sequence:
// it is linked to the span in which that was kept, if it was here and just now.
func (t *Tracer) StartAfter(ctx context.Context, event uint64, name string) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	var opts []trace.SpanStartOption
	t.mu.Lock()
	from, ok := t.events[event]
	t.mu.Unlock()
	if ok {
		opts = append(opts, trace.WithLinks(trace.Link{SpanContext: from}))
	}
	ctx, s := t.tracer.Start(ctx, name, opts...)
	return ctx, &Span{s}
}

// Remember says that the event with this sequence was kept in the span of ctx.
func (t *Tracer) Remember(ctx context.Context, event uint64) {
	if t == nil {
		return
	}
	in := trace.SpanContextFromContext(ctx)
	if !in.IsSampled() || event == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.order) < remembered {
		t.order = append(t.order, event)
	} else {
		delete(t.events, t.order[t.oldest])
		t.order[t.oldest] = event
		t.oldest = (t.oldest + 1) % remembered
	}
	t.events[event] = in
}

// w3c is how spans are named between programs: Trace Context, by the W3C.
var w3c propagation.TraceContext

// The names of its headers.
const (
	ParentHeader = "traceparent"
	StateHeader  = "tracestate"
)

// Take returns ctx with the span of another program in it, as its traceparent
// and tracestate tell. What is none is left out.
func (t *Tracer) Take(ctx context.Context, parent, state string) context.Context {
	if t == nil || parent == "" {
		return ctx
	}
	return w3c.Extract(ctx, propagation.MapCarrier{ParentHeader: parent, StateHeader: state})
}

// Parent is the traceparent of the span in ctx, for another program or for later;
// "": there is none.
func (t *Tracer) Parent(ctx context.Context) string {
	if t == nil {
		return ""
	}
	to := propagation.MapCarrier{}
	w3c.Inject(ctx, to)
	return to[ParentHeader]
}

// Span is a part of what happens. Its methods may be called on nil.
type Span struct{ span trace.Span }

// Text says something about what happens. Empty values are left out.
func (s *Span) Text(key, value string) {
	if s != nil && value != "" {
		s.span.SetAttributes(attribute.String(key, value))
	}
}

// Int is Text for a number.
func (s *Span) Int(key string, value int64) {
	if s != nil {
		s.span.SetAttributes(attribute.Int64(key, value))
	}
}

// At says that something happened at a time; the zero time: it did not.
func (s *Span) At(what string, at time.Time) {
	if s != nil && !at.IsZero() {
		s.span.AddEvent(what, trace.WithTimestamp(at))
	}
}

// Fail says that it failed, and why, without secrets.
func (s *Span) Fail(why string) {
	if s != nil {
		s.span.SetStatus(codes.Error, why)
	}
}

// End ends the span. Nothing may be told to it after that.
func (s *Span) End() {
	if s != nil {
		s.span.End()
	}
}
