package jid

import "sync"

// Bounds of a Cache.
const (
	cacheEntries = 4096 // addresses in each of two generations
	cacheLongest = 256  // bytes of an address that is kept
)

// Cache parses addresses and remembers those it has seen lately. It holds no
// more than 8,192 of at most 256 bytes, in whatever spelling they came. The
// zero Cache is ready; it may be used from several goroutines.
type Cache struct {
	mu       sync.Mutex     // guards both
	now, old map[string]JID // old is what was in now when it was last full
}

// Get is Parse. It does not allocate if it has seen b lately, and does not keep
// b.
func (c *Cache) Get(b []byte) (JID, error) {
	c.mu.Lock()
	j, ok := c.now[string(b)]
	c.mu.Unlock()
	if ok {
		return j, nil
	}
	return c.miss(b)
}

// miss looks for b among what is about to be forgotten, and else parses it.
func (c *Cache) miss(b []byte) (JID, error) {
	c.mu.Lock()
	j, ok := c.old[string(b)]
	c.mu.Unlock()
	if !ok {
		var err error
		if j, err = Parse(string(b)); err != nil || len(b) > cacheLongest {
			return j, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now == nil || len(c.now) >= cacheEntries {
		c.now, c.old = make(map[string]JID), c.now
	}
	c.now[string(b)] = j
	return j, nil
}
