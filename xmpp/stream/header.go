package stream

// Header is the header of a stream (RFC 6120, section 4.7), or the <open/> of a
// WebSocket (RFC 7395, section 3.4).
type Header struct {
	To, From  string // addresses as they stand there, not prepared; "": none
	ID        string // of the stream; "": none
	Version   string // "1.0"; "" is version 0.9 (RFC 6120, section 4.7.5)
	Lang      string // xml:lang; "": none
	Namespace string // default namespace; "": each stanza declares its own
}

// header checks the header that is the start tag, whose namespace is ns.
func (w *work) header(b []byte, ns span) error {
	for i := range w.tag.attrs {
		if a := &w.tag.attrs[i]; a.colon > 0 && a.declares(b) && string(a.local(b)) != "stream" && string(a.local(b)) != "xml" {
			return badPrefix("header declares more than stream and its default namespace") // Bad10
		}
	}
	content := w.nsOf(b, w.firstNS)
	bound := w.lookup(b, []byte("stream"))
	switch {
	case string(w.localName().of(b)) != "stream":
		return badFormat("stream does not begin with a header")
	case w.tag.colon > 0 && string(b[w.tag.name.off:w.tag.colon]) != "stream":
		return badPrefix("header has another prefix than stream")
	case bound.off >= 0 && string(w.nsOf(b, bound)) != NS, string(w.nsOf(b, ns)) != NS,
		len(content) > 0 && string(content) != NS && string(content) != NSClient:
		return &Error{Condition: InvalidNamespace, Text: "header in a namespace that is not supported", Spec: "RFC 6120, section 4.9.3.10"}
	}
	w.ns = append([]byte(nil), content...)
	w.root = append([]byte(nil), w.tag.name.of(b)...)
	w.first = element1{w.localName(), span{off: nsOfStream}}
	return nil
}

// ParseHeader reads a header: the Raw of an item of that kind.
func ParseHeader(raw []byte) Header {
	var h Header
	for len(raw) > 0 {
		tok, n := NextToken(raw)
		raw = raw[n:]
		if tok.Kind != StartTag {
			continue
		}
		for name, value, rest := NextAttr(tok.Attrs); name != nil; name, value, rest = NextAttr(rest) {
			if f := h.field(string(name)); f != nil {
				*f = string(Decode(value))
			}
		}
		if h.Namespace == NSFraming {
			h.Namespace = ""
		}
	}
	return h
}

// field returns the field that an attribute is kept in; nil if none is.
func (h *Header) field(attr string) *string {
	switch attr {
	case "to":
		return &h.To
	case "from":
		return &h.From
	case "id":
		return &h.ID
	case "version":
		return &h.Version
	case "xml:lang":
		return &h.Lang
	case "xmlns":
		return &h.Namespace
	}
	return nil
}

// Append appends the header of a stream over TCP, with the XML declaration. Its
// content namespace is jabber:client.
func (h *Header) Append(dst []byte) []byte {
	dst = append(dst, "<?xml version='1.0'?><stream:stream xmlns='"+NSClient+"' xmlns:stream='"+NS+"'"...)
	return append(h.appendAttrs(dst), '>')
}

// AppendOpen appends the header of a stream over a WebSocket.
func (h *Header) AppendOpen(dst []byte) []byte {
	dst = append(dst, "<open xmlns='"+NSFraming+"'"...)
	return append(h.appendAttrs(dst), "/>"...)
}

func (h *Header) appendAttrs(dst []byte) []byte {
	for _, a := range [...]struct{ name, value string }{
		{" from='", h.From}, {" to='", h.To}, {" id='", h.ID}, {" version='", h.Version}, {" xml:lang='", h.Lang},
	} {
		if a.value != "" {
			dst = append(AppendEscaped(append(dst, a.name...), a.value), '\'')
		}
	}
	return dst
}

// AppendClose appends the end of a stream, over TCP or over a WebSocket.
func AppendClose(dst []byte, framed bool) []byte {
	if framed {
		return append(dst, "<close xmlns='"+NSFraming+"'/>"...)
	}
	return append(dst, "</stream:stream>"...)
}
