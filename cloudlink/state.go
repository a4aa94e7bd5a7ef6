package cloudlink

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

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

// inMemory is the StateStore of a device that does not remember.
type inMemory struct {
	mu    sync.Mutex // guards state
	state State
}

func (m *inMemory) Load() (State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state, nil
}

func (m *inMemory) Save(s State) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = s
	return nil
}

// FileState keeps the State in the file that it names. Only the file's owner
// can read it: it holds the device's tokens.
type FileState string

// stateFile is the content of the file.
type stateFile struct {
	Version   int                  `json:"version"`
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
	info, err := os.Stat(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, nil
	}
	if err != nil {
		return State{}, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return State{}, fmt.Errorf("%s holds tokens and can be read by others: chmod 600 it", f)
	}
	b, err := os.ReadFile(string(f))
	if err != nil {
		return State{}, err
	}
	var d stateFile
	if err := json.Unmarshal(b, &d); err != nil {
		return State{}, fmt.Errorf("%s: %w", f, err)
	}
	if d.Version != 1 {
		return State{}, fmt.Errorf("%s: version %d is not known here", f, d.Version)
	}
	return State{Server: d.Server, Device: d.Device, Dialect: d.Dialect, Name: d.Name, Gateway: d.Gateway, Published: d.Published, Grant: Grant{
		Account: d.Account, Access: secret.String(d.Access), Refresh: secret.String(d.Refresh), Expires: d.Expires,
	}}, nil
}

// Save implements StateStore: a new file, synced, takes the place of the old.
func (f FileState) Save(s State) error {
	b, err := json.MarshalIndent(stateFile{
		Version: 1, Server: s.Server, Device: s.Device, Dialect: s.Dialect, Name: s.Name, Gateway: s.Gateway, Published: s.Published,
		Account: s.Grant.Account, Access: s.Grant.Access.Reveal(), Refresh: s.Grant.Refresh.Reveal(), Expires: s.Grant.Expires,
	}, "", "\t")
	if err != nil {
		return err
	}
	dir := filepath.Dir(string(f))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, ".state-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // fails once it is renamed
	_, err = tmp.Write(append(b, '\n'))
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), string(f))
	}
	if err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes a rename in dir survive a power loss.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
