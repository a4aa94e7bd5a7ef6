package stream

import "bytes"

// startTag is the start tag that is being scanned.
type startTag struct {
	begun    bool
	name     span
	colon    int    // in the name; 0: none
	end      int    // of the name
	attrs    []attr // so far; the last one is perhaps not complete
	declares int    // how many of them declare a namespace
	prefixed int    // how many others have a prefix
	ns       int    // index of the one that declares the default namespace; -1: none
	spaced   bool   // white space has come, so that an attribute may
}

// attr is an attribute: offsets of its name, of the colon in that (0: none),
// and of its value between the quotes.
type attr struct{ start, colon, nameEnd, value, end int }

func (a *attr) name(b []byte) []byte { return b[a.start:a.nameEnd] }

func (a *attr) prefix(b []byte) []byte { return b[a.start:max(a.start, a.colon)] }

func (a *attr) local(b []byte) []byte {
	if a.colon > 0 {
		return b[a.colon+1 : a.nameEnd]
	}
	return a.name(b)
}

// declares reports whether a declares a namespace.
func (a *attr) declares(b []byte) bool {
	const xmlns = "xmlns"
	if a.colon > 0 {
		return a.colon-a.start == len(xmlns) && string(b[a.start:a.colon]) == xmlns
	}
	return a.nameEnd-a.start == len(xmlns) && string(b[a.start:a.nameEnd]) == xmlns
}

// begin begins an attribute, in place: a copy would wait for what has just been
// written.
func (t *startTag) begin() *attr {
	n := len(t.attrs)
	if n < cap(t.attrs) {
		t.attrs = t.attrs[:n+1]
	} else {
		t.attrs = append(t.attrs, attr{})
	}
	return &t.attrs[n]
}

// startName scans the name of a start tag.
func (w *work) startName(b []byte, i int) (int, error) {
	i, err := w.name(b, i)
	if err != nil {
		return i, err
	}
	name := span{w.mark, i - w.mark}
	w.open[len(w.open)-1].name = name
	t := &w.tag // field by field, which takes half the time
	t.begun, t.name, t.colon, t.end, t.attrs = true, name, w.colon, i, t.attrs[:0]
	t.declares, t.prefixed, t.ns, t.spaced = 0, 0, -1, false
	w.state = inTag
	return w.between(b, i)
}

// name scans a name that began at mark, with or without a prefix, and returns
// the offset behind it.
func (w *work) name(b []byte, i int) (int, error) {
	for {
		behind := w.colon > 0 && i == w.colon+1 && i < len(b)
		switch {
		case i-w.mark > w.limits.name():
			return w.mark + w.limits.name(), violation("name is too long")
		case behind && class[b[i]]&nameStart == 0 && b[i] < 0x80:
			return i, malformed("name without a letter behind its colon")
		}
		for i < len(b) && class[b[i]]&nameChar != 0 {
			i++
		}
		switch {
		case i-w.mark > w.limits.name():
			return w.mark + w.limits.name(), violation("name is too long")
		case i == len(b):
			return i, ErrShort
		case b[i] >= 0x80:
			return i, violation("name that is not ASCII")
		case b[i] != ':':
			return i, nil
		case w.colon > 0:
			return i, malformed("name with two colons")
		}
		w.colon = i
		i++
	}
}

// between scans what stands between the attributes of a start tag, and these.
func (w *work) between(b []byte, i int) (int, error) {
	for {
		if n := spaces(b, i); n > i {
			i, w.tag.spaced = n, true
		}
		if i == len(b) {
			return i, ErrShort
		}
		switch c := b[i]; {
		case c == '>':
			return w.startEnds(b, i)
		case c == '/':
			w.state = inSlash
			return w.empty(b, i+1)
		case class[c]&nameStart == 0 && c < 0x80:
			return i, malformed("start tag")
		case !w.tag.spaced:
			return i, malformed("attributes without a space between them")
		case len(w.tag.attrs) >= w.limits.attributes():
			return i, violation("too many attributes")
		}
		w.state, w.mark, w.colon = inAttr, i, 0
		var err error
		if i, err = w.attrName(b, i); err != nil {
			return i, err
		}
	}
}

