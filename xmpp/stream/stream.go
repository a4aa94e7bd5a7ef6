// Package stream is the XML of XMPP as bytes: it finds where one stanza ends
// and the next begins, says who each is from and for, and never builds a tree.
//
//	bytes ─▶ Scanner.Next ─▶ Item ─▶ routed by To, Type, ID, Child
//	           │ Limits        │
//	           ▼               └─▶ AppendStamped ─▶ wire.Queue ─▶ wire.Link
//	         *Error                 (from is ours)
//
// The Scanner accepts the restricted XML of RFC 6120, section 11, and nothing
// more, so that what it accepts means the same to whoever gets it: it is
// well-formed, in UTF-8, and declares every prefix that it uses (threats rules
// 10 and 11). Whatever else comes is an *Error, which is the stream error to
// send before the connection is closed.
//
// Package stanza makes a tree of the few items that must be understood. Streams
// over TCP (RFC 6120) and over WebSocket (RFC 7395) differ in their headers
// alone.
package stream

import "errors"

// The namespaces of streams.
const (
	NS        = "http://etherx.jabber.org/streams"     // RFC 6120, section 4.8.1
	NSClient  = "jabber:client"                        // RFC 6120, section 4.8.3
	NSErrors  = "urn:ietf:params:xml:ns:xmpp-streams"  // RFC 6120, section 4.9.2
	NSFraming = "urn:ietf:params:xml:ns:xmpp-framing"  // RFC 7395, section 3.3.2
	nsServer  = "jabber:server"                        // RFC 6120, section 4.8.3
	nsXML     = "http://www.w3.org/XML/1998/namespace" // Namespaces in XML, section 3
	nsXMLNS   = "http://www.w3.org/2000/xmlns/"        // Namespaces in XML, section 3
)

// ErrShort says that an item is not complete: call again with more bytes.
var ErrShort = errors.New("xmpp: item is not complete")

// Limits bound what a peer may send. A zero field is the limit that holds after
// authentication. Whatever exceeds one is a policy-violation.
type Limits struct {
	Stanza         int // one item, bytes; 0: DefaultStanza
	Depth          int // elements within each other; 0: 128
	Elements       int // elements in one item; 0: 8,192
	Attributes     int // of one element, declarations included; 0: 64
	AttributeBytes int // of one start tag behind its name; 0: 16,384
	Namespaces     int // declared by one element; 0: 16
	Name           int // name of an element or attribute with its prefix, bytes; 0: 256
}

// DefaultStanza is how long an item may be after authentication, bytes.
const DefaultStanza = 262_144

// BeforeAuth returns the limits for a peer of whom nothing is known. The
// 10,000 bytes are the least that a server may take (RFC 6120, section 13.12).
func BeforeAuth() Limits { return Limits{Stanza: 10_000, Elements: 64} }

// or is the limit n, or the one that holds otherwise.
func or(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

func (l *Limits) stanza() int         { return or(l.Stanza, DefaultStanza) }
func (l *Limits) depth() int          { return or(l.Depth, 128) }
func (l *Limits) elements() int       { return or(l.Elements, 8_192) }
func (l *Limits) attributes() int     { return or(l.Attributes, 64) }
func (l *Limits) attributeBytes() int { return or(l.AttributeBytes, 16_384) }
func (l *Limits) namespaces() int     { return or(l.Namespaces, 16) }
func (l *Limits) name() int           { return or(l.Name, 256) }

// Kind says what an item is.
type Kind uint8

// The kinds of items.
const (
	Space   Kind = iota + 1 // white space between stanzas (RFC 6120, section 4.6.1)
	Opening                 // <stream:stream …>, or <open/> of a WebSocket: see ParseHeader
	Stanza                  // a complete first-level element: a stanza, features, an error, SASL
	Closing                 // </stream:stream>, or <close/> of a WebSocket
)

// Item is one thing that a stream is made of. Its slices are part of the bytes
// that were scanned, unless said otherwise.
type Item struct {
	Kind Kind
	Raw  []byte // the whole item
	Name []byte // local name of the element
	NS   []byte // its namespace, decoded

	// The values of attributes as they stand there: Decode gives their text.
	// Those that are absent are nil.
	To, From, ID, Type, Lang []byte

	Child struct{ Name, NS []byte } // of the first child element, as above; nil: none

	nameEnd  int // offset behind the element's name
	from, to extent
	declares bool // has a default namespace of its own
	inherits bool // its prefix is that of the header
}

// extent is where an attribute stands in Item.Raw, with its name and quotes. It
// is zero if there is none.
type extent struct{ start, end int }

// Stamp says what AppendStamped changes. The values are as they stand in an
// attribute: see AppendEscaped.
type Stamp struct {
	From []byte // nil: as it is
	To   []byte // nil: as it is
	Lang []byte // xml:lang, for an item that has none; nil: none
	NS   bool   // declare the namespaces that the header does, for WebSockets (RFC 7395, section 3.3.3)
}

// AppendStamped appends the item with the addresses given instead of those it
// came with, so that there is one of each. All else is copied as it is.
func (it *Item) AppendStamped(dst []byte, s Stamp) []byte {
	dst = append(dst, it.Raw[:it.nameEnd]...)
	if s.NS && !it.declares {
		dst = append(dst, " xmlns='"+NSClient+"'"...)
	}
	if s.NS && it.inherits {
		dst = append(dst, " xmlns:stream='"+NS+"'"...)
	}
	if s.Lang != nil && it.Lang == nil {
		dst = appendAttr(dst, " xml:lang='", s.Lang)
	}
	if s.From != nil && it.from.end == 0 {
		dst = appendAttr(dst, " from='", s.From)
	}
	if s.To != nil && it.to.end == 0 {
		dst = appendAttr(dst, " to='", s.To)
	}
	at := it.nameEnd
	if it.from.start < it.to.start {
		dst, at = it.replace(dst, at, it.from, "from='", s.From)
	}
	dst, at = it.replace(dst, at, it.to, "to='", s.To)
	if it.from.start > it.to.start {
		dst, at = it.replace(dst, at, it.from, "from='", s.From)
	}
	return append(dst, it.Raw[at:]...)
}

// replace appends what stands from at up to an attribute, and that with another
// value, and returns the offset behind it. It appends nothing if the value is
// nil or there is no such attribute.
func (it *Item) replace(dst []byte, at int, old extent, name string, value []byte) ([]byte, int) {
	if value == nil || old.end == 0 {
		return dst, at
	}
	return appendAttr(append(dst, it.Raw[at:old.start]...), name, value), old.end
}

// appendAttr appends an attribute whose opening quote ends name.
func appendAttr(dst []byte, name string, value []byte) []byte {
	dst = append(dst, name...)
	dst = append(dst, value...)
	return append(dst, '\'')
}
