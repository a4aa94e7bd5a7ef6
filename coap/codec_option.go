package coap

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Bounds of a message's options. They are ours: RFC 7252 has none but the
// lengths of section 5.10.
const (
	MaxOptions     = 64
	MaxOptionValue = 1034 // bytes: Proxy-Uri, the longest of RFC 7252, section 5.10
	MaxURI         = 2048 // bytes of all Uri-Path and Uri-Query options together
	MaxURISegments = 32   // how many of them
)

const (
	specOption = "RFC 7252, section 3.1"
	specLength = "RFC 7252, section 5.10"
	specPath   = "RFC 7252, section 5.10.1"
	specUnfit  = "RFC 7252, section 5.4"
)

// parseBody reads options, marker and payload, the whole of b, into m. base is
// the offset of b in the message, for errors.
//
// An option that is refused does not end the walk: only when all options have
// been seen is it sure that the extent of the message is as announced, so that
// the peer may be answered.
func (m *Message) parseBody(b []byte, base int) error {
	if m.Options == nil && len(b) > 0 {
		m.Options = make(Options, 0, 8)
	}
	var refused error
	number, uri := 0, uriBudget{}
	for i := 0; i < len(b); {
		start, head := i, b[i]
		if head == 0xff {
			if i+1 == len(b) {
				return &FormatError{Off: base + i, Why: "payload marker without a payload", Spec: specHeader}
			}
			m.Payload = b[i+1:]
			return refused
		}
		i++
		delta, length := int(head>>4), int(head&15)
		if delta > 12 || length > 12 {
			var err *FormatError
			if delta, length, i, err = extended(b, i, delta, length); err != nil {
				err.Off += base
				return err
			}
		}
		if length > len(b)-i {
			return &FormatError{Off: base + start, Spec: specOption,
				Why: fmt.Sprintf("option value of %d bytes runs past the end", length)}
		}
		value := b[i : i+length : i+length]
		i += length
		if refused != nil {
			continue
		}
		number += delta
		if err := admit(len(m.Options), number, value, &uri); err != nil {
			err.Off = base + start
			refused = err
			continue
		}
		m.Options = append(m.Options, Option{Number: Number(number), Value: value})
	}
	return refused
}

// extended reads the extensions, at b[at], of an option's delta and length,
// of which the nibbles are given. It returns where they end.
func extended(b []byte, at, delta, length int) (d, l, next int, err *FormatError) {
	switch {
	case delta == 15:
		return 0, 0, 0, &FormatError{Off: at - 1, Why: "option delta 15 is reserved", Spec: specOption}
	case length == 15:
		return 0, 0, 0, &FormatError{Off: at - 1, Why: "option length 15 is reserved", Spec: specOption}
	}
	if d, next, err = extension(b, at, delta, "delta"); err == nil {
		l, next, err = extension(b, next, length, "length")
	}
	return d, l, next, err
}

func extension(b []byte, at, nibble int, what string) (value, next int, err *FormatError) {
	switch {
	case nibble < 13:
		return nibble, at, nil
	case nibble == 13 && len(b)-at >= 1:
		return int(b[at]) + 13, at + 1, nil
	case nibble == 14 && len(b)-at >= 2:
		return int(binary.BigEndian.Uint16(b[at:])) + 269, at + 2, nil
	}
	return 0, 0, &FormatError{Off: at, Why: "option " + what + " runs past the end", Spec: specOption}
}

// admit says why a message is refused for an option that was read behind count
// others, nil if it is not.
func admit(count, number int, value []byte, uri *uriBudget) *FormatError {
	switch {
	case number == int(URIPath), number == int(URIQuery):
		if err := uri.take(Number(number), value); err != nil {
			return err
		}
	case number > 0xffff:
		return &FormatError{Why: "option number over 65535", Spec: specOption, Answer: BadOption}
	}
	switch {
	case len(value) > MaxOptionValue:
		return &FormatError{Spec: specLength, Answer: BadOption,
			Why: fmt.Sprintf("option value of %d bytes, at most %d are taken", len(value), MaxOptionValue)}
	case count == MaxOptions:
		return &FormatError{Why: fmt.Sprintf("more than %d options", MaxOptions), Spec: specUnfit, Answer: BadOption}
	}
	return nil
}

// uriBudget counts what a message's Uri-Path and Uri-Query options take of
// MaxURI and MaxURISegments.
type uriBudget struct{ bytes, segments int }

func (u *uriBudget) take(n Number, value []byte) *FormatError {
	u.bytes += len(value)
	u.segments++
	switch {
	case u.segments > MaxURISegments:
		return &FormatError{Spec: specUnfit, Answer: BadOption,
			Why: fmt.Sprintf("more than %d path segments and query options", MaxURISegments)}
	case u.bytes > MaxURI:
		return &FormatError{Spec: specUnfit, Answer: BadOption,
			Why: fmt.Sprintf("path and query of more than %d bytes", MaxURI)}
	case n == URIPath && (string(value) == "." || string(value) == ".."):
		return &FormatError{Why: "path segment " + string(value), Spec: specPath, Answer: BadRequest}
	case bytes.IndexByte(value, 0) >= 0:
		return &FormatError{Why: "NUL in the path or query", Spec: specPath, Answer: BadRequest}
	}
	return nil
}

// appendBody appends the options of m, and marker and payload if it has one.
// bodyLen has found that they can be written.
func (m *Message) appendBody(dst []byte) []byte {
	last := Number(0)
	for _, o := range m.Options {
		delta, length := int(o.Number-last), len(o.Value)
		if delta < 13 && length < 13 {
			dst = append(dst, byte(delta<<4|length))
		} else {
			dst = append(dst, nibble(delta)<<4|nibble(length))
			dst = appendExtension(dst, delta)
			dst = appendExtension(dst, length)
		}
		dst = append(dst, o.Value...)
		last = o.Number
	}
	if len(m.Payload) > 0 {
		dst = append(dst, 0xff)
		dst = append(dst, m.Payload...)
	}
	return dst
}

func nibble(n int) byte {
	switch {
	case n < 13:
		return byte(n)
	case n < 269:
		return 13
	}
	return 14
}

func appendExtension(dst []byte, n int) []byte {
	switch {
	case n < 13:
		return dst
	case n < 269:
		return append(dst, byte(n-13))
	}
	return binary.BigEndian.AppendUint16(dst, uint16(n-269))
}

// bodyLen is how many bytes appendBody will append. The error says which
// option cannot be written.
func (m *Message) bodyLen() (int, error) {
	n, last := 0, Number(0)
	for _, o := range m.Options {
		if o.Number < last {
			return 0, fmt.Errorf("coap: option %d behind option %d", o.Number, last)
		}
		if len(o.Value) > 0xffff+269 {
			return 0, fmt.Errorf("coap: option %d has %d bytes, more than its length field holds", o.Number, len(o.Value))
		}
		n += 1 + extensionLen(int(o.Number-last)) + extensionLen(len(o.Value)) + len(o.Value)
		last = o.Number
	}
	if len(m.Payload) > 0 {
		n += 1 + len(m.Payload)
	}
	return n, nil
}

func extensionLen(n int) int {
	switch {
	case n < 13:
		return 0
	case n < 269:
		return 1
	}
	return 2
}
