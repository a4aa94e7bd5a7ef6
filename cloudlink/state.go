package cloudlink

import (
	"time"

	"github.com/farreach/farreach/internal/kept"
	"github.com/farreach/farreach/internal/secret"
)

// State is what a device must remember between its connections.
type State struct {
	Server    string               // the URI where it was registered last
	Device    string               // di
	Dialect   Dialect              // that of the cloud which gave Grant; Auto: not known, which is OCF
	Grant     Grant                // zero: not signed up
	Name      string               // as it was published
	Gateway   string               // as it was published
	Published map[string]Published // by href
}

// Published is one resource as the directory has it.
type Published struct {
	Instance int64  `json:"ins"`
	Sum      string `json:"sum"` // of the link
}

// StateStore keeps a State.
type StateStore interface {
	Load() (State, error) // the zero State if there is none yet
	Save(State) error     // on return the State survives a crash
}

// FileState keeps the State in the file that it names. Only the file's owner
// can read it: it holds the device's tokens.
type FileState string

// stateFile is the content of the file.
type stateFile struct {
	Server    string               `json:"server"`
	Device    string               `json:"di"`
	Account   string               `json:"uid"`
	Access    string               `json:"accesstoken"`
	Refresh   string               `json:"refreshtoken"`
	Expires   time.Time            `json:"expires,omitzero"`
	Dialect   Dialect              `json:"dialect,omitempty"`
	Name      string               `json:"n,omitempty"`
	Gateway   string               `json:"gateway,omitempty"`
	Published map[string]Published `json:"published,omitempty"`
}

// Load implements StateStore. A file that others can read is refused.
func (f FileState) Load() (State, error) {
	var d stateFile
	if err := kept.LoadSecrets(string(f), &d); err != nil {
		return State{}, err
	}
	return State{Server: d.Server, Device: d.Device, Dialect: d.Dialect, Name: d.Name, Gateway: d.Gateway, Published: d.Published, Grant: Grant{
		Account: d.Account, Access: secret.String(d.Access), Refresh: secret.String(d.Refresh), Expires: d.Expires,
	}}, nil
}

// Save implements StateStore.
func (f FileState) Save(s State) error {
	return kept.Save(string(f), stateFile{
		Server: s.Server, Device: s.Device, Dialect: s.Dialect, Name: s.Name, Gateway: s.Gateway, Published: s.Published,
		Account: s.Grant.Account, Access: s.Grant.Access.Reveal(), Refresh: s.Grant.Refresh.Reveal(), Expires: s.Grant.Expires,
	})
}
