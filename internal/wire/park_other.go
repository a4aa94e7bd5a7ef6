//go:build !linux

package wire

// Lot is where idle links would be parked, if there were a poller for this
// system: here each keeps its goroutine.
type Lot[W Waker] struct{}

// Park reports that l cannot be parked.
func (*Lot[W]) Park(Link, W) bool { return false }

// Forget does nothing.
func (*Lot[W]) Forget(Link, W) {}

// Close does nothing.
func (*Lot[W]) Close() {}
