package coap

import "fmt"

// Code is what a message is: a method, a response or a signal. The class is in
// its upper three bits (RFC 7252, section 3).
type Code uint8

// The codes of RFC 7252, section 12.1, RFC 7959, RFC 8132, RFC 8323, section
// 5, RFC 8516 and RFC 8768.
const (
	Empty Code = 0

	GET    Code = 1
	POST   Code = 2
	PUT    Code = 3
	DELETE Code = 4
	FETCH  Code = 5
	PATCH  Code = 6
	IPATCH Code = 7

	Created  Code = 2<<5 | 1
	Deleted  Code = 2<<5 | 2
	Valid    Code = 2<<5 | 3
	Changed  Code = 2<<5 | 4
	Content  Code = 2<<5 | 5
	Continue Code = 2<<5 | 31

	BadRequest               Code = 4 << 5
	Unauthorized             Code = 4<<5 | 1
	BadOption                Code = 4<<5 | 2
	Forbidden                Code = 4<<5 | 3
	NotFound                 Code = 4<<5 | 4
	MethodNotAllowed         Code = 4<<5 | 5
	NotAcceptable            Code = 4<<5 | 6
	RequestEntityIncomplete  Code = 4<<5 | 8
	Conflict                 Code = 4<<5 | 9
	PreconditionFailed       Code = 4<<5 | 12
	RequestEntityTooLarge    Code = 4<<5 | 13
	UnsupportedContentFormat Code = 4<<5 | 15
	UnprocessableEntity      Code = 4<<5 | 22
	TooManyRequests          Code = 4<<5 | 29

	InternalServerError  Code = 5 << 5
	NotImplemented       Code = 5<<5 | 1
	BadGateway           Code = 5<<5 | 2
	ServiceUnavailable   Code = 5<<5 | 3
	GatewayTimeout       Code = 5<<5 | 4
	ProxyingNotSupported Code = 5<<5 | 5
	HopLimitReached      Code = 5<<5 | 8

	CSM     Code = 7<<5 | 1
	Ping    Code = 7<<5 | 2
	Pong    Code = 7<<5 | 3
	Release Code = 7<<5 | 4
	Abort   Code = 7<<5 | 5
)

var codeNames = map[Code]string{
	Empty: "Empty",
	GET:   "GET", POST: "POST", PUT: "PUT", DELETE: "DELETE", FETCH: "FETCH", PATCH: "PATCH", IPATCH: "iPATCH",
	Created: "Created", Deleted: "Deleted", Valid: "Valid", Changed: "Changed", Content: "Content", Continue: "Continue",
	BadRequest: "Bad Request", Unauthorized: "Unauthorized", BadOption: "Bad Option", Forbidden: "Forbidden",
	NotFound: "Not Found", MethodNotAllowed: "Method Not Allowed", NotAcceptable: "Not Acceptable",
	RequestEntityIncomplete: "Request Entity Incomplete", Conflict: "Conflict", PreconditionFailed: "Precondition Failed",
	RequestEntityTooLarge: "Request Entity Too Large", UnsupportedContentFormat: "Unsupported Content-Format",
	UnprocessableEntity: "Unprocessable Entity", TooManyRequests: "Too Many Requests", InternalServerError: "Internal Server Error",
	NotImplemented: "Not Implemented", BadGateway: "Bad Gateway", ServiceUnavailable: "Service Unavailable",
	GatewayTimeout: "Gateway Timeout", ProxyingNotSupported: "Proxying Not Supported",
	HopLimitReached: "Hop Limit Reached",
	CSM:             "CSM", Ping: "Ping", Pong: "Pong", Release: "Release", Abort: "Abort",
}

// Class is the first number of the dotted form: 0 for a method, 2, 4 and 5
// for responses, 7 for signals.
func (c Code) Class() int { return int(c >> 5) }

// Detail is the second number of the dotted form.
func (c Code) Detail() int { return int(c & 31) }

// IsRequest reports whether c is a method, known or not.
func (c Code) IsRequest() bool { return c != 0 && c.Class() == 0 }

// IsResponse reports whether c answers a request.
func (c Code) IsResponse() bool { return c.Class() >= 2 && c.Class() <= 5 }

// IsSignal reports whether c is a signal of RFC 8323, section 5.
func (c Code) IsSignal() bool { return c.Class() == 7 }

// String is the name of a method or signal, and code and name of a response:
// "GET", "2.05 Content", "7.09".
func (c Code) String() string {
	name, ok := codeNames[c]
	switch dotted := fmt.Sprintf("%d.%02d", c.Class(), c.Detail()); {
	case !ok:
		return dotted
	case c.IsResponse():
		return dotted + " " + name
	default:
		return name
	}
}
