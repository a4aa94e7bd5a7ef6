package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/farreach/farreach/cloud"
	"github.com/farreach/farreach/oic"
)

// refusal is a problem about a device, with what a program may want to know
// (RFC 9457, section 3.2).
type refusal struct {
	*huma.ErrorModel
	Code    string    `json:"code,omitempty"`    // of the device that refused: "4.04"
	State   string    `json:"state,omitempty"`   // of the device that cannot be reached: "offline", "unknown"
	Since   time.Time `json:"since,omitzero"`    // since when
	Command string    `json:"command,omitempty"` // id of the command that failed so
}

// deviceStatus is what the refusals of devices are in HTTP. One that is not
// here is a 400 or a 502. That a device does not trust the cloud does not mean
// that the client should log in.
var deviceStatus = map[oic.Status]int{
	oic.Unauthorized:       http.StatusForbidden,
	oic.Forbidden:          http.StatusForbidden,
	oic.NotFound:           http.StatusNotFound,
	oic.MethodNotAllowed:   http.StatusMethodNotAllowed,
	oic.NotAcceptable:      http.StatusNotAcceptable,
	oic.Conflict:           http.StatusConflict,
	oic.PreconditionFailed: http.StatusPreconditionFailed,
	oic.TooLarge:           http.StatusRequestEntityTooLarge,
	oic.BadFormat:          http.StatusUnsupportedMediaType,
	oic.TooMany:            http.StatusTooManyRequests,
	oic.NotImplemented:     http.StatusNotImplemented,
	oic.Unavailable:        http.StatusServiceUnavailable,
	oic.GatewayTimeout:     http.StatusGatewayTimeout,
}

// resourceProblem is problem for what went wrong with a device.
func (h *Handler) resourceProblem(err error) error { return h.commandProblem(err, "") }

// commandProblem is resourceProblem for a command with this id; "": for none.
func (h *Handler) commandProblem(err error, id string) error {
	if away, ok := errors.AsType[*cloud.OfflineError](err); ok {
		p := refusal{ErrorModel: newProblem(http.StatusServiceUnavailable, away.Error()), Command: id}
		p.State, p.Since = string(away.State), away.Since.UTC()
		return huma.ErrorWithHeaders(p, http.Header{"Retry-After": {"5"}})
	}
	said, ok := errors.AsType[*cloud.DeviceError](err)
	if !ok {
		known, is := errors.AsType[*huma.ErrorModel](h.problem(err))
		if !is || id == "" {
			return h.problem(err)
		}
		return refusal{ErrorModel: known, Command: id}
	}
	status, diag := oic.StatusOf(said.Refusal)
	code, ok := deviceStatus[status]
	switch {
	case !ok && status.Class() == 4:
		code = http.StatusBadRequest
	case !ok:
		code = http.StatusBadGateway
	}
	detail := "the device answered " + status.String()
	if diag != "" {
		detail += ": " + diag
	}
	number, _, _ := strings.Cut(fmt.Sprint(status), " ")
	return refusal{ErrorModel: newProblem(code, detail), Code: number, Command: id}
}

// refuseResource answers with a resourceProblem where no function of a route
// can return it.
func (h *Handler) refuseResource(ctx huma.Context, err error) {
	p, ok := errors.AsType[refusal](h.resourceProblem(err))
	if !ok {
		h.refuse(ctx, err)
		return
	}
	b, err := json.Marshal(p)
	if err != nil {
		h.refuse(ctx, err)
		return
	}
	if p.Status == http.StatusServiceUnavailable {
		ctx.SetHeader("Retry-After", "5")
	}
	ctx.SetHeader("Content-Type", "application/problem+json")
	ctx.SetStatus(p.Status)
	_, _ = ctx.BodyWriter().Write(b) // the client's loss
}
