package api

import "github.com/danielgtaylor/huma/v2"

// Routes is what the OpenAPI document describes.
func (h *Handler) Routes() map[string]*huma.PathItem { return h.huma.OpenAPI().Paths }
