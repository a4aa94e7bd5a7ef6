package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/farreach/farreach/cloud/rule"
	"github.com/farreach/farreach/oic"
)

// Rules is the account's rules, by name.
type Rules struct {
	Schema string `json:"schema" enum:"farreach.rules/v1"`
	Rules  []Rule `json:"rules"`
}

// Rule is what follows from something that happens.
type Rule struct {
	Schema   string    `json:"schema" enum:"farreach.rule/v1"`
	ID       string    `json:"id"`
	Revision uint64    `json:"revision" doc:"each change makes a new one"`
	Created  time.Time `json:"created"`
	Changed  time.Time `json:"changed" doc:"when this revision was made"`
	By       string    `json:"by,omitempty" doc:"who made this revision"`
	rule.Document
	State *RuleState `json:"state,omitempty" doc:"how it does; in the answer for one rule alone"`
}

// RuleState is how a rule does.
type RuleState struct {
	Fired   uint64    `json:"fired" doc:"times that this revision has fired"`
	Held    uint64    `json:"held" doc:"times that it would have, but for its limits"`
	Dropped uint64    `json:"dropped" doc:"firings for which there was no room"`
	Failed  uint64    `json:"failed" doc:"events about which the condition could not be evaluated"`
	Problem string    `json:"problem,omitempty" doc:"the newest reason"`
	Last    time.Time `json:"last,omitzero" required:"false" doc:"when it fired last"`
	Due     time.Time `json:"due,omitzero" required:"false" doc:"the next instant, of a rule that waits for one"`
	Asleep  time.Time `json:"asleep,omitzero" required:"false" doc:"it has fired too often, and does not until then"`
}

// Run is one time that a rule did, or would have done, what it says.
type Run struct {
	Schema   string    `json:"schema" enum:"farreach.run/v1"`
	ID       string    `json:"id"`
	Rule     string    `json:"rule" doc:"id of the rule"`
	Name     string    `json:"name" doc:"of the rule then"`
	Revision uint64    `json:"revision"`
	Kind     string    `json:"kind" enum:"fired,asleep,stopped,missed" doc:"asleep: too many; stopped: it led to itself; missed: nobody was there at that time. In these nothing was done"`
	Time     time.Time `json:"time"`
	Event    uint64    `json:"event,omitempty" doc:"seq of the event that is the cause; none: an instant is"`
	Device   string    `json:"di,omitempty" doc:"of that event"`
	Href     string    `json:"href,omitempty" doc:"of that event"`
	Since    time.Time `json:"since" doc:"time of that event, or the instant"`
	Hops     int       `json:"hops,omitempty" doc:"firings that led to it"`
	Do       []Done    `json:"do" doc:"what was done, in this order"`
}

// Done is one thing that a rule did.
type Done struct {
	Command  string          `json:"command,omitempty" doc:"id of the command"`
	Device   string          `json:"di,omitempty" doc:"that was commanded"`
	Name     string          `json:"name,omitempty" doc:"of that device, as the rule says"`
	Href     string          `json:"href,omitempty"`
	Method   string          `json:"method,omitempty"`
	Set      json.RawMessage `json:"set,omitempty"`
	State    string          `json:"state,omitempty" doc:"of the command, or of the delivery"`
	Message  string          `json:"message,omitempty"`
	Webhook  string          `json:"webhook,omitempty" doc:"name of the webhook that is told"`
	Delivery string          `json:"delivery,omitempty" doc:"id of the delivery to it"`
	Problem  string          `json:"problem,omitempty" doc:"why it could not be done, or what the device or the webhook said"`
}

// Runs is what rules did, the newest first.
type Runs struct {
	Schema string `json:"schema" enum:"farreach.runs/v1"`
	Runs   []Run  `json:"runs"`
}

