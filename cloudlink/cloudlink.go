// Package cloudlink is the Cloud Interface: how a device that dials out over
// CoAP on TCP or TLS joins a cloud, and how the cloud and the people behind it
// then ask the device over that same connection.
//
//	device.Host ◀── Client ── coap/TCP ──▶ Server ──▶ Backend
//	                  │   sign up, in, publish ──▶ │ SignUp, SignIn, Publish, Attach
//	                  │ ◀── GET Observe            │ observes what was published
//	                  │      representations ──▶   │ Report
//	                  │      POST /<di>/<href> ──▶ │ Event
//	                  │ ◀── requests ──────────    │ Session.Handle
//	reach ── Link ── coap/TCP ──▶ Server ── /<di>/<href> ──▶ Backend.Device ──▶ Session
//
// The two halves share a file where the idea is the same: account.go,
// signin.go, directory.go and route.go have first what is said on the wire,
// then who asks, then who answers.
//
// What real devices need to hear goes beyond the standards; it is marked
// "rule n" and listed in docs/cloud-interface.md.
package cloudlink

import (
	"context"
	"net/netip"
	"time"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
)

// Secret is a credential: a pairing code or a token. Every way of printing it
// prints stars.
type Secret = secret.String

// SignUp asks for a device to be taken into an account.
type SignUp struct {
	Device     string        // di: a UUID
	Provider   string        // who gave the code; may be empty
	Code       secret.String // the one-time pairing code
	DeviceType string        // "device" says iotivity-lite; may be empty
	App        string        // the application that registers the device; may be empty
	From       oic.Identity  // what the connection proved before; whoever is signed in may not sign up
	Peer       netip.Addr    // for throttling; zero: unknown
}

// Grant is what a device holds after it signed up.
type Grant struct {
	Account  string // uid
	Access   secret.String
	Refresh  secret.String
	Expires  time.Time // of Access; zero: never
	Redirect string    // the server to use from now on; empty: this one
}

// Login signs a connection in.
type Login struct {
	Account string        // uid
	Device  string        // di; empty for a person's token
	Access  secret.String // the device's access token, or a person's API token
	Peer    netip.Addr    // for throttling; zero: unknown
}

// Refresh exchanges a refresh token for a new Grant.
type Refresh struct {
	Account string // uid
	Device  string // di
	Token   secret.String
	Peer    netip.Addr // for throttling; zero: unknown
}

// Publication is a device with its resources.
type Publication = oic.LinkSet

// Report is what a resource of a device is now.
type Report struct {
	Href string
	Rep  *oic.Response
}

// Backend is the cloud behind a Server: it decides who may do what, and
// remembers. Its methods are called from several goroutines at once.
//
// A refusal is an *oic.StatusError and is answered as such; any other error is
// answered as oic.StatusOf says. A success is answered after the method
// returned, so what must survive a crash is to be kept by then.
type Backend interface {
	// SignUp takes a device into the account that made the pairing code. The
	// same device may repeat the same code for a short time (rule 12).
	SignUp(ctx context.Context, s SignUp) (Grant, error)

	// SignIn proves who is at the other end of a connection, and until when;
	// the zero time is for ever.
	SignIn(ctx context.Context, l Login) (oic.Identity, time.Time, error)

	// Bearer proves who sends one request, by the API token in it.
	Bearer(ctx context.Context, peer netip.Addr, token secret.String) (oic.Identity, error)

	// Refresh replaces both tokens of a device.
	Refresh(ctx context.Context, r Refresh) (Grant, error)

	// SignOff takes who, a device, out of its account.
	SignOff(ctx context.Context, who oic.Identity) error

	// Publish keeps the links of who, a device, and returns them with the
	// instance numbers that it gave them.
	Publish(ctx context.Context, who oic.Identity, p Publication) (Publication, error)

	// Unpublish forgets links of who, a device, by instance number; none
	// given: all.
	Unpublish(ctx context.Context, who oic.Identity, device string, ins []int64) error

	// Attach says that the device who can be reached through s from now on,
	// until detach is called. An older session of the device is replaced and
	// closed (rule 13). links are those published before, on whatever
	// connection (rule 11).
	Attach(ctx context.Context, who oic.Identity, s Session) (detach func(), links []oic.Link, err error)

	// Report keeps what resources of who, a device, are now, in this order. The
	// bodies are the Backend's to keep, the slice is not. For those that it
	// could not keep, errs has an error at their place; it may be nil if there
	// is none. A *oic.StatusError with NotFound says that the device does not
	// publish the resource any more: it is not observed from then on.
	Report(ctx context.Context, who oic.Identity, reports []Report) (errs []error)

	// Event keeps that something happened at the resource href of who, a
	// device: each one, even if it says the same as the one before. rep.Body is
	// the Backend's to keep.
	Event(ctx context.Context, who oic.Identity, href string, rep *oic.Response) error

	// Devices lists what who may see, with the hrefs as they are on the device.
	Devices(ctx context.Context, who oic.Identity) ([]Publication, error)

	// Device returns the way to a device, or a 4.04 if there is none for who.
	// Each request to it is authorized by its From.
	Device(ctx context.Context, who oic.Identity, di string) (oic.Observer, error)
}

// Session is a device that is connected and signed in. Requests to it go to
// the device.
type Session interface {
	oic.Observer

	// LastSeen is when the device last gave a sign of life.
	LastSeen() time.Time

	// Close ends the connection and does not wait for the end. The reason is
	// for the log and for the peer.
	Close(reason string)
}

// The resources of a cloud (OCF device to cloud services).
const (
	pathAccount = "/oic/sec/account"
	pathSession = "/oic/sec/session"
	pathRefresh = "/oic/sec/tokenrefresh"
	pathRD      = "/oic/rd"
	pathRes     = "/oic/res"
)
