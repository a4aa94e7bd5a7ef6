package main

import (
	"bytes"
	"io"
	"time"
)

// Bounds of a tap.
const (
	tapLines    = 256                    // that wait to be written
	tapPatience = 500 * time.Millisecond // with who reads the last ones
)

// tap writes the lines of a running server. Whoever reads them may be slow, or gone:
// nobody who writes here waits for that, so that the server goes on, and ends when it
// is told to, whatever becomes of its standard output.
type tap struct {
	lines chan []byte
	done  chan struct{} // closed when nothing more is written
}

func newTap(out io.Writer) *tap {
	t := &tap{lines: make(chan []byte, tapLines), done: make(chan struct{})}
	go func() {
		defer close(t.done)
		var gone error
		for line := range t.lines {
			if gone == nil {
				_, gone = out.Write(line)
			}
		}
	}()
	return t
}

// Write implements io.Writer for whole lines. It drops what there is no room for.
func (t *tap) Write(line []byte) (int, error) {
	select {
	case t.lines <- bytes.Clone(line):
	default:
	}
	return len(line), nil
}

// close ends t, to which nobody writes any more. A write that nobody takes is left to
// the end of the process.
func (t *tap) close() {
	close(t.lines)
	patience := time.NewTimer(tapPatience)
	defer patience.Stop()
	select {
	case <-t.done:
	case <-patience.C:
	}
}
