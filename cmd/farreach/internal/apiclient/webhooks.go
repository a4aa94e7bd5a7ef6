package apiclient

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/farreach/farreach/internal/secret"
)

// Webhook is a program that answers a service.
type Webhook struct {
	Name    string    `json:"name"`
	URL     string    `json:"url"`
	Created time.Time `json:"created"`
}

// NewWebhook is a Webhook that was just made.
type NewWebhook struct {
	Webhook
	Secret secret.String `json:"secret"`
}

// WebhookAnswer is what a webhook answered when it was tried.
type WebhookAnswer struct {
	Schema string `json:"schema"` // farreach.webhook-answer/v1
	Status int    `json:"status"` // of HTTP
	Type   string `json:"type"`
	Body   string `json:"body"`
}

// Webhooks lists the account's webhooks.
func (c *Client) Webhooks(ctx context.Context) ([]Webhook, error) {
	var answer struct {
		Webhooks []Webhook `json:"webhooks"`
	}
	err := c.call(ctx, http.MethodGet, "/webhooks", nil, nil, &answer)
	return answer.Webhooks, err
}

// AddWebhook registers one.
func (c *Client) AddWebhook(ctx context.Context, name, address string) (made NewWebhook, err error) {
	err = c.call(ctx, http.MethodPost, "/webhooks", nil, map[string]string{"name": name, "url": address}, &made)
	return made, err
}

// RemoveWebhook takes one away.
func (c *Client) RemoveWebhook(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, "/webhooks/"+url.PathEscape(name), nil, nil, nil)
}

// TryWebhook asks one as if a device did.
func (c *Client) TryWebhook(ctx context.Context, name string) (a WebhookAnswer, err error) {
	err = c.call(ctx, http.MethodPost, "/webhooks/"+url.PathEscape(name)+"/test", nil, nil, &a)
	return a, err
}
