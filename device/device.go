// Package device hosts the resources of one OIC device: it is what stands at
// the end of the line.
//
//	             ┌▶ /oic/res, /oic/d, /oic/p   what the device is and has
//	Request ──▶ Host ──▶ interface and method ──▶ Resource.Retrieve
//	             └▶ 4.04                        └▶ Updater.Update … ──▶ Changed
//	                                                                      │
//	each ◀── Host.Observe ◀── Resource.Retrieve ◀── one wake-up at most ──┘
//
// A Host is an oic.Observer. It knows no wire and starts no goroutine: whoever
// asks or observes lends his. Package sim has devices to play with.
package device

import (
	"context"

	"github.com/farreach/farreach/oic"
)

// Resource is one thing that a device offers. The host serializes the calls to
// one Resource, so that an implementation needs no lock of its own for what
// only they touch.
type Resource interface {
	// Link describes the resource. It is constant for the life of the
	// resource. Of Interfaces the first is the one that a request without an
	// interface means; oic.IfBaseline may stand among them.
	Link() oic.Link

	// Retrieve returns the representation as iface shows it, a value for
	// oic.Encode that becomes a map. rt and if are not its concern: the host
	// adds them for oic.IfBaseline, unless it is Complete. The value is encoded
	// before the next call.
	Retrieve(ctx context.Context, iface string) (rep any, err error)
}

// Updater is a Resource that can be changed.
type Updater interface {
	Resource

	// Update changes the properties that are in rep, which is CBOR: see
	// oic.Decode. It must not retain rep. What it returns is the body of the
	// answer; nil means none, which is usual. After a success the host calls
	// Changed itself.
	Update(ctx context.Context, iface string, rep []byte) (changed any, err error)
}

// Complete is a representation that has its rt and if already.
type Complete struct{ Rep any }

// Selective is a Resource that does not answer everybody alike.
type Selective interface {
	Resource

	// For is the resource as it is for who asks, through a cloud or by Remote
	// Access if far. It is called for each request, in turn with the others.
	For(who oic.Identity, far bool) Resource
}

// Prompt is a Resource none of whose methods waits for anything but a lock that
// is held shortly: what it stands for is in memory. Those who ask may then be
// answered without a goroutine of their own.
type Prompt interface {
	Resource
	Prompt()
}

// Replacer is a Resource whose representation can be replaced as a whole (PUT).
type Replacer interface {
	Resource
	Replace(ctx context.Context, iface string, rep []byte) (changed any, err error) // as Update
}

// Creator is a collection in which resources can be made; oic.IfCreate is among
// its interfaces.
type Creator interface {
	Resource

	// Create makes a resource, adds it to the host, and returns where it is
	// and the body of the answer, nil for none.
	Create(ctx context.Context, rep []byte) (href string, created any, err error)
}

// Deleter is a Resource that can be deleted.
type Deleter interface {
	Resource

	// Delete ends what the resource stands for. After a success the host
	// removes it.
	Delete(ctx context.Context) error
}
