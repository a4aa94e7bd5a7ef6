package device

import (
	"context"
	"slices"

	"github.com/farreach/farreach/oic"
)

// The resources of every device (OCF core; their shapes are those of
// iotivity-lite).
const (
	hrefDirectory     = "/oic/res"
	hrefInfo          = "/oic/d"
	hrefPlatform      = "/oic/p"
	hrefConfiguration = "/oic/con"
	hrefMaintenance   = "/oic/mnt"
)

// What /oic/d says of the releases that the device follows: of OCF, and to
// those who ask in the way of OIC 1.1, of that.
const (
	specVersion = "ocf.2.2.5"
	dataModels  = "ocf.res.1.3.0,ocf.sh.1.3.0"

	specVersion11 = "core.1.1.0"
	dataModels11  = "res.1.1.0"
)

// info is /oic/d, which says what the device is.
type info struct{ h *Host }

func (r info) Link() oic.Link {
	types := []string{"oic.wk.d"}
	if r.h.cfg.Type != "" {
		types = slices.Insert(types, 0, r.h.cfg.Type)
	}
	return coreLink(hrefInfo, types...)
}

type infoRep struct {
	ID        string `json:"di"`
	Name      string `json:"n"`
	Spec      string `json:"icv"`
	Models    string `json:"dmv"`
	Permanent string `json:"piid,omitempty"`
}

// Retrieve is not called: represent needs more than an interface.
func (r info) Retrieve(context.Context, string) (any, error) { return nil, errElsewhere }

// represent: OIC 1.1 does not know piid.
func (r info) represent(_ context.Context, c *call) ([]byte, error) {
	rep := infoRep{r.h.cfg.ID, r.h.Name(), specVersion, dataModels, r.h.cfg.Permanent}
	if c.format() == oic.CBOR {
		rep.Spec, rep.Models, rep.Permanent = specVersion11, dataModels11, ""
	}
	return c.encode(rep)
}

// platform is /oic/p, which says what the device is built on.
type platform struct{ h *Host }

func (r platform) Link() oic.Link { return coreLink(hrefPlatform, "oic.wk.p") }

func (r platform) Retrieve(context.Context, string) (any, error) { return r.h.cfg.Platform, nil }

func coreLink(href string, types ...string) oic.Link {
	return oic.Link{Href: href, Types: types, Interfaces: []string{oic.IfRead, oic.IfBaseline},
		Policy: oic.Policy{Mask: oic.Discoverable}}
}

// maintenance is /oic/mnt, by which the device is reset and restarted.
type maintenance struct {
	h               *Host
	reset, rebooted bool // asked for
}

func (r *maintenance) Link() oic.Link {
	link := coreLink(hrefMaintenance, "oic.wk.mnt")
	link.Interfaces[0] = oic.IfWrite
	return link
}

type maintenanceRep struct {
	Reset  *bool `json:"fr,omitempty"`
	Reboot *bool `json:"rb,omitempty"`
}

func (r *maintenance) Retrieve(context.Context, string) (any, error) {
	var rep maintenanceRep
	if r.h.cfg.Reset != nil {
		rep.Reset = &r.reset
	}
	if r.h.cfg.Reboot != nil {
		rep.Reboot = &r.rebooted
	}
	return rep, nil
}

// Update does what is true in rep. False is no wish. A reset goes before a
// restart, which is part of it.
func (r *maintenance) Update(ctx context.Context, _ string, rep []byte) (any, error) {
	var want maintenanceRep
	if err := oic.Decode(oic.OCF, rep, &want); err != nil {
		return nil, err
	}
	reset, reboot := want.Reset != nil && *want.Reset, want.Reboot != nil && *want.Reboot
	switch {
	case want.Reset == nil && want.Reboot == nil:
		return nil, oic.Errorf(oic.BadRequest, "nothing to do: /oic/mnt has fr and rb")
	case reset && r.h.cfg.Reset == nil:
		return nil, oic.Errorf(oic.NotImplemented, "no factory reset here")
	case reboot && r.h.cfg.Reboot == nil:
		return nil, oic.Errorf(oic.NotImplemented, "no restart here")
	case reset:
		r.h.log.Info("factory reset asked for")
		return nil, done(&r.reset, r.h.cfg.Reset(ctx))
	case reboot:
		r.h.log.Info("restart asked for")
		return nil, done(&r.rebooted, r.h.cfg.Reboot(ctx))
	}
	return nil, nil
}

// done notes that something is under way if it did not fail to begin.
func done(underWay *bool, err error) error {
	*underWay = err == nil
	return err
}
