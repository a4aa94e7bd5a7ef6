// Package reach finds the way to a device: one oic.Observer for what a person
// typed.
//
//	"lamp/a/light" ── ParseTarget ──▶ Target ── Ways.Device ──▶ Device ─┬─▶ cloud ──▶ device
//	                                         names, di's, addresses     └─▶ XMPP ───▶ device
//	"coap+tcp://host/a/light" ──▶ Target ── Direct ─────────────▶ oic.Observer
//	LAN ── /oic/res to all ──▶ ParseDiscovery ── /oic/d of each ──▶ LANDevice
//
// A Device is reached by whichever of the ways leads to it, says by which one,
// and changes over when that is lost: what changes something is never sent
// twice.
//
// A server can also be reached straight, over CoAP on TCP, TLS, WebSocket, UDP or
// DTLS.
package reach

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/xmpp/jid"
)

// Config says where a person's devices are. A Cloud with Account and Token, or
// XMPP, has no default.
type Config struct {
	Cloud   string        // "coaps+tcp://host[:port]" or "coaps+ws://host[:port]"; "": none
	Also    []string      // further addresses of the same cloud; Direct signs in there too
	TLS     *tls.Config   // nil: the system's roots
	Account string        // the uid
	Token   secret.String // an API token
	XMPP    *XMPP         // nil: none
	Shared  SharedKey     // for coaps URIs; without one certificates count

	// OnChange is called when a Device is reached by another way than before,
	// and must return soon; nil: nobody is told.
	OnChange func(Change)
	Log      *slog.Logger // nil: slog.Default()
}

// XMPP is an account by which devices are reached, and who we are there.
type XMPP struct {
	Account  jid.JID // bare
	Password secret.String
	Addr     string      // host:port; "": what the DNS says about the account's domain
	Direct   bool        // at Addr, TLS from the first byte instead of STARTTLS
	TLS      *tls.Config // nil: the system's roots

	// ID is our own device id, which must be nobody else's at the same time: who
	// logs in with it throws out who did before. "": a random one.
	ID string
}

// SharedKey is what both ends of a DTLS session have had before. Nothing else
// proves then who they are.
type SharedKey struct {
	Identity []byte        // what we are called by the other end
	Key      secret.String // its bytes; empty: there is none
}

// Change says that a device is reached by another way than before.
type Change struct {
	Device   string // di
	From, To string // as Device.Via; To "": by none for the time being
	Err      error  // what was wrong with From; nil: To is better
}

// Ways are all ways to the devices of an account.
type Ways struct {
	cfg   Config
	cloud *cloudWay // nil: none
}

// Open opens the way through the cloud, if cfg has one. The error is a *Error.
func Open(ctx context.Context, cfg Config) (*Ways, error) {
	cfg.Log = cmp.Or(cfg.Log, slog.Default())
	if cfg.Cloud == "" {
		return nil, usagef("a profile with a cloud", "there is no way to any device")
	}
	w := &Ways{cfg: cfg, cloud: &cloudWay{cfg: cfg, turn: make(chan struct{}, 1)}}
	if _, err := w.cloud.open(ctx); err != nil {
		return nil, err
	}
	return w, nil
}

// Device returns what t names, by its name, its di or the beginning of that.
// The error is a *Error of kind NotFound or Ambiguous, or that of asking who is
// there.
func (w *Ways) Device(ctx context.Context, t Target) (*Device, error) {
	all, err := w.cloud.list(ctx)
	if err != nil {
		return nil, err
	}
	found, err := find(all, t.Device)
	if err != nil {
		return nil, err
	}
	return w.device(found), nil
}

// Close ends all ways, and with them what is under way on a Device.
func (w *Ways) Close() error {
	w.cloud.close()
	return nil
}

func notFound(name, hint string) error {
	return &Error{Kind: NotFound, Err: fmt.Errorf("no device %q", name), Hint: hint}
}
