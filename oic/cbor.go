package oic

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/fxamacker/cbor/v2"
)

// Encode returns v as a body in f, which must be OCF, CBOR or JSON. Struct tags
// are those of package cbor, else of encoding/json. A nil slice or map is an
// empty one. An error is a mistake in this program.
func Encode(f ContentFormat, v any) ([]byte, error) {
	if !f.IsCBOR() && f != JSON {
		return nil, unsupported(f)
	}
	b, err := modes().enc.Marshal(v)
	if err != nil || f != JSON {
		return b, err
	}
	return ToJSON(CBOR, b)
}

// Decode reads a body in f, which must be OCF, CBOR or JSON, into the value
// that v points to. Names are compared with respect to case; members that v
// has no place for are passed over. Tags are dropped; lengths may be
// indefinite, as they are in every body from iotivity-lite.
//
// A representation has at most 32 levels, 16,384 elements and members, and
// 65,536 bytes in one text. The error is a *StatusError: 4.15 for another
// format, 4.00 for a body beyond these limits, with two equal keys in a map, a
// key that is not text, text that is not UTF-8, bytes behind its end, or a
// value that does not fit v.
//
// v should be a struct: a tree of maps can cost a hundred times the memory
// that the body has.
func Decode(f ContentFormat, b []byte, v any) error {
	switch {
	case f == JSON:
		var err error
		if b, err = FromJSON(CBOR, b); err != nil {
			return err
		}
	case f.IsCBOR():
		tags, err := scan(b)
		if err != nil {
			return err
		}
		b = cut(b, tags)
	default:
		return unsupported(f)
	}
	if err := modes().dec.Unmarshal(b, v); err != nil {
		if wrong, ok := errors.AsType[*cbor.UnmarshalTypeError](err); ok {
			name := cmp.Or(fieldName(wrong.StructFieldName), "this")
			return Errorf(BadRequest, "%s cannot be %s", name, kindName(wrong.CBORType))
		}
		return Errorf(BadRequest, "%v", err)
	}
	return nil
}

func unsupported(f ContentFormat) error {
	return Errorf(BadFormat, "%v is not a representation", f)
}

// cut returns b without the given spans, and b itself if there are none.
func cut(b []byte, spans []span) []byte {
	if len(spans) == 0 {
		return b
	}
	out, at := make([]byte, 0, len(b)), uint32(0)
	for _, s := range spans {
		out = append(out, b[at:s.from]...)
		at = s.to
	}
	return append(out, b[at:]...)
}

// codec is the two modes of package cbor, which are made once: making one
// takes longer than using it.
type codec struct {
	enc cbor.EncMode
	dec cbor.DecMode
}

var modes = sync.OnceValue(func() codec {
	enc, err := cbor.EncOptions{
		NilContainers: cbor.NilContainerAsEmpty,
		TagsMd:        cbor.TagsForbidden,
	}.EncMode()
	if err != nil {
		panic(err)
	}
	dec, err := cbor.DecOptions{ // scan has looked for double keys already
		MaxNestedLevels:   maxDepth,
		MaxArrayElements:  maxItems,
		MaxMapPairs:       maxItems,
		TagsMd:            cbor.TagsForbidden,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
		IntDec:            cbor.IntDecConvertSignedOrFail,
		DefaultMapType:    mapType,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return codec{enc, dec}
})

// mapType is what a map becomes where v leaves it open.
var mapType = reflect.TypeFor[map[string]any]()

// fieldName is the name that a person knows a field by: "target" for
// "sim.thermostat.target".
func fieldName(s string) string { return s[strings.LastIndexByte(s, '.')+1:] }

// Baseline returns rep, a map in CBOR of definite length, with the types and
// interfaces of link in front of its members: what oic.if.baseline shows.
func Baseline(rep []byte, link *Link) ([]byte, error) {
	s := scanner{b: rep}
	h, err := s.head()
	if err != nil || h.major != majorMap || h.indefinite() {
		return nil, fmt.Errorf("baseline of %s: the representation is not a map", link.Href)
	}
	size := len(rep) + 32
	for _, list := range [][]string{link.Types, link.Interfaces} {
		for _, t := range list {
			size += len(t) + 3
		}
	}
	out := appendHead(make([]byte, 0, size), majorMap, h.value+2)
	out = appendTexts(appendText(out, "rt"), link.Types)
	out = appendTexts(appendText(out, "if"), link.Interfaces)
	return append(out, rep[s.at:]...), nil
}

func appendText(dst []byte, s string) []byte {
	return append(appendHead(dst, majorText, uint64(len(s))), s...)
}

func appendTexts(dst []byte, list []string) []byte {
	dst = appendHead(dst, majorArray, uint64(len(list)))
	for _, s := range list {
		dst = appendText(dst, s)
	}
	return dst
}

// kindName says what package cbor calls a type in a person's words.
func kindName(cborType string) string {
	switch cborType {
	case "positive integer", "negative integer":
		return "an integer"
	case "UTF-8 text string":
		return "text"
	case "byte string":
		return "bytes"
	case "array":
		return "an array"
	case "map":
		return "a map"
	}
	return "a truth value or a fraction"
}
