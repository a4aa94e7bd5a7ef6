package api

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/farreach/farreach/internal/tracing"
)

// trace makes a span of a request, which is a part of the client's if that says
// so (W3C Trace Context). It is named by its route: a path and its query may hold
// what is nobody's business.
func (h *Handler) trace(ctx huma.Context, next func(huma.Context)) {
	if h.tracer == nil {
		next(ctx)
		return
	}
	op := ctx.Operation()
	in := h.tracer.Take(ctx.Context(), ctx.Header(tracing.ParentHeader), ctx.Header(tracing.StateHeader))
	in, span := h.tracer.Start(in, tracing.Server, op.Method+" "+op.Path)
	defer span.End()
	span.Text("http.request.method", op.Method)
	span.Text("http.route", op.Path)
	ctx = huma.WithContext(ctx, in)
	next(ctx)
	status := ctx.Status()
	span.Int("http.response.status_code", int64(status))
	if status >= http.StatusInternalServerError {
		span.Fail(http.StatusText(status))
	}
}
