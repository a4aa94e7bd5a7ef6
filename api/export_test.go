package api

import (
	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/time/rate"
)

// Routes is what the OpenAPI document describes.
func (h *Handler) Routes() map[string]*huma.PathItem { return h.huma.OpenAPI().Paths }

// Unlimited lets an account ask as often as it likes.
func (h *Handler) Unlimited(account string) {
	h.load.mu.Lock()
	defer h.load.mu.Unlock()
	h.load.requests = map[string]*rate.Limiter{account: rate.NewLimiter(rate.Inf, 1)}
}
