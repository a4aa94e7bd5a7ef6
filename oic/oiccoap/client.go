package oiccoap

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
)

// Bounds of what a Client asks at once and waits for.
const (
	defaultTimeout = 10 * time.Second // for an answer, if the caller has no deadline
	maxTimeout     = 60 * time.Second // for an answer, whatever the caller's deadline
	maxAsked       = 32               // requests without an answer
)

// Client asks a peer, over a connection or by datagrams. It is an oic.Observer,
// and may be used by several goroutines.
//
// It speaks the way that iotivity-lite needs: content format 10000, in place of
// 60 too, and no critical option beyond OCF's own. A peer that
// refuses these is asked again without them, and from then on spared.
type Client struct {
	conn  coap.Caller
	asked atomic.Int32
	plain atomic.Bool // the peer does not know OCF's options
}

// NewClient returns a Client for a peer: a *coap.Conn or a *coap.Peer.
func NewClient(conn coap.Caller) *Client { return &Client{conn: conn} }

// Simplify spares the peer what only OCF has, from the first request on.
func (c *Client) Simplify() { c.plain.Store(true) }

// Handle sends req to the peer and returns its answer. It waits 10 s if ctx has
// no deadline, and at most 60 s. With 32 requests waiting, it refuses at once
// with 5.03.
//
// oic.ErrOffline is in the chain of the error if the connection has ended.
func (c *Client) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	if c.asked.Add(1) > maxAsked {
		c.asked.Add(-1)
		return nil, oic.Errorf(oic.Unavailable, "%d requests to the device are waiting", maxAsked)
	}
	defer c.asked.Add(-1)
	ctx, cancel := context.WithTimeout(ctx, timeout(ctx))
	defer cancel()
	for {
		plain := c.plain.Load()
		m, err := c.conn.Do(ctx, message(req, plain))
		if err != nil {
			return nil, failure(ctx, err)
		}
		if !c.simplify(m.Code, plain) {
			return FromResponse(m)
		}
	}
}

func timeout(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return defaultTimeout
	}
	return min(time.Until(deadline), maxTimeout)
}

// simplify reports whether a request is to be sent once more, because the peer
// refused what only OCF has. It was not carried out then.
func (c *Client) simplify(code coap.Code, plain bool) bool {
	if plain || code != coap.BadOption && code != coap.NotAcceptable {
		return false
	}
	c.plain.Store(true)
	return true
}

// ToMessage is what a Client sends for req, without a token. Its Payload is
// req.Body.
func ToMessage(req *oic.Request) *coap.Message { return message(req, false) }

// message is req for the wire, without a token. A plain one has no option
// beyond RFC 7252, and asks for no content format that the caller did not name.
func message(req *oic.Request, plain bool) *coap.Message {
	m := &coap.Message{Code: method(req.Op), Options: make(coap.Options, 0, 8), Payload: req.Body}
	path, query := oic.SplitHref(req.Href)
	m.SetPath(path)
	if req.Op == oic.Create && oic.QueryValue(query, "if") != oic.IfCreate {
		m.AddString(coap.URIQuery, "if="+oic.IfCreate)
	}
	m.SetQuery(query)
	format, accept := req.Format, req.Accept
	if !plain {
		if format == oic.CBOR {
			format = oic.OCF
		}
		if accept == oic.CBOR || accept == oic.NoFormat {
			accept = oic.OCF
		}
	}
	if len(req.Body) > 0 {
		setFormat(m, format, !plain)
	}
	setAccept(m, accept, !plain)
	return m
}

// failure is what the error of a connection means to oic's callers.
func failure(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, coap.ErrTooLarge) {
		return oic.Errorf(oic.TooLarge, "%v", err)
	}
	if _, ok := errors.AsType[*coap.FormatError](err); ok {
		return oic.Errorf(oic.BadGateway, "%v", err)
	}
	if errors.Is(err, coap.ErrNotSent) {
		return fmt.Errorf("%w: %w: %w", oic.ErrOffline, oic.ErrNotSent, err)
	}
	return fmt.Errorf("%w: %w", oic.ErrOffline, err)
}

// Observe watches a resource of the peer.
func (c *Client) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	for {
		plain := c.plain.Load()
		w := watch{client: c, plain: plain, batch: isBatch(req.Href), news: make(chan struct{}, 1)}
		if err := w.run(ctx, req, each); err != errSimplify {
			return err
		}
	}
}

func isBatch(href string) bool {
	_, query := oic.SplitHref(href)
	return oic.QueryValue(query, "if") == oic.IfBatch
}

// errSimplify says that the peer is to be asked once more.
var errSimplify = errors.New("refused the options of OCF")

// watch is one observation of a resource of the peer: the connection's
// goroutine puts notifications in, the observer takes them out. Of each
// representation only the newest is kept, but of a batch everything, because a
// notification has only what has changed.
type watch struct {
	client *Client
	plain  bool
	batch  bool
	news   chan struct{} // has one when there is something below

	mu    sync.Mutex // guards what follows
	fresh []*oic.Response
	err   error
}

// maxFresh is how many notifications of a batch may wait for the observer.
const maxFresh = 64

// errBehind ends an observation whose observer has missed something. He may
// observe again, and begins with everything.
var errBehind error = oic.Errorf(oic.Unavailable, "more than %d notifications wait", maxFresh)

func (w *watch) run(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	o, err := w.client.conn.Observe(message(req, w.plain), w.put)
	if err != nil {
		return failure(ctx, err)
	}
	first := time.NewTimer(timeout(ctx))
	defer first.Stop()
	for {
		select {
		case <-w.news:
			first.Stop()
		case <-first.C:
			o.Cancel()
			return context.DeadlineExceeded
		case <-ctx.Done():
			o.Cancel()
			return ctx.Err()
		}
		fresh, err := w.take()
		for _, resp := range fresh {
			each(resp)
		}
		if err == errBehind {
			o.Cancel()
		}
		if err != nil {
			return err
		}
	}
}

func (w *watch) take() ([]*oic.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fresh := w.fresh
	w.fresh = nil
	return fresh, w.err
}

// put is coap.Conn.Observe's each.
func (w *watch) put(m *coap.Message, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return
	}
	switch {
	case errors.Is(err, coap.ErrNotObserved):
		w.err = oic.ErrNotObservable
	case err != nil:
		w.err = failure(context.Background(), err)
	case w.client.simplify(m.Code, w.plain):
		w.err = errSimplify
	default:
		w.keep(m)
	}
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// keep takes the answer out of m. w.mu is held.
func (w *watch) keep(m *coap.Message) {
	resp, err := FromResponse(m)
	if err != nil {
		w.err = err
		return
	}
	resp.Body = append([]byte(nil), resp.Body...)
	resp.Last = !m.Options.Has(coap.Observe)
	switch {
	case !w.batch:
		w.fresh = append(w.fresh[:0], resp)
	case len(w.fresh) < maxFresh:
		w.fresh = append(w.fresh, resp)
	default:
		w.err = errBehind
	}
}
