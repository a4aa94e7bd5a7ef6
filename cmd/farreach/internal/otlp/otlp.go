// Package otlp sends the spans of a server to a collector, by OTLP over HTTP:
//
//	tracing.Tracer ──▶ spans that ended ── in batches, each 5 s ──▶ client ── POST …/v1/traces ──▶ collector
//
// What is not taken is dropped: the queue is bounded, and nobody waits for it.
// The client is our own. That of OpenTelemetry comes with all of gRPC, 8 MB of
// program, to send one kind of request.
package otlp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"

	"github.com/farreach/farreach/internal/tracing"
)

// closeTime is how long what has not been sent yet is waited for at the end.
const closeTime = 2 * time.Second

// Config says where spans go. Without an endpoint here or in the environment
// there are none.
//
// The variables of OpenTelemetry count: OTEL_EXPORTER_OTLP_ENDPOINT, _HEADERS (a
// token for the collector), _CERTIFICATE and those with _TRACES_ in them, also
// OTEL_TRACES_SAMPLER, OTEL_BSP_*, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES,
// OTEL_TRACES_EXPORTER=none and OTEL_SDK_DISABLED.
type Config struct {
	Endpoint string // "http://127.0.0.1:4318": of a collector; "": the environment says it
	Version  string // of the program
	Node     string // name of this process
	Lookup   func(string) (string, bool)
	Log      *slog.Logger
}

// Open returns a tracer, nil if there is no endpoint, and what sends the rest at
// the end. It does not touch the network. The error is one in the configuration.
func Open(ctx context.Context, cfg Config) (t *tracing.Tracer, end func(), err error) {
	c, err := cfg.client()
	if c == nil || err != nil {
		return nil, func() {}, err
	}
	exporter, err := otlptrace.New(ctx, c)
	if err != nil {
		return nil, func() {}, err
	}
	res, err := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", "farreach"), attribute.String("service.version", cfg.Version), attribute.String("service.instance.id", cfg.Node),
	), resource.WithFromEnv())
	if err != nil {
		return nil, func() {}, err
	}
	otel.SetErrorHandler(complaints(cfg.Log))
	p := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(res))
	return tracing.New(p), func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		if err := p.Shutdown(ctx); err != nil {
			cfg.Log.Debug("the last traces were not taken", "err", err)
		}
		c.http.CloseIdleConnections()
	}, nil
}

// env is a variable of OTLP, as it is for traces or else for everything.
func (cfg *Config) env(name string) string {
	for _, prefix := range []string{"OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"} {
		if v, _ := cfg.Lookup(prefix + name); v != "" {
			return v
		}
	}
	return ""
}

// client is what sends spans, as it is configured; nil: nothing does.
func (cfg *Config) client() (*client, error) {
	off, _ := cfg.Lookup("OTEL_SDK_DISABLED")
	exporter, _ := cfg.Lookup("OTEL_TRACES_EXPORTER")
	if strings.EqualFold(off, "true") || exporter == "none" {
		return nil, nil
	}
	to, err := cfg.endpoint()
	if to == "" || err != nil {
		return nil, err
	}
	if p := cfg.env("PROTOCOL"); p != "" && p != "http/protobuf" {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL is %q: traces go by http/protobuf alone", p)
	}
	c := &client{url: to, headers: http.Header{}}
	for pair := range strings.SplitSeq(cfg.env("HEADERS"), ",") {
		name, value, _ := strings.Cut(pair, "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if name = strings.TrimSpace(name); name == "" {
			continue
		} else if err != nil {
			return nil, errors.New("OTEL_EXPORTER_OTLP_HEADERS is not name=value, with , between them and %XX for what is special")
		}
		c.headers.Set(name, value)
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, IdleConnTimeout: time.Minute}
	if file := cfg.env("CERTIFICATE"); file != "" {
		text, err := os.ReadFile(file)
		roots := x509.NewCertPool()
		if err != nil || !roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CERTIFICATE: no certificate in %s (%v)", file, err)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	c.http = &http.Client{Transport: transport, Timeout: sendTime, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return c, nil
}

// endpoint is the URL to which traces are posted; "": none.
func (cfg *Config) endpoint() (string, error) {
	to, whole := cfg.Endpoint, false
	if to == "" {
		to, _ = cfg.Lookup("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
		whole = to != ""
	}
	if to == "" {
		to, _ = cfg.Lookup("OTEL_EXPORTER_OTLP_ENDPOINT")
	}
	if to == "" {
		return "", nil
	}
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return "", errors.New("a collector is http://HOST:PORT or https://HOST:PORT, without a password: OTEL_EXPORTER_OTLP_HEADERS is for that")
	}
	if !whole {
		u = u.JoinPath("v1/traces")
	}
	return u.String(), nil
}

// complaints logs what the library cannot do. That a collector is away is told
// once as a warning.
func complaints(log *slog.Logger) otel.ErrorHandler {
	var told atomic.Bool
	return otel.ErrorHandlerFunc(func(err error) {
		level := slog.LevelDebug
		if told.CompareAndSwap(false, true) {
			level = slog.LevelWarn
		}
		log.Log(context.Background(), level, "traces are not taken", "err", err)
	})
}
