package cloud

import (
	"sync"
	"sync/atomic"

	"golang.org/x/time/rate"

	"github.com/farreach/farreach/oic"
)

// What one device may take of the cloud, and the cloud of it.
const (
	eventsPerSecond = 50
	eventBurst      = 200
	maxRequests     = 32      // under way to a device
	maxWatchers     = 256     // observations of a device
	maxAllWatchers  = 100_000 // observations of all devices
	maxReported     = 2 * 512 // hrefs: those a device may publish, and change once
)

// flow is what goes to and from one device. It outlives connections, so that
// nobody gets more by connecting again.
type flow struct {
	events   *rate.Limiter
	requests atomic.Int32
	watchers atomic.Int32

	mu       sync.Mutex // guards reported
	reported map[string]bool
}

// flow returns that of a device.
func (c *Cloud) flow(di string) *flow {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.flows[di]
	if f == nil {
		f = &flow{events: rate.NewLimiter(eventsPerSecond, eventBurst)}
		c.flows[di] = f
	}
	return f
}

// forget drops what is kept for a device that has been removed.
func (c *Cloud) forget(di string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.flows, di)
}

// connected notes that a new connection is about to report everything anew.
func (f *flow) connected() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reported = map[string]bool{}
}

// first reports whether href has not been reported yet by this connection.
func (f *flow) first(href string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reported[href] || len(f.reported) >= maxReported {
		return false
	}
	if f.reported == nil {
		f.reported = map[string]bool{}
	}
	f.reported[href] = true
	return true
}

// enter counts a request to the device, until leave. It is a 5.03 at once when
// too many are under way, for one that does not answer must not gather them.
func (f *flow) enter() (leave func(), err error) {
	if f.requests.Add(1) > maxRequests {
		f.requests.Add(-1)
		return nil, oic.Errorf(oic.Unavailable, "the device has %d requests to answer; try again", maxRequests)
	}
	return func() { f.requests.Add(-1) }, nil
}

// watch counts an observation of the device, until leave. It is not ok when
// there are too many.
func (c *Cloud) watch(f *flow) (leave func(), ok bool) {
	one, all := f.watchers.Add(1), c.watchers.Add(1)
	leave = func() { f.watchers.Add(-1); c.watchers.Add(-1) }
	if one > maxWatchers || all > maxAllWatchers {
		leave()
		return nil, false
	}
	return leave, true
}
