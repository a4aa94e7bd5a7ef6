package cloud

import (
	"context"
	"encoding/json"
	"time"

	"github.com/farreach/farreach/cloud/rule"
	"github.com/farreach/farreach/cloud/webhook"
	"github.com/farreach/farreach/oic"
)

// AddWebhook registers where the account of who answers the service called
// name. The secret with which requests are signed is told only now.
func (c *Cloud) AddWebhook(ctx context.Context, who oic.Identity, name, url string) (webhook.Target, error) {
	if err := c.authorize(who, opWebhooks, target{account: who.Account}); err != nil {
		return webhook.Target{}, err
	}
	t, err := c.webhooks.Add(ctx, who.Account, name, url)
	if err == nil {
		c.note(ctx, who, who.Account, "webhook.create", name)
	}
	return t, failed("add webhook", err)
}

// Webhooks lists the webhooks of the account of who, by name.
func (c *Cloud) Webhooks(ctx context.Context, who oic.Identity) (list []WebhookInfo, err error) {
	if err := c.authorize(who, opWebhooks, target{account: who.Account}); err != nil {
		return nil, err
	}
	for _, t := range c.webhooks.List(who.Account) {
		info, err := c.webhookInfo(ctx, t)
		if err != nil {
			return nil, failed("read webhooks", err)
		}
		list = append(list, info)
	}
	return list, nil
}

// RemoveWebhook takes a webhook of the account of who away.
func (c *Cloud) RemoveWebhook(ctx context.Context, who oic.Identity, name string) error {
	if err := c.authorize(who, opWebhooks, target{account: who.Account}); err != nil {
		return err
	}
	err := c.webhooks.Remove(ctx, who.Account, name)
	if err == nil {
		c.note(ctx, who, who.Account, "webhook.delete", name)
	}
	return failed("remove webhook", err)
}

// TryWebhook asks a webhook of the account of who as if a device did, and
// returns what it answered.
func (c *Cloud) TryWebhook(ctx context.Context, who oic.Identity, name string) (webhook.Answer, error) {
	if err := c.authorize(who, opWebhooks, target{account: who.Account}); err != nil {
		return webhook.Answer{}, err
	}
	return c.ask(ctx, ServiceRequest{Service: name, Account: who.Account})
}

// WebhookInfo is a webhook, without its secret, and how it does.
type WebhookInfo struct {
	webhook.Target
	Standing webhook.Standing
}

// Webhook returns one webhook of the account of who.
func (c *Cloud) Webhook(ctx context.Context, who oic.Identity, name string) (WebhookInfo, error) {
	if err := c.authorize(who, opWebhooks, target{account: who.Account}); err != nil {
		return WebhookInfo{}, err
	}
	t, err := c.webhooks.Get(ctx, who.Account, name)
	if err != nil {
		return WebhookInfo{}, failed("read webhook", err)
	}
	info, err := c.webhookInfo(ctx, t)
	return info, failed("read webhook", err)
}

func (c *Cloud) webhookInfo(ctx context.Context, t webhook.Target) (WebhookInfo, error) {
	t.Secret = ""
	standing, err := c.webhooks.Standing(ctx, &t)
	return WebhookInfo{t, standing}, err
}

// Deliveries lists what a webhook of the account of who was told or is to be
// told: in one state, or with "" in any, limit at most, the newest change first.
func (c *Cloud) Deliveries(ctx context.Context, who oic.Identity, name string, state webhook.State, limit int) ([]webhook.Delivery, error) {
	if err := c.authorize(who, opWebhooks, target{account: who.Account}); err != nil {
		return nil, err
	}
	list, err := c.webhooks.Deliveries(ctx, who.Account, name, state, limit)
	return list, failed("read deliveries", err)
}

// Delivery returns one of them.
func (c *Cloud) Delivery(ctx context.Context, who oic.Identity, name, id string) (webhook.Delivery, error) {
	if err := c.authorize(who, opWebhooks, target{account: who.Account}); err != nil {
		return webhook.Delivery{}, err
	}
	if _, err := c.webhooks.Get(ctx, who.Account, name); err != nil {
		return webhook.Delivery{}, failed("read delivery", err)
	}
	d, err := c.webhooks.Delivery(ctx, who.Account, name, id)
	return d, failed("read delivery", err)
}

// RetryWebhook lets what waits for a webhook of the account of who be tried at
// once.
func (c *Cloud) RetryWebhook(ctx context.Context, who oic.Identity, name string) error {
	if err := c.authorize(who, opWebhooks, target{account: who.Account}); err != nil {
		return err
	}
	return failed("retry webhook", c.webhooks.Hurry(ctx, who.Account, name))
}

