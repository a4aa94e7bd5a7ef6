package api

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// Health says that the server answers, and no more: everybody may ask.
type Health struct {
	Schema string `json:"schema" enum:"farreach.health/v1"`
	Status string `json:"status" enum:"ok"`
}

var healthy = Health{Schema: "farreach.health/v1", Status: "ok"}

// body is an answer with a body of type T.
type body[T any] struct{ Body T }

// health remembers for a moment whether the cloud was ready, because everybody
// may ask.
type health struct {
	mu    sync.Mutex // guards what follows
	asked time.Time
	err   error
}

func (h *health) ready(ctx context.Context, ask func(context.Context) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.asked) > time.Second {
		h.err = ask(ctx)
		h.asked = time.Now()
	}
	return h.err
}

func (h *Handler) healthRoutes() {
	huma.Register(h.huma, open("/healthz", "is-alive", "Does the server answer?"),
		func(context.Context, *struct{}) (*body[Health], error) {
			return &body[Health]{healthy}, nil
		})
	huma.Register(h.huma, open("/readyz", "is-ready", "Can the server do its work now?", http.StatusServiceUnavailable),
		func(ctx context.Context, _ *struct{}) (*body[Health], error) {
			if h.leaving.Load() {
				return nil, newProblem(http.StatusServiceUnavailable, "the server is stopping")
			}
			// One client's impatience is not the answer for all.
			if err := h.health.ready(context.WithoutCancel(ctx), h.cloud.Ready); err != nil {
				return nil, newProblem(http.StatusServiceUnavailable, "not ready")
			}
			return &body[Health]{healthy}, nil
		})
}

// open describes a route that needs no token.
func open(path, id, summary string, errors ...int) huma.Operation {
	return huma.Operation{
		Method: http.MethodGet, Path: path, OperationID: id, Summary: summary, Tags: []string{"health"}, Errors: errors,
	}
}
