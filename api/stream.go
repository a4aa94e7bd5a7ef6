package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/oic"
)

const (
	beat       = 15 * time.Second // between comments on a silent stream
	writeTime  = 10 * time.Second // for the client to take one write
	slowEvents = 1024             // that wait for a client before states do
)

// streamInput selects the events of a stream.
type streamInput struct {
	Device string `query:"device" maxLength:"64" doc:"only of this device: its di"`
	Href   string `query:"href" maxLength:"2048" doc:"only of this resource"`
	From   uint64 `query:"from" doc:"start with this seq; else with the first new one"`
	Every  bool   `query:"every" doc:"leave out no event, however slow the client is or however long it was away"`
	LastID uint64 `header:"Last-Event-ID" doc:"go on after this seq"`
}

func (in *streamInput) filter() event.Filter {
	f := event.Filter{Device: strings.ToLower(in.Device), Href: in.Href, From: in.From}
	if in.LastID > 0 {
		f.From = in.LastID + 1
	}
	return f
}

// merge is how many events wait for a client before only the newest of each
// resource do (threats.md, section 3.4).
func (in *streamInput) merge() int {
	if in.Every {
		return event.Everything
	}
	return slowEvents
}

// streamRoute serves events as they come, as server-sent events (HTML
// standard, section 9.2): id is the seq, data an Event.
func (h *Handler) streamRoute() {
	op := operation(http.MethodGet, "/api/v1/events/stream", "stream-events",
		"Follow what the account's devices report", "events", 200, 403, 404, 503)
	op.Responses = map[string]*huma.Response{"200": {
		Description: "Server-sent events, each with its seq as id and an Event as data. An event of type merged (farreach.merged/v1) says how many older events were left out for the newest ones of their resources, because the client is slow or was away for long. One of type end (farreach.end/v1) says why the server ends the stream.",
		Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: "string"}}},
	}}
	huma.Register(h.huma, op, func(ctx context.Context, in *streamInput) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(ctx huma.Context) { h.stream(ctx, asker(ctx.Context()), in.filter(), in.merge()) }}, nil
	})
}

// stream follows events until the client or the server goes. Between the store
// and the client only few events wait: a client that is slow is given states
// when it is ready, or, if it wants every event, those that it missed; one that
// takes nothing is cut off.
func (h *Handler) stream(hc huma.Context, who oic.Identity, f event.Filter, merge int) {
	if err := h.known(hc.Context(), who, f.Device); err != nil {
		h.refuse(hc, err)
		return
	}
	done, ok := h.load.openStream(who.Account)
	if !ok {
		h.refuse(hc, oic.Errorf(oic.TooMany, "more than %d streams of one account", maxStreams))
		return
	}
	defer done()
	ctx, cancel := context.WithCancel(hc.Context())
	news, begun, ended := make(chan event.News), make(chan struct{}), make(chan error, 1)
	f.Begun = func() { close(begun) }
	var follower sync.WaitGroup
	follower.Go(func() {
		ended <- h.cloud.FollowNews(ctx, who, f, merge, func(some event.News) error {
			select {
			case news <- some:
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
	if err := h.send(ctx, newSSE(w), who, news, ended); err != nil {
		h.log.Debug("event stream cut", "account", who.Account, "err", err)
	}
}

// send writes the stream. Its error is that of writing.
func (h *Handler) send(ctx context.Context, out *sse, who oic.Identity, news <-chan event.News, ended <-chan error) error {
	if err := out.start(); err != nil {
		return err
	}
	silence := time.NewTicker(beat)
	defer silence.Stop()
	for {
		var err error
		select {
		case some := <-news:
			err = h.tell(ctx, out, who, some)
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

// tell writes events, and how many were left out for them.
func (h *Handler) tell(ctx context.Context, out *sse, who oic.Identity, some event.News) error {
	name := h.names(ctx, who)
	for _, ev := range some.Events {
		data, err := h.encoded.of(ev.Seq, func() Event { return h.event(ev, name(ev.Device)) })
		if err == nil {
			err = out.raw(strconv.FormatUint(ev.Seq, 10), "", data)
		}
		if err != nil {
			return err
		}
	}
	if some.Merged > 0 {
		if err := out.add("", "merged", Merged{Schema: "farreach.merged/v1", Events: some.Merged}); err != nil {
			return err
		}
	}
	return out.flush()
}

// Merged says how many events a stream left out because there were newer ones
// of the same resources.
type Merged struct {
	Schema string `json:"schema" enum:"farreach.merged/v1"`
	Events int    `json:"events"`
}

// End says why a stream ends. The client goes on after the last id it saw.
type End struct {
	Schema string `json:"schema" enum:"farreach.end/v1"`
	Reason string `json:"reason"`
}

// sse writes server-sent events, those that are there together with one write.
type sse struct {
	w       http.ResponseWriter
	control *http.ResponseController
	room    [4 << 10]byte // enough for most
	text    []byte        // not written yet
}

// longWrite is how much is written at once, bytes: each has writeTime.
const longWrite = 64 << 10

func newSSE(w http.ResponseWriter) *sse {
	s := &sse{w: w, control: http.NewResponseController(w)}
	s.text = s.room[:0]
	return s
}

func (s *sse) start() error {
	_ = s.control.SetReadDeadline(time.Time{}) // a stream has no end
	s.w.Header().Set("Content-Type", "text/event-stream")
	s.w.Header().Set("X-Accel-Buffering", "no") // for a reverse proxy
	s.w.WriteHeader(http.StatusOK)
	return s.comment()
}

func (s *sse) comment() error {
	s.text = append(s.text, ":\n\n"...)
	return s.flush()
}

// add adds an event. Its id and kind may be empty; doc is its data, as JSON.
func (s *sse) add(id, kind string, doc any) error {
	b, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	return s.raw(id, kind, b)
}

// raw is add with data that is JSON already, in one line.
func (s *sse) raw(id, kind string, b []byte) error {
	for _, field := range [...][2]string{{"id: ", id}, {"event: ", kind}} {
		if field[1] != "" {
			s.text = append(append(append(s.text, field[0]...), field[1]...), '\n')
		}
	}
	s.text = append(append(append(s.text, "data: "...), b...), "\n\n"...)
	if len(s.text) >= longWrite {
		return s.flush()
	}
	return nil
}

// end says why the stream ends.
func (s *sse) end(reason string) error {
	if err := s.add("", "end", End{Schema: "farreach.end/v1", Reason: reason}); err != nil {
		return err
	}
	return s.flush()
}

// flush writes what was added.
func (s *sse) flush() error {
	_ = s.control.SetWriteDeadline(time.Now().Add(writeTime))
	_, err := s.w.Write(s.text)
	s.text = s.room[:0]
	if err != nil {
		return err
	}
	return s.control.Flush()
}
