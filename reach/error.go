package reach

// Kind says what a person can do about an Error.
type Kind uint8

// The kinds, in the order of the program's exit statuses.
const (
	Failed     Kind = iota // none of the others
	Usage                  // the target makes no sense
	NotFound               // no such device
	Ambiguous              // more than one such device
	NotAllowed             // 4.01, 4.03
	NoConnect              // the server cannot be reached
	Timeout                // no answer in time
	Offline                // the device is not connected
	Refused                // the device answered 4.xx
	PeerFailed             // the device answered 5.xx
)

// Error is a failure to reach something.
type Error struct {
	Kind Kind
	Err  error
	Hint string // what to try; may be empty
}

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of an error of this package, or of a device behind it.
func KindOf(err error) Kind { return Failed }
