package coap_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/farreach/farreach/coap"
)

// torrent is the connection of a peer that reads nothing and always has more to
// send, up to 8 MiB.
type torrent struct {
	net.Conn
	taken int
	over  bool // the other side has said that it sends no more
	after int  // taken since
}

func (f *torrent) Read(b []byte) (int, error) {
	if f.taken += len(b); f.taken > 8<<20 {
		return 0, io.EOF
	}
	if f.over {
		f.after += len(b)
	}
	for i := range b {
		b[i] = 0xff // no header: a token of 15 bytes
	}
	return len(b), nil
}

func (f *torrent) Write(b []byte) (int, error)      { return len(b), nil }
func (f *torrent) CloseWrite() error                { f.over = true; return nil }
func (f *torrent) Close() error                     { return nil }
func (f *torrent) SetDeadline(time.Time) error      { return nil }
func (f *torrent) SetReadDeadline(time.Time) error  { return nil }
func (f *torrent) SetWriteDeadline(time.Time) error { return nil }

// A peer that goes on sending after it was found at fault has 256 KiB taken
// from it, for its Abort to arrive, and no more.
func TestLingersInBounds(t *testing.T) {
	f := &torrent{}
	err := coap.Server(f, coap.Config{Log: quiet, KeepAlive: -1}).Run(t.Context())
	if _, ok := errors.AsType[*coap.FormatError](err); !ok {
		t.Errorf("Run = %v, want a FormatError", err)
	}
	const read = 16 << 10 // what one read takes
	if f.after < 256<<10 || f.after > 256<<10+read {
		t.Errorf("%d bytes are taken after the end, want 256 KiB", f.after)
	}
}
