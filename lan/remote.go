package lan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/coap/dtls"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
)

// errGone is the error of a request to a device that is not there. It was not
// sent.
var errGone = fmt.Errorf("%w: not on the local network now: %w", oic.ErrOffline, oic.ErrNotSent)

// errMoved ends the observation of a device that is gone, or elsewhere now.
var errMoved = fmt.Errorf("%w: not where it was on the local network", oic.ErrOffline)

// line is the way to a device.
type line struct {
	device oic.Observer
	peer   *coap.Peer
	socket *Socket         // of its own, with DTLS; nil: that of all
	ctx    context.Context // ends with the line, and observations with it
	cancel context.CancelFunc
	tasks  sync.WaitGroup // observations
}

func newLine(p *coap.Peer, socket *Socket) *line {
	l := &line{device: oiccoap.NewClient(p), peer: p, socket: socket}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// close ends the line, and before its socket what is observed by it; nil is none.
func (l *line) close() {
	if l == nil {
		return
	}
	l.cancel()
	l.tasks.Wait()
	if l.socket != nil {
		l.socket.Close()
	}
}

// leads reports whether the line leads to a device as it was found.
func (l *line) leads(d Device) bool {
	return l != nil && (l.socket == nil && l.peer.Addr() == d.Address || l.socket != nil && l.peer.Addr() == d.Secure)
}

// connect makes a line to a device that was found. A device with credentials has
// to prove by them who it is.
func (w *watcher) connect(d Device) (*line, error) {
	secrets, owned := w.credentials(d.ID)
	if !owned {
		return newLine(w.socks.peer(d.Address), nil), nil
	}
	if !d.Secure.IsValid() {
		err := errors.New("it has no coaps endpoint")
		w.claimed(d, err)
		return nil, err
	}
	l, err := w.secure(d, secrets)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(w.ctx, checkWithin)
	defer cancel()
	who, err := askInfo(ctx, l.device, false)
	if err == nil && who.id != d.ID {
		err = fmt.Errorf("it says that it is %s", who.id)
	}
	if err != nil {
		l.close()
		w.claimed(d, err)
		return nil, err
	}
	return l, nil
}

// credentials are those by which a device has to prove who it is, if it has to.
func (w *watcher) credentials(di string) (Credentials, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, owned := w.known.Credentials[di]
	return c, owned
}

// secure is a line by DTLS. Each has a socket of its own, because a server names
// itself before it is known which key it is to be asked for, if at all.
func (w *watcher) secure(d Device, secrets Credentials) (*line, error) {
	listen := w.cfg.Listen
	if listen == nil {
		listen = Listen
	}
	pc, err := listen(d.Secure.Addr())
	if err != nil {
		return nil, err
	}
	cfg, err := secrets.config(d.ID)
	if err != nil {
		pc.Close()
		return nil, err
	}
	cfg.Log = w.log
	s := Run(dtls.New(pc, cfg), coap.EndpointConfig{Log: w.log})
	return newLine(s.Peer(d.Secure), s), nil
}

// renew gives a secured device that does not answer another socket: it may have
// restarted, and know nothing of the session. w.mu is held.
func (w *watcher) renew(e *entry) {
	secrets, owned := w.known.Credentials[e.device.ID]
	if !owned || e.line == nil || e.line.socket == nil {
		return
	}
	l, err := w.secure(e.device, secrets)
	if err != nil {
		return
	}
	w.drop(e.line)
	e.line = l
}

// remote is a device, wherever it is.
type remote struct {
	w  *watcher
	di string
}

// Open returns the device for as long as Watch runs, wherever it answers then.
// While it is gone, requests are refused with oic.ErrOffline and oic.ErrNotSent.
// If it does not answer, coap.ErrSilent or the end of the context is in the
// chain of the error; if there is no DTLS session with it, a
// *dtls.HandshakeError. There is nothing to close.
//
// It is nil for what Find has found.
func (d Device) Open() oic.Observer {
	if d.w == nil {
		return nil
	}
	return remote{d.w, d.ID}
}

// Again has the device asked soon what it has: something seems to have changed.
// It does not wait.
func (d Device) Again() {
	if d.w != nil {
		d.w.again(d.ID)
	}
}

func (w *watcher) again(di string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.table.devices[di]
	if e != nil && e.here && e.described == nil && time.Since(e.read) >= rereadAfter && !w.asking[e.device.Address] {
		w.start(rumour{at: e.device.Address})
	}
}

// line returns the way to the device, and what it is described as, if it is. w.mu
// is held.
func (r remote) line() (*line, *Described) {
	e := r.w.table.devices[r.di]
	if e == nil || !e.here || e.line == nil || r.w.closed {
		return nil, nil
	}
	return e.line, e.described
}

// Handle asks the device.
func (r remote) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	r.w.mu.Lock()
	l, described := r.line()
	r.w.mu.Unlock()
	if l == nil {
		return nil, errGone
	}
	if described != nil {
		if resp, err, ok := described.answer(req); ok {
			return resp, err
		}
	}
	resp, err := l.device.Handle(ctx, req)
	if err == nil {
		r.w.alive(r.di, l)
		if path, _ := oic.SplitHref(req.Href); req.Op != oic.Retrieve && path == "/oic/con" {
			r.w.checkSoon(r.di) // it may have another name
		}
	}
	return resp, err
}

// Observe watches a resource of the device. Each notification is a sign of life.
func (r remote) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	l, err := r.enter(req, each)
	if err != nil {
		return err
	}
	defer l.tasks.Done()
	watching, end := l.within(ctx)
	err = l.device.Observe(watching, req, func(resp *oic.Response) {
		r.w.alive(r.di, l)
		each(resp)
	})
	if end(); ctx.Err() == nil && l.ctx.Err() != nil {
		return errMoved
	}
	return err
}

// enter returns the way to the device, which is not closed until its tasks are
// done; or what there is to say without the device.
func (r remote) enter(req *oic.Request, each func(*oic.Response)) (*line, error) {
	r.w.mu.Lock()
	l, described := r.line()
	if l != nil {
		l.tasks.Add(1)
	}
	r.w.mu.Unlock()
	if l == nil {
		return nil, errGone
	}
	if described == nil {
		return l, nil
	}
	resp, err, ok := described.answer(req)
	if !ok {
		return l, nil
	}
	l.tasks.Done()
	if err == nil {
		resp.Last = true
		each(resp)
	}
	return nil, cmp.Or(err, oic.ErrNotObservable)
}

// within is ctx as long as the line leads to the device.
func (l *line) within(ctx context.Context) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(l.ctx, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}