// attrName scans an attribute, from its name on.
func (w *work) attrName(b []byte, i int) (int, error) {
	i, err := w.name(b, i)
	if err != nil {
		return i, err
	}
	a := w.tag.begin()
	a.start, a.colon, a.nameEnd = w.mark, w.colon, i
	switch {
	case a.declares(b):
		w.tag.declares++
		if a.colon == 0 {
			w.tag.ns = len(w.tag.attrs) - 1
		}
	case a.colon > 0:
		w.tag.prefixed++
	}
	w.state = inEquals
	return w.equals(b, i)
}

// equals scans the = and the quote between the name and the value of an
// attribute, and that.
func (w *work) equals(b []byte, i int) (int, error) {
	for ; i < len(b); i++ {
		switch c := b[i]; {
		case c == '=' && w.state == inEquals:
			w.state = inQuote
		case (c == '\'' || c == '"') && w.state == inQuote:
			w.state, w.quote = inValue, c
			w.tag.attrs[len(w.tag.attrs)-1].value = i + 1
			return w.value(b, i+1)
		case class[c]&space == 0:
			return i, malformed("attribute without a value in quotes")
		}
	}
	return i, ErrShort
}

// value scans the value of an attribute.
func (w *work) value(b []byte, i int) (int, error) {
	for {
		i = plainValue(b, i, w.quote)
		if i == len(b) {
			return i, ErrShort
		}
		n := 1
		switch c := b[i]; {
		case c == w.quote:
			w.tag.attrs[len(w.tag.attrs)-1].end = i
			w.state, w.tag.spaced = inTag, false
			return i + 1, nil
		case c == '&':
			var err error
			if _, n, err = reference(b[i:]); err != nil {
				return i, err
			}
		case c == '<':
			return i, malformed("< in an attribute")
		default:
			var err error
			if n, err = character(b[i:]); err != nil {
				return i, err
			}
		}
		i += n
	}
}

// empty scans the > of an empty element.
func (w *work) empty(b []byte, i int) (int, error) {
	if i == len(b) {
		return i, ErrShort
	}
	if b[i] != '>' {
		return i, malformed("tag does not end")
	}
	next, err := w.startEnds(b, i)
	switch {
	case err != nil:
		return next, err
	case w.kind == Opening:
		return i, badFormat("header is an empty element")
	}
	w.pop(next)
	return next, nil
}

// startEnds deals with a start tag whose > stands at i.
func (w *work) startEnds(b []byte, i int) (int, error) {
	if i-w.tag.end > w.limits.attributeBytes() {
		return i, violation("attributes are too long")
	}
	if err := w.checkTag(b); err != nil {
		return i, err
	}
	w.tag.begun = false
	w.state, w.mark = inText, i+1
	if !w.opened {
		w.kind, w.state = Opening, atEnd
	}
	return i + 1, nil
}

// checkTag checks the start tag, which is complete, and notes what it says if
// it is one of the first two.
func (w *work) checkTag(b []byte) error {
	if w.tag.declares > 0 {
		if err := w.declare(b); err != nil {
			return err
		}
	}
	if len(w.tag.attrs) > 1 && w.twice(b) {
		return malformed("attribute twice")
	}
	ns, err := w.resolve(b)
	switch {
	case err != nil:
		return err
	case !w.opened:
		return w.header(b, ns)
	case len(w.open) == 1:
		w.first = element1{name: w.localName(), ns: ns}
		return w.firstLevel(b)
	case w.child.name.n == 0:
		w.child = element1{w.localName(), ns}
	}
	return nil
}

// localName is the name of the start tag without its prefix.
func (w *work) localName() span {
	if w.tag.colon > 0 {
		return span{w.tag.colon + 1, w.tag.end - w.tag.colon - 1}
	}
	return w.tag.name
}

// twice reports whether two attributes have the same name.
func (w *work) twice(b []byte) bool {
	attrs := w.tag.attrs
	for i := 1; i < len(attrs); i++ {
		a := &attrs[i]
		n, first := a.nameEnd-a.start, b[a.start]
		for j := range i {
			other := &attrs[j]
			if other.nameEnd-other.start == n && b[other.start] == first && bytes.Equal(a.name(b), other.name(b)) {
				return true
			}
			if a.colon > 0 && other.colon > 0 && w.sameExpanded(b, a, other) {
				return true
			}
		}
	}
	return false
}