// RuleTest is what a rule would have done.
type RuleTest struct {
	Schema string    `json:"schema" enum:"farreach.rule-test/v1"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
	Events int       `json:"events" doc:"how many were looked at"`
	Fired  int       `json:"fired" doc:"times that it would have fired"`
	Runs   []Run     `json:"runs" doc:"the first ones of these"`
}

// Check is what can be said of a condition before there is a rule with it.
type Check struct {
	Schema string `json:"schema" enum:"farreach.check/v1"`
	OK     bool   `json:"ok"`
	Type   string `json:"type,omitempty" doc:"of its result: bool, or dyn if only an event tells"`
	Cost   uint64 `json:"cost,omitempty" doc:"the most that one evaluation may need"`
	Most   uint64 `json:"most" doc:"what it may cost"`
	Line   int    `json:"line,omitempty" doc:"of what is wrong; from 1, none: it is about the whole"`
	Column int    `json:"column,omitempty"`
	Why    string `json:"why,omitempty" doc:"what is wrong"`
}

// oneRule is an answer with a rule.
type oneRule struct {
	Location string `header:"Location"`
	ETag     string `header:"ETag"`
	Body     Rule
}

// RuleInput is a path with a rule in it.
type RuleInput struct {
	ID string `path:"id" maxLength:"64" doc:"the rule's id"`
}

// RunsInput says how many runs are listed.
type RunsInput struct {
	Limit int `query:"limit" minimum:"1" maximum:"1000" default:"50" doc:"how many at most"`
}

// TestInput says on which past a rule is tested.
type TestInput struct {
	Since time.Time `query:"since" doc:"none: 7 days ago"`
	Until time.Time `query:"until" doc:"none: now"`
	Limit int       `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"how many runs are told at most; all are counted"`
}

func (h *Handler) ruleRoutes() {
	const path = "/api/v1/rules"
	huma.Register(h.huma, operation(http.MethodGet, path, "list-rules", "List the account's rules", "rules", 200, 403), h.listRules)
	huma.Register(h.huma, operation(http.MethodPost, path, "new-rule", "Make a rule, which is followed from now on", "rules", 201, 403, 409, 422, 503), h.newRule)
	huma.Register(h.huma, operation(http.MethodGet, path+"/{id}", "get-rule", "Get one rule, and how it does", "rules", 200, 304, 403, 404), h.getRule)
	huma.Register(h.huma, operation(http.MethodPut, path+"/{id}", "change-rule",
		"Replace a rule by a new revision", "rules", 200, 403, 404, 409, 412, 422, 428, 503), h.changeRule)
	huma.Register(h.huma, operation(http.MethodDelete, path+"/{id}", "delete-rule",
		"Remove a rule, and what is known of its runs", "rules", 204, 403, 404, 412, 428, 503), h.deleteRule)
	huma.Register(h.huma, operation(http.MethodGet, path+"/{id}/revisions", "list-revisions",
		"List the newest revisions of a rule, the newest first", "rules", 200, 403, 404, 503), h.listRevisions)
	h.runRoutes(path)
}

func (h *Handler) runRoutes(path string) {
	huma.Register(h.huma, operation(http.MethodGet, path+"/{id}/runs", "list-runs",
		"List what a rule did, the newest first", "rules", 200, 403, 404, 503),
		func(ctx context.Context, in *struct {
			RuleInput
			RunsInput
		}) (*body[Runs], error) {
			return h.listRuns(ctx, in.ID, in.Limit)
		})
	huma.Register(h.huma, operation(http.MethodGet, "/api/v1/runs", "list-all-runs",
		"List what all rules did, the newest first", "rules", 200, 403, 503),
		func(ctx context.Context, in *RunsInput) (*body[Runs], error) { return h.listRuns(ctx, "", in.Limit) })
	huma.Register(h.huma, operation(http.MethodPost, path+"/{id}/test", "test-rule",
		"Tell what a rule would have done in the past", "rules", 200, 403, 404, 503), h.testOldRule)
	huma.Register(h.huma, operation(http.MethodPost, "/api/v1/rule-tests", "test-new-rule",
		"Tell what a rule that is not there yet would have done in the past", "rules", 200, 403, 422, 503), h.testNewRule)
	huma.Register(h.huma, operation(http.MethodPost, "/api/v1/condition-checks", "check-condition",
		"Tell whether a condition can be one, and what it may cost", "rules", 200, 403), h.checkCondition)
}

func ruleOf(r rule.Rule) Rule {
	return Rule{
		Schema: "farreach.rule/v1", ID: r.ID, Revision: r.Revision, Created: r.Created.UTC(), Changed: r.Changed.UTC(),
		By: r.By, Document: r.Document,
	}
}

func (h *Handler) listRules(ctx context.Context, _ *struct{}) (*body[Rules], error) {
	list, err := h.cloud.Rules(ctx, asker(ctx))
	if err != nil {
		return nil, h.problem(err)
	}
	out := Rules{Schema: "farreach.rules/v1", Rules: make([]Rule, len(list))}
	for i, r := range list {
		out.Rules[i] = ruleOf(r)
	}
	return &body[Rules]{out}, nil
}

func (h *Handler) newRule(ctx context.Context, in *struct{ Body rule.Document }) (*oneRule, error) {
	r, err := h.cloud.AddRule(ctx, asker(ctx), in.Body)
	if err != nil {
		return nil, h.ruleProblem(err, &in.Body)
	}
	return &oneRule{"/api/v1/rules/" + r.ID, etag(r.Revision), ruleOf(r)}, nil
}

// ruleProblem is problem for a rule that was sent: it says which member is
// wrong.
func (h *Handler) ruleProblem(err error, d *rule.Document) error {
	wrong, ok := errors.AsType[*rule.DocumentError](d.Validate())
	if status, _ := oic.StatusOf(err); !ok || status != oic.BadRequest {
		return h.problem(err)
	}
	p := newProblem(http.StatusUnprocessableEntity, wrong.Error())
	p.Errors = []*huma.ErrorDetail{{Message: wrong.Why, Location: "body." + wrong.Path}}
	return p
}

func (h *Handler) getRule(ctx context.Context, in *struct {
	RuleInput
	IfNoneMatch
}) (*oneRule, error) {
	r, err := h.cloud.Rule(ctx, asker(ctx), in.ID)
	if err != nil {
		return nil, h.problem(err)
	}
	if err := in.unchanged(r.Revision); err != nil {
		return nil, err
	}
	out := ruleOf(r.Rule)
	s := r.State
	out.State = &RuleState{
		Fired: s.Fired, Held: s.Held, Dropped: s.Dropped, Failed: s.Failed, Problem: s.Problem, Last: s.Last.UTC(), Due: s.Due.UTC(),
	}
	if s.Wakes.After(time.Now()) {
		out.State.Asleep = s.Wakes.UTC()
	}
	return &oneRule{"", etag(r.Revision), out}, nil
}

func (h *Handler) changeRule(ctx context.Context, in *struct {
	RuleInput
	IfMatch
	Body rule.Document
}) (*oneRule, error) {
	revision, err := in.revision()
	if err != nil {
		return nil, err
	}
	r, err := h.cloud.ChangeRule(ctx, asker(ctx), in.ID, revision, func(d *rule.Document) error {
		*d = in.Body
		return nil
	})
	if err != nil {
		return nil, h.ruleProblem(err, &in.Body)
	}
	return &oneRule{"", etag(r.Revision), ruleOf(r)}, nil
}

func (h *Handler) deleteRule(ctx context.Context, in *struct {
	RuleInput
	IfMatch
}) (*struct{}, error) {
	revision, err := in.revision()
	if err != nil {
		return nil, err
	}
	return nil, h.problem(h.cloud.RemoveRule(ctx, asker(ctx), in.ID, revision))
}

func (h *Handler) listRevisions(ctx context.Context, in *RuleInput) (*body[Rules], error) {
	list, err := h.cloud.RuleRevisions(ctx, asker(ctx), in.ID)
	if err != nil {
		return nil, h.problem(err)
	}
	out := Rules{Schema: "farreach.rules/v1", Rules: make([]Rule, len(list))}
	for i, r := range list {
		out.Rules[i] = ruleOf(r)
	}
	return &body[Rules]{out}, nil
}

func (h *Handler) listRuns(ctx context.Context, id string, limit int) (*body[Runs], error) {
	who := asker(ctx)
	list, err := h.cloud.RuleRuns(ctx, who, id, limit)
	if err != nil {
		return nil, h.problem(err)
	}
	out := Runs{Schema: "farreach.runs/v1", Runs: make([]Run, len(list))}
	for i := range list {
		out.Runs[i] = runOf(&list[i].Firing)
		for j, c := range list[i].Commands {
			done := &out.Runs[i].Do[j]
			if done.Command = c.ID; c.ID != "" {
				done.State, done.Problem = string(c.State), c.Why
			}
			if d := &list[i].Deliveries[j]; d.ID != "" {
				done.Delivery, done.State, done.Problem = d.ID, string(d.State), d.Problem
			}
		}
	}
	return &body[Runs]{out}, nil
}

func runOf(f *rule.Firing) Run {
	out := Run{
		Schema: "farreach.run/v1", ID: f.ID, Rule: f.Rule, Name: f.Name, Revision: f.Revision, Kind: string(f.Kind), Time: f.Time.UTC(),
		Event: f.Cause.Event, Device: f.Cause.Device, Href: f.Cause.Href, Since: f.Cause.Time.UTC(), Hops: f.Hops, Do: make([]Done, len(f.Do)),
	}
	for i, p := range f.Do {
		out.Do[i] = Done{Message: p.Message, Webhook: p.Webhook, Device: p.Device, Problem: p.Problem}
		if c := p.Command; c != nil {
			out.Do[i].Name, out.Do[i].Href, out.Do[i].Method, out.Do[i].Set = c.Device, c.Href, c.Method, c.Set
		}
	}
	return out
}

func (h *Handler) testOldRule(ctx context.Context, in *struct {
	RuleInput
	TestInput
}) (*body[RuleTest], error) {
	r, err := h.cloud.Rule(ctx, asker(ctx), in.ID)
	if err != nil {
		return nil, h.problem(err)
	}
	return h.testRule(ctx, &r.Document, in.TestInput)
}

func (h *Handler) testNewRule(ctx context.Context, in *struct {
	TestInput
	Body rule.Document
}) (*body[RuleTest], error) {
	return h.testRule(ctx, &in.Body, in.TestInput)
}

func (h *Handler) testRule(ctx context.Context, d *rule.Document, in TestInput) (*body[RuleTest], error) {
	out := RuleTest{Schema: "farreach.rule-test/v1", Since: in.Since.UTC(), Until: in.Until.UTC(), Runs: []Run{}}
	if in.Until.IsZero() {
		out.Until = time.Now().UTC()
	}
	if in.Since.IsZero() {
		out.Since = out.Until.Add(-7 * 24 * time.Hour)
	}
	if !out.Since.Before(out.Until) {
		return nil, newProblem(http.StatusUnprocessableEntity, "since is not before until")
	}
	var err error
	out.Events, err = h.cloud.TestRule(ctx, asker(ctx), *d, out.Since, out.Until, func(f *rule.Firing) bool {
		if f.Kind == rule.Fired {
			out.Fired++
		}
		if len(out.Runs) < in.Limit {
			out.Runs = append(out.Runs, runOf(f))
		}
		return out.Fired < maxTested
	})
	if err != nil {
		return nil, h.ruleProblem(err, d)
	}
	return &body[RuleTest]{out}, nil
}

// maxTested is how many firings of a test are counted.
const maxTested = 1_000_000

func (h *Handler) checkCondition(ctx context.Context, in *struct {
	Body struct {
		If string `json:"if" maxLength:"65536" example:"event.value > 3"`
	}
}) (*body[Check], error) {
	if err := h.cloud.MayTestRules(ctx, asker(ctx)); err != nil {
		return nil, h.problem(err)
	}
	out := Check{Schema: "farreach.check/v1", Most: rule.MaxEstimate}
	c, err := rule.Compile(in.Body.If)
	if wrong, ok := errors.AsType[*rule.ConditionError](err); ok {
		out.Line, out.Column, out.Why = wrong.Line, wrong.Column, wrong.Why
	} else if err != nil {
		return nil, h.problem(err)
	} else {
		out.OK, out.Type, out.Cost = true, c.Type, c.Cost
	}
	return &body[Check]{out}, nil
}
