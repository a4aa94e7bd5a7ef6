package api

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/farreach/farreach/cloud"
	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/oic"
)

// Hello begins a live stream.
type Hello struct {
	Schema  string    `json:"schema" enum:"farreach.hello/v1"`
	Time    time.Time `json:"time" doc:"of the server"`
	Resumed bool      `json:"resumed" doc:"the stream goes on after Last-Event-ID"`
}

// Gone says that a device is none of the account's any more.
type Gone struct {
	Schema string `json:"schema" enum:"farreach.gone/v1"`
	Device string `json:"di"`
}

// Ready says that a live stream has told all that was before it began.
type Ready struct {
	Schema string `json:"schema" enum:"farreach.ready/v1"`
}

// liveInput resumes a live stream.
type liveInput struct {
	LastID uint64 `header:"Last-Event-ID" doc:"go on after this seq"`
}

// liveRoute serves the home as it is and as it changes: what a page shows.
//
//	hello · device … · event … (the last of each resource, or those after Last-Event-ID) · ready · event, device, gone …
//
// A client that is slow is told the newest event of each resource; see
// event.Events.FollowNews.
func (h *Handler) liveRoute() {
	op := operation(http.MethodGet, "/api/v1/live", "stream-live", "Follow the home: its devices, what they report, and how they are", "events", 200, 403, 503)
	op.Responses = map[string]*huma.Response{"200": {
		Description: "Server-sent events. Type hello (farreach.hello/v1) comes first; device (farreach.device/v1) tells each device and again whenever it changes, gone (farreach.gone/v1) that it is none of yours any more; event (farreach.event/v1, its seq as id) tells the last state of each resource, or what came after Last-Event-ID, and from then on what devices report; ready (farreach.ready/v1) says that all this was told. merged and end are as in /api/v1/events/stream.",
		Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: "string"}}},
	}}
	huma.Register(h.huma, op, func(_ context.Context, in *liveInput) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(ctx huma.Context) { h.live(ctx, asker(ctx.Context()), in.LastID) }}, nil
	})
}

// told is something for a live stream: one of these.
type told struct {
	device *cloud.DeviceInfo
	gone   string
	news   event.News
	ready  bool
}

func (h *Handler) live(hc huma.Context, who oic.Identity, last uint64) {
	done, ok := h.load.openStream(who.Account)
	if !ok {
		h.refuse(hc, oic.Errorf(oic.TooMany, "more than %d streams of one account", maxStreams))
		return
	}
	defer done()
	newest, err := h.newest(hc.Context(), who)
	if err != nil {
		h.refuse(hc, err)
		return
	}
	ctx, cancel := context.WithCancel(hc.Context())
	l := liveStream{h: h, who: who, last: last, newest: newest, told: make(chan told), ended: make(chan error, 2)}
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer cancel()
	tasks.Go(func() { l.ended <- l.presence(ctx, &tasks) })

	_, w := humago.Unwrap(hc)
	if err := l.send(ctx, newSSE(w)); err != nil {
		h.log.Debug("live stream cut", "account", who.Account, "err", err)
	}
}

// newest is the seq of the newest event of the account; 0 if it has none.
func (h *Handler) newest(ctx context.Context, who oic.Identity) (seq uint64, err error) {
	err = h.cloud.Events(ctx, who, event.Filter{Limit: 1, Order: event.NewestFirst}, func(ev event.Event) bool {
		seq = ev.Seq
		return true
	})
	return seq, err
}

// liveStream is one live stream.
type liveStream struct {
	h      *Handler
	who    oic.Identity
	last   uint64 // seq after which it goes on; 0: from the states
	newest uint64 // seq of the newest event before it began
	told   chan told
	ended  chan error
}

// presence tells how devices are, and once that was told of all, begins to tell
// what they report.
func (l *liveStream) presence(ctx context.Context, tasks *sync.WaitGroup) error {
	return l.h.cloud.WatchPresence(ctx, l.who, cloud.PresenceWatch{
		Each: func(dev cloud.DeviceInfo) error { return l.put(ctx, told{device: &dev}) },
		Gone: func(di string) error { return l.put(ctx, told{gone: di}) },
		Begun: func() error {
			tasks.Go(func() { l.ended <- l.events(ctx) })
			return nil
		},
	})
}

func (l *liveStream) events(ctx context.Context) error {
	behind := l.newest > l.last
	if !behind {
		if err := l.put(ctx, told{ready: true}); err != nil {
			return err
		}
	}
	return l.h.cloud.FollowNews(ctx, l.who, event.Filter{From: l.last + 1}, slowEvents, func(news event.News) error {
		if err := l.put(ctx, told{news: news}); err != nil || !behind || news.Events[len(news.Events)-1].Seq < l.newest {
			return err
		}
		behind = false
		return l.put(ctx, told{ready: true})
	})
}

func (l *liveStream) put(ctx context.Context, what told) error {
	select {
	case l.told <- what:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// send writes the stream. Its error is that of writing.
func (l *liveStream) send(ctx context.Context, out *sse) error {
	if err := out.start(); err != nil {
		return err
	}
	if err := out.add("", "hello", Hello{"farreach.hello/v1", time.Now().UTC(), l.last > 0}); err != nil {
		return err
	}
	silence := time.NewTicker(beat)
	defer silence.Stop()
	for {
		var err error
		select {
		case what := <-l.told:
			err = l.tell(out, what)
			silence.Reset(beat)
		case <-silence.C:
			err = out.comment()
		case why := <-l.ended:
			_, detail := oic.StatusOf(why)
			return out.end(detail)
		case <-l.h.ending:
			return out.end("the server is stopping")
		case <-ctx.Done():
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (l *liveStream) tell(out *sse, what told) (err error) {
	switch {
	case what.device != nil:
		err = out.add("", "device", device(*what.device))
	case what.gone != "":
		err = out.add("", "gone", Gone{"farreach.gone/v1", what.gone})
	case what.ready:
		err = out.add("", "ready", Ready{"farreach.ready/v1"})
	}
	for _, ev := range what.news.Events {
		if err == nil {
			err = out.add(strconv.FormatUint(ev.Seq, 10), "event", l.h.event(ev, ""))
		}
	}
	if what.news.Merged > 0 && err == nil {
		err = out.add("", "merged", Merged{Schema: "farreach.merged/v1", Events: what.news.Merged})
	}
	if err != nil {
		return err
	}
	return out.flush()
}
