package stream

import (
	"bytes"
	"sync"
	"unicode/utf8"
)

// Scanner cuts what one peer sends into items. The zero Scanner waits for a
// header, with the limits that hold after authentication. It has no buffer and
// while no item is begun hardly any memory. It is for one goroutine at a time.
type Scanner struct {
	// Limits may change between two items.
	Limits Limits

	opened bool   // the header has come
	root   []byte // name of the header's element, with its prefix
	ns     []byte // default namespace that it declared
	w      *work  // of the item that is begun; nil: none
	err    error  // what ended the stream
}

// Next looks for the item at the start of b, and returns it and its length.
// White space is an item as soon as it comes.
//
// The error is ErrShort if b ends too early: call again with the same bytes and
// more behind them, which may have moved. No byte is looked at twice. An *Error
// is what to send before closing the stream, and comes again at every call.
func (s *Scanner) Next(b []byte) (it Item, n int, err error) {
	switch {
	case s.err != nil:
		return it, 0, s.err
	case len(b) == 0:
		return it, 0, ErrShort
	case s.w != nil:
	case class[b[0]]&space != 0:
		n = spaces(b, 0)
		it.Kind, it.Raw = Space, b[:n]
		return it, n, nil
	case b[0] != '<':
		s.err = badFormat("text between stanzas")
		return it, 0, s.err
	default:
		s.begin()
	}
	n, err = s.w.scan(b[:min(len(b), s.w.limits.stanza())])
	switch {
	case err == nil:
		s.finish(b[:n], &it)
		return it, n, nil
	case err == ErrShort && len(b) <= s.w.limits.stanza():
		return it, 0, ErrShort
	case err == ErrShort:
		err = violation("stanza is too long")
	}
	s.fail(err)
	return it, 0, err
}

// Frame takes b, which is one whole message of a WebSocket, for one item (RFC
// 7395, section 3.3). The error is an *Error.
func (s *Scanner) Frame(b []byte) (it Item, err error) {
	if s.err != nil {
		return it, s.err
	}
	s.opened = true
	s.begin()
	s.w.framed = true
	n, err := 0, error(ErrShort)
	if len(b) > 0 && b[0] == '<' {
		n, err = s.w.scan(b[:min(len(b), s.w.limits.stanza())])
	}
	switch {
	case err == ErrShort && len(b) > s.w.limits.stanza():
		err = violation("stanza is too long")
	case err == ErrShort, err == nil && n < len(b):
		err = malformed("message is not one element")
	}
	if err != nil {
		s.fail(err)
		return it, err
	}
	s.finish(b, &it)
	if it.Kind == Stanza && string(it.NS) == NSFraming {
		switch string(it.Name) {
		case "open":
			it.Kind = Opening
		case "close":
			it.Kind = Closing
		}
	}
	return it, nil
}

// Reset forgets everything that the peer has said (RFC 6120, sections 5.4.3.3
// and 6.4.6; threats rule 9): a new header must come. The limits stay.
func (s *Scanner) Reset() {
	s.free()
	*s = Scanner{Limits: s.Limits}
}

// begin begins an item.
func (s *Scanner) begin() {
	w := works.Get().(*work)
	w.limits, w.opened, w.framed, w.root, w.ns = &s.Limits, s.opened, false, s.root, s.ns
	w.kind, w.state, w.off, w.elements = 0, inFirst, 0, 0
	w.open, w.bound, w.tag.begun = w.open[:0], w.bound[:0], false
	w.child, w.routing = element1{}, [routes]attr{}
	s.w = w
}

// finish makes it of the item in raw, which is complete.
func (s *Scanner) finish(raw []byte, it *Item) {
	w := s.w
	w.item(raw, it)
	if it.Kind == Opening {
		s.opened, s.root, s.ns = true, w.root, w.ns
	}
	s.free()
}

func (s *Scanner) fail(err error) {
	s.err = err
	s.free()
}

func (s *Scanner) free() {
	if s.w != nil {
		s.w.limits, s.w.root, s.w.ns = nil, nil, nil
		works.Put(s.w)
		s.w = nil
	}
}

// works holds what scanners borrow while an item is begun.
var works = sync.Pool{New: func() any { return new(work) }}

// state is what the next byte is part of.
type state uint8

const (
	inFirst       state = iota // an item
	inDeclaration              // <?xml … ?>
	inProlog                   // white space between that and the header
	inText                     // content of an element
	inMarkup                   // what follows <
	inBang                     // <![CDATA[
	inCDATA                    // what it holds
	inName                     // name of a start tag
	inTag                      // start tag, between attributes
	inAttr                     // name of an attribute
	inEquals                   // what follows that
	inQuote                    // what follows =
	inValue                    // value of an attribute
	inSlash                    // what follows the / of an empty element
	inEndName                  // name of an end tag
	inEnd                      // what follows that
	atEnd                      // the item is complete
)

