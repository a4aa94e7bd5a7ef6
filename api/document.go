package api

import (
	"encoding/json"
	"net/http"
	"sync"

	"github.com/danielgtaylor/huma/v2"
)

// documentRoute serves the OpenAPI document. It is called when all other routes
// are there.
func (h *Handler) documentRoute() {
	schemas := h.huma.OpenAPI().Components.Schemas.Map()
	lists(schemas)
	for name, member := range map[string]string{"At": "time", "Message": "text", "Notice": "name"} { // as package rule reads them
		orText(schemas, name, member)
	}
	document := sync.OnceValues(func() ([]byte, error) { return json.Marshal(h.huma.OpenAPI()) })
	h.mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		b, err := document()
		if err != nil {
			h.log.Error("openapi document", "err", err)
			writeProblem(w, http.StatusInternalServerError, "internal error")
			return
		}
		w.Header().Set("Content-Type", "application/vnd.oai.openapi+json;version=3.1")
		_, _ = w.Write(b) // the client's loss
	})
}

// lists says of each list that it is one and never null, which huma does not
// believe of a slice.
func lists(schemas map[string]*huma.Schema) {
	for _, s := range schemas {
		for _, p := range s.Properties {
			if p.Type == huma.TypeArray {
				p.Nullable = false
			}
		}
	}
}

// orText says that an object may be written as a text, which is then its one
// member. Answers always have the object.
func orText(schemas map[string]*huma.Schema, name, member string) {
	object := schemas[name]
	text := *object.Properties[member]
	text.Description = "short for an object with this " + member + "; answers have the object"
	schemas[name] = &huma.Schema{OneOf: []*huma.Schema{object, &text}}
}

// notNull is a slice that is not null in JSON, though it may be empty.
func notNull[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
