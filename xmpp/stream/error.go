package stream

import "fmt"

// Error is a stream error (RFC 6120, section 4.9): the end of the stream.
type Error struct {
	Condition string // defined condition, such as NotWellFormed
	Text      string // for people, in English; "": none
	Spec      string // what says so; not sent
	App       string // XML of an application-specific condition; "": none
}

// The conditions of RFC 6120, section 4.9.3.
const (
	BadFormat              = "bad-format"               // 4.9.3.1
	BadNamespacePrefix     = "bad-namespace-prefix"     // 4.9.3.2
	Conflict               = "conflict"                 // 4.9.3.3
	ConnectionTimeout      = "connection-timeout"       // 4.9.3.4
	HostGone               = "host-gone"                // 4.9.3.5
	HostUnknown            = "host-unknown"             // 4.9.3.6
	ImproperAddressing     = "improper-addressing"      // 4.9.3.7
	InternalServerError    = "internal-server-error"    // 4.9.3.8
	InvalidFrom            = "invalid-from"             // 4.9.3.9
	InvalidNamespace       = "invalid-namespace"        // 4.9.3.10
	InvalidXML             = "invalid-xml"              // 4.9.3.11
	NotAuthorized          = "not-authorized"           // 4.9.3.12
	NotWellFormed          = "not-well-formed"          // 4.9.3.13
	PolicyViolation        = "policy-violation"         // 4.9.3.14
	RemoteConnectionFailed = "remote-connection-failed" // 4.9.3.15
	Reset                  = "reset"                    // 4.9.3.16
	ResourceConstraint     = "resource-constraint"      // 4.9.3.17
	RestrictedXML          = "restricted-xml"           // 4.9.3.18
	SeeOtherHost           = "see-other-host"           // 4.9.3.19
	SystemShutdown         = "system-shutdown"          // 4.9.3.20
	UndefinedCondition     = "undefined-condition"      // 4.9.3.21
	UnsupportedEncoding    = "unsupported-encoding"     // 4.9.3.22
	UnsupportedFeature     = "unsupported-feature"      // 4.9.3.23
	UnsupportedStanzaType  = "unsupported-stanza-type"  // 4.9.3.24
	UnsupportedVersion     = "unsupported-version"      // 4.9.3.25
)

func (e *Error) Error() string {
	switch {
	case e.Text != "" && e.Spec != "":
		return fmt.Sprintf("xmpp stream error: %s: %s (%s)", e.Condition, e.Text, e.Spec)
	case e.Text != "":
		return fmt.Sprintf("xmpp stream error: %s: %s", e.Condition, e.Text)
	}
	return "xmpp stream error: " + e.Condition
}

// Append appends e as XML. framed says that it goes over a WebSocket, where the
// prefix of streams is not declared yet.
func (e *Error) Append(dst []byte, framed bool) []byte {
	dst = append(dst, "<stream:error"...)
	if framed {
		dst = append(dst, " xmlns:stream='"+NS+"'"...)
	}
	dst = append(dst, "><"...)
	dst = append(dst, e.Condition...)
	dst = append(dst, " xmlns='"+NSErrors+"'/>"...)
	if e.Text != "" {
		dst = append(dst, "<text xml:lang='en' xmlns='"+NSErrors+"'>"...)
		dst = AppendText(dst, e.Text)
		dst = append(dst, "</text>"...)
	}
	dst = append(dst, e.App...)
	return append(dst, "</stream:error>"...)
}

// ParseError makes an Error of an item whose name is error in namespace NS. A
// condition that is missing or unknown is an undefined-condition (RFC 6120,
// section 4.9.3.21).
func ParseError(raw []byte) *Error {
	e := &Error{Condition: UndefinedCondition}
	depth, named, text := 0, false, false
	for len(raw) > 0 {
		tok, n := NextToken(raw)
		raw = raw[n:]
		switch tok.Kind {
		case StartTag:
			depth++
			if depth == 2 {
				name := string(tok.Name)
				text = name == "text"
				if !text && !named && conditions[name] {
					e.Condition, named = name, true
				}
			}
			if tok.Empty {
				depth--
			}
		case EndTag:
			depth--
		case Chars:
			if depth == 2 && text {
				e.Text += string(tok.Decode())
			}
		default:
			return e
		}
	}
	return e
}

var conditions = map[string]bool{
	BadFormat: true, BadNamespacePrefix: true, Conflict: true, ConnectionTimeout: true, HostGone: true,
	HostUnknown: true, ImproperAddressing: true, InternalServerError: true, InvalidFrom: true,
	InvalidNamespace: true, InvalidXML: true, NotAuthorized: true, NotWellFormed: true, PolicyViolation: true,
	RemoteConnectionFailed: true, Reset: true, ResourceConstraint: true, RestrictedXML: true,
	SeeOtherHost: true, SystemShutdown: true, UndefinedCondition: true, UnsupportedEncoding: true,
	UnsupportedFeature: true, UnsupportedStanzaType: true, UnsupportedVersion: true,
}

// What the scanner finds.

func malformed(text string) *Error {
	return &Error{Condition: NotWellFormed, Text: text, Spec: "RFC 6120, section 4.9.3.13"}
}

func badFormat(text string) *Error {
	return &Error{Condition: BadFormat, Text: text, Spec: "RFC 6120, section 4.9.3.1"}
}

func restricted(text string) *Error {
	return &Error{Condition: RestrictedXML, Text: text, Spec: "RFC 6120, section 11.1"}
}

func violation(text string) *Error {
	return &Error{Condition: PolicyViolation, Text: text, Spec: "RFC 6120, section 4.9.3.14"}
}

func badPrefix(text string) *Error {
	return &Error{Condition: BadNamespacePrefix, Text: text, Spec: "RFC 6120, section 4.9.3.2"}
}

func notUTF8() *Error {
	return &Error{Condition: UnsupportedEncoding, Text: "not UTF-8", Spec: "RFC 6120, section 11.6"}
}
