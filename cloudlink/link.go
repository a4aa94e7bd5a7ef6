package cloudlink

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"time"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
)

// ServerInfo says which server to connect to. It comes from the application.
// Only URI has no default.
type ServerInfo struct {
	URI       string        // "coap+tcp://host[:port]" or "coaps+tcp://host[:port]"
	TLS       *tls.Config   // nil: the system's roots. ALPN and least version are set
	Handler   oic.Handler   // answers the server's requests; nil: 4.04 to all
	KeepAlive time.Duration // silence before a Ping; 0: 20 s; negative: never
	Log       *slog.Logger  // nil: slog.Default()
}

// Link is one connection to a server, dialled by us; once it stands, both ends
// may ask. All its methods may be called from several goroutines at once.
type Link struct{}

// Connect dials the server. After it returned, requests from the server are
// answered with info.Handler; nothing is signed in yet.
func Connect(ctx context.Context, info ServerInfo) (*Link, error) {
	return nil, errors.ErrUnsupported
}

// Registration is what a device tells a cloud about itself.
type Registration struct {
	Device string        // di: a UUID
	Name   string        // for people
	App    string        // the application that registers the device; may be empty
	Links  []oic.Link    // what to publish
	Code   secret.String // pairing code to sign up with, if State has no grant

	State State             // of an earlier registration; zero: none
	Save  func(State) error // keeps each new State before it is relied upon; nil: not kept
}

// Register signs the device up if it never was, signs it in, and publishes
// what changed since the last time. It returns the new State.
func (l *Link) Register(ctx context.Context, r Registration) (State, error) {
	return State{}, errors.ErrUnsupported
}

// SignUp asks for the device to be taken into the account of the code.
func (l *Link) SignUp(ctx context.Context, s SignUp) (Grant, error) {
	return Grant{}, errors.ErrUnsupported
}

// SignIn proves who we are, for the life of the link or until the time it
// returns; the zero time is for ever.
func (l *Link) SignIn(ctx context.Context, in Login) (time.Time, error) {
	return time.Time{}, errors.ErrUnsupported
}

// SignOut takes a SignIn back.
func (l *Link) SignOut(ctx context.Context) error { return errors.ErrUnsupported }

// Refresh exchanges a refresh token for a new grant.
func (l *Link) Refresh(ctx context.Context, r Refresh) (Grant, error) {
	return Grant{}, errors.ErrUnsupported
}

// SignOff takes the device out of its account.
func (l *Link) SignOff(ctx context.Context) error { return errors.ErrUnsupported }

// Publish tells the directory of the device's resources. The answer has the
// instance numbers that the directory gave them.
func (l *Link) Publish(ctx context.Context, p Publication) (Publication, error) {
	return Publication{}, errors.ErrUnsupported
}

// Unpublish takes resources out of the directory, by instance number.
func (l *Link) Unpublish(ctx context.Context, device string, ins []int64) error {
	return errors.ErrUnsupported
}

// Discover lists the devices that who is signed in may see, with the hrefs as
// they are on the device.
func (l *Link) Discover(ctx context.Context) ([]Publication, error) {
	return nil, errors.ErrUnsupported
}

// Device returns the device di behind the server. Whether it exists shows when
// it is asked.
func (l *Link) Device(di string) oic.Observer { return nil }

// Peer returns the server itself.
func (l *Link) Peer() oic.Observer { return nil }

// Done is closed when the link has ended.
func (l *Link) Done() <-chan struct{} { return nil }

// Err says why the link ended; nil while it stands.
func (l *Link) Err() error { return nil }

// LastSeen is when the server last gave a sign of life.
func (l *Link) LastSeen() time.Time { return time.Time{} }

// Disconnect ends the link properly: it signs out, says goodbye, and waits for
// the server to close, all within 5 s.
func (l *Link) Disconnect(ctx context.Context) error { return errors.ErrUnsupported }
