package archive

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

type part struct{ name, data string }

var some = []part{{"tls/ca.pem", "certificate"}, {"store/a/1", ""}, {"store/a/1", "twice"}, {"store/b", string(make([]byte, 70_000))}}

func pack(t testing.TB, parts []part) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b)
	for _, p := range parts {
		if err := w.Add(p.name, []byte(p.data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// unpack reads until the first error, which is io.EOF for a whole archive.
func unpack(b []byte) (parts []part, err error) {
	r := NewReader(bytes.NewReader(b))
	for {
		name, data, err := r.Next()
		if err != nil {
			return parts, err
		}
		parts = append(parts, part{name, string(data)})
	}
}

func TestRoundTrip(t *testing.T) {
	for _, parts := range [][]part{nil, some} {
		got, err := unpack(pack(t, parts))
		if err != io.EOF || len(got) != len(parts) {
			t.Fatalf("%d of %d parts, %v", len(got), len(parts), err)
		}
		for i := range got {
			if got[i] != parts[i] {
				t.Errorf("part %d is %q", i, got[i].name)
			}
		}
	}
}

// No part of an archive passes for a whole one, nor does one with a byte
// changed in a part.
func TestBroken(t *testing.T) {
	whole := pack(t, some)
	const padding = 3 * 512 // a tar file ends with up to so many bytes that are no content
	for cut := 0; cut < len(whole)-padding; cut += 97 {
		if _, err := unpack(whole[:cut]); !errors.Is(err, ErrBroken) {
			t.Errorf("cut at %d of %d: %v", cut, len(whole), err)
		}
	}
	at := bytes.Index(whole, []byte("certificate"))
	whole[at] ^= 1
	if _, err := unpack(whole); !errors.Is(err, ErrBroken) {
		t.Errorf("a byte changed: %v", err)
	}
}

func TestParts(t *testing.T) {
	w := NewWriter(io.Discard)
	for _, p := range []part{{"", "x"}, {sumName, "x"}, {"big", string(make([]byte, MaxPart+1))}} {
		if w.Add(p.name, []byte(p.data)) == nil {
			t.Errorf("part %q of %d bytes was taken", p.name, len(p.data))
		}
	}
}

// What reads to its end is an archive, and means the same when it is packed
// again.
func FuzzReader(f *testing.F) {
	f.Add(pack(f, nil))
	f.Add(pack(f, some[:2]))
	f.Fuzz(func(t *testing.T, b []byte) {
		parts, err := unpack(b)
		if err != io.EOF {
			return
		}
		again, err := unpack(pack(t, parts))
		if err != io.EOF || len(again) != len(parts) {
			t.Fatalf("%d parts became %d: %v", len(parts), len(again), err)
		}
	})
}
