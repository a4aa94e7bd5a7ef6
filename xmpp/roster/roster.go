// Package roster asks a server for the contacts of an account, changes them, and
// follows changes that others make (RFC 6121, section 2).
//
//	Get, Set, Remove ──▶ the own account
//	Handle ◀── push, from the own account alone
//
// An account's own devices are not in its roster: they are known by their
// presence.
package roster

import (
	"context"
	"fmt"

	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stanza"
)

// NS is the namespace of rosters.
const NS = "jabber:iq:roster"

// Subscription says who sees whose presence (RFC 6121, section 2.1.2.5).
type Subscription string

// The subscriptions. Removed is what a push says of an item that is gone.
const (
	None    Subscription = "none"
	To      Subscription = "to"   // we see theirs
	From    Subscription = "from" // they see ours
	Both    Subscription = "both"
	Removed Subscription = "remove"
)

// Item is a contact.
type Item struct {
	JID          jid.JID
	Name         string // for people; "": none
	Subscription Subscription
	Pending      bool // we have asked to see theirs, and wait
	Groups       []string
}

// Get returns the contacts of the account of s.
func Get(ctx context.Context, s *xmpp.Session) ([]Item, error) {
	query, err := s.Ask(ctx, stanza.IQ{Type: "get", Payload: &stanza.Element{NS: NS, Name: "query"}})
	if err != nil {
		return nil, fmt.Errorf("roster: %w", err)
	}
	return read(query)
}

// Set adds a contact or changes its name and groups. Subscriptions are changed
// by presence (RFC 6121, section 3).
func Set(ctx context.Context, s *xmpp.Session, it Item) error {
	e := stanza.Element{NS: NS, Name: "item", Attrs: []stanza.Attr{{Name: "jid", Value: it.JID.Bare().String()}}}
	if it.Name != "" {
		e.Attrs = append(e.Attrs, stanza.Attr{Name: "name", Value: it.Name})
	}
	for _, g := range it.Groups {
		e.Children = append(e.Children, stanza.Element{NS: NS, Name: "group", Text: g})
	}
	return change(ctx, s, e)
}

// Remove removes a contact, and with it the subscriptions both ways.
func Remove(ctx context.Context, s *xmpp.Session, j jid.JID) error {
	return change(ctx, s, stanza.Element{NS: NS, Name: "item", Attrs: []stanza.Attr{
		{Name: "jid", Value: j.Bare().String()}, {Name: "subscription", Value: string(Removed)}}})
}

func change(ctx context.Context, s *xmpp.Session, item stanza.Element) error {
	_, err := s.Ask(ctx, stanza.IQ{Type: "set", Payload: &stanza.Element{NS: NS, Name: "query", Children: []stanza.Element{item}}})
	if err != nil {
		return fmt.Errorf("roster: %w", err)
	}
	return nil
}

// Handle has changed called for each change that the server tells of. A push
// from anybody but the own account is refused and changes nothing (RFC 6121,
// section 2.1.6).
func Handle(h *xmpp.Handlers, changed func(s *xmpp.Session, it Item)) {
	h.IQ(NS, "query", func(s *xmpp.Session, req *stanza.IQ) (*stanza.Element, error) {
		if !req.From.IsZero() && req.From != s.JID().Bare() || req.Type != "set" {
			return nil, stanza.NewError(stanza.ServiceUnavailable, "")
		}
		items, err := read(req.Payload)
		if err != nil || len(items) != 1 {
			return nil, stanza.NewError(stanza.BadRequest, "")
		}
		changed(s, items[0])
		return nil, nil
	})
}

// read reads a query. An item whose address makes no sense is left out.
func read(query *stanza.Element) ([]Item, error) {
	if query == nil || query.NS != NS || query.Name != "query" {
		return nil, fmt.Errorf("roster: the server answered something else")
	}
	var items []Item
	for _, e := range query.Children {
		if e.NS != NS || e.Name != "item" {
			continue
		}
		j, err := jid.Parse(e.Attr("jid"))
		if err != nil {
			continue
		}
		it := Item{JID: j, Name: e.Attr("name"), Subscription: subscription(e.Attr("subscription")), Pending: e.Attr("ask") == "subscribe"}
		for _, g := range e.Children {
			if g.NS == NS && g.Name == "group" {
				it.Groups = append(it.Groups, g.Text)
			}
		}
		items = append(items, it)
	}
	return items, nil
}

// subscription is None for what is not known.
func subscription(s string) Subscription {
	switch v := Subscription(s); v {
	case To, From, Both, Removed:
		return v
	}
	return None
}