// RetryDelivery tells a webhook of the account of who once more what it was
// told before, or what was given up.
func (c *Cloud) RetryDelivery(ctx context.Context, who oic.Identity, name, id string) (webhook.Delivery, error) {
	if err := c.authorize(who, opWebhooks, target{account: who.Account}); err != nil {
		return webhook.Delivery{}, err
	}
	if _, err := c.webhooks.Get(ctx, who.Account, name); err != nil {
		return webhook.Delivery{}, failed("retry delivery", err)
	}
	d, err := c.webhooks.Again(ctx, who.Account, name, id)
	return d, failed("retry delivery", err)
}

// WebhookCounts counts what this process has delivered, for those who run it.
func (c *Cloud) WebhookCounts(_ context.Context, who oic.Identity) (webhook.Counts, error) {
	if err := c.authorize(who, opOperate, target{}); err != nil {
		return webhook.Counts{}, err
	}
	return c.webhooks.Counts(), nil
}

// FiringNotice is what a webhook is told when a rule fires.
type FiringNotice struct {
	Schema  string       `json:"schema"` // farreach.firing/v1
	ID      string       `json:"id"`     // the webhook-id: the same however often it is told
	Run     string       `json:"run"`    // of rule, revision and cause
	Account string       `json:"account"`
	Rule    FiredRule    `json:"rule"`
	Time    time.Time    `json:"time"`            // when it fired
	Since   time.Time    `json:"since"`           // time of the event, or the instant
	Event   *FiringEvent `json:"event,omitempty"` // none: the rule waited for an instant
	Hops    int          `json:"hops,omitempty"`  // firings that led to it
}

// FiredRule is the rule that fired.
type FiredRule struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Revision uint64 `json:"revision"`
}

// FiringEvent is the event on which it did.
type FiringEvent struct {
	Seq    uint64          `json:"seq"`
	Device string          `json:"di"`
	Name   string          `json:"name,omitempty"` // of the device
	Href   string          `json:"href"`
	Rep    json.RawMessage `json:"rep"` // null if it is longer than 8 KiB, not kept any more, or cannot be shown as JSON
}

// maxRep is the longest representation that a webhook is told, bytes of JSON.
const maxRep = 8 << 10

// notice is what a webhook is told about f.
func (c *Cloud) notice(ctx context.Context, f *rule.Firing, id string) (FiringNotice, error) {
	n := FiringNotice{
		Schema: "farreach.firing/v1", ID: id, Run: f.ID, Account: f.Account, Rule: FiredRule{f.Rule, f.Name, f.Revision},
		Time: f.Time.UTC(), Since: f.Cause.Time.UTC(), Hops: f.Hops,
	}
	if f.Cause.Event == 0 {
		return n, nil
	}
	dev, _ := c.directory.Get(f.Cause.Device)
	n.Event = &FiringEvent{f.Cause.Event, f.Cause.Device, dev.Name, f.Cause.Href, json.RawMessage("null")}
	ev, err := c.seen(ctx, f.Account, f.Cause.Event)
	if err != nil || ev == nil {
		return n, err
	}
	if rep, err := oic.ToJSON(ev.Format, ev.Body); err == nil && len(rep) > 0 && len(rep) <= maxRep {
		n.Event.Rep = rep
	}
	return n, nil
}

// Tell implements rule.World.
func (w ruleWorld) Tell(ctx context.Context, f *rule.Firing, index int, p *rule.Planned, _ bool) error {
	id := commandID(f, index)
	n, err := w.c.notice(ctx, f, id)
	if err != nil {
		return err
	}
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return w.c.webhooks.Enqueue(ctx, f.Account, p.Webhook, id, f.Time, b)
}

// HasWebhook implements rule.World.
func (w ruleWorld) HasWebhook(account, name string) bool { return w.c.webhooks.Has(account, name) }

// deliveryOf is what became of the index-th thing that a firing did; without an
// ID if that is not known.
func (c *Cloud) deliveryOf(ctx context.Context, f *rule.Firing, index int) (webhook.Delivery, error) {
	d, err := c.webhooks.Delivery(ctx, f.Account, f.Do[index].Webhook, commandID(f, index))
	if status, _ := oic.StatusOf(err); err != nil && status == oic.NotFound {
		return webhook.Delivery{}, nil
	}
	return d, err
}
