// Package lan finds the OIC devices of the local network and keeps in touch with
// them.
//
//	groups, addresses ── ask ──▶ /oic/res ──▶ rumour of an address
//	device ── POST /oic/rd ──▶ directory ────────────┤
//	                                                 ▼
//	                                   unicast /oic/d, /oic/res: what is it?
//	                                                 │ proved
//	                     Change ◀── table of devices ◀── /oic/d after a minute of silence
//	                                      │
//	     oic.Request ──▶ Device.Open ─────┴──▶ coap or coaps ──▶ device
//
// What comes from a group, or is published, can be forged by anybody on the
// network. So it is believed of nothing but that somebody may be at an address:
// what a device is and has, and that it is there, is what it answers from there
// to a request with a token that only it has seen. That proves an address; who
// is behind it is proved by credentials alone (DTLS).
package lan

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
)

// Config says which network is watched. Zero values work.
type Config struct {
	Addresses  []string         // asked beside the groups: "192.0.2.7", "host:5683", "coap://host"
	Groups     []netip.AddrPort // nil: coap.AllCoAPNodes(); empty: none
	Interfaces []string         // names of those on which groups are asked; nil: all, as they come and go

	Known               // of devices before they say anything
	Reload <-chan Known // what is known from then on; nil: it stays as it is

	Directory string // our own di: publications are taken at /oic/rd in its name; "": none are

	Check time.Duration // silence after which a device is asked whether it is there, and has as long to answer, 10 s at most; 0: 60 s
	Log   *slog.Logger  // nil: slog.Default()

	// Listen opens the socket from which an address is reached. nil: one of
	// the kernel.
	Listen func(to netip.Addr) (coap.PacketConn, error)
}

// Device is a device on the local network. Its slices are not changed.
type Device struct {
	ID        string         // di, a UUID in small letters
	Name      string         // "" if it told none
	Types     []string       // of the device: "oic.d.light", without oic.wk.d
	Release   string         // icv: "ocf.2.2.5", "core.1.1.0"
	Address   netip.AddrPort // where it answers
	Secure    netip.AddrPort // where it answers by DTLS; zero: nowhere
	Endpoints []oic.Endpoint // all that its links name
	Links     []oic.Link     // its own, with Anchor and Endpoints
	Since     time.Time      // since when it is there

	w *watcher // nil: from Find
}

// Change says what became of a device.
type Change struct {
	Kind   Kind
	Device Device // as it is now; if it is gone, as it was
}

// Kind is what a Change is.
type Kind uint8

// The kinds of changes.
const (
	Appeared Kind = iota
	Changed       // its name, types, links or address
	Gone          // three times it did not answer, or its publication has expired
)

// Bounds of what strangers on the network can make us keep and do.
const (
	maxDevices  = 1000
	maxPerHost  = 256 // devices at one address, whatever the port; loopback has no such bound
	maxAnswers  = 1024
	maxAsking   = 1024 // addresses that are asked what they are, or wait for it
	maxHostAsks = 64   // those of one host
	maxAtOnce   = 32   // requests under way
	maxLinks    = 512  // of a device
	maxPlaces   = 8    // at which a device is found beside the first
	maxStruck   = 1024 // addresses that are left alone for a while
	maxSaid     = 1024 // warnings that are not repeated
	maxName     = 128  // bytes
	maxTypes    = 16
)

// Times.
const (
	askWithin   = 6 * time.Second // what is it?
	checkWithin = 10 * time.Second
	checkEvery  = 60 * time.Second
	maxMissed   = 3                // checks without an answer: gone
	maxUnproved = 4                // checks that are left out for who answers groups
	rereadAfter = 10 * time.Second // links are not read again sooner
	firstPause  = time.Second      // before who did not answer is asked again,
	lastPause   = 3 * time.Second  // three times as long each time
	leaveSilent = 30 * time.Second // who did not answer then is left alone
	leaveBad    = 10 * time.Minute // who answered nonsense is
	firstGap    = time.Second      // between questions to groups
	lastGap     = 50 * time.Second
	listenFor   = 6 * time.Second // answers come after a leisure of up to 5 s (RFC 7252, section 8.2)
	lookEvery   = 5 * time.Second // at the interfaces
)
