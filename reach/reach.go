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
	"strings"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/rae"
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

// SharedKey is what both ends of a DTLS session have had before. Nothing else
// proves then who they are.
type SharedKey struct {
	Identity []byte        // what we are called by the other end
	Key      secret.String // its bytes; empty: there is none
}

// Change says that a device is reached by another way than before.
type Change struct {
	Device   string // di
	Name     string // "" if it has none
	From, To string // as Device.Via; To "": by none for the time being
	Err      error  // what was wrong with From; nil: To is better
}

// Ways are all ways to the devices of an account.
type Ways struct {
	cfg   Config
	cloud *cloudWay // nil: none
	xmpp  *xmppWay  // nil: none
}

// Open opens the way through the cloud. That over XMPP is opened when it is
// needed: when there is no cloud, or it cannot be reached, does not know a
// device, or does not have it connected, and for observations. The error is a
// *Error, or that of ctx.
func Open(ctx context.Context, cfg Config) (*Ways, error) {
	cfg.Log = cmp.Or(cfg.Log, slog.Default())
	w := &Ways{cfg: cfg}
	if cfg.XMPP != nil {
		var err error
		if w.xmpp, err = newXMPPWay(*cfg.XMPP, cfg.Log); err != nil {
			return nil, err
		}
	}
	if cfg.Cloud != "" {
		w.cloud = &cloudWay{cfg: cfg, turn: make(chan struct{}, 1)}
	}
	if err := w.open(ctx); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

func (w *Ways) open(ctx context.Context) error {
	switch {
	case w.cloud == nil && w.xmpp == nil:
		return usagef("a profile with a cloud or an XMPP account", "there is no way to any device")
	case w.cloud == nil:
		return w.xmpp.open(ctx)
	}
	_, err := w.cloud.open(ctx)
	if err == nil || w.xmpp == nil || ctx.Err() != nil {
		return err
	}
	if other := w.xmpp.open(ctx); other != nil {
		return failures{{cloudRoute{w.cloud, ""}, err}, {xmppRoute{xmppWay: w.xmpp}, other}}.err()
	}
	return nil
}

// Device returns what t names: an endpoint by its address, or a device by its
// name, its di or the beginning of that. Names are looked up in the cloud first,
// if it has none such among those on XMPP, and then among those behind proxies
// there.
//
// The error is a *Error of kind Ambiguous, or that of asking who is there; it is
// NotFound only if all could be asked.
func (w *Ways) Device(ctx context.Context, t Target) (*Device, error) {
	if !t.Peer.IsZero() {
		return w.endpoint(t)
	}
	all, unasked := w.listed(ctx, t.Device)
	found, err := find(all, t.Device)
	switch {
	case err == nil:
		return w.device(found), nil
	case unasked != nil && len(all) == 0:
		return nil, unasked
	case len(all) == 0 && w.cloud == nil:
		return nil, notFound(t.Device, "nobody is on "+w.xmpp.account().String()+" now")
	case unasked != nil && KindOf(err) == NotFound: // it may be among those that nobody has told of
		return nil, &Error{Kind: KindOf(unasked), Err: fmt.Errorf("%w, and no other way knows %q", unasked, t.Device), Hint: HintOf(unasked)}
	case w.xmpp != nil && KindOf(err) == NotFound && strings.HasPrefix(HintOf(err), "there are"):
		return nil, notFound(t.Device, HintOf(err)+"; over XMPP, who is not there has no name")
	}
	return nil, err
}

// listed is who there is, as far as name asks for it. unasked is why some of it
// is not known.
func (w *Ways) listed(ctx context.Context, name string) (all []known, unasked error) {
	if w.cloud != nil {
		all, unasked = w.cloud.list(ctx)
		if _, err := find(all, name); err == nil || KindOf(err) == Ambiguous || ctx.Err() != nil {
			return all, unasked
		}
	}
	if w.xmpp == nil {
		return all, unasked
	}
	if err := w.xmpp.open(ctx); err != nil {
		return all, cmp.Or(unasked, err)
	}
	w.xmpp.names.learn(ctx, w.xmpp.e, w.xmpp.e.Devices())
	both := together(all, named(w.xmpp.present()))
	if _, err := find(both, name); err == nil || KindOf(err) != NotFound {
		return both, unasked
	}
	w.xmpp.settle(ctx)
	list := w.xmpp.everybody(ctx)
	both = together(all, named(list))
	if _, err := find(both, name); err != nil && KindOf(err) == NotFound {
		both = together(both, named(w.xmpp.missing(list)))
	}
	return both, unasked
}

func (w *Ways) device(k known) *Device {
	var routes []route
	if k.InCloud {
		routes = append(routes, cloudRoute{w.cloud, k.ID})
	}
	if w.xmpp != nil {
		routes = append(routes, xmppRoute{xmppWay: w.xmpp, di: k.ID})
	}
	return newDevice(w, k, routes...)
}

func (w *Ways) endpoint(t Target) (*Device, error) {
	if w.xmpp == nil {
		return nil, usagef("--xmpp, or a profile with an XMPP account", "%s is reached over XMPP, and there is no account", t.Peer)
	}
	di := t.Device
	if di == "" {
		name, _ := rae.ParseName(t.Peer.Resource())
		di = name.Device()
	}
	return newDevice(w, known{ID: di}, xmppRoute{w.xmpp, di, t.Peer}), nil
}

// Close ends all ways, and with them what is under way on a Device.
func (w *Ways) Close() error {
	if w.cloud != nil {
		w.cloud.close()
	}
	if w.xmpp != nil {
		w.xmpp.close()
	}
	return nil
}

func notFound(name, hint string) error {
	return &Error{Kind: NotFound, Err: fmt.Errorf("no device %q", name), Hint: hint}
}
