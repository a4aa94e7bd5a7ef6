package rae

import (
	"bytes"

	"github.com/farreach/farreach/xmpp/stream"
)

// kind is what an element is here, by its expanded name and where it stands.
type kind uint8

const (
	isOther kind = iota // passed over (RA-076)
	isRest
	isURL
	isHeaders
	isHeader
	isBody
	isJSON
	isData
)

// element is an element whose end has not come.
type element struct {
	kind  kind
	name  qname
	bound int // declarations in scope outside
}

// span is a part of the document.
type span struct{ off, end int }

func (s span) of(b []byte) []byte { return b[s.off:s.end] }

// qname is a name with its prefix, if it has one.
type qname struct {
	span
	local int // where it goes on behind the colon
}

// prefix is what stands before the colon, which may be nothing.
func (n qname) prefix() span { return span{n.off, max(n.off, n.local-1)} }

// space is a namespace, of those that mean something here.
type space uint8

const (
	spaceOther space = iota
	spaceRest
	spaceJSON
	spaceData
)

func spaceOf(ns []byte) space {
	switch string(ns) {
	case NS:
		return spaceRest
	case nsJSON:
		return spaceJSON
	case nsData:
		return spaceData
	}
	return spaceOther
}

// binding is a declaration in scope; the default namespace has an empty prefix.
type binding struct {
	prefix, value span
	space         space
}

const (
	maxAttributes = 16
	maxBound      = 32
)

// attribute is one of a start tag.
type attribute struct {
	name  qname
	value span
}

// start takes a start tag.
func (x *builder) start(b []byte, t token) error {
	name, n, err := parseTag(b, t, &x.attrs)
	if err != nil {
		return err
	}
	attrs := x.attrs[:n]
	if len(x.open) >= maxDepth {
		return &FormatError{"elements are nested too deep", "RA-076"}
	}
	e := element{name: name, bound: len(x.bound)}
	if err := x.declare(b, attrs); err != nil {
		return err
	}
	if err := x.checkAttributes(b, attrs); err != nil {
		return err
	}
	in, _, ok := x.lookup(b, name.prefix())
	if !ok {
		return errPrefix
	}
	e.kind = x.kindOf(b[name.local:name.end], in)
	x.open = append(x.open, e)
	x.begin(b, e.kind, attrs)
	if b[t.end-2] == '/' {
		x.pop(b)
	}
	return nil
}

// kindOf tells what the element is of which the one on top is the parent.
func (x *builder) kindOf(local []byte, in space) kind {
	parent := isOther
	if n := len(x.open); n > 0 {
		parent = x.open[n-1].kind
	}
	switch ours := in == spaceRest; {
	case len(x.open) == 0 && ours && string(local) == "rest":
		return isRest
	case len(x.open) == 0:
		x.refuse("not a rest element of " + NS)
	case ours && parent == isRest && string(local) == "url":
		return isURL
	case ours && parent == isRest && string(local) == "headers":
		return isHeaders
	case ours && parent == isRest && string(local) == "body":
		return isBody
	case ours && parent == isHeaders && string(local) == "header":
		return isHeader
	case parent == isBody && in == spaceJSON && string(local) == "json":
		return isJSON
	case parent == isBody && in == spaceData && string(local) == "data":
		return isData
	}
	return isOther
}

// begin notes what the attributes of an element that means something say.
func (x *builder) begin(b []byte, k kind, attrs []attribute) {
	if k != isOther {
		x.text = field{}
	}
	switch k {
	case isURL:
		if x.method.n > 0 {
			x.refuse("two url elements")
			return
		}
		x.method = x.attribute(b, attrs, "method")
	case isHeader:
		x.name = x.attribute(b, attrs, "name")
		if x.name.n == 0 {
			x.refuse("header without a name")
		}
	case isJSON, isData:
		if x.media != NoBody {
			x.refuse("two bodies")
		}
	}
}

// attribute is the value of the attribute called name, 64 bytes at most.
func (x *builder) attribute(b []byte, attrs []attribute, name string) field {
	for i := range attrs {
		a := &attrs[i]
		if string(a.name.of(b)) != name {
			continue
		}
		raw := a.value.of(b)
		f := field{off: a.value.off, n: len(raw)}
		if text := stream.Decode(raw); len(raw) > 0 && &text[0] != &raw[0] {
			f = field{len(x.scratch), len(text), true}
			x.scratch = append(x.scratch, text...)
		}
		f = x.trim(b, f)
		if f.n > maxName {
			x.refuse("name is too long")
			return field{}
		}
		return f
	}
	return field{}
}

