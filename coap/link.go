package coap

import (
	"net"
	"time"
)

// link is how a connection waits for bytes and gets rid of them. It stands
// between Conn and the way of waiting, so that an idle connection could be
// parked on a poller instead of a goroutine.
type link interface {
	// read waits until there are bytes and returns some of them in a borrowed
	// buffer, which the caller frees. One goroutine at a time calls it.
	read() (*buffer, error)

	// try writes as much of b as can be written without waiting.
	try(b []byte) (n int, err error)

	// pending reports whether bytes that try has taken are still to be
	// written.
	pending() bool

	// write writes what is pending and all of b, and gives up at the deadline.
	// One goroutine at a time calls try, pending and write.
	write(b []byte, deadline time.Time) error
}

// blocking is the link over a net.Conn of which nothing more is known. It
// needs a buffer while it waits, and can write only by waiting.
type blocking struct{ nc net.Conn }

func (l blocking) read() (*buffer, error) {
	b := borrow()
	for {
		n, err := l.nc.Read(b.b[:cap(b.b)])
		if n > 0 {
			b.b = b.b[:n]
			return b, nil // an error comes again
		}
		if err != nil {
			b.free()
			return nil, err
		}
	}
}

func (l blocking) try([]byte) (int, error) { return 0, nil }

func (l blocking) pending() bool { return false }

func (l blocking) write(b []byte, deadline time.Time) error {
	return writeDeadline(l.nc, b, deadline)
}

// writeDeadline writes all of b to nc before the deadline.
func writeDeadline(nc net.Conn, b []byte, deadline time.Time) error {
	nc.SetWriteDeadline(deadline) // fails on a closed connection, as Write does
	_, err := nc.Write(b)
	nc.SetWriteDeadline(time.Time{})
	return err
}

// limitLink tells a link that gathers messages itself how long one may be.
func (c *Conn) limitLink(n int) {
	if l, ok := c.link.(interface{ setLimit(n int) }); ok {
		l.setLimit(n)
	}
}
