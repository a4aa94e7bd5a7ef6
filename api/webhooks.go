package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/farreach/farreach/cloud"
	"github.com/farreach/farreach/cloud/webhook"
)

// Webhooks is the webhooks of the account, by name.
type Webhooks struct {
	Schema   string    `json:"schema" enum:"farreach.webhooks/v1"`
	Webhooks []Webhook `json:"webhooks"`
}

// Webhook is a program that answers the service of that name, which is what a
// device asks by a POST to /svc/<name>, and that rules tell when they fire.
type Webhook struct {
	Schema  string        `json:"schema" enum:"farreach.webhook/v1"`
	Name    string        `json:"name"`
	URL     string        `json:"url"`
	Created time.Time     `json:"created"`
	Secret  string        `json:"secret,omitempty" doc:"with which requests are signed (Standard Webhooks); only when it was just made"`
	State   *WebhookState `json:"state,omitempty" doc:"how it does, as it was a second ago; not when it was just made"`
}

// WebhookState is how a webhook does.
type WebhookState struct {
	Waiting   int       `json:"waiting" doc:"deliveries that wait for their turn"`
	Delivered uint64    `json:"delivered" doc:"deliveries that were taken, ever"`
	GivenUp   uint64    `json:"given_up" doc:"deliveries that were not, ever"`
	Attempts  int       `json:"attempts,omitempty" doc:"of the newest delivery that was tried"`
	Tried     time.Time `json:"tried,omitzero" required:"false" doc:"the newest attempt"`
	Next      time.Time `json:"next,omitzero" required:"false" doc:"the next attempt, after one that failed"`
	Problem   string    `json:"problem,omitempty" doc:"why the newest attempt failed; none: it did not"`
}

// Deliveries is what a webhook was told or is to be told, the newest change
// first.
type Deliveries struct {
	Schema     string     `json:"schema" enum:"farreach.deliveries/v1"`
	Deliveries []Delivery `json:"deliveries"`
}

// Delivery is what a webhook is told until it has taken it.
type Delivery struct {
	Schema   string          `json:"schema" enum:"farreach.delivery/v1"`
	ID       string          `json:"id" doc:"the webhook-id of each request"`
	Webhook  string          `json:"webhook" doc:"name of the webhook"`
	State    string          `json:"state" enum:"waiting,delivered,given-up"`
	Made     time.Time       `json:"made" doc:"when what it is about happened"`
	Attempts int             `json:"attempts" doc:"only the oldest that waits is tried"`
	Tried    time.Time       `json:"tried,omitzero" required:"false" doc:"the newest attempt"`
	Next     time.Time       `json:"next,omitzero" required:"false" doc:"the next attempt"`
	Ended    time.Time       `json:"ended,omitzero" required:"false" doc:"when it was delivered or given up"`
	Status   int             `json:"status,omitempty" doc:"of HTTP, of the newest attempt; none: there was no answer"`
	Problem  string          `json:"problem,omitempty" doc:"why the newest attempt failed, or why it was given up"`
	Body     json.RawMessage `json:"body,omitempty" required:"false" doc:"what it is told, for what a rule does a farreach.firing/v1; in the answer for one delivery alone"`
}

// WebhookAnswer is what a webhook answered when it was tried.
type WebhookAnswer struct {
	Schema string `json:"schema" enum:"farreach.webhook-answer/v1"`
	Status int    `json:"status" doc:"of HTTP"`
	Type   string `json:"type" doc:"media type of body"`
	Body   string `json:"body"`
}

// newWebhook is the body that makes one. The limits are the cloud's to tell.
type newWebhook struct {
	Body struct {
		Name string `json:"name" example:"diagnosis"`
		URL  string `json:"url" example:"https://example.org/farreach"`
	}
}

// WebhookInput is a path with a webhook in it.
type WebhookInput struct {
	Name string `path:"name" maxLength:"64"`
}

// deliveryInput is a path with a delivery in it.
type deliveryInput struct {
	WebhookInput
	ID string `path:"id" maxLength:"64"`
}

// deliveriesInput selects deliveries.
type deliveriesInput struct {
	WebhookInput
	State string `query:"state" enum:"waiting,delivered,given-up" doc:"only those in this state"`
	Limit int    `query:"limit" minimum:"1" maximum:"2000" default:"50" doc:"how many at most"`
}