// work is what a scanner knows of an item that is begun. Everything is an offset
// into the item, which may move while it grows.
type work struct {
	limits *Limits
	opened bool
	framed bool
	root   []byte
	ns     []byte

	kind     Kind
	state    state
	quote    byte
	off      int // bytes that are done with
	mark     int // where what the state is part of began
	colon    int // of the colon in the name at mark; 0: none
	elements int

	open  []element
	bound []binding // prefixes in scope
	tag   startTag

	first, child element1
	firstNS      span // default namespace in the first-level element
	routing      [routes]attr
}

// element is an element whose end has not come.
type element struct {
	name  span // with its prefix
	bound int  // prefixes in scope outside
}

// span is a part of the item. An offset below zero is a namespace that stands
// elsewhere.
type span struct{ off, n int }

func (s span) of(b []byte) []byte { return b[s.off : s.off+s.n] }

// step takes the scanner from one offset to the next.
func (w *work) step(b []byte, i int) (int, error) {
	switch w.state {
	case inText:
		return w.text(b, i)
	case inTag:
		return w.between(b, i)
	case inValue:
		return w.value(b, i)
	case inMarkup:
		return w.markup(b, i)
	case inName:
		return w.startName(b, i)
	case inAttr:
		return w.attrName(b, i)
	case inEndName:
		return w.endName(b, i)
	case inEquals, inQuote:
		return w.equals(b, i)
	case inSlash:
		return w.empty(b, i)
	case inEnd:
		return w.close(b, i)
	case inBang:
		return w.bang(b, i)
	case inCDATA:
		return w.cdata(b, i)
	case inDeclaration:
		return w.declaration(b, i)
	case inProlog:
		return w.prolog(b, i)
	}
	w.state, w.mark = inMarkup, i
	return w.markup(b, i+1)
}

// scan goes on where it stopped, and returns the length of the item when it is
// complete. Which error it returns, and at which byte, does not depend on how
// the bytes came.
func (w *work) scan(b []byte) (int, error) {
	for i := w.off; ; {
		next, err := w.step(b, i)
		if w.tag.begun && next-w.tag.end > w.limits.attributeBytes() {
			return 0, violation("attributes are too long")
		}
		if err == nil && w.state == atEnd {
			return next, nil
		}
		if err == nil && next == len(b) {
			err = ErrShort
		}
		if err != nil {
			w.off = next
			return 0, err
		}
		i = next
	}
}

// text scans the content of an element, and the next tag.
func (w *work) text(b []byte, i int) (int, error) {
	for {
		i = PlainText(b, i)
		if i == len(b) {
			return i, ErrShort
		}
		n := 1
		switch c := b[i]; {
		case c == '<':
			w.state = inMarkup
			return w.markup(b, i+1)
		case c == '&':
			var err error
			if _, n, err = reference(b[i:]); err != nil {
				return i, err
			}
		case c == '>':
			if i-w.mark >= 2 && b[i-1] == ']' && b[i-2] == ']' {
				return i, malformed("]]> in text")
			}
		default:
			var err error
			if n, err = character(b[i:]); err != nil {
				return i, err
			}
		}
		i += n
	}
}

// character returns the length of the character at the start of b.
func character(b []byte) (int, error) {
	if c := b[0]; c < utf8.RuneSelf {
		if c < ' ' && class[c]&space == 0 {
			return 0, malformed("control character")
		}
		return 1, nil
	}
	r, n := utf8.DecodeRune(b)
	switch {
	case r != utf8.RuneError || n > 1:
	case !utf8.FullRune(b):
		return 0, ErrShort
	default:
		return 0, notUTF8()
	}
	if !isChar(r) {
		return 0, malformed("no character of XML")
	}
	return n, nil
}

// markup tells by the byte behind < what begins there, and scans it if it is a
// tag.
func (w *work) markup(b []byte, i int) (int, error) {
	if i == len(b) {
		return i, ErrShort
	}
	switch c := b[i]; {
	case class[c]&nameStart != 0:
		if err := w.push(); err != nil {
			return i, err
		}
		w.state, w.mark, w.colon = inName, i, 0
		return w.startName(b, i)
	case c == '/':
		if len(w.open) == 0 && (!w.opened || w.framed) {
			return i, malformed("end tag without a start tag")
		}
		w.state, w.mark = inEndName, i+1
		return w.endName(b, i+1)
	case c == '!' && len(w.open) > 0:
		w.state, w.mark = inBang, i-1
		return i, nil
	case c == '?' && !w.opened && i == 1:
		w.state, w.mark = inDeclaration, 0
		return i, nil
	case c == '!':
		return i, restricted("document type or comment")
	case c == '?':
		return i, restricted("processing instruction")
	case c >= 0x80:
		return i, violation("name that is not ASCII")
	}
	return i, malformed("< that begins nothing")
}

