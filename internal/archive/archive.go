// Package archive is a file of named parts that knows whether it is whole:
//
//	Writer ── Add, Add, …, Close ──▶ tar: part, part, …, "sha256" ──▶ Reader ── Next, Next, …, io.EOF
//
// It is a tar file, so that anybody can look into it. Its last member is the
// digest of all that stands before it: a file that was cut off, or changed
// anywhere, never reads to its end. That tells an accident, not an attack:
// whoever can change a file can also compute the digest anew.
package archive

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
)

// MaxPart is the most that a part holds, bytes. A Reader keeps one in memory.
const MaxPart = 4 << 20

// sumName is the name of the last member.
const sumName = "sha256"

// ErrBroken wraps the error of a file that is no archive, or not a whole one.
var ErrBroken = errors.New("broken archive")

// Writer writes an archive.
type Writer struct {
	tar *tar.Writer
	sum hash.Hash
}

// NewWriter returns a Writer to w. It closes only the archive, not w.
func NewWriter(w io.Writer) *Writer {
	return &Writer{tar: tar.NewWriter(w), sum: sha256.New()}
}

// Add writes a part of at most MaxPart bytes. Parts may have the same name.
func (w *Writer) Add(name string, data []byte) error {
	if len(data) > MaxPart || name == sumName || name == "" {
		return fmt.Errorf("archive: part %q of %d bytes", name, len(data))
	}
	digest(w.sum, name, data)
	return w.add(name, data)
}

func (w *Writer) add(name string, data []byte) error {
	// A mode for those who unpack it; no time, for the same parts are the same file.
	head := &tar.Header{Name: name, Mode: 0o600, Size: int64(len(data)), Format: tar.FormatPAX}
	if err := w.tar.WriteHeader(head); err != nil {
		return err
	}
	_, err := w.tar.Write(data)
	return err
}

// Close writes the end of the archive, without which it is not whole.
func (w *Writer) Close() error {
	if err := w.add(sumName, []byte(hex.EncodeToString(w.sum.Sum(nil)))); err != nil {
		return err
	}
	return w.tar.Close()
}

// Reader reads an archive.
type Reader struct {
	tar *tar.Reader
	sum hash.Hash
}

// NewReader returns a Reader of r.
func NewReader(r io.Reader) *Reader {
	return &Reader{tar: tar.NewReader(r), sum: sha256.New()}
}

// Next returns the next part. io.EOF says that it was the last and that the
// archive is whole; what was read of another may not be used.
func (r *Reader) Next() (name string, data []byte, err error) {
	head, err := r.tar.Next()
	if err == io.EOF {
		return "", nil, fmt.Errorf("%w: cut off", ErrBroken)
	}
	if err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	if head.Typeflag != tar.TypeReg || head.Size > MaxPart {
		return "", nil, fmt.Errorf("%w: member %q", ErrBroken, head.Name)
	}
	data = make([]byte, head.Size)
	if _, err := io.ReadFull(r.tar, data); err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	if head.Name == sumName {
		return "", nil, r.end(data)
	}
	digest(r.sum, head.Name, data)
	return head.Name, data, nil
}

// end checks the digest of all parts.
func (r *Reader) end(sum []byte) error {
	if string(sum) != hex.EncodeToString(r.sum.Sum(nil)) {
		return fmt.Errorf("%w: its content has changed", ErrBroken)
	}
	if _, err := r.tar.Next(); err != io.EOF {
		return fmt.Errorf("%w: more after its end", ErrBroken)
	}
	return io.EOF
}

// digest adds a part to h, each of its two halves behind its length.
func digest(h hash.Hash, name string, data []byte) {
	for _, b := range [][]byte{[]byte(name), data} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
}
