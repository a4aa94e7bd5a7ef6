package api

import (
	"cmp"
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

// Ready says that a live stream has told all that was before it began: a device
// that was not told is gone.
type Ready struct {
	Schema string `json:"schema" enum:"farreach.ready/v1"`
}

// liveInput resumes a live stream.
type liveInput struct {
	LastID uint64 `header:"Last-Event-ID" doc:"go on after this seq"`
}

// liveRoute serves the home as it is and as it changes: what a page shows.
//
//	hello · device … · state … · ready · event, device, gone …                         anew
//	hello · device … · event … (those after Last-Event-ID) · ready · event, device, gone …   resumed
//
// All devices come before ready, so that one which has gone meanwhile is missed.
// A client that was away for long, or is slow, is told the newest event of each
// resource in place of all between; see event.Events.FollowNews. Who has devices of
// others among them is told states when he resumes, too, for what they shared may
// be new to him; and if that changes, the stream ends and begins again.
func (h *Handler) liveRoute() {
	op := operation(http.MethodGet, "/api/v1/live", "stream-live", "Follow the home: its devices, what they report, and how they are", "events", 200, 403, 503)
	op.Responses = map[string]*huma.Response{"200": {
		Description: "Server-sent events. Type hello (farreach.hello/v1) comes first; device (farreach.device/v1) tells each device and again whenever it changes, gone (farreach.gone/v1) that it is none of yours any more; state (farreach.event/v1) tells the last event of each resource, unless the stream goes on after Last-Event-ID: event (farreach.event/v1, its seq as id) tells what came after that then, and in any case what devices report from now on; ready (farreach.ready/v1, with an id to go on from) says that all that was before was told: a device that was not is gone. merged and end are as in /api/v1/events/stream.",
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
	states []event.Event
	news   event.News
	ready  *uint64 // up to this seq
}

func (h *Handler) live(hc huma.Context, who oic.Identity, last uint64) {
	done, ok := h.load.openStream(who.Account)
	if !ok {
		h.refuse(hc, oic.Errorf(oic.TooMany, "more than %d streams of one account", maxStreams))
		return
	}
	defer done()
	newest, err := h.cloud.NewestEvent(hc.Context(), who)
	if err != nil {
		h.refuse(hc, err)
		return
	}
	if last > newest {
		last = 0 // of another store, which this one has replaced
	}
	ctx, cancel := context.WithCancel(hc.Context())
	l := liveStream{h: h, who: who, last: last, newest: newest, foreign: map[string]bool{}, told: make(chan told), ended: make(chan error, 2)}
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer cancel()
	tasks.Go(func() { l.ended <- l.presence(ctx, &tasks) })

	_, w := humago.Unwrap(hc)
	if err := l.send(ctx, newSSE(w)); err != nil {
		h.log.Debug("live stream cut", "account", who.Account, "err", err)
	}
}

// liveStream is one live stream.
type liveStream struct {
	h      *Handler
	who    oic.Identity
	last   uint64 // seq after which it goes on; 0: from the states
	newest uint64 // seq of the newest event before it began
	told   chan told
	ended  chan error

	begun   bool            // presence has told what there was; of presence alone, as foreign
	foreign map[string]bool // by di: devices of other accounts
}

// presence tells how devices are, and once that was told of all, begins to tell
// what they report.
func (l *liveStream) presence(ctx context.Context, tasks *sync.WaitGroup) error {
	return l.h.cloud.WatchPresence(ctx, l.who, cloud.PresenceWatch{
		Each: func(dev cloud.DeviceInfo) error {
			if dev.Account != l.who.Account && !l.foreign[dev.ID] {
				if l.foreign[dev.ID] = true; l.begun {
					return errShares
				}
			}
			return l.put(ctx, told{device: &dev})
		},
		Gone: func(di string) error {
			delete(l.foreign, di)
			return l.put(ctx, told{gone: di})
		},
		Begun: func() error {
			l.begun = true
			states := l.last == 0 || len(l.foreign) > 0
			tasks.Go(func() { l.ended <- l.events(ctx, states) })
			return nil
		},
	})
}

// errShares ends a stream that does not follow the events of a device.
var errShares = oic.Errorf(oic.Unavailable, "what others share with you has changed: ask again")

// events tells what devices report, with states after those.
func (l *liveStream) events(ctx context.Context, states bool) error {
	if states {
		if err := l.states(ctx); err != nil {
			return err
		}
	}
	f := event.Filter{From: l.last + 1, Caught: func(seq uint64) {
		_ = l.put(ctx, told{ready: &seq}) // fails with ctx alone, which ends all this
	}}
	if l.last == 0 {
		f.From = l.newest + 1
	}
	return l.h.cloud.FollowNews(ctx, l.who, f, slowEvents, func(news event.News) error {
		return l.put(ctx, told{news: news})
	})
}

// manyStates is how many states are written at once.
const manyStates = 64

func (l *liveStream) states(ctx context.Context) (err error) {
	var some []event.Event
	tell := func() bool {
		err = l.put(ctx, told{states: some})
		some = nil
		return err == nil
	}
	failed := l.h.cloud.States(ctx, l.who, func(ev event.Event) bool {
		some = append(some, ev)
		return len(some) < manyStates || tell()
	})
	if err == nil && failed == nil {
		tell()
	}
	return cmp.Or(err, failed)
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
	case what.ready != nil:
		err = out.add(strconv.FormatUint(*what.ready, 10), "ready", Ready{"farreach.ready/v1"})
	}
	for _, ev := range what.states {
		if err == nil {
			err = out.add("", "state", l.h.event(ev, ""))
		}
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
