package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/oic"
)

// maxEventBytes is how much of representations one answer holds, roughly.
const maxEventBytes = 8 << 20

// Events is a part of the account's events, oldest first.
type Events struct {
	Schema string  `json:"schema" enum:"farreach.events/v1"`
	Events []Event `json:"events"`
	Next   uint64  `json:"next,omitempty" doc:"from=next goes on after these"`
	More   bool    `json:"more,omitempty" doc:"the answer was cut: there are more from next on"`
}

// Event is what a device reported of one resource.
type Event struct {
	Schema  string          `json:"schema" enum:"farreach.event/v1"`
	Seq     uint64          `json:"seq" doc:"the order of events; there may be gaps"`
	Time    time.Time       `json:"time" doc:"when it was received"`
	Account string          `json:"account"`
	Device  string          `json:"di"`
	Name    string          `json:"name,omitempty" doc:"of the device"`
	Href    string          `json:"href"`
	Rep     json.RawMessage `json:"rep" doc:"the representation; null if it cannot be shown as JSON"`
	Format  string          `json:"format,omitempty" doc:"of raw: a media type"`
	Raw     []byte          `json:"raw,omitempty" doc:"the representation as it came, if rep cannot show it"`
}

// eventsInput selects events.
type eventsInput struct {
	Device string    `query:"device" maxLength:"64" doc:"only of this device: its di"`
	Href   string    `query:"href" maxLength:"2048" doc:"only of this resource"`
	Since  time.Time `query:"since" doc:"not before this time"`
	From   uint64    `query:"from" doc:"the first ones from this seq on; else the newest ones"`
	Limit  int       `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"how many at most"`
}

func (in *eventsInput) filter() event.Filter {
	return event.Filter{
		Device: strings.ToLower(in.Device), Href: in.Href, Since: in.Since, From: in.From, Limit: in.Limit,
	}
}

func (h *Handler) eventRoutes() {
	huma.Register(h.huma, operation(http.MethodGet, "/api/v1/events", "list-events",
		"List what the account's devices reported, oldest first", "events", 200, 403, 503), h.listEvents)
	h.streamRoute()
}

func (h *Handler) listEvents(ctx context.Context, in *eventsInput) (*body[Events], error) {
	who := asker(ctx)
	name := h.names(ctx, who)
	out := Events{Schema: "farreach.events/v1", Events: []Event{}}
	size := 0
	err := h.cloud.Events(ctx, who, in.filter(), func(ev event.Event) bool {
		e := h.event(ev, name(ev.Device))
		out.Events = append(out.Events, e)
		out.Next = ev.Seq + 1
		size += len(e.Rep) + len(e.Raw)
		out.More = size > maxEventBytes || in.From > 0 && len(out.Events) == in.Limit
		return size <= maxEventBytes
	})
	if err != nil {
		return nil, h.problem(err)
	}
	return &body[Events]{out}, nil
}

// event is an event as JSON.
func (h *Handler) event(ev event.Event, name string) Event {
	e := Event{
		Schema: "farreach.event/v1", Seq: ev.Seq, Time: ev.Time, Account: ev.Account,
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
