package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/reach"
)

// queued sends a command by the server's API, which keeps it for a device that
// is away. No other way has somebody who waits.
func (a *app) queued(ctx context.Context, r request, op oic.Op, args []string) error {
	t, err := reach.ParseTarget(args[0])
	if err != nil {
		return err
	}
	if t.URI != "" || !t.Peer.IsZero() || r.xmpp.jid != "" {
		return misuse("a device of your server, as lamp/a/light", "%s: only a server keeps commands: --queue goes through yours", args[0])
	}
	if r.queue <= 0 || r.queue > time.Hour {
		return misuse("--queue 1h", "--queue %v: a command waits for an hour at most", r.queue)
	}
	o := apiclient.Order{Href: withInterface(t.Href, r.iface), Type: oic.OCF.String(), Queue: r.queue}
	o.Method = map[oic.Op]string{oic.Replace: http.MethodPut, oic.Delete: http.MethodDelete}[op]
	if o.Method == "" {
		o.Method = http.MethodPost
	}
	if o.Body, err = a.body(args[1:]); err != nil {
		return err
	}
	api, err := a.api(r.access)
	if err != nil {
		return err
	}
	defer api.Close()
	devices, err := api.Devices(ctx)
	if err != nil {
		return err
	}
	d, err := find(devices, t.Device)
	if err != nil {
		return err
	}
	o.Device = d.ID
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	answer, waiting, err := api.Send(ctx, o)
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	if waiting != nil {
		return a.showWaiting(*waiting, d)
	}
	return a.showAnswer(answer, api.Base())
}

// showWaiting tells of a command that waits: to a person until when, and to a
// program its id.
func (a *app) showWaiting(c apiclient.Command, d apiclient.Device) error {
	if c.Name = d.Name; a.json {
		return a.screen().Doc(c)
	}
	if !a.terminal {
		return a.screen().Line("queued", c.ID, c.Expires)
	}
	a.say("%s is away: the command waits for it until %s; farreach commands cancel %s takes it back",
		d.Name, clock(c.Expires), c.ID[strings.LastIndexByte(c.ID, '-')+1:])
	return nil
}

// showAnswer is show for what the server told.
func (a *app) showAnswer(r apiclient.Resource, via string) error {
	none := string(r.Rep) == "null" || len(r.Rep) == 0
	if a.json {
		doc := responseDoc{Schema: "farreach.response/v1", Device: r.Device, Href: r.Href, Via: via, Status: r.Status, Body: r.Raw}
		if !none {
			doc.Rep = r.Rep
		}
		return a.screen().Doc(doc)
	}
	switch {
	case len(r.Raw) > 0:
		return a.screen().Value(r.Raw)
	case !none:
		return a.screen().Value(r.Rep)
	case a.terminal:
		a.say("%s", r.Status)
	}
	return nil
}
