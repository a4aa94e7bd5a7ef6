package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/farreach/farreach/cloud"
	"github.com/farreach/farreach/cloud/account"
)

// Devices is a list of devices.
type Devices struct {
	Schema  string   `json:"schema" enum:"farreach.devices/v1"`
	Devices []Device `json:"devices"`
	Next    string   `json:"next,omitempty" doc:"cursor of the next page"`
}

// Device is a device, and whether it can be reached now.
type Device struct {
	Schema  string    `json:"schema" enum:"farreach.device/v1"`
	ID      string    `json:"di" doc:"the device's id, a UUID"`
	Name    string    `json:"name" doc:"may be empty"`
	Type    string    `json:"type" example:"oic.d.light" doc:"may be empty"`
	Account string    `json:"account" doc:"the owner"`
	Role    string    `json:"role,omitempty" enum:"owner,member,viewer" doc:"what you are to it; none: only an admin"`
	State   string    `json:"state" enum:"reachable,unproven,offline,unknown" doc:"reachable: heard of within one keep-alive interval; unproven: connected, and silent for longer; offline: connected no more; unknown: not seen since the server started, or reason says why"`
	Since   time.Time `json:"since,omitzero" required:"false" doc:"when the state began"`
	Proven  time.Time `json:"proven,omitzero" required:"false" doc:"the last sign of life"`
	Gateway string    `json:"gateway,omitempty" doc:"the id of the device that speaks for this one on its local network"`
	Reason  string    `json:"reason,omitempty" enum:"gateway-gone" doc:"why the state is unknown: the gateway is offline itself"`
	By      []string  `json:"by,omitempty" enum:"xmpp" doc:"by what the cloud reaches it: xmpp, if it is on the XMPP server alone; none: its own connection"`
	Links   []Link    `json:"links"`
}

// Link is one resource that a device has published.
type Link struct {
	Href       string   `json:"href" example:"/a/light"`
	Types      []string `json:"rt"`
	Interfaces []string `json:"if"`
	Title      string   `json:"title,omitempty"`
	Observable bool     `json:"observable"`
}

// deviceInput is a path with a device in it.
type deviceInput struct {
	Device string `path:"di" maxLength:"64" doc:"the device's id"`
}

func (h *Handler) deviceRoutes() {
	const path = "/api/v1/devices"
	huma.Register(h.huma, operation(http.MethodGet, path, "list-devices", "List the account's devices", "devices", 200), h.listDevices)
	huma.Register(h.huma, operation(http.MethodGet, path+"/{di}", "get-device", "Get one device", "devices", 200, 403, 404),
		func(ctx context.Context, in *deviceInput) (*body[Device], error) {
			dev, err := h.cloud.DeviceInfo(ctx, asker(ctx), strings.ToLower(in.Device))
			if err != nil {
				return nil, h.problem(err)
			}
			return &body[Device]{device(dev)}, nil
		})
	huma.Register(h.huma, operation(http.MethodDelete, path+"/{di}", "delete-device",
		"Take a device out of its account; its events are removed", "devices", 204, 403, 404),
		func(ctx context.Context, in *deviceInput) (*struct{}, error) {
			return nil, h.problem(h.cloud.DeleteDevice(ctx, asker(ctx), strings.ToLower(in.Device)))
		})
}

func (h *Handler) listDevices(ctx context.Context, in *PageInput) (*paged[Devices], error) {
	list, err := h.cloud.Inventory(ctx, asker(ctx))
	if err != nil {
		return nil, h.problem(err)
	}
	list, next, err := page(list, *in, maxPage, func(dev cloud.DeviceInfo) string { return dev.Name + "\x00" + dev.ID })
	if err != nil {
		return nil, err
	}
	out := Devices{Schema: "farreach.devices/v1", Devices: make([]Device, len(list)), Next: next}
	for i, dev := range list {
		out.Devices[i] = device(dev)
	}
	return onePage(ctx, out, next), nil
}

func device(d cloud.DeviceInfo) Device {
	out := Device{
		Schema: "farreach.device/v1", ID: d.ID, Name: d.Name, Type: d.Type, Account: d.Account, Gateway: d.Gateway,
		State: string(d.Presence.State), Since: d.Presence.Since.UTC(), Proven: d.Presence.Proven.UTC(),
		Links: make([]Link, len(d.Links)),
	}
	if d.Presence.Gateway != "" {
		out.Reason = "gateway-gone"
	}
	if d.Via != "" {
		out.By = []string{d.Via}
	}
	if d.Role != account.Nobody {
		out.Role = d.Role.String()
	}
	for i, l := range d.Links {
		out.Links[i] = Link{Href: l.Href, Types: notNull(l.Types), Interfaces: notNull(l.Interfaces), Title: l.Title, Observable: l.Observable()}
	}
	return out
}
