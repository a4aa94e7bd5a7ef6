package apiclient

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/farreach/farreach/cloud/rule"
)

// Rule is a rule of the account.
type Rule struct {
	Schema   string    `json:"schema"` // farreach.rule/v1
	ID       string    `json:"id"`
	Revision uint64    `json:"revision"`
	Created  time.Time `json:"created"`
	Changed  time.Time `json:"changed"`
	By       string    `json:"by,omitempty"`
	rule.Document
	State *RuleState `json:"state,omitempty"` // from Rule alone
}

// RuleState is how a rule does.
type RuleState struct {
	Fired   uint64    `json:"fired"`
	Held    uint64    `json:"held"`
	Dropped uint64    `json:"dropped"`
	Failed  uint64    `json:"failed"`
	Problem string    `json:"problem,omitempty"`
	Last    time.Time `json:"last,omitzero"`
	Due     time.Time `json:"due,omitzero"`
	Asleep  time.Time `json:"asleep,omitzero"`
}

// Run is one time that a rule did, or would have done, what it says.
type Run struct {
	Schema   string    `json:"schema"` // farreach.run/v1
	ID       string    `json:"id"`
	Rule     string    `json:"rule"`
	Name     string    `json:"name"`
	Revision uint64    `json:"revision"`
	Kind     string    `json:"kind"`
	Time     time.Time `json:"time"`
	Event    uint64    `json:"event,omitempty"`
	Device   string    `json:"di,omitempty"`
	Href     string    `json:"href,omitempty"`
	Since    time.Time `json:"since"`
	Hops     int       `json:"hops,omitempty"`
	Do       []Done    `json:"do"`
}

// Done is one thing that a rule did.
type Done struct {
	Command  string          `json:"command,omitempty"`
	Device   string          `json:"di,omitempty"`
	Name     string          `json:"name,omitempty"`
	Href     string          `json:"href,omitempty"`
	Method   string          `json:"method,omitempty"`
	Set      json.RawMessage `json:"set,omitempty"`
	State    string          `json:"state,omitempty"`
	Message  string          `json:"message,omitempty"`
	Webhook  string          `json:"webhook,omitempty"`
	Delivery string          `json:"delivery,omitempty"`
	Problem  string          `json:"problem,omitempty"`
}

// RuleTest is what a rule would have done.
type RuleTest struct {
	Schema string    `json:"schema"` // farreach.rule-test/v1
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
	Events int       `json:"events"`
	Fired  int       `json:"fired"`
	Runs   []Run     `json:"runs"`
}

// Rules lists the rules of the account, by name.
func (c *Client) Rules(ctx context.Context) ([]Rule, error) {
	return list[Rule](ctx, c, "/rules", nil, "rules")
}

// Rule returns one rule, and how it does.
func (c *Client) Rule(ctx context.Context, id string) (r Rule, err error) {
	err = c.call(ctx, http.MethodGet, "/rules/"+url.PathEscape(id), nil, nil, &r)
	return r, err
}

// RuleRevisions lists the newest revisions of a rule, the newest first.
func (c *Client) RuleRevisions(ctx context.Context, id string) ([]Rule, error) {
	return list[Rule](ctx, c, "/rules/"+url.PathEscape(id)+"/revisions", nil, "rules")
}

// AddRule makes a rule.
func (c *Client) AddRule(ctx context.Context, d rule.Document) (r Rule, err error) {
	err = c.call(ctx, http.MethodPost, "/rules", nil, d, &r)
	return r, err
}

// ChangeRule replaces the revision of a rule that was seen by a new one.
func (c *Client) ChangeRule(ctx context.Context, seen *Rule, d rule.Document) (r Rule, err error) {
	err = c.change(ctx, http.MethodPut, seen, d, &r)
	return r, err
}

// RemoveRule removes a rule in the revision that was seen.
func (c *Client) RemoveRule(ctx context.Context, seen *Rule) error {
	return c.change(ctx, http.MethodDelete, seen, nil, nil)
}

// change is call for the revision of a rule that was seen.
func (c *Client) change(ctx context.Context, method string, seen *Rule, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	head := http.Header{"If-Match": {`"` + strconv.FormatUint(seen.Revision, 10) + `"`}}
	resp, err := c.send(ctx, method, "/rules/"+url.PathEscape(seen.ID), nil, in, head)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return c.read(resp, out)
}

// Runs lists what a rule did, or with id "" all rules, the newest first, limit
// at most.
func (c *Client) Runs(ctx context.Context, id string, limit int) ([]Run, error) {
	path := "/runs"
	if id != "" {
		path = "/rules/" + url.PathEscape(id) + "/runs"
	}
	return list[Run](ctx, c, path, url.Values{"limit": {strconv.Itoa(limit)}}, "runs")
}

// TestRule tells what d would have done from since on, limit runs at most.
func (c *Client) TestRule(ctx context.Context, d rule.Document, since time.Time, limit int) (t RuleTest, err error) {
	query := url.Values{"since": {since.UTC().Format(time.RFC3339Nano)}, "limit": {strconv.Itoa(limit)}}
	err = c.call(ctx, http.MethodPost, "/rule-tests", query, d, &t)
	return t, err
}
