package rae

import (
	"github.com/farreach/farreach/xmpp/disco"
	"github.com/farreach/farreach/xmpp/ibb"
	"github.com/farreach/farreach/xmpp/ping"
	"github.com/farreach/farreach/xmpp/stanza"
)

// node names this program in the capabilities of presence (XEP-0115).
const node = "https://github.com/farreach/farreach"

// The priorities of presence (D16, RA-067): outside the ranges that servers and
// clients share, and negative for who wants no messages that are for the account.
const (
	priorityServer     = -80
	priorityClient     = -16
	priorityServerChat = 16
	priorityClientChat = 84
)

// capabilities is what an endpoint says of itself (section 4.9).
func capabilities(server bool) disco.Info {
	kind := "oic-client"
	if server {
		kind = "oic-server"
	}
	return disco.Info{
		Identities: []disco.Identity{{Category: "automation", Type: kind}},
		Features:   []string{disco.NSInfo, disco.NSItems, disco.NSCaps, ibb.NS, ping.NS, NS, featureToken, featureFragments, featureCBOR},
	}
}

// presence is what says that the endpoint is there.
func (e *Endpoint) presence() *stanza.Presence {
	p := &stanza.Presence{Children: []stanza.Element{e.info.Caps(node)}}
	if e.cfg.Gateway != "" {
		p.Children = append(p.Children, stanza.Element{NS: nsGateway, Name: "gateway", Attrs: []stanza.Attr{{Name: "di", Value: e.cfg.Gateway}}})
	}
	switch server := e.cfg.Device != nil; {
	case server && e.cfg.Chat:
		p.Priority = priorityServerChat
	case server:
		p.Priority = priorityServer
	case e.cfg.Chat:
		p.Priority = priorityClientChat
	default:
		p.Priority = priorityClient
	}
	return p
}