// push counts one more element.
func (w *work) push() error {
	if len(w.open) >= w.limits.depth() {
		return violation("elements are nested too deep")
	}
	if w.elements++; w.elements > w.limits.elements() {
		return violation("too many elements")
	}
	w.open = append(w.open, element{bound: len(w.bound)})
	return nil
}

// bang scans <![CDATA[ at mark; nothing else may begin with <!.
func (w *work) bang(b []byte, i int) (int, error) {
	for ; i < len(b); i++ {
		if n := i - w.mark; b[i] != cdataOpen[n] {
			return i, restricted("document type, entity or comment")
		} else if n == len(cdataOpen)-1 {
			w.state, w.mark = inCDATA, i+1
			return i + 1, nil
		}
	}
	return i, ErrShort
}

// cdata scans what is character data whatever it looks like.
func (w *work) cdata(b []byte, i int) (int, error) {
	for {
		i = PlainText(b, i)
		if i == len(b) {
			return i, ErrShort
		}
		if b[i] == '>' && i-w.mark >= 2 && b[i-1] == ']' && b[i-2] == ']' {
			w.state, w.mark = inText, i+1
			return i + 1, nil
		}
		n, err := character(b[i:])
		if err != nil {
			return i, err
		}
		i += n
	}
}

// endName scans an end tag, from its name on.
func (w *work) endName(b []byte, i int) (int, error) {
	want := w.root
	if n := len(w.open); n > 0 {
		want = w.open[n-1].name.of(b)
	}
	for ; i < len(b); i++ {
		n := i - w.mark
		if n < len(want) && b[i] == want[n] {
			continue
		}
		if n < len(want) || class[b[i]]&(nameChar|colon) != 0 {
			return i, malformed("end tag does not match the start tag")
		}
		w.state = inEnd
		return w.close(b, i)
	}
	return i, ErrShort
}

// close scans the > of an end tag.
func (w *work) close(b []byte, i int) (int, error) {
	i = spaces(b, i)
	switch {
	case i == len(b):
		return i, ErrShort
	case b[i] != '>':
		return i, malformed("tag does not end")
	}
	w.pop(i + 1)
	return i + 1, nil
}

// pop ends the innermost element, whose last byte stands before next.
func (w *work) pop(next int) {
	n := len(w.open) - 1
	if n < 0 {
		w.kind, w.state = Closing, atEnd
		return
	}
	w.bound = w.bound[:w.open[n].bound]
	w.open = w.open[:n]
	w.state, w.mark = inText, next
	if n == 0 {
		w.kind, w.state = Stanza, atEnd
	}
}

// spaces returns the offset of the first byte of b, at i or behind it, that is
// no white space.
func spaces(b []byte, i int) int {
	for i < len(b) && class[b[i]]&space != 0 {
		i++
	}
	return i
}

// declaration scans an XML declaration. Nothing in it is a > but its end.
func (w *work) declaration(b []byte, i int) (int, error) {
	const open = "<?xml"
	for ; i < len(b); i++ {
		switch c := b[i]; {
		case i < len(open) && c != open[i], i == len(open) && class[c]&space == 0:
			return i, restricted("processing instruction")
		case c == '>':
			if err := checkDeclaration(b[:i]); err != nil {
				return i, err
			}
			w.state = inProlog
			return i + 1, nil
		case c >= 0x80 || c < ' ' && class[c]&space == 0 || c == '<' && i > 0:
			return i, malformed("XML declaration")
		}
	}
	return i, ErrShort
}

// checkDeclaration checks b, an XML declaration without its >.
func checkDeclaration(b []byte) error {
	attrs, ok := bytes.CutSuffix(b[len("<?xml"):], []byte("?"))
	if !ok {
		return malformed("XML declaration")
	}
	for at, name := range []string{"version", "encoding", "standalone"} {
		trimmed := bytes.TrimLeft(attrs, spaceSet)
		if !bytes.HasPrefix(trimmed, []byte(name)) && at > 0 {
			continue
		}
		got, value, rest := NextAttr(attrs)
		switch {
		case string(got) != name || len(trimmed) == len(attrs):
			return malformed("XML declaration")
		case at == 0 && string(value) != "1.0", at == 2 && string(value) != "yes" && string(value) != "no":
			return malformed("XML declaration")
		case at == 1 && !bytes.EqualFold(value, []byte("UTF-8")):
			return notUTF8()
		}
		attrs = rest
	}
	if len(bytes.TrimLeft(attrs, spaceSet)) > 0 {
		return malformed("XML declaration")
	}
	return nil
}

// prolog scans white space between the XML declaration and the header.
func (w *work) prolog(b []byte, i int) (int, error) {
	i = spaces(b, i)
	switch {
	case i == len(b):
		return i, ErrShort
	case b[i] != '<':
		return i, malformed("text before the header")
	}
	w.state = inMarkup
	return i + 1, nil
}
