package apiclient

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Command is what was asked of a device, by whom, and what came of it.
type Command struct {
	Schema  string          `json:"schema"` // farreach.command/v1
	ID      string          `json:"id"`
	Device  string          `json:"di"`
	Name    string          `json:"name,omitempty"` // of the device
	Op      string          `json:"op"`
	Href    string          `json:"href"`
	Rep     json.RawMessage `json:"rep"`
	Size    int             `json:"size"`
	By      Asker           `json:"by"`
	State   string          `json:"state"`
	Made    time.Time       `json:"made"`
	Expires time.Time       `json:"expires,omitzero"`
	Sent    time.Time       `json:"sent,omitzero"`
	Ended   time.Time       `json:"ended,omitzero"`
	Status  string          `json:"status,omitempty"`
	Answer  json.RawMessage `json:"answer"`
	Why     string          `json:"why,omitempty"`
}

// Asker is who asked.
type Asker struct {
	Account  string    `json:"account"`
	Kind     string    `json:"kind"`
	ID       string    `json:"id,omitempty"`
	Name     string    `json:"name,omitempty"`
	Revision uint64    `json:"revision,omitempty"`
	Event    uint64    `json:"event,omitempty"`
	At       time.Time `json:"at,omitzero"`
	Hops     int       `json:"hops,omitempty"`
}

// Commands chooses among commands. The zero value chooses the newest of all.
type Commands struct {
	Device string // di
	State  string
	Since  time.Time
	Limit  int // 0: as many as the server gives at once
}

// Resource is what a device said of one of its resources.
type Resource struct {
	Device   string          `json:"di"`
	Href     string          `json:"href"`
	Time     time.Time       `json:"time"`
	Status   string          `json:"status"`
	Rep      json.RawMessage `json:"rep"`
	Raw      []byte          `json:"raw,omitempty"`
	Location string          `json:"location,omitempty"`
	Command  string          `json:"command,omitempty"`
}

// Why is what led to an event, the effect first.
type Why struct {
	Schema string    `json:"schema"` // farreach.why/v1
	Steps  []WhyStep `json:"steps"`
	Begin  string    `json:"begin"`
}

// WhyStep is an event, the command that caused the step before it, or what a
// webhook was told.
type WhyStep struct {
	Event    *Event    `json:"event,omitempty"`
	Command  *Command  `json:"command,omitempty"`
	Delivery *Delivery `json:"delivery,omitempty"`
	Perhaps  bool      `json:"perhaps,omitempty"`
}

// Commands lists commands, the newest first.
func (c *Client) Commands(ctx context.Context, f Commands) ([]Command, error) {
	q := url.Values{}
	for name, value := range map[string]string{"device": f.Device, "state": f.State} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if !f.Since.IsZero() {
		q.Set("since", f.Since.UTC().Format(time.RFC3339Nano))
	}
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	var answer struct {
		Commands []Command `json:"commands"`
	}
	err := c.call(ctx, http.MethodGet, "/commands", q, nil, &answer)
	return answer.Commands, err
}

// Command returns one command.
func (c *Client) Command(ctx context.Context, id string) (cmd Command, err error) {
	err = c.call(ctx, http.MethodGet, "/commands/"+url.PathEscape(id), nil, nil, &cmd)
	return cmd, err
}

// Cancel takes back a command that waits for its device.
func (c *Client) Cancel(ctx context.Context, id string) (cmd Command, err error) {
	err = c.call(ctx, http.MethodDelete, "/commands/"+url.PathEscape(id), nil, nil, &cmd)
	return cmd, err
}

// FollowCommands calls each for every change of a command from now on, to the
// device if one is given, until ctx ends, each returns an error, or the stream
// does; then the error is io.ErrUnexpectedEOF.
func (c *Client) FollowCommands(ctx context.Context, device string, each func(Command) error) error {
	q := url.Values{}
	if device != "" {
		q.Set("device", device)
	}
	resp, err := c.send(ctx, http.MethodGet, "/commands/stream", q, nil, http.Header{"Accept": {"text/event-stream"}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return followDocs(ctx, resp.Body, "command of "+c.cfg.Base, each)
}

// Why says what led to the newest event of a resource; of any of the device's
// if href is empty, and up to the time at, unless that is zero.
func (c *Client) Why(ctx context.Context, device, href string, at time.Time) (w Why, err error) {
	q := url.Values{"device": {device}}
	if href != "" {
		q.Set("href", href)
	}
	if !at.IsZero() {
		q.Set("at", at.UTC().Format(time.RFC3339Nano))
	}
	err = c.call(ctx, http.MethodGet, "/why", q, nil, &w)
	return w, err
}

// Order is a command to a device.
type Order struct {
	Method string        // PUT, POST or DELETE
	Device string        // di
	Href   string        // with query
	Type   string        // media type of Body
	Body   []byte        // nil: none
	Queue  time.Duration // how long it may wait for the device; 0: not at all
}

// Send sends a command to a device. If that is away, the command waits, and
// waiting is not nil.
func (c *Client) Send(ctx context.Context, o Order) (answer Resource, waiting *Command, err error) {
	path, query, _ := strings.Cut(o.Href, "?")
	target := c.cfg.Base + "/api/v1/devices/" + url.PathEscape(o.Device) + "/resources" + path + "?" + query
	if o.Queue > 0 {
		target += "&queue=" + o.Queue.String()
	}
	req, err := c.request(ctx, o.Method, "", nil, nil)
	if err != nil {
		return answer, nil, err
	}
	if req.URL, err = url.Parse(target); err != nil {
		return answer, nil, err
	}
	if o.Body != nil {
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(o.Body)), int64(len(o.Body))
		req.Header.Set("Content-Type", o.Type)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer, nil, c.unreached(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return answer, nil, problemOf(resp)
	}
	var out any = &answer
	if resp.StatusCode == http.StatusAccepted {
		waiting = new(Command)
		out = waiting
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return answer, nil, fmt.Errorf("answer of %s: %w", c.cfg.Base, err)
	}
	return answer, waiting, nil
}
