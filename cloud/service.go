package cloud

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/farreach/farreach/cloud/webhook"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
)

// A device asks for a service of its owner, as remote diagnosis, by a POST to
// /svc/<name> of the cloud. The webhook of that name answers:
//
//	device ── POST /svc/diagnosis, CBOR ──▶ service ── JSON ──▶ cloud/webhook ──▶ the owner's program

// services is what stands where the di of a device does.
const services = "svc"

// ServiceRequest is what a webhook is told.
type ServiceRequest struct {
	Schema  string          `json:"schema"` // farreach.service-request/v1
	ID      string          `json:"id"`
	Service string          `json:"service"`
	Time    time.Time       `json:"time"`
	Account string          `json:"account"`
	Device  string          `json:"di,omitempty"` // none: the owner tries it out
	Name    string          `json:"name,omitempty"`
	Body    json.RawMessage `json:"body"`
}

// service is the services as a device sees them.
type service struct {
	c   *Cloud
	who oic.Identity
}

// Handle implements oic.Handler: 4.05 for anything but a POST, 4.04 without such
// a service, 5.02 and 5.04 if its webhook fails.
func (s service) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	ctx, release, err := s.c.hold(ctx, s.who, opService, target{device: s.who.Device})
	if err != nil {
		return nil, err
	}
	defer release()
	if req.Op != oic.Update && req.Op != oic.Create {
		return nil, oic.Errorf(oic.MethodNotAllowed, "a service is asked with POST")
	}
	if !s.c.flow(s.who.Device).events.Allow() {
		return nil, oic.Errorf(oic.TooMany, "more than %d requests/s", eventsPerSecond)
	}
	body, err := oic.ToJSON(req.Format, req.Body)
	if err != nil {
		return nil, err
	}
	path, _ := oic.SplitHref(req.Href)
	dev, _ := s.c.directory.Get(s.who.Device)
	answer, err := s.c.ask(ctx, ServiceRequest{
		Service: strings.TrimPrefix(path, "/"), Account: dev.Account, Device: dev.ID, Name: dev.Name, Body: body,
	})
	if err != nil {
		return nil, lost(ctx, err)
	}
	return response(answer)
}

// ask asks the webhook of a service.
func (c *Cloud) ask(ctx context.Context, r ServiceRequest) (webhook.Answer, error) {
	r.Schema, r.ID, r.Time = "farreach.service-request/v1", secret.ID(), time.Now().UTC()
	if len(r.Body) == 0 {
		r.Body = json.RawMessage("null")
	}
	b, err := json.Marshal(r)
	if err != nil {
		return webhook.Answer{}, err
	}
	return c.webhooks.Call(ctx, r.Account, r.Service, r.ID, b)
}

// response is what a webhook answered, for a device: JSON becomes CBOR.
func response(a webhook.Answer) (*oic.Response, error) {
	switch {
	case a.Status/100 == 4:
		return nil, oic.Errorf(oic.BadRequest, "the service answered %d %s", a.Status, http.StatusText(a.Status))
	case a.Status/100 != 2:
		return nil, oic.Errorf(oic.BadGateway, "the service answered %d %s", a.Status, http.StatusText(a.Status))
	case len(a.Body) == 0:
		return &oic.Response{Status: oic.Changed}, nil
	}
	b, err := oic.FromJSON(oic.OCF, a.Body)
	if err != nil {
		return nil, oic.Errorf(oic.BadGateway, "the service answered what is not JSON")
	}
	return &oic.Response{Status: oic.Changed, Format: oic.OCF, Body: b}, nil
}

// Observe implements oic.Observer: a service is no state.
func (s service) Observe(context.Context, *oic.Request, func(*oic.Response)) error {
	return oic.Errorf(oic.MethodNotAllowed, "a service is asked with POST")
}
