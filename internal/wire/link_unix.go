//go:build unix

package wire

import (
	"io"
	"net"
	"syscall"
	"time"
)

// New returns the best link for nc.
func New(nc net.Conn) Link {
	if l, ok := nc.(Link); ok {
		return l
	}
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return blocking{nc}
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return blocking{nc}
	}
	l := &direct{nc: nc, rc: rc}
	l.onRead, l.onWrite = l.readNow, l.writeNow
	return l
}

// direct is the link over a socket. The runtime's poller waits; a buffer is
// borrowed for each attempt to read and given back when nothing was there.
type direct struct {
	nc              net.Conn
	rc              syscall.RawConn
	onRead, onWrite func(fd uintptr) bool // made once, so that no call allocates

	in    *Buffer
	inErr error

	out    []byte
	wrote  int
	outErr error

	slot int // in a Lot
}

func (l *direct) Next() (*Buffer, error) {
	if err := l.rc.Read(l.onRead); err != nil {
		return nil, err
	}
	b, err := l.in, l.inErr
	l.in, l.inErr = nil, nil
	return b, err
}

// readNow reads what is there. It reports false if nothing is: then the
// runtime waits, and calls again.
func (l *direct) readNow(fd uintptr) bool {
	b := Borrow()
	n, err := uninterrupted(syscall.Read, fd, b.B[:cap(b.B)])
	if n > 0 {
		b.B = b.B[:n]
		l.in = b
		return true
	}
	b.Free()
	if err == syscall.EAGAIN {
		return false
	}
	if l.inErr = err; err == nil {
		l.inErr = io.EOF
	}
	return true
}

func (l *direct) Try(b []byte) (int, error) {
	l.out, l.wrote, l.outErr = b, 0, nil
	err := l.rc.Write(l.onWrite)
	l.out = nil
	if err == nil {
		err = l.outErr
	}
	return l.wrote, err
}

// writeNow writes until all is written or the socket is full. It never asks
// the runtime to wait.
func (l *direct) writeNow(fd uintptr) bool {
	for l.wrote < len(l.out) {
		n, err := uninterrupted(syscall.Write, fd, l.out[l.wrote:])
		if err == syscall.EAGAIN {
			return true
		}
		if err != nil {
			l.outErr = err
			return true
		}
		l.wrote += n
	}
	return true
}

func (l *direct) Pending() bool { return false }

func (l *direct) WriteBefore(b []byte, deadline time.Time) error {
	return writeBefore(l.nc, b, deadline)
}

// uninterrupted does a system call again while a signal interrupts it.
func uninterrupted(call func(int, []byte) (int, error), fd uintptr, b []byte) (int, error) {
	for {
		if n, err := call(int(fd), b); err != syscall.EINTR {
			return n, err
		}
	}
}
