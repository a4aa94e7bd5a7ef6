package cloud

import (
	"bytes"
	"context"
	"strings"
	"sync"

	"github.com/farreach/farreach/cloud/directory"
	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/internal/tracing"
	"github.com/farreach/farreach/oic"
)

// Report implements cloudlink.Backend. A device that reports faster than it
// may is made to wait, and so, by back-pressure, is its connection. The first
// report of a connection that only repeats the last state is no event.
func (c *Cloud) Report(ctx context.Context, who oic.Identity, reports []cloudlink.Report) (errs []error) {
	return c.record(ctx, who, reports, true)
}

// Event implements cloudlink.Backend. It is Report for what happened rather
// than for what is: a repetition is an event too.
func (c *Cloud) Event(ctx context.Context, who oic.Identity, href string, rep *oic.Response) error {
	one := [1]cloudlink.Report{{Href: href, Rep: rep}}
	if errs := c.record(ctx, who, one[:], false); errs != nil {
		return errs[0]
	}
	return nil
}

// record keeps events, those of which nothing has to be waited for together.
// If states is true, the first one of a connection is left out if it repeats
// the last. It returns nil if all are kept.
func (c *Cloud) record(ctx context.Context, who oic.Identity, reports []cloudlink.Report, states bool) []error {
	r := recordings.Get().(*recording)
	defer r.recycle()
	r.c, r.who, r.flow, r.of = c, who, c.flow(who.Device), len(reports)
	refusal := r.authorize()
	for i, rep := range reports {
		err := refusal
		if err == nil {
			err = r.reportable(rep.Href)
		}
		if err == nil && !r.flow.events.Allow() {
			r.keep(ctx)
			err = r.wait(ctx)
		}
		if err != nil {
			r.failed(i, err)
			continue
		}
		ev := event.Event{Account: who.Account, Device: who.Device, Href: rep.Href, Format: rep.Rep.Format, Body: rep.Rep.Body}
		if r.flow.first(rep.Href) && states && c.repeats(ctx, ev) {
			continue
		}
		r.events, r.at = append(r.events, ev), append(r.at, i)
	}
	r.keep(ctx)
	return r.errs
}

// recording is one call of record.
type recording struct {
	c    *Cloud
	who  oic.Identity
	flow *flow
	dev  directory.Device

	events []event.Event // to be kept
	at     []int         // their places among the reports
	of     int           // how many reports there are
	errs   []error       // by place; nil: none failed
}

// recordings are used again: this is where the events of all devices pass.
var recordings = sync.Pool{New: func() any { return new(recording) }}

func (r *recording) recycle() {
	clear(r.events[:cap(r.events)])
	*r = recording{events: r.events[:0], at: r.at[:0]}
	recordings.Put(r)
}

// authorize is asked at the begin and whenever time has passed.
func (r *recording) authorize() error {
	r.dev, _ = r.c.directory.Get(r.who.Device)
	return r.c.authorize(r.who, opPublish, target{device: r.who.Device})
}

// wait waits until the device may report one more.
func (r *recording) wait(ctx context.Context) error {
	if err := r.flow.events.Wait(ctx); err != nil {
		if ctx.Err() == nil {
			err = oic.Errorf(oic.TooMany, "more events than %d/s", eventsPerSecond)
		}
		return err
	}
	return r.authorize()
}

// keep stores the events that are ready.
func (r *recording) keep(ctx context.Context) {
	if len(r.events) == 0 {
		return
	}
	ctx, span := r.c.tracer.Start(ctx, tracing.Server, "reports")
	for i, err := range r.c.events.AppendAll(ctx, r.events) {
		if err != nil {
			r.failed(r.at[i], failed("report", err))
		}
	}
	if span != nil {
		r.tell(ctx, span)
	}
	r.events, r.at = r.events[:0], r.at[:0]
}

// tell says in a span what was reported, and ends it.
func (r *recording) tell(ctx context.Context, span *tracing.Span) {
	for i := range r.events {
		r.c.tracer.Remember(ctx, r.events[i].Seq)
	}
	span.Text("farreach.device.id", r.who.Device)
	span.Text("farreach.account", r.who.Account)
	span.Int("farreach.events", int64(len(r.events)))
	span.Int("farreach.event.seq", int64(r.events[0].Seq))
	if len(r.errs) > 0 {
		span.Fail("not all could be kept")
	}
	span.End()
}

func (r *recording) failed(i int, err error) {
	if r.errs == nil {
		r.errs = make([]error, r.of)
	}
	r.errs[i] = err
}

// repeats reports whether ev says what the last event of its resource said.
func (c *Cloud) repeats(ctx context.Context, ev event.Event) bool {
	last, err := c.events.Last(ctx, ev.Account, ev.Device, ev.Href)
	return err == nil && last.Format == ev.Format && bytes.Equal(last.Body, ev.Body)
}

// reportable refuses reports of what the device has not published. What every
// device has, it need not publish.
func (r *recording) reportable(href string) error {
	link, published := r.dev.Link(href)
	path := href
	if !published || strings.Contains(href, "%") { // else it was looked at when it was published
		var err error
		if path, err = directory.Path(href); err != nil {
			return err
		}
	}
	switch {
	case directory.Reserved(path, link.Types):
		return oic.Errorf(oic.Forbidden, "not allowed to report security resources")
	case published, href == "/oic/d", href == "/oic/p", href == "/oic/con":
		return nil
	}
	return oic.Errorf(oic.NotFound, "not a published resource")
}
