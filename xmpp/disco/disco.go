// Package disco tells what an entity is and can do, and asks others (XEP-0030),
// by the short cut of a hash in presence where they have one (XEP-0115).
//
//	Handle ◀── <query xmlns='…disco#info'/> ── Query ◀── Cache.Info ◀── presence with <c ver='…'/>
//	Info.Caps ──▶ own presence
package disco

import (
	"context"
	"fmt"

	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stanza"
)

// The namespaces of XEP-0030.
const (
	NSInfo  = "http://jabber.org/protocol/disco#info"
	NSItems = "http://jabber.org/protocol/disco#items"
)

// Identity is what an entity is.
type Identity struct{ Category, Type, Lang, Name string }

// Info is what an entity is and can do.
type Info struct {
	Identities []Identity
	Features   []string
	Forms      []Form
}

// Form is an extension of Info (XEP-0128).
type Form struct {
	Type   string              // FORM_TYPE
	Fields map[string][]string // without FORM_TYPE
}

// Has reports whether an entity has a feature.
func (i *Info) Has(feature string) bool {
	for _, f := range i.Features {
		if f == feature {
			return true
		}
	}
	return false
}

// Handle answers who asks what we are, for the entity itself and for the node
// that Caps names. info is not changed afterwards.
func Handle(h *xmpp.Handlers, node string, info *Info) {
	ver := node + "#" + info.Ver()
	h.IQ(NSInfo, "query", func(_ *xmpp.Session, req *stanza.IQ) (*stanza.Element, error) {
		if n := req.Payload.Attr("node"); n != "" && n != ver || req.Type != "get" {
			return nil, stanza.NewError(stanza.ItemNotFound, "")
		}
		e := info.element()
		if n := req.Payload.Attr("node"); n != "" {
			e.Attrs = []stanza.Attr{{Name: "node", Value: n}}
		}
		return e, nil
	})
	h.IQ(NSItems, "query", func(_ *xmpp.Session, req *stanza.IQ) (*stanza.Element, error) {
		if req.Payload.Attr("node") != "" || req.Type != "get" {
			return nil, stanza.NewError(stanza.ItemNotFound, "")
		}
		return &stanza.Element{NS: NSItems, Name: "query"}, nil
	})
}

// Query asks an entity what it is and can do. The zero JID is the server. node
// is "" for the entity itself.
func Query(ctx context.Context, s *xmpp.Session, to jid.JID, node string) (Info, error) {
	e, err := ask(ctx, s, to, NSInfo, node)
	if err != nil {
		return Info{}, err
	}
	return read(e), nil
}

// Item is something that belongs to an entity.
type Item struct {
	JID        jid.JID
	Node, Name string
}

// Items asks an entity what belongs to it. The zero JID is the server.
func Items(ctx context.Context, s *xmpp.Session, to jid.JID, node string) ([]Item, error) {
	e, err := ask(ctx, s, to, NSItems, node)
	if err != nil {
		return nil, err
	}
	var items []Item
	for _, c := range e.Children {
		if j, err := jid.Parse(c.Attr("jid")); err == nil && c.NS == NSItems && c.Name == "item" {
			items = append(items, Item{j, c.Attr("node"), c.Attr("name")})
		}
	}
	return items, nil
}

func ask(ctx context.Context, s *xmpp.Session, to jid.JID, ns, node string) (*stanza.Element, error) {
	if to.IsZero() {
		to, _ = jid.New("", s.JID().Domain(), "")
	}
	query := &stanza.Element{NS: ns, Name: "query"}
	if node != "" {
		query.Attrs = []stanza.Attr{{Name: "node", Value: node}}
	}
	e, err := s.Ask(ctx, stanza.IQ{To: to, Type: "get", Payload: query})
	switch {
	case err != nil:
		return nil, fmt.Errorf("disco: %w", err)
	case e == nil || e.NS != ns || e.Name != "query":
		return nil, fmt.Errorf("disco: %s answered something else", to)
	}
	return e, nil
}

func (i *Info) element() *stanza.Element {
	e := &stanza.Element{NS: NSInfo, Name: "query"}
	for _, id := range i.Identities {
		c := stanza.Element{NS: NSInfo, Name: "identity", Attrs: []stanza.Attr{{Name: "category", Value: id.Category}, {Name: "type", Value: id.Type}}}
		if id.Lang != "" {
			c.Attrs = append(c.Attrs, stanza.Attr{NS: nsXML, Name: "lang", Value: id.Lang})
		}
		if id.Name != "" {
			c.Attrs = append(c.Attrs, stanza.Attr{Name: "name", Value: id.Name})
		}
		e.Children = append(e.Children, c)
	}
	for _, f := range i.Features {
		e.Children = append(e.Children, stanza.Element{NS: NSInfo, Name: "feature", Attrs: []stanza.Attr{{Name: "var", Value: f}}})
	}
	for _, f := range i.Forms {
		e.Children = append(e.Children, f.element())
	}
	return e
}

const (
	nsXML  = "http://www.w3.org/XML/1998/namespace"
	nsForm = "jabber:x:data" // XEP-0004
)

func read(e *stanza.Element) (i Info) {
	for _, c := range e.Children {
		switch {
		case c.NS == NSInfo && c.Name == "identity":
			i.Identities = append(i.Identities, Identity{c.Attr("category"), c.Attr("type"), c.AttrNS(nsXML, "lang"), c.Attr("name")})
		case c.NS == NSInfo && c.Name == "feature":
			i.Features = append(i.Features, c.Attr("var"))
		case c.NS == nsForm && c.Name == "x":
			i.Forms = append(i.Forms, readForm(&c))
		}
	}
	return i
}

func readForm(e *stanza.Element) Form {
	f := Form{Fields: map[string][]string{}}
	for _, field := range e.Children {
		if field.NS != nsForm || field.Name != "field" {
			continue
		}
		var values []string
		for _, v := range field.Children {
			if v.NS == nsForm && v.Name == "value" {
				values = append(values, v.Text)
			}
		}
		if field.Attr("var") == "FORM_TYPE" {
			if len(values) == 1 && field.Attr("type") == "hidden" {
				f.Type = values[0]
			}
			continue
		}
		f.Fields[field.Attr("var")] = values
	}
	return f
}

func (f *Form) element() stanza.Element {
	x := stanza.Element{NS: nsForm, Name: "x", Attrs: []stanza.Attr{{Name: "type", Value: "result"}}}
	add := func(name, typ string, values []string) {
		field := stanza.Element{NS: nsForm, Name: "field", Attrs: []stanza.Attr{{Name: "var", Value: name}}}
		if typ != "" {
			field.Attrs = append(field.Attrs, stanza.Attr{Name: "type", Value: typ})
		}
		for _, v := range values {
			field.Children = append(field.Children, stanza.Element{NS: nsForm, Name: "value", Text: v})
		}
		x.Children = append(x.Children, field)
	}
	add("FORM_TYPE", "hidden", []string{f.Type})
	for _, name := range sortedNames(f.Fields) {
		add(name, "", f.Fields[name])
	}
	return x
}
