package otlp

import (
	"context"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/farreach/farreach/internal/tracing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// with is an environment.
func with(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

// TestEndpoint: where traces go, if anywhere.
func TestEndpoint(t *testing.T) {
	for _, test := range []struct {
		name, endpoint string
		env            []string
		want           string // "": nowhere; "!": a wrong configuration
	}{
		{"nothing", "", nil, ""},
		{"flag", "http://127.0.0.1:4318", nil, "http://127.0.0.1:4318/v1/traces"},
		{"flag with a path", "https://c.example.org/otlp/", nil, "https://c.example.org/otlp/v1/traces"},
		{"environment", "", []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"}, "http://c:4318/v1/traces"},
		{"for traces alone", "", []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://c", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://d/x"}, "http://d/x"},
		{"the flag counts more", "http://a", []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://d/x"}, "http://a/v1/traces"},
		{"off", "http://a", []string{"OTEL_SDK_DISABLED", "TRUE"}, ""},
		{"no exporter", "http://a", []string{"OTEL_TRACES_EXPORTER", "none"}, ""},
		{"a password", "http://me:secret@a", nil, "!"},
		{"no URL", "collector:4318", nil, "!"},
		{"gRPC", "http://a", []string{"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"}, "!"},
		{"no header", "http://a", []string{"OTEL_EXPORTER_OTLP_HEADERS", "a=%zz"}, "!"},
		{"no certificate", "http://a", []string{"OTEL_EXPORTER_OTLP_CERTIFICATE", "/dev/null"}, "!"},
	} {
		cfg := Config{Endpoint: test.endpoint, Lookup: with(test.env...)}
		c, err := cfg.client()
		switch {
		case err != nil && test.want != "!", err == nil && test.want == "!":
			t.Errorf("%s: %v", test.name, err)
		case err == nil && (c == nil) != (test.want == ""), c != nil && c.url != test.want:
			t.Errorf("%s: %+v, want %q", test.name, c, test.want)
		}
	}
}

// TestSend: what ended is at the collector when the tracer is closed, over TLS and
// with a token, though the collector was busy at first.
func TestSend(t *testing.T) {
	var asked atomic.Int32
	var got trace.TracesData
	c := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		b, err := io.ReadAll(r.Body)
		if err == nil {
			err = proto.Unmarshal(b, &got)
		}
		if err != nil || r.Header.Get("Authorization") != "Bearer a, b" {
			t.Errorf("%v %v", err, r.Header)
		}
	}))
	defer c.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Endpoint: c.URL, Version: "v1", Node: "hub:8443", Log: quiet,
		Lookup: with("OTEL_EXPORTER_OTLP_CERTIFICATE", ca, "OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20a%2C%20b")}
	tracer, end, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	_, span := tracer.Start(t.Context(), tracing.Task, "rule")
	span.End()
	end()
	if n := len(got.ResourceSpans); n != 1 || got.ResourceSpans[0].ScopeSpans[0].Spans[0].Name != "rule" {
		t.Fatalf("%d answers, %v", asked.Load(), &got)
	}
	said := map[string]string{}
	for _, a := range got.ResourceSpans[0].Resource.Attributes {
		said[a.Key] = a.Value.GetStringValue()
	}
	if said["service.name"] != "farreach" || said["service.version"] != "v1" || said["service.instance.id"] != "hub:8443" {
		t.Errorf("%v", said)
	}
}

// TestRefused: a collector that refuses is not asked again.
func TestRefused(t *testing.T) {
	var asked atomic.Int32
	c := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusBadRequest)
	}))
	defer c.Close()
	cfg := Config{Endpoint: c.URL, Lookup: with()}
	to, err := cfg.client()
	if err != nil {
		t.Fatal(err)
	}
	if err := to.UploadTraces(context.Background(), []*trace.ResourceSpans{{}}); err == nil || asked.Load() != 1 {
		t.Errorf("asked %d times: %v", asked.Load(), err)
	}
	to.http.CloseIdleConnections()
}
