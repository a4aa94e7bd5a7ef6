package xcproxy

import "github.com/farreach/farreach/internal/kept"

// State is what a proxy must remember, so that its devices come back under the
// addresses that they had. What clouds have given them is not in it: see
// Cloud.Client.
type State struct {
	ID      string   `json:"di"`      // of the proxy
	Streams []string `json:"streams"` // di's of the devices with a stream of their own, in the order in which they came
}

// StateStore keeps a State.
type StateStore interface {
	Load() (State, error) // the zero State if there is none yet
	Save(State) error     // on return the State survives a crash
}

// FileState keeps the State in the file that it names.
type FileState string

// Load implements StateStore.
func (f FileState) Load() (s State, err error) {
	err = kept.Load(string(f), &s)
	return s, err
}

// Save implements StateStore.
func (f FileState) Save(s State) error { return kept.Save(string(f), s) }
