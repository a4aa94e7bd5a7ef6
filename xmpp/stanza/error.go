package stanza

import (
	"fmt"

	"github.com/farreach/farreach/xmpp/stream"
)

// NSErrors is the namespace of conditions (RFC 6120, section 8.3.2).
const NSErrors = "urn:ietf:params:xml:ns:xmpp-stanzas"

// Error is a stanza error (RFC 6120, section 8.3): the refusal of one stanza,
// after which the stream goes on.
type Error struct {
	Type      string   // auth, cancel, continue, modify, wait
	Condition string   // defined condition, such as ItemNotFound
	Text      string   // for people; "": none
	By        string   // address of whoever refuses, as it stands there; "": the sender
	URI       string   // of Gone and Redirect: where to turn to; "": none
	App       *Element // application-specific condition; nil: none
}

// The conditions of RFC 6120, section 8.3.3.
const (
	BadRequest            = "bad-request"             // 8.3.3.1
	Conflict              = "conflict"                // 8.3.3.2
	FeatureNotImplemented = "feature-not-implemented" // 8.3.3.3
	Forbidden             = "forbidden"               // 8.3.3.4
	Gone                  = "gone"                    // 8.3.3.5
	InternalServerError   = "internal-server-error"   // 8.3.3.6
	ItemNotFound          = "item-not-found"          // 8.3.3.7
	JIDMalformed          = "jid-malformed"           // 8.3.3.8
	NotAcceptable         = "not-acceptable"          // 8.3.3.9
	NotAllowed            = "not-allowed"             // 8.3.3.10
	NotAuthorized         = "not-authorized"          // 8.3.3.11
	PolicyViolation       = "policy-violation"        // 8.3.3.12
	RecipientUnavailable  = "recipient-unavailable"   // 8.3.3.13
	Redirect              = "redirect"                // 8.3.3.14
	RegistrationRequired  = "registration-required"   // 8.3.3.15
	RemoteServerNotFound  = "remote-server-not-found" // 8.3.3.16
	RemoteServerTimeout   = "remote-server-timeout"   // 8.3.3.17
	ResourceConstraint    = "resource-constraint"     // 8.3.3.18
	ServiceUnavailable    = "service-unavailable"     // 8.3.3.19
	SubscriptionRequired  = "subscription-required"   // 8.3.3.20
	UndefinedCondition    = "undefined-condition"     // 8.3.3.21
	UnexpectedRequest     = "unexpected-request"      // 8.3.3.22
)

// typeOf returns the type that section 8.3.3 of RFC 6120 gives to a condition,
// the first if it gives two; "" if there is no such condition.
func typeOf(condition string) string {
	switch condition {
	case BadRequest, JIDMalformed, NotAcceptable, PolicyViolation, Redirect:
		return "modify"
	case Conflict, FeatureNotImplemented, Gone, InternalServerError, ItemNotFound, NotAllowed,
		RemoteServerNotFound, ServiceUnavailable, UndefinedCondition:
		return "cancel"
	case Forbidden, NotAuthorized, RegistrationRequired, SubscriptionRequired:
		return "auth"
	case RecipientUnavailable, RemoteServerTimeout, ResourceConstraint, UnexpectedRequest:
		return "wait"
	}
	return ""
}

// NewError returns an error of the type that RFC 6120 gives to its condition.
// text is for people; "" is none.
func NewError(condition, text string) *Error {
	return &Error{Type: typeOf(condition), Condition: condition, Text: text}
}

func badRequest(text string) *Error { return NewError(BadRequest, text) }

func (e *Error) Error() string {
	if e.Text != "" {
		return fmt.Sprintf("xmpp: %s: %s", e.Condition, e.Text)
	}
	return "xmpp: " + e.Condition
}

// errorOf reads the error child of a stanza. A condition that is missing or
// unknown is an undefined-condition.
func errorOf(e *Element) *Error {
	se := &Error{Type: e.Attr("type"), By: e.Attr("by"), Condition: UndefinedCondition}
	named := false
	for i := range e.Children {
		c := &e.Children[i]
		switch {
		case c.NS == NSErrors && c.Name == "text":
			se.Text = c.Text
		case c.NS == NSErrors && !named && typeOf(c.Name) != "":
			se.Condition, se.URI, named = c.Name, c.Text, true
		case c.NS != NSErrors && se.App == nil:
			se.App = c
		}
	}
	if se.Type == "" {
		se.Type = typeOf(se.Condition)
	}
	return se
}

// Append appends the error child of a stanza.
func (e *Error) Append(dst []byte) []byte {
	x := Element{NS: stream.NSClient, Name: "error", Attrs: []Attr{{Name: "type", Value: e.Type}}}
	if e.By != "" {
		x.Attrs = append(x.Attrs, Attr{Name: "by", Value: e.By})
	}
	x.Children = append(x.Children, Element{NS: NSErrors, Name: e.Condition, Text: e.URI})
	if e.Text != "" {
		lang := Attr{NS: nsXML, Name: "lang", Value: "en"}
		x.Children = append(x.Children, Element{NS: NSErrors, Name: "text", Attrs: []Attr{lang}, Text: e.Text})
	}
	if e.App != nil {
		x.Children = append(x.Children, *e.App)
	}
	return x.Append(dst, stream.NSClient)
}
