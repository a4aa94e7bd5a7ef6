package apiclient

import (
	"fmt"
	"strings"
)

// FindError is a name that stands for no device, or for more than one.
type FindError struct {
	Name  string
	Match int // how many
}

func (e *FindError) Error() string {
	if e.Match == 0 {
		return "no device " + e.Name
	}
	return fmt.Sprintf("%d devices match %s", e.Match, e.Name)
}

// Find returns the device called name: its name, its di, or the beginning of
// one that no other device shares. One's own devices go before those that others
// share.
func Find(devices []Device, name string) (Device, error) {
	for _, same := range []func(Device) bool{
		func(d Device) bool { return strings.EqualFold(d.ID, name) },
		func(d Device) bool { return d.Name == name && d.Role == "owner" },
		func(d Device) bool { return d.Name == name },
		func(d Device) bool { return strings.HasPrefix(d.ID, strings.ToLower(name)) },
	} {
		var found []Device
		for _, d := range devices {
			if same(d) {
				found = append(found, d)
			}
		}
		switch {
		case len(found) == 1:
			return found[0], nil
		case len(found) > 1 || name == "":
			return Device{}, &FindError{name, len(found)}
		}
	}
	return Device{}, &FindError{name, 0}
}
