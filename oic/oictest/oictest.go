// Package oictest has what the tests of every way to a device have in common:
//
//	LongBodies ── the way that is tested ──▶ Shelf
package oictest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/oic"
)

// Shelf is a resource that holds what was put there, and says so to who
// watches it. It takes any bytes for a representation in CBOR.
type Shelf struct {
	mu   sync.Mutex // guards what follows
	body []byte
	news chan struct{} // closed at each change
}

// NewShelf returns a Shelf that holds body.
func NewShelf(body []byte) *Shelf { return &Shelf{body: body, news: make(chan struct{})} }

func (s *Shelf) look() ([]byte, chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.body, s.news
}

// Put changes what s holds, or only says it again.
func (s *Shelf) Put(body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.body = bytes.Clone(body)
	close(s.news)
	s.news = make(chan struct{})
}

// Handle answers any request with what s holds, after it was put there.
func (s *Shelf) Handle(_ context.Context, req *oic.Request) (*oic.Response, error) {
	status := oic.Content
	if req.Op != oic.Retrieve {
		s.Put(req.Body)
		status = oic.Changed
	}
	body, _ := s.look()
	return &oic.Response{Status: status, Format: oic.OCF, Body: body}, nil
}

// Observe tells of what s holds until ctx ends.
func (s *Shelf) Observe(ctx context.Context, _ *oic.Request, each func(*oic.Response)) error {
	for {
		body, news := s.look()
		each(&oic.Response{Status: oic.Content, Format: oic.OCF, Body: body})
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Body is n bytes, of which no two parts are alike.
func Body(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%d,", i)
	}
	return b.Bytes()[:n]
}

// MaxBody is how long a body may be, whatever leads to a device: 1 MiB.
const MaxBody = 1 << 20

// LongBodies checks that what a Shelf at href is sent, what it answers, says and
// tells may have any length up to MaxBody, and that it is refused what is longer.
func LongBodies(t *testing.T, device oic.Observer, href string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	heard, ended := make(chan []byte, 64), make(chan error, 1)
	go func() {
		ended <- device.Observe(ctx, &oic.Request{Href: href}, func(resp *oic.Response) { heard <- bytes.Clone(resp.Body) })
	}()
	hears := func() []byte {
		t.Helper()
		select {
		case body := <-heard:
			return body
		case err := <-ended:
			t.Fatalf("Observe = %v", err)
			return nil
		}
	}
	hears()
	for _, n := range []int{100, 1025, 6200, 20_000, 262_144, 300_000, MaxBody} {
		body := Body(n)
		resp, err := device.Handle(ctx, &oic.Request{Op: oic.Update, Href: href, Format: oic.OCF, Body: body})
		if err != nil || !bytes.Equal(resp.Body, body) {
			t.Fatalf("POST of %d bytes: %v", n, err)
		}
		if got := hears(); !bytes.Equal(got, body) {
			t.Errorf("heard %d bytes, want %d", len(got), n)
		}
		resp, err = device.Handle(ctx, &oic.Request{Href: href})
		if err != nil || !bytes.Equal(resp.Body, body) {
			t.Fatalf("GET of %d bytes: %v", n, err)
		}
	}
	_, err := device.Handle(ctx, &oic.Request{Op: oic.Update, Href: href, Format: oic.OCF, Body: Body(MaxBody + 1)})
	if e, ok := errors.AsType[*oic.StatusError](err); !ok || e.Status != oic.TooLarge {
		t.Errorf("POST of more than %d bytes: %v, want 4.13", MaxBody, err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Observe = %v, want %v", err, context.Canceled)
	}
}
