package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/farreach/farreach/cloud"
)

// Why is what led to an event, the effect first.
type Why struct {
	Schema string    `json:"schema" enum:"farreach.why/v1"`
	Steps  []WhyStep `json:"steps"`
	Begin  string    `json:"begin" example:"ann, by token phone" doc:"what the last step came from"`
}

// WhyStep is one step: an event, the command that caused the step before it, or
// what a webhook was told, which comes first if at all.
type WhyStep struct {
	Event    *Event    `json:"event,omitempty"`
	Command  *Command  `json:"command,omitempty"`
	Delivery *Delivery `json:"delivery,omitempty"`
	Perhaps  bool      `json:"perhaps,omitempty" doc:"the command was for another resource of the device"`
}

// whyInput says what is asked about.
type whyInput struct {
	Device string    `query:"device" required:"true" maxLength:"64" doc:"its di"`
	Href   string    `query:"href" maxLength:"2048" example:"/a/light" doc:"the resource; none: whichever changed last"`
	At     time.Time `query:"at" doc:"the newest event up to then; none: the newest"`
}

func (h *Handler) whyRoute() {
	huma.Register(h.huma, operation(http.MethodGet, "/api/v1/why", "why",
		"Tell what a resource's newest event came from", "commands", 200, 403, 404, 503),
		func(ctx context.Context, in *whyInput) (*body[Why], error) {
			who := asker(ctx)
			r, err := h.cloud.Why(ctx, who, strings.ToLower(in.Device), in.Href, in.At)
			if err != nil {
				return nil, h.problem(err)
			}
			return &body[Why]{h.why(&r, h.names(ctx, who))}, nil
		})
}

// why is a reason as JSON; name tells those of devices.
func (h *Handler) why(r *cloud.Reason, name func(di string) string) Why {
	out := Why{Schema: "farreach.why/v1", Begin: r.Begin, Steps: make([]WhyStep, len(r.Steps))}
	for i, s := range r.Steps {
		step := &out.Steps[i]
		step.Perhaps = s.Perhaps
		switch {
		case s.Event != nil:
			ev := h.event(*s.Event, name(s.Event.Device))
			step.Event = &ev
		case s.Command != nil:
			cmd := h.command(*s.Command, name(s.Command.Device))
			step.Command = &cmd
		case s.Delivery != nil:
			d := deliveryOf(s.Delivery)
			step.Delivery = &d
		}
	}
	return out
}
