package reach

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/oic"
)

// cloudWay is the way through a cloud: one link, dialled again when it is
// needed and has been lost.
type cloudWay struct {
	cfg  Config
	turn chan struct{} // held by who dials

	mu    sync.Mutex // guards what follows
	link  *cloudlink.Link
	err   error     // of the latest dial; nil: it succeeded
	again time.Time // no dial before that
	wait  backoff.Backoff
	ended bool
}

// maxRedial is the longest wait between two dials.
const maxRedial = 30 * time.Second

// open returns the link, dialled and signed in. The error is a *Error; nothing
// was sent then.
func (w *cloudWay) open(ctx context.Context) (*cloudlink.Link, error) {
	select {
	case w.turn <- struct{}{}:
		defer func() { <-w.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if link, err := w.standing(); link != nil || err != nil {
		return link, err
	}
	link, err := connect(ctx, w.cfg.Cloud, w.cfg)
	if err == nil {
		if err = signIn(ctx, link, w.cfg); err != nil {
			link.Close()
		}
	}
	return w.dialled(ctx, link, err)
}

// standing is the link, or why there cannot be one now; neither: dial.
func (w *cloudWay) standing() (*cloudlink.Link, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return nil, notSent(errClosed)
	}
	if w.link != nil && w.link.Err() == nil {
		return w.link, nil
	}
	if w.err != nil && time.Now().Before(w.again) {
		return nil, w.err
	}
	return nil, nil
}

func (w *cloudWay) dialled(ctx context.Context, link *cloudlink.Link, err error) (*cloudlink.Link, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil && w.ended {
		link.Close()
		err = errClosed
	}
	if err != nil {
		err = notSent(err)
		if ctx.Err() == nil { // else it was not the server's fault
			w.err, w.again = err, time.Now().Add(w.wait.Next())
		}
		return nil, err
	}
	if w.link != nil {
		w.link.Close() // it is over already
	}
	w.link, w.err, w.wait = link, nil, backoff.Backoff{Max: maxRedial}
	return link, nil
}

func (w *cloudWay) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	if w.link != nil {
		w.link.Close()
	}
}

var errClosed = errors.New("closed")

// notSent marks an error, whose kind and hint it keeps: no request has left.
func notSent(err error) error {
	if errors.Is(err, oic.ErrNotSent) {
		return err
	}
	return unsent{err}
}

type unsent struct{ error }

func (u unsent) Unwrap() []error { return []error{u.error, oic.ErrNotSent} }

// list asks the cloud which devices there are.
func (w *cloudWay) list(ctx context.Context) ([]known, error) {
	link, err := w.open(ctx)
	if err != nil {
		return nil, err
	}
	sets, err := link.Discover(ctx)
	if err != nil {
		return nil, w.lost(ctx, link, err)
	}
	all := make([]known, len(sets))
	for i, set := range sets {
		all[i] = known{ID: set.Device, Name: set.Name, InCloud: true}
	}
	return all, nil
}

// lost makes clear that it was the cloud that went, and not the device.
func (w *cloudWay) lost(ctx context.Context, link *cloudlink.Link, err error) error {
	_, refused := errors.AsType[*oic.StatusError](err)
	if err == nil || refused || ctx.Err() != nil || link.Err() == nil {
		return err
	}
	return &Error{Kind: NoConnect, Err: lost{w.cfg.Cloud, err}, Hint: "try: again, when the server is back"}
}

// lost is err, told as what it comes from.
type lost struct {
	uri string
	error
}

func (l lost) Error() string { return fmt.Sprintf("connection to %s lost", l.uri) }
func (l lost) Unwrap() error { return l.error }

// cloudRoute is the way to one device.
type cloudRoute struct {
	*cloudWay
	di string
}

func (r cloudRoute) wake() {}

func (r cloudRoute) via() string { return r.cfg.Cloud }

func (r cloudRoute) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	link, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	resp, err := link.Device(r.di).Handle(ctx, req)
	return resp, r.lost(ctx, link, err)
}

func (r cloudRoute) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	link, err := r.open(ctx)
	if err != nil {
		return err
	}
	return r.lost(ctx, link, link.Device(r.di).Observe(ctx, req, each))
}

func (r cloudRoute) ping(ctx context.Context) (time.Duration, error) {
	link, err := r.open(ctx)
	if err != nil {
		return 0, err
	}
	took, err := link.Ping(ctx)
	return took, r.lost(ctx, link, err)
}

// presence is not known: the cloud says so of a device when it is asked for it.
func (r cloudRoute) presence() (presence, <-chan struct{}) { return unknown, nil }

// connect dials a server.
func connect(ctx context.Context, uri string, cfg Config) (*cloudlink.Link, error) {
	link, err := cloudlink.Connect(ctx, cloudlink.ServerInfo{URI: uri, TLS: cfg.TLS, Log: cfg.Log})
	if err == nil {
		return link, nil
	}
	e := &Error{Kind: NoConnect, Err: err, Hint: "is the server running, and is this its address?"}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		e.Kind, e.Hint = NotAllowed, "the server's certificate is not one that this profile trusts"
	}
	return nil, e
}

func signIn(ctx context.Context, link *cloudlink.Link, cfg Config) error {
	_, err := link.SignIn(ctx, cloudlink.Login{Account: cfg.Account, Access: cfg.Token})
	if err == nil {
		return nil
	}
	e := &Error{Kind: KindOf(err), Err: err}
	if e.Kind == NotAllowed {
		e.Hint = "the token of this profile is not valid any more, or not for this account"
	}
	return e
}
