package stream

import "bytes"

// Offsets of spans that stand for what is not in the item.
const (
	nsOfHeader = -1 // the default namespace of the stream's header
	nsOfStream = -2 // NS
	nsOfXML    = -3
	undeclared = -4
)

// element1 is an element of the first two levels: its name without prefix, and
// its namespace.
type element1 struct{ name, ns span }

// binding is a prefix in scope.
type binding struct{ prefix, ns span }

// maxBound is how many prefixes may be in scope at once, so that looking for
// one takes little.
const maxBound = 128

// declare brings the prefixes into scope that the start tag declares.
func (w *work) declare(b []byte) error {
	if w.tag.declares > w.limits.namespaces() {
		return violation("too many namespaces")
	}
	for i := range w.tag.attrs {
		a := &w.tag.attrs[i]
		if !a.declares(b) {
			continue
		}
		ns := b[a.value:a.end]
		if bytes.IndexByte(ns, '&') >= 0 {
			ns = Decode(ns)
		}
		if err := checkNamespace(a, b, ns); err != nil {
			return err
		}
		if a.colon == 0 {
			continue
		}
		if len(w.bound) >= maxBound {
			return violation("too many namespaces")
		}
		w.bound = append(w.bound, binding{span{a.colon + 1, a.nameEnd - a.colon - 1}, span{a.value, a.end - a.value}})
	}
	return nil
}

// checkNamespace checks the declaration a of ns (Namespaces in XML, sections
// 2.2 and 3).
func checkNamespace(a *attr, b, ns []byte) error {
	all := uint8(0)
	for _, c := range ns {
		all |= class[c]
	}
	if all&notURI != 0 {
		return malformed("namespace that is no URI") // Bad08
	}
	if a.colon == 0 && len(ns) != len(nsXML) && len(ns) != len(nsXMLNS) {
		return nil
	}
	prefix := b[a.colon+1 : a.nameEnd]
	xml := a.colon > 0 && string(prefix) == "xml"
	switch {
	case a.colon > 0 && len(ns) == 0:
		return malformed("prefix for no namespace")
	case a.colon > 0 && string(prefix) == "xmlns", string(ns) == nsXMLNS, xml != (string(ns) == nsXML):
		return malformed("reserved namespace or prefix")
	}
	return nil
}

// resolve checks that each prefix of the start tag is declared, and returns the
// namespace of the element, which is right for the first two levels only.
func (w *work) resolve(b []byte) (ns span, err error) {
	if w.tag.prefixed > 0 {
		for i := range w.tag.attrs {
			a := &w.tag.attrs[i]
			if a.colon > 0 && !a.declares(b) && w.lookup(b, a.prefix(b)).off == undeclared {
				return ns, malformed("prefix that is not declared")
			}
		}
	}
	if w.tag.colon > 0 {
		return w.elementPrefix(b)
	}
	return w.defaultNS(), nil
}

// elementPrefix returns the namespace of the element by its prefix.
func (w *work) elementPrefix(b []byte) (span, error) {
	w.defaultNS() // for its children
	prefix := b[w.tag.name.off:w.tag.colon]
	ns := w.lookup(b, prefix)
	if ns.off != undeclared {
		return ns, nil
	}
	if string(prefix) == "stream" && w.opened && !w.framed {
		if len(w.open) > 1 {
			return ns, badPrefix("prefix stream inside a stanza") // threats rule 10
		}
		return span{off: nsOfStream}, nil
	}
	return ns, malformed("prefix that is not declared")
}

// defaultNS is the default namespace in the element whose start tag is open.
func (w *work) defaultNS() span {
	ns := w.firstNS
	if len(w.open) == 1 {
		ns = span{off: nsOfHeader}
	}
	if w.tag.ns >= 0 {
		a := &w.tag.attrs[w.tag.ns]
		ns = span{a.value, a.end - a.value}
	}
	if len(w.open) == 1 {
		w.firstNS = ns
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

// sameExpanded reports whether two attributes with prefixes mean the same name
// (Namespaces in XML, section 6.3).
func (w *work) sameExpanded(b []byte, a, other *attr) bool {
	if !bytes.Equal(a.local(b), other.local(b)) {
		return false
	}
	x, y := w.lookup(b, a.prefix(b)), w.lookup(b, other.prefix(b))
	return x.off >= 0 && y.off >= 0 && bytes.Equal(Decode(x.of(b)), Decode(y.of(b)))
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
