package event

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// A record: account, di and href are its key; its data is
//
//	version (1 byte) · time (8 bytes, big endian, ns since 1970 UTC) · own, if version is 2 · format (uvarint) · body (the rest)
//
// where own is
//
//	device time (8 bytes, as time) · flags (1 byte: 1 late)
//
// Version 1 is written for an event without a device time. The store keeps a
// checksum of it.
const (
	plainVersion = 1
	ownVersion   = 2

	flagLate = 1
)

// appendRecord appends ev without its key.
func appendRecord(dst []byte, ev *Event) []byte {
	if dst == nil {
		dst = make([]byte, 0, 1+8+9+5+len(ev.Body))
	}
	if ev.DeviceTime.IsZero() {
		dst = binary.BigEndian.AppendUint64(append(dst, plainVersion), uint64(ev.Time.UnixNano()))
	} else {
		dst = binary.BigEndian.AppendUint64(append(dst, ownVersion), uint64(ev.Time.UnixNano()))
		dst = binary.BigEndian.AppendUint64(dst, uint64(ev.DeviceTime.UnixNano()))
		if ev.Late {
			dst = append(dst, flagLate)
		} else {
			dst = append(dst, 0)
		}
	}
	dst = binary.AppendUvarint(dst, uint64(ev.Format))
	return append(dst, ev.Body...)
}

// parseRecord is the inverse of appendRecord. The event's Body aliases r.Data.
func parseRecord(r store.Record) (Event, error) {
	if len(r.Key) != 3 {
		return Event{}, fmt.Errorf("event: key of %d tokens", len(r.Key))
	}
	ev := Event{Seq: r.Seq, Account: r.Key[0], Device: r.Key[1], Href: r.Key[2]}
	b := r.Data
	if len(b) == 0 || b[0] != plainVersion && b[0] != ownVersion {
		return Event{}, fmt.Errorf("event: no record of version %d or %d", plainVersion, ownVersion)
	}
	head := 1 + 8
	if b[0] == ownVersion {
		head += 8 + 1
	}
	if len(b) <= head {
		return Event{}, fmt.Errorf("event: record of %d bytes", len(b))
	}
	ev.Time = instant(b[1:])
	if b[0] == ownVersion {
		ev.DeviceTime, ev.Late = instant(b[9:]), b[17]&flagLate != 0
	}
	format, n := binary.Uvarint(b[head:])
	if n <= 0 || format > 1<<32-1 {
		return Event{}, fmt.Errorf("event: bad format")
	}
	ev.Format, ev.Body = oic.ContentFormat(format), b[head+n:]
	return ev, nil
}

func instant(b []byte) time.Time { return time.Unix(0, int64(binary.BigEndian.Uint64(b))).UTC() }
