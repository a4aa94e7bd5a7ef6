package apiclient

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// Event is one report of a device.
type Event struct {
	Schema  string          `json:"schema"` // EventSchema
	Seq     uint64          `json:"seq"`
	Time    time.Time       `json:"time"`
	Own     time.Time       `json:"device_time,omitzero"` // as the device says; zero: it does not
	Late    bool            `json:"late,omitempty"`
	Account string          `json:"account,omitempty"`
	Device  string          `json:"di"`
	Name    string          `json:"name,omitempty"`
	Href    string          `json:"href"`
	Rep     json.RawMessage `json:"rep"`              // null if JSON cannot show it
	Format  string          `json:"format,omitempty"` // of Raw: a media type
	Raw     []byte          `json:"raw,omitempty"`
}

// EventSchema is what an Event says it is.
const EventSchema = "farreach.event/v1"

// Filter chooses among events. The zero Filter chooses all.
type Filter struct {
	Device string    // di
	Href   string    // path
	Since  time.Time // zero: from the first one kept; not for Follow
	Until  time.Time // zero: to the last one; not for Follow
	Order  string    // of Events: "asc" the oldest ones, "desc" the newest one first, "" the newest ones, oldest first
	Limit  int       // of Events; 0: as many as the server gives at once
}

// pageOfEvents is how many events the server gives at once, at most.
const pageOfEvents = 1000

func (f Filter) query() url.Values {
	q := url.Values{}
	add := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	add("device", f.Device)
	add("href", f.Href)
	add("order", f.Order)
	for name, t := range map[string]time.Time{"since": f.Since, "until": f.Until} {
		if !t.IsZero() {
			add(name, t.UTC().Format(time.RFC3339Nano))
		}
	}
	if f.Limit > 0 {
		add("limit", strconv.Itoa(min(f.Limit, pageOfEvents)))
	}
	return q
}

// Events lists what was reported, as many pages as f.Limit needs.
func (c *Client) Events(ctx context.Context, f Filter) (all []Event, err error) {
	for cursor := ""; ; {
		q := f.query()
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		var page struct {
			Events []Event `json:"events"`
			Next   string  `json:"next"`
		}
		if err := c.call(ctx, http.MethodGet, "/events", q, nil, &page); err != nil {
			return nil, err
		}
		if f.Order == "" {
			all = slices.Concat(page.Events, all) // each page is before the last
		} else {
			all = append(all, page.Events...)
		}
		f.Limit -= len(page.Events)
		if cursor = page.Next; cursor == "" || f.Limit <= 0 || len(page.Events) == 0 {
			return all, nil
		}
	}
}

// Series is what one property of one resource was in a stretch of time.
type Series struct {
	Schema   string    `json:"schema"` // farreach.series/v1
	Device   string    `json:"di"`
	Href     string    `json:"href"`
	Property string    `json:"property"`
	Since    time.Time `json:"since"`
	Until    time.Time `json:"until"`
	Width    float64   `json:"width_s"`
	Values   int       `json:"values"`
	Before   *struct {
		Time  time.Time `json:"time"`
		Value float64   `json:"value"`
	} `json:"before,omitempty"`
	Buckets []struct {
		Start time.Time `json:"start"`
		Min   float64   `json:"min"`
		Max   float64   `json:"max"`
		Mean  float64   `json:"mean"`
		Last  float64   `json:"last"`
		Count int       `json:"count"`
	} `json:"buckets"`
}

// Series returns that of a property, in so many buckets.
func (c *Client) Series(ctx context.Context, f Filter, property string, buckets int) (s Series, err error) {
	q := f.query()
	q.Set("property", property)
	q.Set("buckets", strconv.Itoa(buckets))
	err = c.call(ctx, http.MethodGet, "/events/series", q, nil, &s)
	return s, err
}

// Export writes all events that f chooses to w, oldest first, in a format:
// "ndjson" or "csv". It may take as long as it likes. The error is
// io.ErrUnexpectedEOF if the server broke off.
func (c *Client) Export(ctx context.Context, f Filter, format string, w io.Writer) error {
	q := f.query()
	q.Set("format", format)
	resp, err := c.send(ctx, http.MethodGet, "/events/export", q, nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(w, resp.Body)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
