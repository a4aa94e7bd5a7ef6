package xcproxy

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/oic"
)

// fan is one observation on the local network, of which any number of watchers
// are told: it begins with the first and ends with the last of them.
//
//	device ── notification ──▶ fan.heard ──▶ newest of each watcher ──▶ each ──▶ rae, cloudlink
type fan struct {
	m       *mirror
	key     fanKey
	req     oic.Request
	batch   bool // a notification has only what has changed
	listing bool
	end     context.CancelCauseFunc // for good
	wait    backoff.Backoff         // of run

	// What follows is guarded by m.mu.
	watchers map[*watcher]struct{}
	raw      *oic.Response // the newest representation, as it came; nil: none yet
	last     *oic.Response // the same as it may be seen
	restart  context.CancelFunc
}

// fanKey is what is observed: path and query, and the format.
type fanKey struct {
	href   string
	accept oic.ContentFormat
}

// watcher is somebody outside. Of each representation only the newest is kept
// for him, but of a batch everything.
type watcher struct {
	news chan struct{} // has one when there is something below

	// What follows is guarded by m.mu.
	fresh []*oic.Response
	err   error
}

// maxFresh is how many notifications of a batch may wait for a watcher.
const maxFresh = 64

// pace is the least time between two notifications of a device that says more
// than people can follow: what comes meanwhile is merged.
const pace = 20 * time.Millisecond

// Observe tells what the device says of a resource, now and after every change.
func (m *mirror) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	if req.Op != oic.Retrieve {
		return oic.Errorf(oic.MethodNotAllowed, "%v cannot be observed", req.Op)
	}
	path, _ := oic.SplitHref(req.Href)
	if path == pathRes {
		return m.observeDirectory(ctx, req, each)
	}
	if path == pathDevice || path == pathPlatform {
		return m.answerOnce(ctx, req, each)
	}
	f, w, late, err := m.join(req)
	if err != nil {
		return err
	}
	defer m.part(f, w)
	if late { // what the others were told at first is old
		resp, err := m.Handle(ctx, req)
		if err != nil {
			return err
		}
		each(resp)
	}
	for {
		select {
		case <-w.news:
		case <-ctx.Done():
			return ctx.Err()
		}
		fresh, err := m.take(w)
		for _, resp := range fresh {
			each(resp)
		}
		if err != nil {
			return outward(ctx, err)
		}
	}
}

// answerOnce answers for what is as good as constant.
func (m *mirror) answerOnce(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	resp, err := m.Handle(ctx, req)
	if err != nil {
		return err
	}
	last := *resp
	last.Last = true
	each(&last)
	return oic.ErrNotObservable
}

// join makes a new watcher of what req asks for, and begins to observe that if
// nobody does. late says that there was something which it has to read for itself.
func (m *mirror) join(req *oic.Request) (f *fan, w *watcher, late bool, err error) {
	if _, _, err := m.admit(req); err != nil {
		return nil, nil, false, err
	}
	key := fanKey{req.Href, req.Accept}
	if key.accept == oic.NoFormat || key.accept == oic.CBOR {
		key.accept = oic.OCF // the same bytes
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	f = m.fans[key]
	if m.watched >= maxWatchers || f == nil && len(m.fans) >= maxWatched {
		return nil, nil, false, errManyWatch
	}
	w = &watcher{news: make(chan struct{}, 1)}
	switch {
	case f == nil:
		f = m.begin(key)
	case f.last != nil && f.batch:
		late = true
	case f.last != nil:
		w.put(f.last, false)
	}
	m.watched++
	f.watchers[w] = struct{}{}
	return f, w, late, nil
}

// begin observes on the local network. m.mu is held.
func (m *mirror) begin(key fanKey) *fan {
	path, query := oic.SplitHref(key.href)
	f := &fan{m: m, key: key, batch: oic.QueryValue(query, "if") == oic.IfBatch, listing: m.listing(path), watchers: map[*watcher]struct{}{}}
	f.req = oic.Request{Op: oic.Retrieve, Href: key.href, Accept: key.accept, Whole: true}
	ctx, cancel := context.WithCancelCause(context.Background()) // of its watchers together, of whom each may go
	f.end, f.restart, f.wait.Max = cancel, func() {}, 30*time.Second
	m.fans[key] = f
	m.tasks.Go(func() { f.run(ctx) })
	return f
}

// part takes a watcher away, and with the last one ends the observation.
func (m *mirror) part(f *fan, w *watcher) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(f.watchers, w)
	m.watched--
	if len(f.watchers) == 0 {
		m.drop(f)
		f.end(errUnwatched)
	}
}

