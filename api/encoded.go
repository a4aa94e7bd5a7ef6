package api

import (
	"encoding/json"
	"sync"
)

// encoded remembers events as JSON for a short while: hundreds of streams that
// follow the same devices are told the same bytes, which are made once.
type encoded struct {
	mu    sync.Mutex           // guards what follows
	at    map[uint64]*encoding // by seq
	bytes int
}

// encoding is one event.
type encoding struct {
	once sync.Once
	text []byte
	err  error
}

// What is remembered, at most: what streams that keep pace have not written yet.
const (
	maxEncoded      = 1024
	maxEncodedBytes = 4 << 20
)

// of returns event seq as JSON, made by what event returns if nobody has asked
// for it lately. It is shared: not to be changed.
func (c *encoded) of(seq uint64, event func() Event) ([]byte, error) {
	e := c.entry(seq)
	e.once.Do(func() {
		e.text, e.err = json.Marshal(event())
		c.made(len(e.text))
	})
	return e.text, e.err
}

func (c *encoded) entry(seq uint64) *encoding {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.at[seq]; e != nil {
		return e
	}
	if c.at == nil {
		c.at = map[uint64]*encoding{}
	}
	e := new(encoding)
	c.at[seq] = e
	return e
}

// made counts the bytes of one more, and forgets all when there are too many.
func (c *encoded) made(bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes += bytes
	if len(c.at) > maxEncoded || c.bytes > maxEncodedBytes {
		clear(c.at) // who still needs one makes it again
		c.bytes = 0
	}
}
