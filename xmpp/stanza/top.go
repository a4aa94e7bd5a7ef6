package stanza

import (
	"strconv"
	"strings"

	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stream"
)

// top is what stanzas of all kinds have in common.
type top struct {
	from, to      jid.JID
	id, typ, lang string
	children      []Element
	failure       *Error // of type error
	err           error  // the first thing that is wrong
}

func (t *top) fail(err error) {
	if t.err == nil {
		t.err = err
	}
}

// parse reads the stanza called name.
func (t *top) parse(raw []byte, name string) {
	e, err := Parse(raw, stream.NSClient)
	if err != nil {
		t.fail(badRequest(err.Error()))
		return
	}
	if e.NS != stream.NSClient || e.Name != name {
		t.fail(badRequest("no " + name))
		return
	}
	t.id, t.typ, t.lang = e.Attr("id"), e.Attr("type"), e.AttrNS(nsXML, "lang")
	if len(t.id) > maxID {
		t.id = ""
		t.fail(badRequest("id is too long"))
	}
	t.from = t.address(&e, "from")
	t.to = t.address(&e, "to")
	t.children = e.Children
	if t.typ == "error" {
		if e, ok := t.take("error"); ok {
			t.failure = errorOf(&e)
		}
	}
}

func (t *top) address(e *Element, attr string) jid.JID {
	s := e.Attr(attr)
	if s == "" {
		return jid.JID{}
	}
	j, err := jid.Parse(s)
	if err != nil {
		t.fail(err)
	}
	return j
}

// take takes the first child of that name in the namespace of the stanza from
// among the children.
func (t *top) take(name string) (Element, bool) {
	for i, e := range t.children {
		if e.Name == name && e.NS == stream.NSClient {
			t.children = append(t.children[:i:i], t.children[i+1:]...)
			return e, true
		}
	}
	return Element{}, false
}

func parsePriority(s string) (int8, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 8)
	if err != nil {
		return 0, badRequest("priority is no number from -128 to 127") // RFC 6121, section 4.7.2.3
	}
	return int8(n), nil
}

func appendPriority(dst []byte, n int8) []byte {
	if n == 0 {
		return dst
	}
	dst = strconv.AppendInt(append(dst, "<priority>"...), int64(n), 10)
	return append(dst, "</priority>"...)
}

// appendTop appends the start tag of a stanza.
func appendTop(dst []byte, name string, from, to jid.JID, id, typ, lang string) []byte {
	dst = append(append(dst, '<'), name...)
	for _, a := range [...]struct{ name, value string }{
		{"type", typ}, {"id", id}, {"from", from.String()}, {"to", to.String()}, {"xml:lang", lang},
	} {
		if a.value != "" {
			dst = appendAttr(dst, a.name, a.value)
		}
	}
	return append(dst, '>')
}

// appendBottom appends the error and the end tag of a stanza, whose content
// begins at inside.
func appendBottom(dst []byte, inside int, name string, err *Error) []byte {
	if err != nil {
		dst = err.Append(dst)
	}
	if len(dst) == inside {
		return append(dst[:inside-1], "/>"...)
	}
	dst = append(append(dst, "</"...), name...)
	return append(dst, '>')
}

// appendText appends a child element that holds text, unless that is empty.
func appendText(dst []byte, name, text string) []byte {
	if text == "" {
		return dst
	}
	e := Element{NS: stream.NSClient, Name: name, Text: text}
	return e.Append(dst, stream.NSClient)
}

func appendChildren(dst []byte, children []Element) []byte {
	for i := range children {
		dst = children[i].Append(dst, stream.NSClient)
	}
	return dst
}
