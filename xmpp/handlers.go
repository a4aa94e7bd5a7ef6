package xmpp

import (
	"errors"

	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmpp/stream"
)

// Handlers says who gets what comes over a session. It is filled before the
// session is there and not changed afterwards. The zero value handles nothing:
// requests are refused with service-unavailable.
//
// Handlers are called one after another in the order of the stanzas, and return
// soon: what follows waits for them. None is called from two goroutines at once
// for the same session. What they are given belongs to them.
type Handlers struct {
	allow     func(s *Session, from jid.JID) bool // nil: everybody
	iqs       map[name]IQHandler
	messages  map[name]MessageHandler
	prompt    map[name]PromptHandler
	plain     MessageHandler
	failures  []func(s *Session, m *stanza.Message) bool
	presences []PresenceHandler
}

type name struct{ ns, name string }

// IQHandler answers a request with the payload of the result, which may be nil.
// An error that is a *stanza.Error is the answer; any other is
// internal-server-error and goes to the log. ErrLater means that somebody sends
// req.Result or req.Refuse later.
type IQHandler func(s *Session, req *stanza.IQ) (payload *stanza.Element, err error)

// MessageHandler takes a message.
type MessageHandler func(s *Session, m *stanza.Message)

// PromptHandler takes a message as it came, from, which it is stamped with, and
// reports whether it did.
type PromptHandler func(s *Session, from jid.JID, it *stream.Item) bool

// PresenceHandler takes a presence of any type. When the session ends, each
// resource that was available is unavailable: that comes as one, too.
type PresenceHandler func(s *Session, p *stanza.Presence)

// ErrLater is what an IQHandler returns when the answer will be sent by itself.
var ErrLater = errors.New("xmpp: answered later")

// Allow has f say whose requests and messages are for handlers. Others learn
// nothing: their requests are refused as if nobody handled them. Presence is
// handled whoever sends it, and so are messages of type error.
func (h *Handlers) Allow(f func(s *Session, from jid.JID) bool) { h.allow = f }

// IQ has h answer requests whose payload is called name in namespace ns. There
// must be no other yet.
func (h *Handlers) IQ(ns, local string, f IQHandler) {
	if h.iqs == nil {
		h.iqs = map[name]IQHandler{}
	}
	if h.iqs[name{ns, local}] != nil {
		panic("xmpp: two handlers for " + local + " of " + ns)
	}
	h.iqs[name{ns, local}] = f
}

// Message has f take messages, also those of type error, that hold a child
// called name in namespace ns: the first child of which somebody knows. There
// must be no other yet.
func (h *Handlers) Message(ns, local string, f MessageHandler) {
	if h.messages == nil {
		h.messages = map[name]MessageHandler{}
	}
	if h.messages[name{ns, local}] != nil {
		panic("xmpp: two handlers for " + local + " of " + ns)
	}
	h.messages[name{ns, local}] = f
}

// PromptMessage has f try messages whose first child is called name in namespace
// ns before they are decoded, for those that are many: where no stanza before
// waits for its handler, f is called by the goroutine that reads. It waits for
// nothing and keeps nothing of it. What it does not take, and reports so, comes
// to whom Message says.
func (h *Handlers) PromptMessage(ns, local string, f PromptHandler) {
	if h.prompt == nil {
		h.prompt = map[name]PromptHandler{}
	}
	h.prompt[name{ns, local}] = f
}

// promptFor is who may take a message before it is decoded; nil: nobody.
func (h *Handlers) promptFor(it *stream.Item) PromptHandler {
	if len(h.prompt) == 0 || string(it.Type) == "error" || len(it.From) == 0 {
		return nil
	}
	for n, f := range h.prompt { // one, as a rule
		if string(it.Child.NS) == n.ns && string(it.Child.Name) == n.name {
			return f
		}
	}
	return nil
}

// MessageError has f see each message of type error before anybody else: they
// often come without what they refuse. f reports whether it was for it.
func (h *Handlers) MessageError(f func(s *Session, m *stanza.Message) bool) {
	h.failures = append(h.failures, f)
}

// OtherMessage has f take the messages that nobody else takes.
func (h *Handlers) OtherMessage(f MessageHandler) { h.plain = f }

// Presence has f take presence, besides others.
func (h *Handlers) Presence(f PresenceHandler) { h.presences = append(h.presences, f) }

func (h *Handlers) message(s *Session, m *stanza.Message) {
	if m.Type == "error" {
		for _, f := range h.failures {
			if f(s, m) {
				return
			}
		}
	} else if h.allow != nil && !h.allow(s, m.From) {
		return
	}
	for i := range m.Children {
		if f := h.messages[name{m.Children[i].NS, m.Children[i].Name}]; f != nil {
			f(s, m)
			return
		}
	}
	if h.plain != nil {
		h.plain(s, m)
	}
}

func (h *Handlers) presence(s *Session, p *stanza.Presence) {
	for _, f := range h.presences {
		f(s, p)
	}
}

// iq answers a request; nil: later.
func (h *Handlers) iq(s *Session, req *stanza.IQ) *stanza.IQ {
	f := h.iqs[name{req.Payload.NS, req.Payload.Name}]
	if f == nil || h.allow != nil && !h.allow(s, req.From) {
		answer := req.Refuse(stanza.NewError(stanza.ServiceUnavailable, "")) // RFC 6120, section 8.4
		return &answer
	}
	payload, err := f(s, req)
	if errors.Is(err, ErrLater) {
		return nil
	}
	answer := req.Result(payload)
	if err != nil {
		refusal, ok := errors.AsType[*stanza.Error](err)
		if !ok {
			s.log.Error("request not answered", "payload", req.Payload.Name, "from", req.From, "err", err)
			refusal = stanza.NewError(stanza.InternalServerError, "")
		}
		answer = req.Refuse(refusal)
	}
	return &answer
}
