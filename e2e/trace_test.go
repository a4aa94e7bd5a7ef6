package e2e_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/farreach/farreach/oic"
)

// spans is a collector of OTLP over HTTP.
type spans struct {
	t *testing.T

	mu   sync.Mutex // guards what follows
	all  []*trace.Span
	text strings.Builder // of everything
}

// ServeHTTP implements http.Handler.
func (s *spans) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var req trace.TracesData // which is what an ExportTraceServiceRequest is
	b, err := io.ReadAll(r.Body)
	if err == nil {
		err = proto.Unmarshal(b, &req)
	}
	if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		s.t.Errorf("%s: %v", r.URL, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, res := range req.ResourceSpans {
		for _, scope := range res.ScopeSpans {
			s.all = append(s.all, scope.Spans...)
		}
	}
	s.text.WriteString(req.String())
}

// one returns the only span of a name that has this parent; nil: whichever.
func (s *spans) one(name string, parent []byte) *trace.Span {
	s.t.Helper()
	var found []*trace.Span
	for _, span := range s.all {
		if span.Name == name && (parent == nil || bytes.Equal(span.ParentSpanId, parent)) {
			found = append(found, span)
		}
	}
	if len(found) != 1 {
		s.t.Fatalf("%d spans %q with the parent %x of %d", len(found), name, parent, len(s.all))
	}
	return found[0]
}

// parent returns that of the span of a name, which is not the one given.
func (s *spans) parent(not []byte, name string) *trace.Span {
	s.t.Helper()
	for _, span := range s.all {
		if span.Name != name || bytes.Equal(span.SpanId, not) {
			continue
		}
		for _, p := range s.all {
			if bytes.Equal(p.SpanId, span.ParentSpanId) {
				return p
			}
		}
	}
	return nil
}

// events are what a span says that happened.
func events(span *trace.Span) (list []string) {
	for _, e := range span.Events {
		list = append(list, e.Name)
	}
	return list
}

// TestTraces: a request that is a part of a client's trace, the command that it
// is, a rule and its command, and a webhook are told to a collector, each with
// what led to it, and nothing that is secret.
func TestTraces(t *testing.T) {
	t.Parallel()
	seen := &spans{t: t}
	otlp := httptest.NewServer(seen)
	defer otlp.Close()
	parents := make(chan string, 2)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parents <- r.Header.Get("traceparent")
		_, _ = io.WriteString(w, "{}")
	}))
	defer hook.Close()
	h := &traceHouse{ruleHouse{child: newChild(t, "--otlp-endpoint", otlp.URL, "--private-webhooks"), lampID: uuid.NewString(), lampState: t.TempDir() + "/lamp.json"}}
	h.start()
	h.join()
	stop := h.lamp()
	const id, from = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	h.ask(http.MethodPost, "/devices/"+h.lampID+"/resources/a/light?key=hush-query", `{"value":true}`, "00-"+id+"-"+from+"-01")
	h.ask(http.MethodPost, "/webhooks", fmt.Sprintf(`{"name":"diagnosis","url":%q}`, hook.URL+"/hush-path"), "")
	h.ask(http.MethodPost, "/webhooks/diagnosis/test", `{}`, "")
	h.ask(http.MethodPost, "/rules", `{"name":"tell","when":{"event":{"device":"door","href":"/a/door","if":"event.open"}},"then":[{"webhook":{"name":"diagnosis"}}]}`, "")
	h.open()
	within(t, patience, func() bool { return h.received.Load() == 2 && len(parents) == 2 })
	stop()
	h.stop() // sends the rest

	request := seen.one("POST /api/v1/devices/{di}/resources/{href...}", nil)
	if hex.EncodeToString(request.TraceId) != id || hex.EncodeToString(request.ParentSpanId) != from || request.Kind != trace.Span_SPAN_KIND_SERVER {
		t.Errorf("the request: %v", request)
	}
	command := seen.one("command", request.SpanId)
	if got := events(command); !slices.Equal(got, []string{"sent", "answered"}) || !strings.Contains(command.String(), h.lampID) || !strings.Contains(command.String(), "done") {
		t.Errorf("the command: %v", command)
	}
	for _, rule := range seen.all {
		if rule.Name == "rule" && (len(rule.Links) != 1 || !bytes.Equal(rule.Links[0].SpanId, seen.one("reports", nil).SpanId)) {
			t.Errorf("the rule is not linked to its event: %v", rule)
		}
	}
	if ruled := seen.parent(command.SpanId, "command"); ruled.GetName() != "rule" {
		t.Errorf("the other command is a part of %v", ruled)
	}
	delivery := seen.one("webhook delivery", nil)
	if ruled := seen.parent(nil, "webhook delivery"); ruled.GetName() != "rule" {
		t.Errorf("the delivery is a part of %v", ruled)
	}
	seen.one("webhook", delivery.SpanId)
	asked := seen.one("webhook", seen.one("POST /api/v1/webhooks/{name}/test", nil).SpanId)
	if parent := <-parents; !strings.Contains(parent, hex.EncodeToString(asked.SpanId)) {
		t.Errorf("the webhook was told %q, not %x", parent, asked.SpanId)
	}
	for _, secret := range []string{"hush", h.Token, "whsec_", "Bearer"} {
		if strings.Contains(seen.text.String(), secret) {
			t.Errorf("%q is told to the collector", secret)
		}
	}
}

// traceHouse is a house in which a door is opened once.
type traceHouse struct{ ruleHouse }

// ask makes a request, as a part of a trace.
func (h *traceHouse) ask(method, path, body, parent string) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), method, "http://"+h.HTTP+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+h.Token)
	req.Header.Set("Content-Type", "application/json")
	if parent != "" {
		req.Header.Set("traceparent", parent)
	}
	resp, err := h.client.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode >= 300 {
		h.t.Fatalf("%s %s: %s, %s, %v", method, path, resp.Status, b, err)
	}
}

// open opens the door.
func (h *traceHouse) open() {
	h.t.Helper()
	ctx := context.Background()
	l := h.link()
	err := signIn(ctx, l, h.door.grant.Account, h.door.di, h.door.grant.Access)
	var body []byte
	if err == nil {
		body, err = oic.FromJSON(oic.OCF, []byte(`{"open":true}`))
	}
	if err == nil {
		err = l.Report(ctx, "/a/door", &oic.Response{Format: oic.OCF, Body: body})
	}
	if err != nil {
		h.t.Fatal(err)
	}
}
