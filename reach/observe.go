package reach

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/oic"
)

// Observe implements oic.Observer. It goes by a way that tells when the device
// goes, if the device is there by one: by others nobody knows what silence
// means. When that way is lost it is carried on by another, and when no way is
// left, until there is one again; but if no way tells, and they are lost, it
// ends. What a way tells at first is passed on only if it is news.
func (d *Device) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	o := &observation{d: d, req: req, each: each, bad: map[route]failing{}, wait: backoff.Backoff{Max: maxRedial}}
	for _, r := range d.routes {
		r.wake()
	}
	for {
		r, err := o.next(ctx)
		if err != nil {
			return err
		}
		if err = o.over(ctx, r); ctx.Err() != nil {
			return ctx.Err()
		}
		if !nobody(err) {
			return err
		}
		o.why = err
		if err != errBetter && err != errAway {
			_, changed := r.presence()
			o.bad[r] = failing{err, changed}
		}
	}
}

// observation is one that is carried from route to route.
type observation struct {
	d    *Device
	req  *oic.Request
	each func(*oic.Response)

	bad  map[route]failing
	wait backoff.Backoff // before they are tried again

	begun bool         // something was told
	last  oic.Response // the latest of that; Body is ours
	from  string       // by which route; "": by none now, and that was told
	why   error        // what was wrong with it
}

// failing is a route that does not lead to the device, until presence changes.
type failing struct {
	err     error
	changed <-chan struct{}
}

// Why an observation leaves a route.
var (
	errBetter = errors.New("there is a better way")
	errAway   = errors.New("the device has gone")
)

// firstLook is how long an observation waits at its beginning for a route that
// does not know yet whether the device is there.
const firstLook = time.Second

// next returns the route to take. The error is that of ctx, or what was wrong
// with all of them.
func (o *observation) next(ctx context.Context) (route, error) {
	if !o.begun {
		return o.first(ctx)
	}
	if r := o.best(); r != nil {
		return r, nil
	}
	knows := o.d.knowing()
	if knows == nil {
		return nil, o.failed()
	}
	if o.from != "" {
		o.d.tell(o.from, "", o.why)
		o.from = ""
	}
	retry := time.NewTimer(o.wait.Next())
	defer retry.Stop()
	for {
		_, changed := knows.presence()
		if r := o.best(); r != nil {
			return r, nil
		}
		select {
		case <-changed:
		case <-retry.C:
			clear(o.bad)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// first is next before anything was told: then each route is tried once.
func (o *observation) first(ctx context.Context) (route, error) {
	if knows := o.d.knowing(); knows != nil && len(o.bad) == 0 {
		within, cancel := context.WithTimeout(ctx, firstLook)
		defer cancel()
		for p, changed := knows.presence(); p == unknown && within.Err() == nil; p, changed = knows.presence() {
			select {
			case <-changed:
			case <-within.Done():
			}
		}
	}
	if r := o.best(); r != nil {
		return r, nil
	}
	for _, r := range o.d.order() {
		if !o.isBad(r) {
			return r, ctx.Err()
		}
	}
	return nil, o.failed()
}

// best is the route that leads to the device as far as is known, nil if none
// does: one by which it is here, else one that cannot know.
func (o *observation) best() (best route) {
	for _, r := range o.d.routes {
		if o.isBad(r) {
			continue
		}
		p, changed := r.presence()
		if p == here {
			return r
		}
		if best == nil && changed == nil {
			best = r
		}
	}
	return best
}

func (o *observation) isBad(r route) bool {
	bad, ok := o.bad[r]
	_, changed := r.presence()
	return ok && bad.changed == changed
}

func (o *observation) failed() error {
	var all failures
	for _, r := range o.d.routes {
		if bad, ok := o.bad[r]; ok {
			all = append(all, failure{r, bad.err})
		}
	}
	return all.err()
}

// over observes by r for as long as that leads to the device and nothing better
// is there.
func (o *observation) over(ctx context.Context, r route) error {
	ctx, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	if knows := o.d.knowing(); knows != nil {
		was, _ := knows.presence()
		bad := o.bad[knows]
		go func() {
			defer close(watched)
			if knows == r && was != away {
				watchHere(ctx, knows, cancel)
			} else if knows != r {
				watchAway(ctx, knows, bad, cancel)
			}
		}()
	} else {
		close(watched)
	}
	fresh := true
	err := r.Observe(ctx, o.req, func(resp *oic.Response) {
		if ctx.Err() == nil {
			o.told(r, resp, fresh)
			fresh = false
		}
	})
	if cause := context.Cause(ctx); cause == errBetter || cause == errAway {
		err = cause
	}
	cancel(nil)
	<-watched
	return err
}

// watchHere ends an observation by knows when the device has gone there.
func watchHere(ctx context.Context, knows route, cancel context.CancelCauseFunc) {
	for ctx.Err() == nil {
		p, changed := knows.presence()
		if p == away {
			cancel(errAway)
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// watchAway ends an observation by another route when the device has come by
// knows, unless that is what it was when it turned out to be bad.
func watchAway(ctx context.Context, knows route, bad failing, cancel context.CancelCauseFunc) {
	for ctx.Err() == nil {
		p, changed := knows.presence()
		if p == here && bad.changed != changed {
			cancel(errBetter)
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// told passes on what the device says by r; fresh is what it says at first.
func (o *observation) told(r route, resp *oic.Response, fresh bool) {
	if o.d.use(r); o.from != r.via() {
		if o.begun {
			o.d.tell(o.from, r.via(), o.why)
		}
		o.from = r.via()
	}
	delete(o.bad, r)
	o.wait = backoff.Backoff{Max: maxRedial}
	if fresh && o.begun && !resp.Last && sameState(&o.last, resp) {
		return
	}
	o.begun = true
	o.last = *resp
	o.last.Body = bytes.Clone(resp.Body)
	o.each(resp)
}

// sameState reports whether two representations say the same, also if one was
// written anew on its way.
func sameState(a, b *oic.Response) bool {
	if a.Format == b.Format && bytes.Equal(a.Body, b.Body) {
		return true
	}
	if !a.Format.IsCBOR() || !b.Format.IsCBOR() {
		return false
	}
	x, errX := oic.ToJSON(a.Format, a.Body)
	y, errY := oic.ToJSON(b.Format, b.Body)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
