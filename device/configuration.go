package device

import (
	"context"

	"github.com/farreach/farreach/oic"
)

// configuration is /oic/con, where people say how the device is called and
// where it is.
type configuration struct{ h *Host }

func (r configuration) Link() oic.Link {
	return oic.Link{Href: hrefConfiguration, Types: []string{"oic.wk.con"},
		Interfaces: []string{oic.IfWrite, oic.IfBaseline},
		Policy:     oic.Policy{Mask: oic.Discoverable | oic.Observable}}
}

func (r configuration) Retrieve(context.Context, string) (any, error) { return r.h.Settings(), nil }

// settingsChange is what a request wants; nil stays as it is.
type settingsChange struct {
	Name     *string    `json:"n"`
	Location *[]float64 `json:"loc"`
	Place    *string    `json:"locn"`
	Currency *string    `json:"c"`
	Region   *string    `json:"r"`
	Language *string    `json:"dl"`
	Names    *[]Name    `json:"ln"`
}

// apply changes s, and reports whether the request names anything.
func (c *settingsChange) apply(s *Settings) bool {
	named := set(&s.Name, c.Name)
	named = set(&s.Location, c.Location) || named
	named = set(&s.Place, c.Place) || named
	named = set(&s.Currency, c.Currency) || named
	named = set(&s.Region, c.Region) || named
	named = set(&s.Language, c.Language) || named
	return set(&s.Names, c.Names) || named
}

// set gives at the value that is wanted, if one is.
func set[T any](at, want *T) bool {
	if want != nil {
		*at = *want
	}
	return want != nil
}

// Update changes what rep names. The name of the device is that of /oic/d too.
func (r configuration) Update(ctx context.Context, _ string, rep []byte) (any, error) {
	var want settingsChange
	if err := oic.Decode(oic.OCF, rep, &want); err != nil {
		return nil, err
	}
	next := r.h.Settings()
	if !want.apply(&next) {
		return nil, oic.Errorf(oic.BadRequest, "nothing to change: /oic/con has n, loc, locn, c, r, dl and ln")
	}
	if err := next.check(); err != nil {
		return nil, err
	}
	if keep := r.h.cfg.Keep; keep != nil {
		if err := keep(ctx, next.clone()); err != nil {
			return nil, err
		}
	}
	r.h.mu.Lock()
	renamed := r.h.settings.Name != next.Name
	r.h.settings = next
	r.h.mu.Unlock()
	if renamed {
		r.h.log.Info("renamed", "name", next.Name)
		r.h.Changed(hrefInfo)
	}
	return nil, nil
}