// end takes an end tag.
func (x *builder) end(b []byte, t token) error {
	end := t.end - 1
	for isBlank(b[end-1]) {
		end--
	}
	n := len(x.open)
	if n == 0 || string(x.open[n-1].name.of(b)) != string(b[t.off+len("</"):end]) {
		return &FormatError{"end tag does not match the start tag", "XML 1.0, section 3"}
	}
	x.pop(b)
	return nil
}

// pop ends the innermost element.
func (x *builder) pop(b []byte) {
	n := len(x.open) - 1
	e := x.open[n]
	x.open, x.bound = x.open[:n], x.bound[:e.bound]
	x.ended = n == 0
	if e.kind < isURL {
		return
	}
	text := x.trim(b, x.text)
	switch e.kind {
	case isURL:
		if text.n > maxURL || text.n == 0 || !clean(x.of(b, text)) {
			x.refuse("URL is empty or too long, or has control characters")
			return
		}
		x.url = text
	case isHeader:
		x.header(b, headerField{x.name, text})
	case isJSON:
		x.media, x.body = JSON, text
	case isData:
		x.media, x.body = Binary, text
	}
}

// header takes a header.
func (x *builder) header(b []byte, h headerField) {
	switch {
	case h.name.n == 0:
	case len(x.headers) >= maxHeaders:
		x.refuse("too many headers")
	case h.value.n > maxValue || !clean(x.of(b, h.value)):
		x.refuse("header is too long or has control characters")
	default:
		x.headers = append(x.headers, h)
	}
}

// clean reports whether b has no control characters.
func clean(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

// declare brings what attrs declare into scope.
func (x *builder) declare(b []byte, attrs []attribute) error {
	for i := range attrs {
		a := &attrs[i]
		if !a.declares(b) {
			continue
		}
		prefix := span{a.name.local, a.name.end}
		if a.name.local == a.name.off {
			prefix.off = prefix.end
		}
		if p := string(prefix.of(b)); p == "xmlns" || p == "xml" || p != "" && a.value.off == a.value.end {
			return &FormatError{"reserved prefix, or one for no namespace", "Namespaces in XML, section 3"}
		}
		if len(x.bound) >= maxBound {
			return &FormatError{"too many namespaces", "RA-076"}
		}
		x.bound = append(x.bound, binding{prefix, a.value, spaceOf(stream.Decode(a.value.of(b)))})
	}
	return nil
}

// declares reports whether a declares a namespace.
func (a *attribute) declares(b []byte) bool {
	const xmlns = "xmlns"
	end := a.name.off + len(xmlns)
	return (a.name.end == end || a.name.local == end+1) && string(b[a.name.off:end]) == xmlns
}

var errPrefix = &FormatError{"prefix that is not declared", "Namespaces in XML, section 5"}

// checkAttributes checks that each has a name of its own and a prefix that is
// declared. Those with prefixes mean nothing here.
func (x *builder) checkAttributes(b []byte, attrs []attribute) error {
	for i := range attrs {
		a := &attrs[i]
		prefix := a.name.prefix()
		if prefix.off < prefix.end && !a.declares(b) {
			if _, _, ok := x.lookup(b, prefix); !ok {
				return errPrefix
			}
		}
		for j := range i {
			if x.same(b, a, &attrs[j]) {
				return &FormatError{"attribute twice", "XML 1.0, section 3.1"}
			}
		}
	}
	return nil
}

// same reports whether two attributes have one name: as it is written, or with
// two prefixes for one namespace. Both prefixes are declared.
func (x *builder) same(b []byte, a, other *attribute) bool {
	if string(a.name.of(b)) == string(other.name.of(b)) {
		return true
	}
	p, q := a.name.prefix(), other.name.prefix()
	if p.off == p.end || q.off == q.end || a.declares(b) || other.declares(b) ||
		string(b[a.name.local:a.name.end]) != string(b[other.name.local:other.name.end]) {
		return false
	}
	_, first, _ := x.lookup(b, p)
	_, second, _ := x.lookup(b, q)
	return bytes.Equal(stream.Decode(first), stream.Decode(second))
}

// lookup is the namespace that prefix stands for, and how it is written.
func (x *builder) lookup(b []byte, prefix span) (in space, raw []byte, ok bool) {
	p := prefix.of(b)
	for i := len(x.bound) - 1; i >= 0; i-- {
		if d := &x.bound[i]; string(d.prefix.of(b)) == string(p) {
			return d.space, d.value.of(b), true
		}
	}
	if string(p) == "xml" {
		return spaceOther, []byte("http://www.w3.org/XML/1998/namespace"), true
	}
	return spaceOther, nil, len(p) == 0
}
