package main

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// A server neither waits for who reads its lines, nor ends with him.
func TestTap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var read strings.Builder
		well := newTap(&read)
		for _, line := range []string{"a\n", "b\n"} {
			if n, err := well.Write([]byte(line)); n != 2 || err != nil {
				t.Fatal(n, err)
			}
		}
		well.close()
		if read.String() != "a\nb\n" {
			t.Errorf("written: %q", read.String())
		}

		begin, stuck := time.Now(), make(chan struct{})
		full := newTap(writerFunc(func([]byte) (int, error) { <-stuck; return 0, io.ErrClosedPipe }))
		for range 3 * tapLines {
			if n, err := full.Write([]byte("a\n")); n != 2 || err != nil {
				t.Fatal(n, err)
			}
		}
		full.close()
		if took := time.Since(begin); took != tapPatience {
			t.Errorf("ended after %v", took)
		}
		close(stuck)

		tries := 0
		gone := newTap(writerFunc(func([]byte) (int, error) { tries++; return 0, errors.New("gone") }))
		for range 10 {
			_, _ = gone.Write([]byte("a\n")) // never fails
		}
		gone.close()
		if tries != 1 {
			t.Errorf("%d tries to write to nobody", tries)
		}
	})
}
