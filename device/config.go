package device

import (
	"context"
	"log/slog"
	"slices"
	"unicode/utf8"

	"github.com/farreach/farreach/oic"
)

// Config says what a device is. Zero values work.
type Config struct {
	ID        string // di, a UUID; "": a random one
	Type      string // "oic.d.light"; "": none but oic.wk.d
	Permanent string // piid, a UUID that outlives a change of owner; "": ID

	Name     string   // for people, until they change it at /oic/con
	Settings Settings // what they have changed there; its Name goes before the other
	Platform Platform // what the device is built on

	// Keep is told, before it takes effect, what /oic/con is to hold from now
	// on, Name included. Its error refuses the change. nil: changes are kept
	// as long as the Host.
	Keep func(ctx context.Context, s Settings) error

	// Reset and Reboot do what /oic/mnt is asked for: they return before they
	// begin with it, so that the answer gets out. nil: the device cannot; it
	// has no /oic/mnt without either.
	Reset, Reboot func(ctx context.Context) error

	Log *slog.Logger // nil: slog.Default()
}

// Platform is what a device is built on: /oic/p. Only Manufacturer has a place
// in every device.
type Platform struct {
	ID           string `json:"pi"`   // a UUID; "": the device's ID
	Manufacturer string `json:"mnmn"` // "": Farreach
	Website      string `json:"mnml,omitempty"`
	Model        string `json:"mnmo,omitempty"`
	Made         string `json:"mndt,omitempty"` // YYYY-MM-DD
	Version      string `json:"mnpv,omitempty"` // of the platform
	System       string `json:"mnos,omitempty"` // operating system and version
	Hardware     string `json:"mnhw,omitempty"` // version
	Firmware     string `json:"mnfv,omitempty"` // version
	Support      string `json:"mnsl,omitempty"` // a URL
	Vendor       string `json:"vid,omitempty"`
}

// Settings is what people set of a device, whatever it is: /oic/con.
type Settings struct {
	Name     string    `json:"n"`
	Location []float64 `json:"loc,omitempty"`  // latitude and longitude, degrees
	Place    string    `json:"locn,omitempty"` // "kitchen"
	Currency string    `json:"c,omitempty"`    // ISO 4217
	Region   string    `json:"r,omitempty"`    // ISO 3166
	Language string    `json:"dl,omitempty"`   // RFC 5646: that of Name
	Names    []Name    `json:"ln,omitempty"`   // in other languages
}

// Name is the name of a device in one language.
type Name struct {
	Language string `json:"language"` // RFC 5646
	Value    string `json:"value"`
}

// What is taken for a setting: characters of a text, and names.
const (
	maxSetting = 128
	maxNames   = 16
)

func (s *Settings) check() error {
	for name, text := range map[string]string{"n": s.Name, "locn": s.Place, "c": s.Currency, "r": s.Region, "dl": s.Language} {
		if err := checkText(name, text); err != nil {
			return err
		}
	}
	if s.Name == "" {
		return oic.Errorf(oic.BadRequest, "n cannot be empty")
	}
	if err := checkLocation(s.Location); err != nil {
		return err
	}
	if len(s.Names) > maxNames {
		return oic.Errorf(oic.BadRequest, "ln has more than %d names", maxNames)
	}
	for _, n := range s.Names {
		if err := checkText("ln", n.Language+n.Value); err != nil {
			return err
		}
	}
	return nil
}

func checkText(name, text string) error {
	if utf8.RuneCountInString(text) > maxSetting {
		return oic.Errorf(oic.BadRequest, "%s is longer than %d characters", name, maxSetting)
	}
	for _, r := range text {
		if r < ' ' || r == 0x7f {
			return oic.Errorf(oic.BadRequest, "%s has a control character in it", name)
		}
	}
	return nil
}

// checkLocation takes no location at all, which is how one is removed.
func checkLocation(at []float64) error {
	if len(at) == 0 {
		return nil
	}
	if len(at) != 2 || !(at[0] >= -90 && at[0] <= 90) || !(at[1] >= -180 && at[1] <= 180) { // nor NaN
		return oic.Errorf(oic.BadRequest, "loc must be latitude and longitude in degrees")
	}
	return nil
}

// clone shares nothing with s.
func (s Settings) clone() Settings {
	s.Location, s.Names = slices.Clone(s.Location), slices.Clone(s.Names)
	return s
}
