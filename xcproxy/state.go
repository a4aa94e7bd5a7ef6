package xcproxy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// State is what a proxy must remember, so that its devices come back under the
// addresses that they had. What clouds have given them is not in it: see
// Cloud.Client.
type State struct {
	Version int      `json:"version"`
	ID      string   `json:"di"`      // of the proxy
	Streams []string `json:"streams"` // di's of the devices with a stream of their own, in the order in which they came
}

// StateStore keeps a State.
type StateStore interface {
	Load() (State, error) // the zero State if there is none yet
	Save(State) error     // on return the State survives a crash
}

// inMemory is the StateStore of a proxy that does not remember.
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

// FileState keeps the State in the file that it names.
type FileState string

// Load implements StateStore.
func (f FileState) Load() (State, error) {
	b, err := os.ReadFile(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, nil
	}
	if err != nil {
		return State{}, err
	}
	var s State
	if err := json.Unmarshal(b, &s); err != nil {
		return State{}, fmt.Errorf("%s: %w", f, err)
	}
	if s.Version != 1 {
		return State{}, fmt.Errorf("%s: version %d is not known here", f, s.Version)
	}
	return s, nil
}

// Save implements StateStore: a new file, synced, takes the place of the old.
func (f FileState) Save(s State) error {
	s.Version = 1
	b, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	dir := filepath.Dir(string(f))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, ".proxy-*") // mode 0600
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
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
