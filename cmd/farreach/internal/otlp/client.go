package otlp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/farreach/farreach/internal/backoff"
)

const (
	sendTime = 10 * time.Second // for one request
	tries    = 3
)

// client posts spans (OTLP 1.10, section "OTLP/HTTP"). It implements
// otlptrace.Client.
type client struct {
	url     string
	headers http.Header // may hold a secret
	http    *http.Client
}

// Start and Stop implement otlptrace.Client: there is nothing to do.
func (c *client) Start(context.Context) error { return nil }
func (c *client) Stop(context.Context) error  { return nil }

// UploadTraces implements otlptrace.Client. A collector that is away or has too
// much to do is asked three times.
func (c *client) UploadTraces(ctx context.Context, spans []*trace.ResourceSpans) error {
	if len(spans) == 0 {
		return nil
	}
	body, err := proto.Marshal(&trace.TracesData{ResourceSpans: spans}) // the same on the wire as ExportTraceServiceRequest
	if err != nil {
		return err
	}
	var wait backoff.Backoff
	for try := 1; ; try++ {
		again, err := c.post(ctx, body)
		if err == nil || !again || try == tries {
			return err
		}
		if backoff.Sleep(ctx, wait.Next()) != nil {
			return err
		}
	}
}

// post does one request. again says that it may go well the next time.
func (c *client) post(ctx context.Context, body []byte) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	req.Header = c.headers.Clone()
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("User-Agent", "farreach")
	resp, err := c.http.Do(req)
	if err != nil {
		return true, err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection is used again
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		again = true
	}
	if resp.StatusCode/100 != 2 {
		return again, fmt.Errorf("%s answers %s", req.URL.Host, resp.Status)
	}
	return false, nil
}
