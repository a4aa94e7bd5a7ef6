package sm_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/farreach/farreach/xmpp/sm"
)

func texts(q *sm.Queue) (all []string) {
	for s := range q.All() {
		all = append(all, string(s))
	}
	return all
}

func TestAck(t *testing.T) {
	var q sm.Queue
	for _, s := range []string{"one", "two", "three", "four"} {
		if err := q.Add([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		h    uint32
		err  error
		left []string
	}{
		{0, nil, []string{"one", "two", "three", "four"}},
		{2, nil, []string{"three", "four"}},
		{2, nil, []string{"three", "four"}},
		{1, sm.ErrTooHigh, []string{"three", "four"}}, // backwards is 2^32-1 forwards
		{5, sm.ErrTooHigh, []string{"three", "four"}},
		{4, nil, nil},
		{4, nil, nil},
	} {
		if err := q.Ack(step.h); !errors.Is(err, step.err) || !slices.Equal(texts(&q), step.left) {
			t.Fatalf("Ack(%d) = %v, left %q; want %v, %q", step.h, err, texts(&q), step.err, step.left)
		}
	}
	if q.Sent() != 4 || q.Size() != 0 {
		t.Errorf("Sent = %d, Size = %d", q.Sent(), q.Size())
	}
}

// TestCountersWrap: XEP-0198, section 4: h is counted modulo 2^32.
func TestCountersWrap(t *testing.T) {
	var q sm.Queue
	var r sm.Received
	step := func(n uint32) {
		for range n {
			q.Add([]byte("x"))
			r.Add()
		}
		if err := q.Ack(r.H()); err != nil || q.Len() != 0 {
			t.Fatalf("Ack(%d) = %v, %d left", r.H(), err, q.Len())
		}
	}
	step(3)
	sm.SetCounters(&q, &r, math.MaxUint32-2)
	step(2)
	step(5)
	if r.H() != 4 || q.Sent() != 4 {
		t.Errorf("h = %d, sent %d; want 4 and 4", r.H(), q.Sent())
	}
}

func TestQueueIsBounded(t *testing.T) {
	q := sm.Queue{MaxStanzas: 3, MaxBytes: 10}
	for i, c := range []struct {
		n   int
		err error
	}{{4, nil}, {7, sm.ErrFull}, {6, nil}, {1, sm.ErrFull}, {0, nil}, {0, sm.ErrFull}} {
		if err := q.Add(make([]byte, c.n)); !errors.Is(err, c.err) {
			t.Errorf("Add %d = %v, want %v", i, err, c.err)
		}
	}
	q.Ack(1)
	if err := q.Add(make([]byte, 4)); err != nil || q.Size() != 10 {
		t.Errorf("after Ack: %v, %d bytes", err, q.Size())
	}
}

// TestOrder: whatever mixture of sending and acknowledging, what is left is
// what was not acknowledged, in order.
func TestOrder(t *testing.T) {
	var q sm.Queue
	var h uint32
	for i := range 10_000 {
		if err := q.Add(fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
		if i%7 == 3 {
			h += uint32(q.Len() * (i % 3) / 2)
			if err := q.Ack(h); err != nil {
				t.Fatal(err)
			}
		}
		next := int(h)
		for s := range q.All() {
			if !bytes.Equal(s, fmt.Append(nil, next)) {
				t.Fatalf("%q is next, want %d", s, next)
			}
			next++
		}
		if next != i+1 {
			t.Fatalf("the last is %d, want %d", next-1, i)
		}
	}
}

func TestParseH(t *testing.T) {
	for s, want := range map[string]int64{"0": 0, "7": 7, "4294967295": math.MaxUint32, "4294967296": -1, "-1": -1, "": -1, "+1": -1, " 1": -1, "0x1": -1, "1e3": -1} {
		h, ok := sm.ParseH(s)
		if ok != (want >= 0) || ok && int64(h) != want {
			t.Errorf("ParseH(%q) = %d, %v; want %d", s, h, ok, want)
		}
	}
	if got := string(sm.AppendAck(nil, 42)); got != "<a xmlns='urn:xmpp:sm:3' h='42'/>" {
		t.Errorf("AppendAck = %s", got)
	}
}

func BenchmarkAddAck(b *testing.B) {
	var q sm.Queue
	stanza := make([]byte, 600)
	b.ReportAllocs()
	var h uint32
	for b.Loop() {
		q.Add(stanza)
		if h++; h%32 == 0 {
			q.Ack(h - 8)
		}
	}
}
