package rabridge

import (
	"bytes"
	"context"
	"errors"
	"sync"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/oic"
)

// watch is the observation of all that a device offers, for the log of events: of
// each resource one, that lasts as long as the stay. Which resources there are is
// observed too, if the device lets it.
type watch struct {
	s     *stay
	who   oic.Identity
	tasks sync.WaitGroup
	under map[string]context.CancelFunc // by href; only for settle and end
}

func newWatch(s *stay, who oic.Identity) *watch {
	return &watch{s: s, who: who, under: map[string]context.CancelFunc{}}
}

// settle observes those of links that can be, up to 48, and nothing else. What the
// device has ended is not begun anew.
func (w *watch) settle(ctx context.Context, links []oic.Link) {
	wanted := map[string]bool{"/oic/res": true}
	for _, l := range links {
		if l.Observable() && len(wanted) <= maxWatched {
			wanted[l.Href] = true
		}
	}
	for href, cancel := range w.under {
		if !wanted[href] {
			cancel()
			delete(w.under, href)
		}
	}
	for href := range wanted {
		if w.under[href] != nil {
			continue
		}
		until, cancel := context.WithCancel(ctx)
		w.under[href] = cancel
		w.tasks.Go(func() { w.follow(until, href) })
	}
}

// end ends all observations.
func (w *watch) end() {
	for _, cancel := range w.under {
		cancel()
	}
	w.tasks.Wait()
}

// follow observes a resource until ctx ends or the device does not want to. Before
// it has answered once, who does not answer is asked again.
func (w *watch) follow(ctx context.Context, href string) {
	wait := backoff.Backoff{Max: maxRetry}
	req := &oic.Request{Href: href, Accept: oic.OCF, Whole: true}
	for {
		err := w.s.peer.Observe(ctx, req, func(resp *oic.Response) {
			if href == "/oic/res" {
				w.s.again()
			} else {
				w.report(ctx, href, resp)
			}
		})
		_, refused := errors.AsType[*oic.StatusError](err)
		if refused || errors.Is(err, oic.ErrNotObservable) || backoff.Sleep(ctx, wait.Next()) != nil {
			return
		}
	}
}

// report hands a representation to the cloud. While that takes its time, the
// device's newer ones take each other's place.
func (w *watch) report(ctx context.Context, href string, resp *oic.Response) {
	if resp.Status != oic.Content {
		return
	}
	rep := *resp
	rep.Body = bytes.Clone(resp.Body)
	for _, err := range w.s.a.cfg.Cloud.Report(ctx, w.who, []cloudlink.Report{{Href: href, Rep: &rep}}) {
		if err != nil && ctx.Err() == nil {
			w.s.log.Warn("event lost", "href", href, "err", err)
		}
	}
	if href == "/oic/con" {
		w.s.again()
	}
}