// errUnwatched ends an observation of which nobody wants to know.
var errUnwatched = errors.New("nobody watches")

// drop makes the next watcher begin anew. m.mu is held.
func (m *mirror) drop(f *fan) {
	if m.fans[f.key] == f {
		delete(m.fans, f.key)
	}
}

func (m *mirror) take(w *watcher) ([]*oic.Response, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fresh := w.fresh
	w.fresh = nil
	return fresh, w.err
}

// put leaves something for a watcher. m.mu is held.
func (w *watcher) put(resp *oic.Response, batch bool) {
	switch {
	case !batch:
		w.fresh = append(w.fresh[:0:0], resp)
	case len(w.fresh) < maxFresh:
		w.fresh = append(w.fresh, resp)
	case w.err == nil:
		w.err = errBehind
	}
	w.wake()
}

func (w *watcher) wake() {
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// run observes until ctx ends or the device does not want to any more. When the
// device is found elsewhere the observation goes on there; when the way to it
// breaks, it is tried again until the device is known to be lost.
func (f *fan) run(ctx context.Context) {
	for {
		again, err := f.once(ctx)
		if ctx.Err() != nil || !again {
			f.ended(cmp.Or(context.Cause(ctx), err))
			return
		}
	}
}

// once observes the device where it is now. again says that it is to be observed
// anew.
func (f *fan) once(ctx context.Context) (again bool, err error) {
	here, cancel := context.WithCancel(ctx)
	defer cancel()
	err = f.place(cancel).Observe(here, &f.req, func(resp *oic.Response) { f.heard(here, resp) })
	if here.Err() == nil && f.mayMend(err) {
		_ = backoff.Sleep(here, f.wait.Next())
		return true, err
	}
	return here.Err() != nil, err
}

// place is the device where it is now; restart is called when it is elsewhere.
func (f *fan) place(restart context.CancelFunc) oic.Observer {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.restart = restart
	return f.m.device.Device
}

// mayMend reports whether an observation that was begun has ended because nobody
// answered.
func (f *fan) mayMend(err error) bool {
	_, refused := errors.AsType[*oic.StatusError](err)
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return f.last != nil && !refused && !errors.Is(err, oic.ErrNotObservable)
}

// again begins the observation anew at the device as it is known now.
func (f *fan) again() {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.restart()
}

// heard tells all watchers, unless the device only says the same once more.
func (f *fan) heard(ctx context.Context, resp *oic.Response) {
	raw := clone(resp)
	if f.repeats(raw) {
		return
	}
	news := raw
	if f.listing {
		var err error
		if news, err = f.m.cleared(raw); err != nil {
			f.end(err)
			return
		}
	}
	f.tell(ctx, raw, news)
	t := time.NewTimer(pace)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// repeats reports whether resp says what the one before said. An item of a batch
// may say so for once more.
func (f *fan) repeats(resp *oic.Response) bool {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return f.raw != nil && !resp.Last && !f.batch && f.raw.Format == resp.Format && bytes.Equal(f.raw.Body, resp.Body)
}

func (f *fan) tell(ctx context.Context, raw, news *oic.Response) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	f.raw, f.last = raw, news
	for w := range f.watchers {
		w.put(news, f.batch)
	}
}

// cut ends an observation at once: what waits for its watchers is not told any
// more. m.mu is held.
func (f *fan) cut(err error) {
	f.m.drop(f)
	f.end(err)
	for w := range f.watchers {
		w.fresh, w.err = nil, err
		w.wake()
	}
}

// ended tells all watchers that there is nothing more.
func (f *fan) ended(err error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.m.drop(f)
	for w := range f.watchers {
		if w.err == nil {
			w.err = err
		}
		w.wake()
	}
}
