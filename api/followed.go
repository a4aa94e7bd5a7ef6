package api

import (
	"context"
	"errors"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/farreach/farreach/oic"
)

// item is one event of a stream. Without an id there is no going on behind it.
type item struct {
	id  string
	doc any
}

// beginTime is how long a stream may take until its first byte.
const beginTime = time.Second

// followed answers with what source tells, as server-sent events, until the
// client, the server or source ends it. Source calls begun when it misses
// nothing any more. Its tell waits for the client: nothing is queued.
func (h *Handler) followed(hc huma.Context, who oic.Identity, source func(ctx context.Context, begun func(), tell func(item) error) error) {
	done, ok := h.load.openStream(who.Account)
	if !ok {
		h.refuse(hc, oic.Errorf(oic.TooMany, "more than %d streams of one account", maxStreams))
		return
	}
	defer done()
	ctx, cancel := context.WithCancel(hc.Context())
	news, begun, ended := make(chan item), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- source(ctx, func() { close(begun) }, func(t item) error {
			select {
			case news <- t:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	defer func() { cancel(); <-ended }()
	late := time.NewTimer(beginTime)
	defer late.Stop()
	var first *item
	select { // before the first byte a failure can still be an answer
	case err := <-ended:
		ended <- nil
		if ctx.Err() == nil {
			h.refuseResource(hc, err)
		}
		return
	case t := <-news:
		first = &t
	case <-begun:
	case <-late.C:
	}
	_, w := humago.Unwrap(hc)
	if err := h.sendItems(ctx, newSSE(w), first, news, ended); err != nil {
		h.log.Debug("stream cut", "account", who.Account, "err", err)
	}
}

// sendItems writes the stream. Its error is that of writing.
func (h *Handler) sendItems(ctx context.Context, out *sse, first *item, news <-chan item, ended chan error) error {
	if err := out.start(); err != nil {
		return err
	}
	silence := time.NewTicker(beat)
	defer silence.Stop()
	if first != nil {
		if err := out.item(*first); err != nil {
			return err
		}
	}
	for {
		var err error
		select {
		case t := <-news:
			err = out.item(t)
			silence.Reset(beat)
		case <-silence.C:
			err = out.comment()
		case why := <-ended:
			ended <- nil
			_, detail := oic.StatusOf(why)
			if errors.Is(why, oic.ErrNotObservable) {
				detail = why.Error()
			}
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

func (s *sse) item(t item) error {
	if err := s.add(t.id, "", t.doc); err != nil {
		return err
	}
	return s.flush()
}
