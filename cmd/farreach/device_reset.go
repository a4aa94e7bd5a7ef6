package main

import (
	"context"

	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
)

// reset makes a device forget what it was told since its start: its XMPP account,
// its cloud, and its name and place. It does by the device's own resources what
// a person would, so that everybody who observes them is told.
func (m member) reset(ctx context.Context, host *device.Host, p *rae.Provisioning) error {
	if err := p.Reset(); err != nil {
		return err
	}
	for _, told := range []struct {
		href string
		rep  map[string]any
	}{
		{"/oic/con", map[string]any{"n": m.name, "loc": []float64{}, "locn": "", "c": "", "r": "", "dl": "", "ln": []string{}}},
		{"/CoapCloudConfResURI", map[string]any{"cis": ""}},
	} {
		body, err := oic.Encode(oic.OCF, told.rep)
		if err != nil {
			return err
		}
		if _, err := host.Handle(ctx, &oic.Request{Op: oic.Update, Href: told.href, Format: oic.OCF, Body: body}); err != nil {
			return err
		}
	}
	return nil
}
