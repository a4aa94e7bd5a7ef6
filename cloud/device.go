package cloud

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/farreach/farreach/cloud/directory"
	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// longestRequest is how long a device may take at most, whatever the asker
// would wait.
const longestRequest = 60 * time.Second

// Device returns the way to a device, over whichever session it has when it is
// asked. It is a 4.04 if who must not know of the device.
//
// For a device, svc leads to the services of its owner.
//
// Each request is authorized when it is made, by its From, or as who if it has
// none. An observation ends with the right to read.
func (c *Cloud) Device(_ context.Context, who oic.Identity, di string) (oic.Observer, error) {
	if di == services && who.Device != "" {
		return service{c, who}, nil
	}
	if err := c.authorize(who, opSee, target{device: di}); err != nil {
		return nil, err
	}
	return &way{c, who, di}, nil
}

// way is an oic.Observer that leads to a device.
type way struct {
	c   *Cloud
	who oic.Identity
	di  string
}

// OfflineError says since when a device cannot be reached. It is an
// oic.ErrOffline, and a 5.03 on a wire.
type OfflineError struct {
	Device  string
	Since   time.Time
	State   directory.State // Offline or Unknown
	Gateway string          // name of the gateway that spoke for it and is offline itself, or ""
}

func (e *OfflineError) Error() string { return e.refusal().Diag }

// Unwrap returns both that the device is offline and how that is answered.
func (e *OfflineError) Unwrap() []error { return []error{oic.ErrOffline, e.refusal()} }

func (e *OfflineError) refusal() *oic.StatusError {
	since := e.Since.UTC().Format(time.RFC3339)
	switch {
	case e.Gateway != "":
		return oic.Errorf(oic.Unavailable, "device not seen since its gateway %s went at %s", e.Gateway, since)
	case e.State == directory.Unknown:
		return oic.Errorf(oic.Unavailable, "device not seen since the server started at %s", since)
	}
	return oic.Errorf(oic.Unavailable, "device offline since %s", since)
}

// DeviceError is a refusal of a device, and not of the cloud.
type DeviceError struct {
	Device  string
	Refusal *oic.StatusError
}

func (e *DeviceError) Error() string { return e.Refusal.Error() }

// Unwrap returns the refusal.
func (e *DeviceError) Unwrap() error { return e.Refusal }

// answered says of a refusal that it is the device's.
func answered(di string, err error) error {
	if refusal, ok := errors.AsType[*oic.StatusError](err); ok {
		return &DeviceError{di, refusal}
	}
	return err
}

// Handle implements oic.Handler. A refusal of the device is a *DeviceError.
func (w *way) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	forward := w.forward(req)
	op, err := w.operation(forward)
	if err != nil {
		return nil, err
	}
	ctx, release, err := w.c.hold(ctx, forward.From, op, target{device: w.di})
	if err != nil {
		return nil, err
	}
	defer release()
	if op == opCommand {
		_, resp, err := w.c.send(ctx, forward.From, &Order{Device: w.di, Request: *forward})
		return resp, err
	}
	start := time.Now()
	resp, err := w.ask(ctx, forward)
	w.c.asked(forward.Op, time.Since(start), err)
	return resp, err
}

// ask is Handle for who may, and for what is no command.
func (w *way) ask(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	leave, err := w.c.flow(w.di).enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	session, err := w.c.session(w.di)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, longestRequest)
	defer cancel()
	resp, err := session.Handle(ctx, req)
	return resp, lost(ctx, answered(w.di, err))
}

// forward is req as it goes to the device: with who asks.
func (w *way) forward(req *oic.Request) *oic.Request {
	f := *req
	if f.From.Anonymous() {
		f.From = w.who
	}
	return &f
}

// operation says what a request does. A request whose path cannot be trusted
// to mean the same to the device is refused, but nobody learns from that.
func (w *way) operation(req *oic.Request) (operation, error) {
	path, err := directory.Path(req.Href)
	if err != nil {
		if denied := w.c.authorize(req.From, opSee, target{device: w.di}); denied != nil {
			err = denied
		}
		return 0, err
	}
	dev, _ := w.c.directory.Get(w.di)
	bare, _ := oic.SplitHref(req.Href)
	link, _ := dev.Link(bare)
	switch {
	case directory.Reserved(path, link.Types):
		return opSecurity, nil
	case req.Op == oic.Retrieve:
		return opRead, nil
	}
	return opCommand, nil
}

