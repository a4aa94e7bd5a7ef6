package stream

import "bytes"

// name is the name of an element and what it means.
type name struct {
	local span
	ns    span
}

// Offsets of spans that stand for what is not in the item.
const (
	nsOfHeader = -1 // the default namespace of the stream's header
	nsOfStream = -2 // NS
	nsOfXML    = -3
	undeclared = -4
)

// attr is an attribute: offsets of its name, of the colon in that (0: none),
// and of its value between the quotes.
type attr struct{ start, colon, nameEnd, value, end int }

func (a attr) prefix(b []byte) []byte { return b[a.start:max(a.start, a.colon)] }

func (a attr) local(b []byte) []byte {
	if a.colon > 0 {
		return b[a.colon+1 : a.nameEnd]
	}
	return b[a.start:a.nameEnd]
}

// binding is a prefix in scope.
type binding struct{ prefix, ns span }

// startName scans the name of a start tag.
func (w *work) startName(b []byte, i int) (int, error) {
	i, err := w.name(b, i)
	if err != nil {
		return i, err
	}
	w.open[len(w.open)-1].name = span{w.mark, i - w.mark}
	w.attrs = w.attrs[:0]
	if len(w.open) == 1 {
		w.top.local = w.localName(i)
	}
	w.state, w.tag, w.spaced = inTag, i, false
	w.tagColon = w.colon
	return w.between(b, i)
}

// localName is the name that ends at i, without its prefix.
func (w *work) localName(i int) span {
	start := w.mark
	if w.colon > 0 {
		start = w.colon + 1
	}
	return span{start, i - start}
}

// name scans a name that began at mark, with or without a prefix, and returns
// the offset behind it.
func (w *work) name(b []byte, i int) (int, error) {
	for ; i < len(b); i++ {
		c := class[b[i]]
		switch {
		case c&nameChar != 0:
			if w.colon > 0 && i == w.colon+1 && c&nameStart == 0 {
				return i, malformed("name that begins with no letter")
			}
		case c&colon != 0:
			if w.colon > 0 {
				return i, malformed("name with two colons")
			}
			w.colon = i
		case b[i] >= 0x80:
			return i, violation("name that is not ASCII")
		case w.colon > 0 && i == w.colon+1:
			return i, malformed("name that ends with a colon")
		default:
			return i, nil
		}
		if i-w.mark >= w.limits.Name {
			return i, violation("name is too long")
		}
	}
	return i, ErrShort
}

// between scans what stands between the attributes of a start tag.
func (w *work) between(b []byte, i int) (int, error) {
	if n := spaces(b, i); n > i {
		i, w.spaced = n, true
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
	case !w.spaced:
		return i, malformed("attributes without a space between them")
	case len(w.attrs) >= w.limits.Attributes:
		return i, violation("too many attributes")
	}
	w.state, w.mark, w.colon = inAttr, i, 0
	return w.attrName(b, i)
}

// attrName scans the name of an attribute.
func (w *work) attrName(b []byte, i int) (int, error) {
	i, err := w.name(b, i)
	if err != nil {
		return i, err
	}
	w.attrs = append(w.attrs, attr{start: w.mark, colon: w.colon, nameEnd: i})
	w.state = inEquals
	return w.equals(b, i)
}

