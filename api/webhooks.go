package api

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/farreach/farreach/cloud/webhook"
)

// Webhooks is the webhooks of the account, by name.
type Webhooks struct {
	Schema   string    `json:"schema" enum:"farreach.webhooks/v1"`
	Webhooks []Webhook `json:"webhooks"`
}

// Webhook is a program that answers the service of that name: what a device
// asks by a POST to /svc/<name>.
type Webhook struct {
	Schema  string    `json:"schema" enum:"farreach.webhook/v1"`
	Name    string    `json:"name"`
	URL     string    `json:"url"`
	Created time.Time `json:"created"`
	Secret  string    `json:"secret,omitempty" doc:"with which requests are signed (Standard Webhooks); only when it was just made"`
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

// webhookInput is a path with a webhook in it.
type webhookInput struct {
	Name string `path:"name" maxLength:"64"`
}

func (h *Handler) webhookRoutes() {
	const path = "/api/v1/webhooks"
	huma.Register(h.huma, operation(http.MethodGet, path, "list-webhooks", "List the account's webhooks", "webhooks", 200, 403), h.listWebhooks)
	huma.Register(h.huma, operation(http.MethodPost, path, "new-webhook", "Register a program that answers a service", "webhooks", 201, 400, 403, 409, 503),
		func(ctx context.Context, in *newWebhook) (*created[Webhook], error) {
			t, err := h.cloud.AddWebhook(ctx, asker(ctx), in.Body.Name, in.Body.URL)
			if err != nil {
				return nil, h.problem(err)
			}
			return &created[Webhook]{Location: path + "/" + url.PathEscape(t.Name), Body: webhookOf(t)}, nil
		})
	huma.Register(h.huma, operation(http.MethodDelete, path+"/{name}", "delete-webhook", "Remove a webhook", "webhooks", 204, 403, 404, 503),
		func(ctx context.Context, in *webhookInput) (*struct{}, error) {
			return nil, h.problem(h.cloud.RemoveWebhook(ctx, asker(ctx), in.Name))
		})
	huma.Register(h.huma, operation(http.MethodPost, path+"/{name}/test", "test-webhook", "Ask a webhook as if a device did", "webhooks", 200, 403, 404, 502, 504),
		func(ctx context.Context, in *webhookInput) (*body[WebhookAnswer], error) {
			a, err := h.cloud.TryWebhook(ctx, asker(ctx), in.Name)
			if err != nil {
				return nil, h.problem(err)
			}
			return &body[WebhookAnswer]{WebhookAnswer{"farreach.webhook-answer/v1", a.Status, a.Type, string(a.Body)}}, nil
		})
}

func (h *Handler) listWebhooks(ctx context.Context, _ *struct{}) (*body[Webhooks], error) {
	list, err := h.cloud.Webhooks(ctx, asker(ctx))
	if err != nil {
		return nil, h.problem(err)
	}
	out := Webhooks{Schema: "farreach.webhooks/v1", Webhooks: make([]Webhook, len(list))}
	for i, t := range list {
		out.Webhooks[i] = webhookOf(t)
	}
	return &body[Webhooks]{out}, nil
}

func webhookOf(t webhook.Target) Webhook {
	return Webhook{Schema: "farreach.webhook/v1", Name: t.Name, URL: t.URL, Created: t.Created.UTC(), Secret: t.Secret}
}
