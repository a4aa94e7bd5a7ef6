package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/farreach/farreach/cloud/account"
)

// Shares is what the account gives to others and what it is given, accepted or
// not, oldest first.
type Shares struct {
	Schema   string  `json:"schema" enum:"farreach.shares/v1"`
	Given    []Share `json:"given"`
	Received []Share `json:"received"`
}

// Share is what one account lets another one do with one of its devices, or
// with all that it has.
type Share struct {
	Schema   string    `json:"schema" enum:"farreach.share/v1"`
	ID       string    `json:"id"`
	Account  string    `json:"account" doc:"who gives"`
	Device   string    `json:"di,omitempty" doc:"none: all devices of the account, those to come too"`
	With     string    `json:"with" doc:"the account that is given"`
	Role     string    `json:"role" enum:"viewer,member" doc:"viewer: see and read; member: change what devices do, too"`
	Created  time.Time `json:"created"`
	Accepted time.Time `json:"accepted,omitzero" required:"false" doc:"none: it does not count yet"`
}

// newShare is the body that makes a share.
type newShare struct {
	Body struct {
		Device string `json:"di,omitempty" maxLength:"64" doc:"none: all devices of the account, those to come too"`
		With   string `json:"with" doc:"the account that is given"`
		Role   string `json:"role" enum:"viewer,member"`
	}
}

// shareInput is a path with a share in it.
type shareInput struct {
	ID string `path:"id" maxLength:"64" doc:"the share's id"`
}

func (h *Handler) shareRoutes() {
	const path = "/api/v1/shares"
	huma.Register(h.huma, operation(http.MethodGet, path, "list-shares",
		"List what the account shares, and what is shared with it", "shares", 200, 403), h.listShares)
	huma.Register(h.huma, operation(http.MethodPost, path, "new-share",
		"Share a device, or all, with another account, which has to accept; or change the role of a share", "shares", 201, 403, 404, 503),
		func(ctx context.Context, in *newShare) (*created[Share], error) {
			role, err := account.ParseRole(in.Body.Role)
			if err != nil {
				return nil, h.problem(err)
			}
			s, err := h.cloud.NewShare(ctx, asker(ctx), strings.ToLower(in.Body.Device), in.Body.With, role)
			if err != nil {
				return nil, h.problem(err)
			}
			return &created[Share]{Location: path + "/" + s.ID, Body: shareOf(s)}, nil
		})
	huma.Register(h.huma, operation(http.MethodPost, path+"/{id}/accept", "accept-share",
		"Accept what another account shares", "shares", 200, 403, 404, 503),
		func(ctx context.Context, in *shareInput) (*body[Share], error) {
			s, err := h.cloud.AcceptShare(ctx, asker(ctx), in.ID)
			if err != nil {
				return nil, h.problem(err)
			}
			return &body[Share]{shareOf(s)}, nil
		})
	huma.Register(h.huma, operation(http.MethodDelete, path+"/{id}", "end-share",
		"End a share, on either side, and what is open by it", "shares", 204, 403, 404, 503),
		func(ctx context.Context, in *shareInput) (*struct{}, error) {
			return nil, h.problem(h.cloud.EndShare(ctx, asker(ctx), in.ID))
		})
}

func (h *Handler) listShares(ctx context.Context, _ *struct{}) (*body[Shares], error) {
	given, received, err := h.cloud.Shares(ctx, asker(ctx))
	if err != nil {
		return nil, h.problem(err)
	}
	return &body[Shares]{Shares{Schema: "farreach.shares/v1", Given: sharesOf(given), Received: sharesOf(received)}}, nil
}

func sharesOf(list []account.Share) []Share {
	out := make([]Share, len(list))
	for i, s := range list {
		out[i] = shareOf(s)
	}
	return out
}

func shareOf(s account.Share) Share {
	return Share{
		Schema: "farreach.share/v1", ID: s.ID, Account: s.Owner, Device: s.Device, With: s.With, Role: s.Role.String(),
		Created: s.Created.UTC(), Accepted: s.Accepted.UTC(),
	}
}
