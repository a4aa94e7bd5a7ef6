package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/farreach/farreach/cloud/metrics"
	"github.com/farreach/farreach/internal/archive"
	"github.com/farreach/farreach/store"
)

// Operate is what the routes for operators tell, beside what the cloud knows.
type Operate struct {
	Metrics   *metrics.Metrics
	Started   time.Time
	Store     string           // where the store is, for a person: "embedded" or the address of NATS
	Ends      func() time.Time // of the server's certificate
	Listeners []Listener
}

// Listener is an address at which the server answers.
type Listener struct {
	Name    string `json:"name" example:"coaps+tcp"`
	Address string `json:"address" example:"coaps+tcp://127.0.0.1:5684"`
}

// Status is how a server does.
type Status struct {
	Schema      string         `json:"schema" enum:"farreach.status/v1"`
	Version     string         `json:"version"`
	Started     time.Time      `json:"started"`
	Ready       bool           `json:"ready" doc:"the store can be read and written"`
	Listeners   []Listener     `json:"listeners"`
	Store       StoreStatus    `json:"store"`
	Nodes       []Node         `json:"nodes,omitempty" doc:"the processes of the cloud, this one first; none if it is alone"`
	Devices     DeviceCounts   `json:"devices"`
	Connections int64          `json:"connections" doc:"that are open"`
	Commands    LatencySeconds `json:"commands"`
	PerSecond   Counts         `json:"per_second" doc:"over the last minute"`
	Totals      Counts         `json:"totals" doc:"since the server started"`
	Certificate time.Time      `json:"certificate_ends,omitzero" required:"false"`
}

// StoreStatus is how the store does.
type StoreStatus struct {
	Kind    string         `json:"kind" example:"embedded"`
	Problem string         `json:"problem,omitempty" doc:"why it is not ready"`
	Writes  LatencySeconds `json:"writes"`
	Kept    *Kept          `json:"kept,omitempty" doc:"on the servers of a cluster"`
}

// Kept is how the servers of a cluster keep what is stored.
type Kept struct {
	Replicas int      `json:"replicas" doc:"on how many servers everything is, at least"`
	Streams  int      `json:"streams" doc:"tables and logs"`
	Leaders  int      `json:"leaders" doc:"of these, that can be read and written"`
	Behind   []string `json:"behind,omitempty" doc:"tables and logs of which a server is away or has not everything yet"`
}

