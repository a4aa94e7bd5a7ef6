package event

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// A record, version 1: account, di and href are its key; its data is
//
//	version (1 byte: 1) · time (8 bytes, big endian, ns since 1970 UTC) · format (uvarint) · body (the rest)
//
// The store keeps a checksum of it.
const version = 1

// appendRecord appends ev without its key.
func appendRecord(dst []byte, ev *Event) []byte {
	if dst == nil {
		dst = make([]byte, 0, 1+8+5+len(ev.Body))
	}
	dst = append(dst, version)
	dst = binary.BigEndian.AppendUint64(dst, uint64(ev.Time.UnixNano()))
	dst = binary.AppendUvarint(dst, uint64(ev.Format))
	return append(dst, ev.Body...)
}

// parseRecord is the inverse of appendRecord. The event's Body aliases r.Data.
func parseRecord(r store.Record) (Event, error) {
	if len(r.Key) != 3 {
		return Event{}, fmt.Errorf("event: key of %d tokens", len(r.Key))
	}
	b := r.Data
	if len(b) == 0 || b[0] != version {
		return Event{}, fmt.Errorf("event: no record of version %d", version)
	}
	if len(b) < 10 {
		return Event{}, fmt.Errorf("event: record of %d bytes", len(b))
	}
	nanos := int64(binary.BigEndian.Uint64(b[1:]))
	format, n := binary.Uvarint(b[9:])
	if n <= 0 || format > 1<<32-1 {
		return Event{}, fmt.Errorf("event: bad format")
	}
	return Event{
		Seq: r.Seq, Time: time.Unix(0, nanos).UTC(),
		Account: r.Key[0], Device: r.Key[1], Href: r.Key[2],
		Format: oic.ContentFormat(format), Body: b[9+n:],
	}, nil
}
