package reach

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/farreach/farreach/oic"
)

// Device is a device of the account, by whichever way leads to it. It is an
// oic.Observer, whose errors are those of the ways.
//
// A request goes by the way that the last answer came by, else through the
// cloud if that has the device. If nobody answers it goes by another way: a
// Retrieve, Replace or Delete in any case, because twice is as good as once, and
// what changes something only if the device has certainly not been given it.
type Device struct {
	ways   *Ways
	known  known
	routes []route // in the order of preference; at least one

	mu  sync.Mutex // guards now
	now route      // by which the last answer came, or the next request goes
}

// route is one way to one device.
type route interface {
	oic.Observer

	// wake has a route that is not open yet begin with that, and does not wait.
	wake()

	// via is the URI of what the route goes through, or to.
	via() string

	// ping measures the way to the server that the route goes through.
	ping(ctx context.Context) (time.Duration, error)

	// presence says whether the device is there, as far as is known without
	// asking, and is closed when that may have changed; nil: nobody will know.
	presence() (presence, <-chan struct{})
}

// presence is what is known of a device by one way.
type presence uint8

const (
	unknown presence = iota
	here
	away
)

func newDevice(w *Ways, k known, routes ...route) *Device {
	return &Device{ways: w, known: k, routes: routes, now: routes[0]}
}

// ID is the di.
func (d *Device) ID() string { return d.known.ID }

// Name is what the device is called; "" if nobody has told.
func (d *Device) Name() string { return d.known.Name }

// Via is the URI of what the last answer came through, or the next request will
// go through: "coaps+tcp://host:port", or the "xmpp:" URI of the device.
func (d *Device) Via() string { return d.last().via() }

func (d *Device) last() route {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now
}

// use says that r leads to the device, and returns what was thought to.
func (d *Device) use(r route) (before route) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before, d.now = d.now, r
	return before
}

// knowing is the route that knows whether the device is there, nil if none does.
func (d *Device) knowing() route {
	for _, r := range d.routes {
		if _, changed := r.presence(); changed != nil {
			return r
		}
	}
	return nil
}

func (d *Device) tell(from, to string, err error) {
	if f := d.ways.cfg.OnChange; f != nil {
		f(Change{d.ID(), d.Name(), from, to, err})
	}
}

// order is all routes, the likeliest first: that of the last answer, then the
// others, and at the end those by which the device is known to be away.
func (d *Device) order() []route {
	last := d.last()
	var first, then, hopeless []route
	for _, r := range d.routes {
		switch p, _ := r.presence(); {
		case p == away:
			hopeless = append(hopeless, r)
		case r == last:
			first = append(first, r)
		default:
			then = append(then, r)
		}
	}
	return append(append(first, then...), hopeless...)
}

// Handle implements oic.Handler.
func (d *Device) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	var failed failures
	order := d.order()
	for i, r := range order {
		resp, err := handle(ctx, r, req, len(order)-i)
		if !nobody(err) {
			if before := d.use(r); before != r {
				d.tell(before.via(), r.via(), failed.err())
			}
			return resp, err
		}
		failed = append(failed, failure{r, err})
		if ctx.Err() != nil || !repeatable(req.Op) && !errors.Is(err, oic.ErrNotSent) {
			break
		}
	}
	return nil, failed.err()
}

// handle has r take a request. What may be asked once more by another of so many
// routes gets its share of the time that there is: a way that is dead and not
// known to be must not take all of it.
func handle(ctx context.Context, r route, req *oic.Request, routes int) (*oic.Response, error) {
	if deadline, ok := ctx.Deadline(); ok && repeatable(req.Op) && routes > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(routes))
		defer cancel()
	}
	return r.Handle(ctx, req)
}

// nobody reports whether err says that no device answered.
func nobody(err error) bool {
	if err == nil || errors.Is(err, oic.ErrNotObservable) {
		return false
	}
	_, refused := errors.AsType[*oic.StatusError](err)
	return !refused || errors.Is(err, oic.ErrOffline)
}

// repeatable reports whether twice is as good as once.
func repeatable(op oic.Op) bool { return op == oic.Retrieve || op == oic.Replace || op == oic.Delete }

// failure is what went wrong by one route.
type failure struct {
	by  route
	err error
}

type failures []failure

// err is what to tell: the error itself if there is one. Who only knows that
// he does not know the device adds nothing.
func (f failures) err() error {
	told := f
	if len(f) > 1 {
		told = nil
		for _, one := range f {
			if !errors.Is(one.err, errNotListed) {
				told = append(told, one)
			}
		}
	}
	switch len(told) {
	case 0:
		return nil
	case 1:
		return told[0].err
	}
	e := &Error{Kind: told.kind(), Err: told, Hint: HintOf(told[0].err)}
	return e
}

// errNotListed says that the device is not known by some way.
var errNotListed = errors.New("not known there")

// kind is the kind of which something can be done about soonest.
func (f failures) kind() Kind {
	kinds := map[Kind]bool{}
	for _, one := range f {
		kinds[KindOf(one.err)] = true
	}
	for _, k := range []Kind{Timeout, Offline, NoConnect} {
		if kinds[k] {
			return k
		}
	}
	return KindOf(f[0].err)
}

func (f failures) Error() string {
	var all []string
	for _, one := range f {
		text := one.err.Error()
		if via := one.by.via(); !strings.Contains(text, via) {
			text = fmt.Sprintf("by %s: %s", via, text)
		}
		all = append(all, text)
	}
	return strings.Join(all, "; ")
}

func (f failures) Unwrap() (all []error) {
	for _, one := range f {
		all = append(all, one.err)
	}
	return all
}
