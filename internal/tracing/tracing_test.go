package tracing_test

import (
	"context"
	"testing"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/farreach/farreach/internal/tracing"
)

// all does with a tracer what a command does.
func all(ctx context.Context, t *tracing.Tracer) {
	ctx = t.Take(ctx, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "")
	ctx, span := t.Start(ctx, tracing.Client, "command")
	span.Text("farreach.device", "lamp")
	span.Int("farreach.status", 204)
	span.At("sent", time.Time{})
	span.Fail("refused")
	t.Remember(ctx, 7)
	_ = t.Parent(ctx)
	span.End()
}

// TestNothing: who traces nothing pays nothing.
func TestNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { all(t.Context(), nil) }); n != 0 {
		t.Errorf("%v allocations without a tracer", n)
	}
}

func BenchmarkOff(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		all(b.Context(), nil)
	}
}

func BenchmarkOn(b *testing.B) {
	p := sdk.NewTracerProvider(sdk.WithSampler(sdk.AlwaysSample()))
	tracer := tracing.New(p)
	b.ReportAllocs()
	for b.Loop() {
		all(b.Context(), tracer)
	}
}

// TestSpans: a span is a part of another program's, says what it was told, and a
// rule's is linked to that of its event, of which only the newest are known.
func TestSpans(t *testing.T) {
	var kept tracetest.InMemoryExporter
	p := sdk.NewTracerProvider(sdk.WithSyncer(&kept), sdk.WithSampler(sdk.AlwaysSample()))
	tracer := tracing.New(p)
	all(t.Context(), tracer)
	span := kept.GetSpans()[0]
	if got := span.Parent.SpanID().String(); got != "b7ad6b7169203331" || !span.Parent.IsRemote() {
		t.Errorf("parent %s", got)
	}
	if len(span.Attributes) != 2 || len(span.Events) != 0 || span.Status.Description != "refused" || span.SpanKind.String() != "client" {
		t.Errorf("%+v", span)
	}
	links := func(event uint64) int {
		kept.Reset()
		_, span := tracer.StartAfter(t.Context(), event, "rule")
		span.End()
		return len(kept.GetSpans()[0].Links)
	}
	if links(7) != 1 || links(8) != 0 {
		t.Error("the rule is not linked to its event, or to another")
	}
	ctx, last := tracer.Start(t.Context(), tracing.Task, "reports")
	for seq := range uint64(5000) {
		tracer.Remember(ctx, 100+seq)
	}
	last.End()
	if links(7) != 0 || links(100) != 0 || links(5099) != 1 {
		t.Error("what is remembered is not the newest")
	}
	if tracer.Take(t.Context(), "nonsense", "") != t.Context() && tracer.Parent(tracer.Take(t.Context(), "nonsense", "")) != "" {
		t.Error("nonsense is a parent")
	}
	if tracer.Parent(ctx) == "" || tracer.Parent(t.Context()) != "" {
		t.Error("the parent for others is wrong")
	}
}
