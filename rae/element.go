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
	name  span // with its prefix
	bound int  // declarations in scope outside
}

// span is a part of the document.
type span struct{ off, end int }

func (s span) of(b []byte) []byte { return b[s.off:s.end] }

// binding is a declaration in scope; the default namespace has an empty prefix.
type binding struct{ prefix, ns span }

const (
	maxAttributes = 16
	maxBound      = 32
)

// attribute is one of a start tag.
type attribute struct{ name, value span }

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
	prefix, local := split(b, name)
	ns, ok := x.lookup(b, prefix)
	if !ok {
		return &FormatError{"prefix that is not declared", "Namespaces in XML, section 5"}
	}
	e.kind = x.kindOf(string(local.of(b)), ns)
	x.open = append(x.open, e)
	x.begin(b, e.kind, attrs)
	if b[t.end-2] == '/' {
		x.pop(b)
	}
	return nil
}

// kindOf tells what the element is of which the one on top is the parent.
func (x *builder) kindOf(local string, ns []byte) kind {
	parent := isOther
	if n := len(x.open); n > 0 {
		parent = x.open[n-1].kind
	}
	switch ours := string(ns) == NS; {
	case len(x.open) == 0 && ours && local == "rest":
		return isRest
	case len(x.open) == 0:
		x.refuse("not a rest element of " + NS)
	case ours && parent == isRest && local == "url":
		return isURL
	case ours && parent == isRest && local == "headers":
		return isHeaders
	case ours && parent == isRest && local == "body":
		return isBody
	case ours && parent == isHeaders && local == "header":
		return isHeader
	case parent == isBody && local == "json" && string(ns) == nsJSON:
		return isJSON
	case parent == isBody && local == "data" && string(ns) == nsData:
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
	for _, a := range attrs {
		if string(a.name.of(b)) != name {
			continue
		}
		raw := a.value.of(b)
		f := field{off: a.value.off, n: len(raw)}
		if text := stream.Decode(raw); len(text) != len(raw) || bytes.ContainsAny(raw, "\t\r\n") {
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
	name := bytes.TrimRight(b[t.off+2:t.end-1], blanks)
	n := len(x.open)
	if n == 0 || !bytes.Equal(x.open[n-1].name.of(b), name) {
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
	for _, a := range attrs {
		prefix, local := split(b, a.name)
		switch {
		case string(prefix.of(b)) == "xmlns":
			prefix = local
		case string(a.name.of(b)) == "xmlns":
			prefix = span{}
		default:
			continue
		}
		if p := string(prefix.of(b)); p == "xmlns" || p == "xml" || p != "" && a.value.off == a.value.end {
			return &FormatError{"reserved prefix, or one for no namespace", "Namespaces in XML, section 3"}
		}
		if len(x.bound) >= maxBound {
			return &FormatError{"too many namespaces", "RA-076"}
		}
		x.bound = append(x.bound, binding{prefix, a.value})
	}
	return nil
}

// checkAttributes checks that each has a name of its own and a prefix that is
// declared. Those with prefixes mean nothing here.
func (x *builder) checkAttributes(b []byte, attrs []attribute) error {
	for i, a := range attrs {
		prefix, local := split(b, a.name)
		declares := string(prefix.of(b)) == "xmlns"
		ns, ok := x.lookup(b, prefix)
		if prefix.off == prefix.end {
			ns = nil // no default namespace for attributes
		} else if !declares && !ok {
			return &FormatError{"prefix that is not declared", "Namespaces in XML, section 5"}
		}
		for _, other := range attrs[:i] {
			p, l := split(b, other.name)
			same := bytes.Equal(a.name.of(b), other.name.of(b))
			if !same && p.off < p.end && prefix.off < prefix.end && bytes.Equal(local.of(b), l.of(b)) {
				theirs, ok := x.lookup(b, p)
				same = ok && !declares && bytes.Equal(ns, theirs)
			}
			if same {
				return &FormatError{"attribute twice", "XML 1.0, section 3.1"}
			}
		}
	}
	return nil
}

// lookup is the namespace that prefix stands for.
func (x *builder) lookup(b []byte, prefix span) (ns []byte, ok bool) {
	p := prefix.of(b)
	for i := len(x.bound) - 1; i >= 0; i-- {
		if bytes.Equal(x.bound[i].prefix.of(b), p) {
			return stream.Decode(x.bound[i].ns.of(b)), true
		}
	}
	if string(p) == "xml" {
		return []byte("http://www.w3.org/XML/1998/namespace"), true
	}
	return nil, len(p) == 0
}

// split parts a name at its colon.
func split(b []byte, name span) (prefix, local span) {
	if i := bytes.IndexByte(name.of(b), ':'); i >= 0 {
		return span{name.off, name.off + i}, span{name.off + i + 1, name.end}
	}
	return span{name.off, name.off}, name
}
