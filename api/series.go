package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/farreach/farreach/cloud/event"
)

// Series is what one property of one resource was, for a plot.
type Series struct {
	Schema   string    `json:"schema" enum:"farreach.series/v1"`
	Device   string    `json:"di"`
	Href     string    `json:"href"`
	Property string    `json:"property"`
	Since    time.Time `json:"since"`
	Until    time.Time `json:"until"`
	Width    float64   `json:"width_s" doc:"of a bucket, in seconds"`
	Values   int       `json:"values" doc:"in all buckets"`
	Before   *Value    `json:"before,omitempty" doc:"the last one before since, if it is known"`
	Buckets  []Bucket  `json:"buckets" doc:"oldest first; those of which nothing was heard are missing"`
}

// Bucket sums up the values of a part of a series.
type Bucket struct {
	Start time.Time `json:"start"`
	Min   float64   `json:"min"`
	Max   float64   `json:"max"`
	Mean  float64   `json:"mean"`
	Last  float64   `json:"last"`
	Count int       `json:"count"`
}

// Value is one value.
type Value struct {
	Time  time.Time `json:"time"`
	Value float64   `json:"value"`
}

// seriesInput selects what goes into a series.
type seriesInput struct {
	Device   string    `query:"device" required:"true" minLength:"1" maxLength:"64" doc:"the device's id"`
	Href     string    `query:"href" required:"true" minLength:"1" maxLength:"2048" doc:"the resource"`
	Property string    `query:"property" required:"true" minLength:"1" maxLength:"256" doc:"of the representation: a number, or true (1) and false (0)"`
	Since    time.Time `query:"since" doc:"none: a day before until"`
	Until    time.Time `query:"until" doc:"none: now"`
	Buckets  int       `query:"buckets" minimum:"1" maximum:"2000" default:"500" doc:"into how many parts of equal width the time is cut"`
}

func (h *Handler) seriesRoute() {
	huma.Register(h.huma, operation(http.MethodGet, "/api/v1/events/series", "event-series",
		"Get least, greatest, mean and last values of a property, for a plot", "events", 200, 400, 403, 404, 503), h.series)
}

func (h *Handler) series(ctx context.Context, in *seriesInput) (*body[Series], error) {
	f := event.Filter{Device: strings.ToLower(in.Device), Href: in.Href, Since: in.Since, Until: in.Until}
	s, err := h.cloud.EventSeries(ctx, asker(ctx), f, in.Property, in.Buckets)
	if err != nil {
		return nil, h.problem(err)
	}
	if err := h.heardOf(ctx, asker(ctx), f.Device, s.Values); err != nil {
		return nil, err
	}
	out := Series{
		Schema: "farreach.series/v1", Device: f.Device, Href: in.Href, Property: in.Property,
		Since: s.Since, Until: s.Until, Width: s.Width.Seconds(), Values: s.Values, Buckets: make([]Bucket, len(s.Buckets)),
	}
	for i, b := range s.Buckets {
		out.Buckets[i] = Bucket{b.Start, b.Min, b.Max, b.Mean, b.Last, b.Count}
	}
	if s.Before != nil {
		out.Before = &Value{s.Before.Time, s.Before.Number}
	}
	return &body[Series]{out}, nil
}
