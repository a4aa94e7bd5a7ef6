package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/cloud/rule"
	"github.com/farreach/farreach/oic"
)

const (
	usualEvents   = 100     // on a page, if the client does not say
	maxEventBytes = 4 << 20 // of representations on a page, roughly: less than a query holds
)

// Events is a page of the account's events.
type Events struct {
	Schema string  `json:"schema" enum:"farreach.events/v1"`
	Events []Event `json:"events"`
	Next   string  `json:"next,omitempty" doc:"cursor=next gives the next page; none: there are no more"`
}

// Event is what a device reported of one resource.
type Event struct {
	Schema  string          `json:"schema" enum:"farreach.event/v1"`
	Seq     uint64          `json:"seq" doc:"the order of events; there may be gaps"`
	Time    time.Time       `json:"time" doc:"when it was received"`
	Own     time.Time       `json:"device_time,omitzero" required:"false" doc:"when it was true, as the device says in its property timestamp"`
	Late    bool            `json:"late,omitempty" doc:"an event with a later device_time came earlier"`
	Account string          `json:"account"`
	Device  string          `json:"di"`
	Name    string          `json:"name,omitempty" doc:"of the device"`
	Href    string          `json:"href"`
	Rep     json.RawMessage `json:"rep" doc:"the representation; null if it cannot be shown as JSON"`
	Format  string          `json:"format,omitempty" doc:"of raw: a media type"`
	Raw     []byte          `json:"raw,omitempty" doc:"the representation as it came, if rep cannot show it"`
}

// SelectInput says which events are meant. Exported as PageInput is.
type SelectInput struct {
	Device string    `query:"device" maxLength:"64" doc:"only of this device: its di"`
	Href   string    `query:"href" maxLength:"2048" doc:"only of this resource"`
	Since  time.Time `query:"since" doc:"received not before this time"`
	Until  time.Time `query:"until" doc:"received before this time"`
}

func (in *SelectInput) filter() event.Filter {
	return event.Filter{Device: strings.ToLower(in.Device), Href: in.Href, Since: in.Since, Until: in.Until}
}

// eventsInput is a page of them.
type eventsInput struct {
	SelectInput
	PageInput
	From  uint64 `query:"from" doc:"the first ones from this seq on"`
	Order string `query:"order" enum:"asc,desc" doc:"asc: from the oldest one on; desc: from the newest one back; none: the newest ones, oldest first, and then those before"`
}

// page is the filter of the page that is meant, with one event more, to know
// whether there is a next one.
func (in *eventsInput) page() (f event.Filter, err error) {
	f = in.filter()
	f.From, f.Limit = in.From, in.limit(usualEvents)+1
	switch {
	case in.Order == "desc":
		f.Order = event.NewestFirst
	case in.Order == "asc" || in.From > 0:
		f.Order = event.OldestFirst
	}
	after, err := in.afterSeq()
	if err != nil {
		return f, err
	}
	if f.Order == event.OldestFirst && after > 0 {
		f.From = after + 1
	} else {
		f.Before = after
	}
	return f, nil
}

func (h *Handler) eventRoutes() {
	huma.Register(h.huma, operation(http.MethodGet, "/api/v1/events", "list-events",
		"List what the account's devices reported", "events", 200, 403, 404, 503), h.listEvents)
	h.seriesRoute()
	h.exportRoute()
	h.streamRoute()
	h.liveRoute()
}

func (h *Handler) listEvents(ctx context.Context, in *eventsInput) (*paged[Events], error) {
	f, err := in.page()
	if err != nil {
		return nil, err
	}
	who := asker(ctx)
	page := eventPage{limit: f.Limit - 1, backwards: f.Order == event.NewestLast}
	if err := h.cloud.Events(ctx, who, f, page.add); err != nil {
		return nil, h.problem(err)
	}
	if err := h.heardOf(ctx, who, f.Device, len(page.events)); err != nil {
		return nil, err
	}
	name := h.names(ctx, who)
	out := Events{Schema: "farreach.events/v1", Events: make([]Event, len(page.events))}
	for i, ev := range page.events {
		out.Events[i] = h.event(ev, name(ev.Device))
	}
	next := ""
	if n := len(page.events); n > 0 && page.more {
		last := page.events[n-1]
		if page.backwards {
			last = page.events[0]
		}
		next = cursorSeq(last.Seq)
		out.Next = next
	}
	return onePage(ctx, out, next), nil
}

// heardOf is the refusal of a list that is about a device which who cannot know:
// one that has left may still have history, so that only an empty list tells.
func (h *Handler) heardOf(ctx context.Context, who oic.Identity, di string, n int) error {
	if n > 0 {
		return nil
	}
	return h.problem(h.known(ctx, who, di))
}

// known is the refusal of what is about one device, if who cannot know that.
// What rules say is of no device, and may begin later.
func (h *Handler) known(ctx context.Context, who oic.Identity, di string) error {
	if di == "" || strings.HasPrefix(di, rule.SayDevice) {
		return nil
	}
	_, err := h.cloud.DeviceInfo(ctx, who, di)
	return err
}

// eventPage takes one event more than a page has.
type eventPage struct {
	limit     int
	backwards bool // the next page is before the first event
	events    []event.Event
	size      int // bytes of bodies
	more      bool
}

func (p *eventPage) add(ev event.Event) bool {
	p.events = append(p.events, ev)
	p.size += len(ev.Body)
	for len(p.events) > p.limit || p.size > maxEventBytes && len(p.events) > 1 {
		p.more = true
		if !p.backwards {
			p.events = p.events[:len(p.events)-1]
			return false
		}
		p.size -= len(p.events[0].Body)
		p.events = p.events[1:]
	}
	return true
}

// event is an event as JSON.
func (h *Handler) event(ev event.Event, name string) Event {
	e := Event{
		Schema: "farreach.event/v1", Seq: ev.Seq, Time: ev.Time, Own: ev.DeviceTime, Late: ev.Late, Account: ev.Account,
		Device: ev.Device, Name: name, Href: ev.Href,
	}
	rep, err := oic.ToJSON(ev.Format, ev.Body)
	if e.Rep = rep; err != nil || len(rep) == 0 {
		e.Rep = json.RawMessage("null")
	}
	if err != nil {
		e.Format, e.Raw = ev.Format.String(), ev.Body
	}
	return e
}

// names returns a function that tells the name of a device, and asks only once.
func (h *Handler) names(ctx context.Context, who oic.Identity) func(di string) string {
	known := map[string]string{}
	return func(di string) string {
		name, ok := known[di]
		if !ok {
			dev, _ := h.cloud.DeviceInfo(ctx, who, di) // a device that is gone has no name
			name = dev.Name
			known[di] = name
		}
		return name
	}
}