// equals scans the = and the quote between the name and the value of an
// attribute.
func (w *work) equals(b []byte, i int) (int, error) {
	for ; i < len(b); i++ {
		switch c := b[i]; {
		case class[c]&space != 0:
		case c == '=' && w.state == inEquals:
			w.state = inQuote
		case (c == '\'' || c == '"') && w.state == inQuote:
			w.state, w.quote = inValue, c
			w.attrs[len(w.attrs)-1].value = i + 1
			return w.value(b, i+1)
		default:
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
			w.attrs[len(w.attrs)-1].end = i
			w.state, w.spaced = inTag, false
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
		return i, &Error{Condition: BadFormat, Text: "header is an empty element", Spec: "RFC 6120, section 4.9.3.1"}
	}
	w.pop(next)
	return next, nil
}

// startEnds deals with a start tag whose > stands at i.
func (w *work) startEnds(b []byte, i int) (int, error) {
	next := i + 1
	if i-w.tag > w.limits.AttributeBytes {
		return i, violation("attributes are too long")
	}
	if err := w.declare(b); err != nil {
		return i, err
	}
	if err := w.unique(b); err != nil {
		return i, err
	}
	ns, err := w.resolve(b)
	if err != nil {
		return i, err
	}
	switch {
	case !w.opened:
		if err := w.header(b, ns); err != nil {
			return i, err
		}
		w.kind, w.state, w.tag = Opening, atEnd, 0
		return next, nil
	case len(w.open) == 1:
		w.top.ns = ns
		if err := w.firstLevel(b); err != nil {
			return i, err
		}
	case w.child.local.n == 0:
		w.child = name{w.elementLocal(), ns}
	}
	w.tag, w.state, w.mark = 0, inText, next
	return next, nil
}

// elementLocal is the local name of the element whose start tag is open.
func (w *work) elementLocal() span {
	name := w.open[len(w.open)-1].name
	if w.tagColon > 0 {
		return span{w.tagColon + 1, name.off + name.n - w.tagColon - 1}
	}
	return name
}

// declare brings the prefixes into scope that the start tag declares.
func (w *work) declare(b []byte) error {
	declared := 0
	for _, a := range w.attrs {
		if !isDeclaration(b, a) {
			continue
		}
		if declared++; declared > w.limits.Namespaces || len(w.bound) >= maxBound {
			return violation("too many namespaces")
		}
		value := b[a.value:a.end]
		if err := checkNamespace(a.colon > 0, a.local(b), Decode(value)); err != nil {
			return err
		}
		if a.colon > 0 {
			w.bound = append(w.bound, binding{span{a.colon + 1, a.nameEnd - a.colon - 1}, span{a.value, a.end - a.value}})
		}
	}
	return nil
}

// maxBound is how many prefixes may be in scope at once, so that looking for
// one takes little.
const maxBound = 128

// isDeclaration reports whether a declares a namespace.
func isDeclaration(b []byte, a attr) bool {
	if a.colon > 0 {
		return string(a.prefix(b)) == "xmlns"
	}
	return a.nameEnd-a.start == 5 && string(b[a.start:a.nameEnd]) == "xmlns"
}

// checkNamespace checks the declaration of a namespace (Namespaces in XML,
// sections 2.2 and 3). prefixed says that it is for a prefix.
func checkNamespace(prefixed bool, prefix, ns []byte) error {
	xml := prefixed && string(prefix) == "xml"
	switch {
	case prefixed && len(ns) == 0:
		return malformed("prefix for no namespace")
	case prefixed && string(prefix) == "xmlns", string(ns) == nsXMLNS, xml != (string(ns) == nsXML):
		return malformed("reserved namespace or prefix")
	}
	for _, c := range ns {
		if c <= ' ' || c == 0x7f || bytes.IndexByte([]byte("<>\"{}|\\^`"), c) >= 0 {
			return malformed("namespace that is no URI") // Bad08
		}
	}
	return nil
}

// resolve checks that each prefix of the start tag is declared, and returns the
// namespace of the element, which is exact for the first two levels only.
func (w *work) resolve(b []byte) (span, error) {
	elem := w.open[len(w.open)-1].name
	ns := w.defaultNS(b)
	if w.tagColon > 0 {
		prefix := b[elem.off:w.tagColon]
		ns = w.lookup(b, prefix)
		if ns.off == undeclared && string(prefix) == "stream" && w.opened && !w.framed {
			if len(w.open) > 1 {
				return ns, badPrefix("prefix stream inside a stanza") // threats rule 10
			}
			ns.off = nsOfStream
		}
		if ns.off == undeclared {
			return ns, malformed("prefix that is not declared")
		}
	}
	for _, a := range w.attrs {
		if a.colon > 0 && string(a.prefix(b)) != "xmlns" && w.lookup(b, a.prefix(b)).off == undeclared {
			return ns, malformed("prefix that is not declared")
		}
	}
	return ns, nil
}

// defaultNS is the default namespace in the element whose start tag is open.
func (w *work) defaultNS(b []byte) span {
	ns := w.topNS
	if len(w.open) == 1 {
		ns = span{off: nsOfHeader}
	}
	for _, a := range w.attrs {
		if a.colon == 0 && isDeclaration(b, a) {
			ns = span{a.value, a.end - a.value}
		}
	}
	if len(w.open) == 1 {
		w.topNS = ns
		w.declares = ns.off >= 0
	}
	return ns
}

// lookup returns what prefix is bound to.
func (w *work) lookup(b, prefix []byte) span {
	for i := len(w.bound) - 1; i >= 0; i-- {
		if bytes.Equal(w.bound[i].prefix.of(b), prefix) {
			return w.bound[i].ns
		}
	}
	if string(prefix) == "xml" {
		return span{off: nsOfXML}
	}
	return span{off: undeclared}
}

// unique checks that no two attributes have the same name (Namespaces in XML,
// section 6.3).
func (w *work) unique(b []byte) error {
	for i := 1; i < len(w.attrs); i++ {
		a := w.attrs[i]
		for _, other := range w.attrs[:i] {
			if a.nameEnd-a.start == other.nameEnd-other.start && bytes.Equal(b[a.start:a.nameEnd], b[other.start:other.nameEnd]) ||
				a.colon > 0 && other.colon > 0 && w.sameExpanded(b, a, other) {
				return malformed("attribute twice")
			}
		}
	}
	return nil
}

// sameExpanded reports whether two attributes with prefixes mean the same name.
func (w *work) sameExpanded(b []byte, a, other attr) bool {
	if !bytes.Equal(a.local(b), other.local(b)) {
		return false
	}
	x, y := w.lookup(b, a.prefix(b)), w.lookup(b, other.prefix(b))
	return x.off >= 0 && y.off >= 0 && bytes.Equal(Decode(x.of(b)), Decode(y.of(b)))
}

// The attributes by which a stanza is routed.
const (
	routeTo = iota
	routeFrom
	routeID
	routeType
	routeLang
	routes
)

// firstLevel checks a first-level element and notes its attributes.
func (w *work) firstLevel(b []byte) error {
	ns := w.nsOf(b, w.top.ns)
	switch {
	case w.tagColon > 0 && (string(ns) == NSClient || string(ns) == nsServer):
		return badPrefix("prefix for the content namespace")
	case string(ns) == NS && string(w.top.local.of(b)) == "stream":
		return &Error{Condition: BadFormat, Text: "header inside a stream", Spec: "RFC 6120, section 4.9.3.1"}
	}
	for _, a := range w.attrs {
		switch string(b[a.start:a.nameEnd]) {
		case "to":
			w.routing[routeTo] = a
		case "from":
			w.routing[routeFrom] = a
		case "id":
			w.routing[routeID] = a
		case "type":
			w.routing[routeType] = a
		case "xml:lang":
			w.routing[routeLang] = a
		}
	}
	return nil
}

// nsOf returns the namespace that ns stands for.
func (w *work) nsOf(b []byte, ns span) []byte {
	switch ns.off {
	case nsOfHeader:
		return w.ns
	case nsOfStream:
		return []byte(NS)
	case nsOfXML:
		return []byte(nsXML)
	}
	return Decode(ns.of(b))
}

// item fills in it from what is known of the item in b.
func (w *work) item(b []byte, it *Item) {
	it.Kind, it.Raw = w.kind, b
	if w.kind == Closing {
		return
	}
	it.Name, it.NS = w.top.local.of(b), w.nsOf(b, w.top.ns)
	if w.kind == Opening {
		return
	}
	it.nameEnd = w.top.local.off + w.top.local.n
	it.declares = w.declares
	it.To, it.to = w.routed(b, routeTo)
	it.From, it.from = w.routed(b, routeFrom)
	it.ID, _ = w.routed(b, routeID)
	it.Type, _ = w.routed(b, routeType)
	it.Lang, _ = w.routed(b, routeLang)
	if w.child.local.n > 0 {
		it.Child.Name, it.Child.NS = w.child.local.of(b), w.nsOf(b, w.child.ns)
	}
}

// routed returns the value of an attribute and where it stands.
func (w *work) routed(b []byte, which int) ([]byte, extent) {
	a := w.routing[which]
	if a.end == 0 {
		return nil, extent{}
	}
	return b[a.value:a.end], extent{a.start, a.end + 1}
}
