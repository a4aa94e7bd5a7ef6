// Package ping asks whether somebody is there, and answers who asks (XEP-0199).
//
//	Send ── <iq type='get'><ping/></iq> ──▶ server, or a resource
//	     ◀── <iq type='result'/> ─────────── Handle
package ping

import (
	"context"
	"errors"
	"time"

	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stanza"
)

// NS is the namespace of pings, and the feature that says they are answered.
const NS = "urn:xmpp:ping"

// Handle answers pings.
func Handle(h *xmpp.Handlers) {
	h.IQ(NS, "ping", func(_ *xmpp.Session, req *stanza.IQ) (*stanza.Element, error) {
		if req.Type != "get" {
			return nil, stanza.NewError(stanza.BadRequest, "")
		}
		return nil, nil
	})
}

// Send pings to and returns the round-trip time. The zero JID is the server,
// which is there also if it does not know of pings. A resource that is not
// there, or does not know of pings, is a *stanza.Error.
func Send(ctx context.Context, s *xmpp.Session, to jid.JID) (time.Duration, error) {
	server := to.IsZero()
	if server {
		to, _ = jid.New("", s.JID().Domain(), "")
	}
	start := time.Now()
	_, err := s.Ask(ctx, stanza.IQ{To: to, Type: "get", Payload: &stanza.Element{NS: NS, Name: "ping"}})
	if _, refused := errors.AsType[*stanza.Error](err); refused && server { // XEP-0199, section 4.2
		err = nil
	}
	return time.Since(start), err
}