// session returns the session that a device has now.
func (c *Cloud) session(di string) (directory.Session, error) {
	if s := c.directory.Session(di); s != nil {
		return s, nil
	}
	p := c.directory.Presence(di)
	away := &OfflineError{Device: di, Since: p.Since, State: p.State}
	if gateway, ok := c.directory.Get(p.Gateway); ok {
		away.Gateway = cmp.Or(gateway.Name, gateway.ID)
	}
	return nil, away
}

// Observe implements oic.Observer. What the cloud observes itself, for the
// event log, is served from there, so that it goes on when the device is away
// and comes back; what it does not, is observed at the device.
func (w *way) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	forward := w.forward(req)
	forward.Op = oic.Retrieve
	op, err := w.operation(forward)
	if err != nil {
		return err
	}
	ctx, release, err := w.c.hold(ctx, forward.From, op, target{device: w.di})
	if err != nil {
		return err
	}
	defer release()
	leave, ok := w.c.watch(w.c.flow(w.di))
	if !ok {
		return w.once(ctx, forward, each)
	}
	defer leave()
	if w.recorded(forward) {
		return lost(ctx, w.follow(ctx, forward, each))
	}
	session, err := w.c.session(w.di)
	if err != nil {
		return err
	}
	return lost(ctx, answered(w.di, session.Observe(ctx, forward, each)))
}

// once answers an observation that cannot be had.
func (w *way) once(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	resp, err := w.Handle(ctx, req)
	if err != nil {
		return err
	}
	last := *resp
	last.Last = true
	each(&last)
	return oic.ErrNotObservable
}

// recorded reports whether what req asks for is in the event log.
func (w *way) recorded(req *oic.Request) bool {
	dev, _ := w.c.directory.Get(w.di)
	link, ok := dev.Link(req.Href) // has no query
	return ok && link.Observable() && (req.Accept == oic.NoFormat || req.Accept.IsCBOR())
}

// follow calls each with the last event of a resource and every further one. If
// there is none yet it asks the device, if that can be reached.
func (w *way) follow(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	dev, ok := w.c.directory.Get(w.di)
	if !ok {
		return errNoDevice
	}
	from := uint64(1) // if there is no event now, any event is new
	ev, err := w.c.events.Last(ctx, dev.Account, w.di, req.Href)
	switch {
	case err == nil:
		from = ev.Seq + 1
		each(represent(ev, req.Accept))
	case !errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("observe: %w", err)
	default:
		resp, err := w.Handle(ctx, req)
		if err == nil {
			each(resp)
		} else if !errors.Is(err, oic.ErrOffline) {
			return err
		}
	}
	f := event.Filter{Account: dev.Account, Device: w.di, Href: req.Href, From: from}
	return w.c.newest(ctx, f, func(ev event.Event) { each(represent(ev, req.Accept)) })
}

// State returns what a device reported last of a resource, by the path of href.
// Nobody asks the device. It is a 4.04 if it has reported nothing.
func (c *Cloud) State(ctx context.Context, who oic.Identity, di, href string) (event.Event, error) {
	if err := c.authorize(who, opRead, target{device: di}); err != nil {
		return event.Event{}, err
	}
	dev, ok := c.directory.Get(di)
	if !ok {
		return event.Event{}, errNoDevice
	}
	path, _ := oic.SplitHref(href)
	ev, err := c.events.Last(ctx, dev.Account, di, path)
	if errors.Is(err, store.ErrNotFound) {
		err = oic.Errorf(oic.NotFound, "the device has reported nothing of %.80s", path)
	}
	return ev, failed("read state", err)
}

// represent is an event as the answer that the device gave. CBOR has two names
// of which the asker may know only one.
func represent(ev event.Event, accept oic.ContentFormat) *oic.Response {
	resp := &oic.Response{Status: oic.Content, Format: ev.Format, Body: ev.Body}
	if accept.IsCBOR() && ev.Format.IsCBOR() {
		resp.Format = accept
	}
	return resp
}

// newest calls each with the events that f selects, until ctx ends. While each
// takes its time, only the newest event waits.
func (c *Cloud) newest(ctx context.Context, f event.Filter, each func(event.Event)) error {
	ctx, cancel := context.WithCancel(ctx)
	box, done := make(chan event.Event, 1), make(chan error, 1)
	go func() {
		done <- c.events.Follow(ctx, f, func(ev event.Event) error {
			select {
			case <-box: // overtaken
			default:
			}
			box <- ev // has room: nobody else puts anything in
			return nil
		})
	}()
	defer func() { cancel(); <-done }()
	for {
		select {
		case ev := <-box:
			each(ev)
		case err := <-done:
			done <- err
			return err
		}
	}
}
