// Package wire is what every engine of streams here stands on: how a connection
// waits for bytes without holding memory, and how it gets rid of them without
// waiting. It knows no protocol.
//
//	Accept ──▶ net.Conn ──▶ Link ◀── New: the socket, by its file descriptor
//	   │                     ▲ └──── Secure: TLS over another Link
//	   └── Strangers         │
//	     who may stay        Buffer, borrowed while bytes are there
//
// A goroutine that waits in Next holds no buffer and little stack. Try writes
// what the socket takes at once; only a full socket needs WriteBefore, and a
// goroutine that can wait: Queue sees to that. A link that is silent for long can
// be left to a Lot, and then needs no goroutine at all.
package wire

import (
	"net"
	"time"
)

// Link is how a connection waits for bytes and gets rid of them. It stands
// between the engine and the way of waiting, so that an idle connection can be
// parked on a poller instead of a goroutine: see Lot.
type Link interface {
	// Next waits until there are bytes and returns some of them in a borrowed
	// buffer, which the caller frees. One goroutine at a time calls it.
	Next() (*Buffer, error)

	// Try writes as much of b as can be written without waiting.
	Try(b []byte) (n int, err error)

	// Pending reports whether bytes that Try has taken are still to be
	// written.
	Pending() bool

	// WriteBefore writes what is pending and all of b, and gives up at the
	// deadline. One goroutine at a time calls Try, Pending and WriteBefore.
	WriteBefore(b []byte, deadline time.Time) error
}

// blocking is the link over a net.Conn of which nothing more is known. It
// needs a buffer while it waits, and can write only by waiting.
type blocking struct{ nc net.Conn }

func (l blocking) Next() (*Buffer, error) {
	b := Borrow()
	for {
		n, err := l.nc.Read(b.B[:cap(b.B)])
		if n > 0 {
			b.B = b.B[:n]
			return b, nil // an error comes again
		}
		if err != nil {
			b.Free()
			return nil, err
		}
	}
}

func (l blocking) Try([]byte) (int, error) { return 0, nil }

func (l blocking) Pending() bool { return false }

func (l blocking) WriteBefore(b []byte, deadline time.Time) error {
	return writeBefore(l.nc, b, deadline)
}

// writeBefore writes all of b to nc before the deadline.
func writeBefore(nc net.Conn, b []byte, deadline time.Time) error {
	nc.SetWriteDeadline(deadline) // fails on a closed connection, as Write does
	_, err := nc.Write(b)
	nc.SetWriteDeadline(time.Time{})
	return err
}