// Node is a process of the cloud.
type Node struct {
	ID      string    `json:"id"`
	Name    string    `json:"name" example:"hub1:8443"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Devices int       `json:"devices" doc:"that are connected to it"`
	Self    bool      `json:"self,omitempty" doc:"it is the one that answers"`
}

// DeviceCounts is the devices of all accounts.
type DeviceCounts struct {
	Reachable int `json:"reachable" doc:"connected, and heard of within one keep-alive interval"`
	Unproven  int `json:"unproven" doc:"connected, and silent for longer"`
	Offline   int `json:"offline"`
	Unknown   int `json:"unknown" doc:"not seen since the server started, or what spoke for them is gone"`
}

// LatencySeconds is how long something took, since the server started.
type LatencySeconds struct {
	P50 float64 `json:"p50_s"`
	P99 float64 `json:"p99_s"`
}

// Counts is how often something happened.
type Counts struct {
	Connections float64 `json:"connections"`
	SignIns     float64 `json:"sign_ins" doc:"of devices"`
	Refused     float64 `json:"refused" doc:"sign-ups, sign-ins, refreshes and tokens"`
	HeldBack    float64 `json:"held_back" doc:"sign-ins told to come later"`
	Events      float64 `json:"events" doc:"that were stored"`
	EventsLost  float64 `json:"events_refused"`
	Commands    float64 `json:"commands"`
	Writes      float64 `json:"writes" doc:"of the store"`
}

// operateRoutes are for admins; the cloud decides.
func (h *Handler) operateRoutes() {
	if h.operate == nil {
		return
	}
	huma.Register(h.huma, operation(http.MethodGet, "/api/v1/status", "get-status",
		"How the server does", "operate", 200, 403), h.status)

	text := operation(http.MethodGet, "/metrics", "get-metrics", "Counters and histograms", "operate", 200, 403)
	text.Responses = streamed("text/plain", "Figures in the text format of Prometheus.")
	huma.Register(h.huma, text, func(ctx context.Context, _ *struct{}) (*huma.StreamResponse, error) {
		if _, err := h.cloud.Census(ctx, asker(ctx)); err != nil {
			return nil, h.problem(err)
		}
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			r, w := humago.Unwrap(ctx)
			h.operate.Metrics.Handler().ServeHTTP(w, r)
		}}, nil
	})

	backup := operation(http.MethodGet, "/api/v1/backup", "get-backup", "Everything that is stored, as one file", "operate", 200, 403, 503)
	backup.Responses = streamed("application/x-tar", "A tar file; it is whole if its last member is called sha256.")
	huma.Register(h.huma, backup, func(ctx context.Context, _ *struct{}) (*huma.StreamResponse, error) {
		if err := h.cloud.MayBackup(ctx, asker(ctx)); err != nil {
			return nil, h.problem(err)
		}
		return &huma.StreamResponse{Body: h.backup}, nil
	})
}

func streamed(contentType, description string) map[string]*huma.Response {
	return map[string]*huma.Response{"200": {
		Description: description,
		Content:     map[string]*huma.MediaType{contentType: {Schema: &huma.Schema{Type: "string"}}},
	}}
}

func (h *Handler) status(ctx context.Context, _ *struct{}) (*body[Status], error) {
	census, err := h.cloud.Census(ctx, asker(ctx))
	if err != nil {
		return nil, h.problem(err)
	}
	o := h.operate
	out := Status{
		Schema: "farreach.status/v1", Version: h.version, Started: o.Started.UTC(), Ready: true, Listeners: notNull(o.Listeners),
		Store:       StoreStatus{Kind: o.Store, Writes: seconds(o.Metrics.Writes())},
		Devices:     DeviceCounts(census),
		Connections: o.Metrics.Open(),
		Commands:    seconds(o.Metrics.Commands()),
		PerSecond:   Counts(o.Metrics.Rates()),
		Totals:      Counts(o.Metrics.Totals()),
		Certificate: o.Ends().UTC(),
	}
	if err := h.cloud.StoreReady(ctx, asker(ctx)); err != nil {
		out.Ready, out.Store.Problem = false, err.Error()
	}
	nodes, kept, err := h.cloud.Nodes(ctx, asker(ctx))
	for _, n := range nodes { // also when the store is away
		out.Nodes = append(out.Nodes, Node(n))
	}
	if err == nil && kept != nil {
		k := Kept(*kept)
		out.Store.Kept = &k
	}
	return &body[Status]{out}, nil
}

func seconds(l metrics.Latency) LatencySeconds {
	return LatencySeconds{l.P50.Seconds(), l.P99.Seconds()}
}

// backup streams an archive. What goes wrong on the way leaves it without its
// end, which tells the client.
func (h *Handler) backup(hc huma.Context) {
	r, w := humago.Unwrap(hc)
	w.Header().Set("Content-Type", "application/x-tar")
	deadline := http.NewResponseController(w)
	out := archive.NewWriter(w)
	err := h.cloud.Backup(r.Context(), asker(hc.Context()), func(p store.Part) error {
		// However much there is, each part has its time.
		if err := deadline.SetWriteDeadline(time.Now().Add(backupTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		return out.Add(p.Name, p.Data)
	})
	if err == nil {
		err = out.Close()
	}
	if err != nil {
		h.log.Warn("backup not finished", "err", err)
		panic(http.ErrAbortHandler) // so that the client sees it at once, too
	}
}

// backupTime is how long a client may take over a part of a backup. The store
// gives up a client that takes much longer.
const backupTime = 5 * time.Second