func (h *Handler) webhookRoutes() {
	const path = "/api/v1/webhooks"
	huma.Register(h.huma, operation(http.MethodGet, path, "list-webhooks", "List the account's webhooks", "webhooks", 200, 403), h.listWebhooks)
	huma.Register(h.huma, operation(http.MethodPost, path, "new-webhook", "Register a program that answers a service, and that rules tell when they fire", "webhooks", 201, 400, 403, 409, 503),
		func(ctx context.Context, in *newWebhook) (*created[Webhook], error) {
			t, err := h.cloud.AddWebhook(ctx, asker(ctx), in.Body.Name, in.Body.URL)
			if err != nil {
				return nil, h.problem(err)
			}
			return &created[Webhook]{Location: path + "/" + url.PathEscape(t.Name), Body: webhookOf(&t)}, nil
		})
	huma.Register(h.huma, operation(http.MethodDelete, path+"/{name}", "delete-webhook", "Remove a webhook, what waits for it, and what is known of its deliveries", "webhooks", 204, 403, 404, 503),
		func(ctx context.Context, in *WebhookInput) (*struct{}, error) {
			return nil, h.problem(h.cloud.RemoveWebhook(ctx, asker(ctx), in.Name))
		})
	huma.Register(h.huma, operation(http.MethodPost, path+"/{name}/test", "test-webhook", "Ask a webhook as if a device did", "webhooks", 200, 403, 404, 502, 504),
		func(ctx context.Context, in *WebhookInput) (*body[WebhookAnswer], error) {
			a, err := h.cloud.TryWebhook(ctx, asker(ctx), in.Name)
			if err != nil {
				return nil, h.problem(err)
			}
			return &body[WebhookAnswer]{WebhookAnswer{"farreach.webhook-answer/v1", a.Status, a.Type, string(a.Body)}}, nil
		})
	huma.Register(h.huma, operation(http.MethodGet, path+"/{name}", "get-webhook", "Get one webhook, and how it does", "webhooks", 200, 403, 404, 503),
		func(ctx context.Context, in *WebhookInput) (*body[Webhook], error) {
			w, err := h.cloud.Webhook(ctx, asker(ctx), in.Name)
			if err != nil {
				return nil, h.problem(err)
			}
			return &body[Webhook]{webhookInfo(&w)}, nil
		})
	huma.Register(h.huma, operation(http.MethodPost, path+"/{name}/retry", "retry-webhook",
		"Try at once what waits for a webhook", "webhooks", 204, 403, 404, 503),
		func(ctx context.Context, in *WebhookInput) (*struct{}, error) {
			return nil, h.problem(h.cloud.RetryWebhook(ctx, asker(ctx), in.Name))
		})
	h.deliveryRoutes(path + "/{name}/deliveries")
}

func (h *Handler) deliveryRoutes(path string) {
	huma.Register(h.huma, operation(http.MethodGet, path, "list-deliveries",
		"List what a webhook was told or is to be told, the newest change first", "webhooks", 200, 403, 404, 503), h.listDeliveries)
	huma.Register(h.huma, operation(http.MethodGet, path+"/{id}", "get-delivery", "Get one delivery", "webhooks", 200, 403, 404, 503),
		func(ctx context.Context, in *deliveryInput) (*body[Delivery], error) {
			d, err := h.cloud.Delivery(ctx, asker(ctx), in.Name, in.ID)
			if err != nil {
				return nil, h.problem(err)
			}
			return &body[Delivery]{deliveryOf(&d)}, nil
		})
	huma.Register(h.huma, operation(http.MethodGet, path+"/{id}/why", "why-delivery",
		"Tell what led to a delivery", "webhooks", 200, 403, 404, 503),
		func(ctx context.Context, in *deliveryInput) (*body[Why], error) {
			who := asker(ctx)
			r, err := h.cloud.WhyDelivery(ctx, who, in.Name, in.ID)
			if err != nil {
				return nil, h.problem(err)
			}
			return &body[Why]{h.why(&r, h.names(ctx, who))}, nil
		})
	huma.Register(h.huma, operation(http.MethodPost, path+"/{id}/retry", "retry-delivery",
		"Tell a webhook once more what was delivered or given up, behind what waits; or try at once what waits", "webhooks", 200, 403, 404, 503),
		func(ctx context.Context, in *deliveryInput) (*body[Delivery], error) {
			d, err := h.cloud.RetryDelivery(ctx, asker(ctx), in.Name, in.ID)
			if err != nil {
				return nil, h.problem(err)
			}
			return &body[Delivery]{deliveryOf(&d)}, nil
		})
}

func (h *Handler) listDeliveries(ctx context.Context, in *deliveriesInput) (*body[Deliveries], error) {
	list, err := h.cloud.Deliveries(ctx, asker(ctx), in.Name, webhook.State(in.State), in.Limit)
	if err != nil {
		return nil, h.problem(err)
	}
	out := Deliveries{Schema: "farreach.deliveries/v1", Deliveries: make([]Delivery, len(list))}
	for i := range list {
		out.Deliveries[i] = deliveryOf(&list[i])
		out.Deliveries[i].Body = nil
	}
	return &body[Deliveries]{out}, nil
}

func deliveryOf(d *webhook.Delivery) Delivery {
	return Delivery{
		Schema: "farreach.delivery/v1", ID: d.ID, Webhook: d.Target, State: string(d.State), Made: d.Made.UTC(), Attempts: d.Attempts,
		Tried: d.Tried.UTC(), Next: d.Next.UTC(), Ended: d.Ended.UTC(), Status: d.Status, Problem: d.Problem, Body: d.Body,
	}
}

func (h *Handler) listWebhooks(ctx context.Context, _ *struct{}) (*body[Webhooks], error) {
	list, err := h.cloud.Webhooks(ctx, asker(ctx))
	if err != nil {
		return nil, h.problem(err)
	}
	out := Webhooks{Schema: "farreach.webhooks/v1", Webhooks: make([]Webhook, len(list))}
	for i, t := range list {
		out.Webhooks[i] = webhookInfo(&t)
	}
	return &body[Webhooks]{out}, nil
}

func webhookInfo(w *cloud.WebhookInfo) Webhook {
	out, s := webhookOf(&w.Target), &w.Standing
	out.State = &WebhookState{s.Waiting, s.Delivered, s.GivenUp, s.Attempts, s.Tried.UTC(), s.Next.UTC(), s.Problem}
	return out
}

func webhookOf(t *webhook.Target) Webhook {
	return Webhook{Schema: "farreach.webhook/v1", Name: t.Name, URL: t.URL, Created: t.Created.UTC(), Secret: t.Secret}
}
