package apiclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Status is how a server does, as farreach status shows it.
type Status struct {
	Version   string    `json:"version"`
	Started   time.Time `json:"started"`
	Ready     bool      `json:"ready"`
	Listeners []struct {
		Name    string `json:"name"`
		Address string `json:"address"`
	} `json:"listeners"`
	Store struct {
		Kind    string  `json:"kind"`
		Problem string  `json:"problem"`
		Writes  Latency `json:"writes"`
		Kept    *Kept   `json:"kept"` // nil: the store is in the server
	} `json:"store"`
	Nodes   []Node `json:"nodes"` // none: it is alone
	Devices struct {
		Reachable int `json:"reachable"`
		Unproven  int `json:"unproven"`
		Offline   int `json:"offline"`
		Unknown   int `json:"unknown"`
	} `json:"devices"`
	Connections int64     `json:"connections"`
	Commands    Latency   `json:"commands"`
	PerSecond   Counts    `json:"per_second"`
	Totals      Counts    `json:"totals"`
	Certificate time.Time `json:"certificate_ends"`
}

// Kept is how the servers of a cluster keep what is stored.
type Kept struct {
	Replicas int      `json:"replicas"`
	Streams  int      `json:"streams"`
	Leaders  int      `json:"leaders"`
	Behind   []string `json:"behind"`
}

// Node is a process of the cloud.
type Node struct {
	Name    string    `json:"name"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Devices int       `json:"devices"`
	Self    bool      `json:"self"`
}

// Latency is how long something took, in seconds; zero: there was none.
type Latency struct {
	P50 float64 `json:"p50_s"`
	P99 float64 `json:"p99_s"`
}

// Counts is how often something happened.
type Counts struct {
	Connections float64 `json:"connections"`
	SignIns     float64 `json:"sign_ins"`
	Refused     float64 `json:"refused"`
	HeldBack    float64 `json:"held_back"`
	Events      float64 `json:"events"`
	EventsLost  float64 `json:"events_refused"`
	Commands    float64 `json:"commands"`
	Writes      float64 `json:"writes"`
}

// Status asks how the server does. raw is the document as it came.
func (c *Client) Status(ctx context.Context) (s Status, raw json.RawMessage, err error) {
	if err = c.call(ctx, http.MethodGet, "/status", nil, nil, &raw); err != nil {
		return s, nil, err
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return s, nil, fmt.Errorf("answer of %s: %w", c.cfg.Base, err)
	}
	return s, raw, nil
}

// Backup calls read with everything that the server stores, as an archive.
// Config.Timeout is for its beginning only.
func (c *Client) Backup(ctx context.Context, read func(io.Reader) error) error {
	resp, err := c.send(ctx, http.MethodGet, "/backup", nil, nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	err = read(resp.Body)
	if ctx.Err() != nil {
		err = errors.Join(ctx.Err(), err)
	}
	return err
}
