package webhook

import (
	"net/http"

	"github.com/farreach/farreach/internal/tracing"
)

// told says in the span of an attempt what was to be told, and ends it.
func told(span *tracing.Span, d *Delivery, err error) {
	if span == nil {
		return
	}
	span.Text("farreach.account", d.Account)
	span.Text("farreach.webhook", d.Target)
	span.Text("farreach.webhook.id", d.ID)
	span.At("enqueued", d.Since)
	if err != nil {
		span.Fail("not taken")
	}
	span.End()
}

// traced has c make a span of each request, and tell the target which one. Of the
// URL only the host is told: the rest may hold a secret.
func traced(c *http.Client, t *tracing.Tracer) *http.Client {
	if t != nil {
		c.Transport = tracedTransport{c.Transport, t}
	}
	return c
}

type tracedTransport struct {
	inner  http.RoundTripper
	tracer *tracing.Tracer
}

// RoundTrip implements http.RoundTripper.
func (t tracedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, span := t.tracer.Start(req.Context(), tracing.Client, "webhook")
	defer span.End()
	span.Text("server.address", req.URL.Hostname())
	span.Text("http.request.method", req.Method)
	span.Text("farreach.webhook.id", req.Header.Get("webhook-id"))
	req = req.Clone(ctx)
	if parent := t.tracer.Parent(ctx); parent != "" {
		req.Header.Set(tracing.ParentHeader, parent)
	}
	resp, err := t.inner.RoundTrip(req)
	if err != nil {
		span.Fail("no answer")
		return nil, err
	}
	span.Int("http.response.status_code", int64(resp.StatusCode))
	if resp.StatusCode >= http.StatusBadRequest {
		span.Fail(http.StatusText(resp.StatusCode))
	}
	return resp, nil
}
