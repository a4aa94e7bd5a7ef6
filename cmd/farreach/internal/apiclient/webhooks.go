package apiclient

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/farreach/farreach/internal/secret"
)

// Webhook is a program that answers a service, and that rules tell when they
// fire.
type Webhook struct {
	Name    string        `json:"name"`
	URL     string        `json:"url"`
	Created time.Time     `json:"created"`
	State   *WebhookState `json:"state,omitempty"` // none: it was just made
}

// WebhookState is how a webhook does.
type WebhookState struct {
	Waiting   int       `json:"waiting"`
	Delivered uint64    `json:"delivered"`
	GivenUp   uint64    `json:"given_up"`
	Attempts  int       `json:"attempts,omitempty"`
	Tried     time.Time `json:"tried,omitzero"`
	Next      time.Time `json:"next,omitzero"`
	Problem   string    `json:"problem,omitempty"`
}

// NewWebhook is a Webhook that was just made.
type NewWebhook struct {
	Webhook
	Secret secret.String `json:"secret"`
}

// Delivery is what a webhook is told until it has taken it.
type Delivery struct {
	Schema   string          `json:"schema"` // farreach.delivery/v1
	ID       string          `json:"id"`
	Webhook  string          `json:"webhook"`
	State    string          `json:"state"`
	Made     time.Time       `json:"made"`
	Attempts int             `json:"attempts"`
	Tried    time.Time       `json:"tried,omitzero"`
	Next     time.Time       `json:"next,omitzero"`
	Ended    time.Time       `json:"ended,omitzero"`
	Status   int             `json:"status,omitempty"` // of HTTP
	Problem  string          `json:"problem,omitempty"`
	Body     json.RawMessage `json:"body,omitempty"` // from Delivery and RetryDelivery alone
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

// Webhook returns one webhook, and how it does.
func (c *Client) Webhook(ctx context.Context, name string) (w Webhook, err error) {
	err = c.call(ctx, http.MethodGet, "/webhooks/"+url.PathEscape(name), nil, nil, &w)
	return w, err
}

// RetryWebhook has what waits for a webhook tried at once.
func (c *Client) RetryWebhook(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodPost, "/webhooks/"+url.PathEscape(name)+"/retry", nil, nil, nil)
}

// Deliveries lists the deliveries of a webhook in a state, or with "" in any:
// limit at most, the newest change first.
func (c *Client) Deliveries(ctx context.Context, name, state string, limit int) ([]Delivery, error) {
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	if state != "" {
		query.Set("state", state)
	}
	var answer struct {
		Deliveries []Delivery `json:"deliveries"`
	}
	err := c.call(ctx, http.MethodGet, "/webhooks/"+url.PathEscape(name)+"/deliveries", query, nil, &answer)
	return answer.Deliveries, err
}

// Delivery returns one delivery.
func (c *Client) Delivery(ctx context.Context, name, id string) (d Delivery, err error) {
	err = c.call(ctx, http.MethodGet, deliveryPath(name, id), nil, nil, &d)
	return d, err
}

// WhyDelivery says what led to a delivery.
func (c *Client) WhyDelivery(ctx context.Context, name, id string) (w Why, err error) {
	err = c.call(ctx, http.MethodGet, deliveryPath(name, id)+"/why", nil, nil, &w)
	return w, err
}

// RetryDelivery has a webhook told once more what it was told before, or what
// was given up.
func (c *Client) RetryDelivery(ctx context.Context, name, id string) (d Delivery, err error) {
	err = c.call(ctx, http.MethodPost, deliveryPath(name, id)+"/retry", nil, nil, &d)
	return d, err
}

func deliveryPath(name, id string) string {
	return "/webhooks/" + url.PathEscape(name) + "/deliveries/" + url.PathEscape(id)
}
