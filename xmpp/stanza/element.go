package stanza

import (
	"bytes"
	"errors"
	"strconv"

	"github.com/farreach/farreach/xmpp/stream"
)

const nsXML = "http://www.w3.org/XML/1998/namespace"

// Element is an XML element: its expanded name, and what it holds.
type Element struct {
	NS, Name string
	Attrs    []Attr
	Text     string // all character data, joined
	Children []Element
}

// Attr is an attribute. NS is "" if it has no prefix.
type Attr struct{ NS, Name, Value string }

// Attr returns the value of the attribute without a namespace that is called
// name, "" if there is none.
func (e *Element) Attr(name string) string { return e.AttrNS("", name) }

// AttrNS returns the value of an attribute, "" if there is none.
func (e *Element) AttrNS(ns, name string) string {
	for _, a := range e.Attrs {
		if a.Name == name && a.NS == ns {
			return a.Value
		}
	}
	return ""
}

// Child returns the first child of that name, nil if there is none.
func (e *Element) Child(ns, name string) *Element {
	for i := range e.Children {
		if c := &e.Children[i]; c.Name == name && c.NS == ns {
			return c
		}
	}
	return nil
}

var errElement = errors.New("xmpp: not one element")

// maxDepth bounds how deep Parse goes.
const maxDepth = 128

// Parse makes a tree of one element. ns is the default namespace where it
// stands.
func Parse(raw []byte, ns string) (Element, error) {
	p := parser{rest: raw}
	var doc Element
	for len(p.rest) > 0 && len(doc.Children) == 0 {
		if !p.next(&doc, ns, 0) {
			return Element{}, errElement
		}
	}
	if len(p.rest) > 0 || len(doc.Children) != 1 || doc.Text != "" {
		return Element{}, errElement
	}
	return doc.Children[0], nil
}

// parser takes a document apart.
type parser struct {
	rest  []byte
	bound []binding // prefixes in scope, the innermost last
}

type binding struct{ prefix, ns string }

// next takes the next token, which stands in parent, and whatever belongs to it.
// It reports false if that makes no sense.
func (p *parser) next(parent *Element, ns string, depth int) bool {
	tok, n := stream.NextToken(p.rest)
	p.rest = p.rest[n:]
	switch tok.Kind {
	case stream.Chars:
		parent.Text += string(tok.Decode())
		return true
	case stream.StartTag:
		return depth < maxDepth && p.element(parent, &tok, ns, depth+1)
	}
	return false
}

// element takes what follows the start tag tok up to its end.
func (p *parser) element(parent *Element, tok *stream.Token, ns string, depth int) bool {
	scope := len(p.bound)
	attrs, ns := p.attrs(tok, ns)
	e := Element{NS: ns, Attrs: attrs}
	prefix, local := cut(tok.Name)
	e.Name = local
	if prefix != "" {
		e.NS = p.lookup(prefix)
	}
	for !tok.Empty && !bytes.HasPrefix(p.rest, []byte("</")) {
		if len(p.rest) == 0 || !p.next(&e, ns, depth) {
			return false
		}
	}
	if !tok.Empty {
		end, n := stream.NextToken(p.rest)
		if !bytes.Equal(end.Name, tok.Name) {
			return false
		}
		p.rest = p.rest[n:]
	}
	p.bound = p.bound[:scope]
	if parent.Children == nil && depth > 1 {
		parent.Children = make([]Element, 0, 2)
	}
	parent.Children = append(parent.Children, e)
	return e.Name != ""
}

// attrs brings the prefixes of a start tag into scope, and returns the
// attributes that declare nothing and the default namespace in it, which outside
// is ns.
func (p *parser) attrs(tok *stream.Token, ns string) (attrs []Attr, _ string) {
	prefixed := false
	for name, value, rest := stream.NextAttr(tok.Attrs); name != nil; name, value, rest = stream.NextAttr(rest) {
		prefix, local := cut(name)
		switch {
		case prefix == "" && local == "xmlns":
			ns = sharedNS(stream.Decode(value))
		case prefix == "xmlns":
			p.bound = append(p.bound, binding{local, string(stream.Decode(value))})
		default:
			if attrs == nil {
				attrs = make([]Attr, 0, min(8, bytes.Count(tok.Attrs, []byte("="))))
			}
			attrs = append(attrs, Attr{prefix, local, string(stream.Decode(value))}) // for now
			prefixed = prefixed || prefix != ""
		}
	}
	if prefixed { // which may be declared behind
		for i := range attrs {
			if a := &attrs[i]; a.NS != "" {
				a.NS = p.lookup(a.NS)
			}
		}
	}
	return attrs, ns
}

// lookup returns the namespace of a prefix.
func (p *parser) lookup(prefix string) string {
	for i := len(p.bound) - 1; i >= 0; i-- {
		if p.bound[i].prefix == prefix {
			return p.bound[i].ns
		}
	}
	switch prefix {
	case "stream":
		return stream.NS // the header declares it
	case "xml":
		return nsXML
	}
	return ""
}

// cut splits a name at its colon.
func cut(name []byte) (prefix, local string) {
	if before, after, ok := bytes.Cut(name, []byte(":")); ok {
		return shared(before), shared(after)
	}
	return "", shared(name)
}

// shared is b as a string, without a copy if it is a name that nearly every
// stanza has.
func shared(b []byte) string {
	for _, s := range [...]string{"from", "to", "id", "type", "xmlns", "message", "data", "sid", "seq", "iq", "no-store", "presence", "query", "xml", "lang"} {
		if string(b) == s {
			return s
		}
	}
	return string(b)
}

// sharedNS is that for the namespaces of most stanzas.
func sharedNS(b []byte) string {
	for _, s := range [...]string{stream.NSClient, "http://jabber.org/protocol/ibb", "urn:xmpp:hints"} {
		if string(b) == s {
			return s
		}
	}
	return string(b)
}

// Append appends e as XML. ns is the default namespace where it will stand.
func (e *Element) Append(dst []byte, ns string) []byte {
	name := e.Name
	if e.NS == nsXML {
		name = "xml:" + name // the one namespace that cannot be the default one
	}
	dst = append(append(dst, '<'), name...)
	if e.NS != ns && e.NS != nsXML {
		dst = appendAttr(dst, "xmlns", e.NS)
		ns = e.NS
	}
	dst = e.appendAttrs(dst)
	if e.Text == "" && len(e.Children) == 0 {
		return append(dst, "/>"...)
	}
	dst = stream.AppendText(append(dst, '>'), e.Text)
	for i := range e.Children {
		dst = e.Children[i].Append(dst, ns)
	}
	dst = append(append(dst, "</"...), name...)
	return append(dst, '>')
}

func (e *Element) appendAttrs(dst []byte) []byte {
	for i, a := range e.Attrs {
		switch a.NS {
		case "":
			dst = appendAttr(dst, a.Name, a.Value)
		case nsXML:
			dst = appendAttr(dst, "xml:"+a.Name, a.Value)
		default:
			prefix := "a" + strconv.Itoa(i)
			dst = appendAttr(dst, "xmlns:"+prefix, a.NS)
			dst = appendAttr(dst, prefix+":"+a.Name, a.Value)
		}
	}
	return dst
}

func appendAttr(dst []byte, name, value string) []byte {
	dst = append(append(dst, ' '), name...)
	dst = stream.AppendEscaped(append(dst, "='"...), value)
	return append(dst, '\'')
}
