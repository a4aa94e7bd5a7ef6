package cloudlink

// State is what a device must remember between its connections.
type State struct {
	Server    string               // the URI where it was granted
	Device    string               // di
	Grant     Grant                // zero: not signed up
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

// FileState keeps the State in a file that only its owner can read.
type FileState string
