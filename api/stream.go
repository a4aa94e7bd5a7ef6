package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/oic"
)

const (
	beat      = 15 * time.Second // between comments on a silent stream
	writeTime = 10 * time.Second // for the client to take one event
)

// streamInput selects the events of a stream.
type streamInput struct {
	Device string `query:"device" maxLength:"64" doc:"only of this device: its di"`
	Href   string `query:"href" maxLength:"2048" doc:"only of this resource"`
	From   uint64 `query:"from" doc:"start with this seq; else with the first new one"`
	LastID uint64 `header:"Last-Event-ID" doc:"go on after this seq"`
}

func (in *streamInput) filter() event.Filter {
	f := event.Filter{Device: in.Device, Href: in.Href, From: in.From}
	if in.LastID > 0 {
		f.From = in.LastID + 1
	}
	return f
}

// streamRoute serves events as they come, as server-sent events (HTML
// standard, section 9.2): id is the seq, data an Event.
func (h *Handler) streamRoute() {
	op := operation(http.MethodGet, "/api/v1/events/stream", "stream-events",
		"Follow what the account's devices report", "events", 200, 403, 503)
	op.Responses = map[string]*huma.Response{"200": {
		Description: "Server-sent events, each with its seq as id and an Event as data. An event of type end says why the server ends the stream.",
		Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: "string"}}},
	}}
	huma.Register(h.huma, op, func(ctx context.Context, in *streamInput) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(ctx huma.Context) { h.stream(ctx, asker(ctx.Context()), in.filter()) }}, nil
	})
}

// stream follows events until the client or the server goes. Between the store
// and the client only few events wait: a client that is slow is sent what it
// missed when it is ready, and one that takes nothing is cut off.
func (h *Handler) stream(hc huma.Context, who oic.Identity, f event.Filter) {
	done, ok := h.load.openStream(who.Account)
	if !ok {
		h.refuse(hc, oic.Errorf(oic.TooMany, "more than %d streams of one account", maxStreams))
		return
	}
	defer done()
	ctx, cancel := context.WithCancel(hc.Context())
	events, begun, ended := make(chan event.Event), make(chan struct{}), make(chan error, 1)
	f.Begun = func() { close(begun) }
	var follower sync.WaitGroup
	follower.Go(func() {
		ended <- h.cloud.FollowEvents(ctx, who, f, func(ev event.Event) error {
			select {
			case events <- ev:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	defer follower.Wait()
	defer cancel()

	select { // before the first byte a failure can still be an answer
	case err := <-ended:
		if ctx.Err() == nil {
			h.refuse(hc, err)
		}
		return
	case <-begun:
	}
	_, w := humago.Unwrap(hc)
	out := newSSE(w)
	if err := h.send(ctx, out, who, events, ended); err != nil {
		h.log.Debug("event stream cut", "account", who.Account, "err", err)
	}
}

// send writes the stream. Its error is that of writing.
func (h *Handler) send(ctx context.Context, out *sse, who oic.Identity, events <-chan event.Event, ended <-chan error) error {
	if err := out.start(); err != nil {
		return err
	}
	silence := time.NewTicker(beat)
	defer silence.Stop()
	for {
		var err error
		select {
		case ev := <-events:
			dev, _ := h.cloud.DeviceInfo(ctx, who, ev.Device) // a device that is gone has no name
			err = out.event(h.event(ev, dev.Name))
			silence.Reset(beat)
		case <-silence.C:
			err = out.comment()
		case why := <-ended:
			_, detail := oic.StatusOf(why)
			return out.end(detail)
		case <-h.ending:
			return out.end("the server is stopping")
		case <-ctx.Done():
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// sse writes server-sent events.
type sse struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func newSSE(w http.ResponseWriter) *sse { return &sse{w, http.NewResponseController(w)} }

func (s *sse) start() error {
	_ = s.control.SetReadDeadline(time.Time{}) // a stream has no end
	s.w.Header().Set("Content-Type", "text/event-stream")
	s.w.Header().Set("X-Accel-Buffering", "no") // for a reverse proxy
	s.w.WriteHeader(http.StatusOK)
	return s.comment()
}

func (s *sse) comment() error { return s.write(":\n\n") }

func (s *sse) event(e Event) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return s.write(fmt.Sprintf("id: %d\ndata: %s\n\n", e.Seq, b)) // JSON is one line
}

// End says why a stream ends. The client goes on after the last id it saw.
type End struct {
	Schema string `json:"schema" enum:"farreach.end/v1"`
	Reason string `json:"reason"`
}

func (s *sse) end(reason string) error {
	b, err := json.Marshal(End{Schema: "farreach.end/v1", Reason: reason})
	if err != nil {
		return err
	}
	return s.write(fmt.Sprintf("event: end\ndata: %s\n\n", b))
}

func (s *sse) write(text string) error {
	_ = s.control.SetWriteDeadline(time.Now().Add(writeTime))
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.control.Flush()
}
