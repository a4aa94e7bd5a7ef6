package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// httpStatus is what the outcomes of requests to the cloud are in HTTP.
var httpStatus = map[oic.Status]int{
	oic.BadRequest:         http.StatusBadRequest,
	oic.Unauthorized:       http.StatusUnauthorized,
	oic.Forbidden:          http.StatusForbidden,
	oic.NotFound:           http.StatusNotFound,
	oic.Conflict:           http.StatusConflict,
	oic.PreconditionFailed: http.StatusPreconditionFailed,
	oic.TooLarge:           http.StatusRequestEntityTooLarge,
	oic.TooMany:            http.StatusTooManyRequests,
	oic.Unavailable:        http.StatusServiceUnavailable,
	oic.BadGateway:         http.StatusBadGateway,
	oic.GatewayTimeout:     http.StatusGatewayTimeout,
}

// problem makes an answer of an error. What is no refusal is logged, and its
// text stays here.
func (h *Handler) problem(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, store.ErrUnavailable) {
		h.log.Warn("request failed", "err", err)
		return newProblem(http.StatusServiceUnavailable, "the store is not available; try again")
	}
	status, detail := oic.StatusOf(err)
	code, ok := httpStatus[status]
	if !ok {
		code = http.StatusInternalServerError
	}
	if code == http.StatusInternalServerError {
		h.log.Error("request failed", "err", err)
		detail = "internal error"
	}
	p := newProblem(code, detail)
	switch code {
	case http.StatusUnauthorized:
		return huma.ErrorWithHeaders(p, http.Header{"WWW-Authenticate": {challenge}})
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return huma.ErrorWithHeaders(p, http.Header{"Retry-After": {"1"}})
	}
	return p
}

// challenge is how a client has to say who it is.
const challenge = `Bearer realm="farreach"`

func newProblem(status int, detail string) *huma.ErrorModel {
	return &huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: detail}
}

// writeProblem answers where huma does not.
func writeProblem(w http.ResponseWriter, status int, detail string) {
	b, err := json.Marshal(newProblem(status, detail))
	if err != nil {
		panic(err) // it is text and a number
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.Write(b) // the client's loss
}

// discreet makes the detail of a problem say what was wrong, and takes out the
// values that were sent: one may be a password.
func discreet(_ huma.Context, _ string, v any) (any, error) {
	p, ok := v.(*huma.ErrorModel)
	if !ok || len(p.Errors) == 0 {
		return v, nil
	}
	said := make([]string, 0, len(p.Errors))
	for _, e := range p.Errors {
		if e == nil {
			continue
		}
		e.Value = nil
		said = append(said, strings.TrimPrefix(fmt.Sprintf("%s: %s", e.Location, e.Message), ": "))
	}
	p.Detail = strings.Join(said, "; ")
	return p, nil
}
