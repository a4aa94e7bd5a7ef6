package oic

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Status is the outcome of a request. The numbers are CoAP's codes, class in
// the upper three bits (RFC 7252, section 12.1.2), being the richest set of
// those that the wires know.
type Status uint8

// The outcomes, named as RFC 7252, section 5.9 and RFC 7959, section 2.9 do.
const (
	Created            Status = 2<<5 | 1
	Deleted            Status = 2<<5 | 2
	Valid              Status = 2<<5 | 3
	Changed            Status = 2<<5 | 4
	Content            Status = 2<<5 | 5
	BadRequest         Status = 4 << 5
	Unauthorized       Status = 4<<5 | 1
	BadOption          Status = 4<<5 | 2
	Forbidden          Status = 4<<5 | 3
	NotFound           Status = 4<<5 | 4
	MethodNotAllowed   Status = 4<<5 | 5
	NotAcceptable      Status = 4<<5 | 6
	Conflict           Status = 4<<5 | 9 // RFC 8132, section 3.4
	PreconditionFailed Status = 4<<5 | 12
	TooLarge           Status = 4<<5 | 13
	BadFormat          Status = 4<<5 | 15
	TooMany            Status = 4<<5 | 29 // RFC 8516
	Internal           Status = 5 << 5
	NotImplemented     Status = 5<<5 | 1
	BadGateway         Status = 5<<5 | 2
	Unavailable        Status = 5<<5 | 3
	GatewayTimeout     Status = 5<<5 | 4
)

var statusNames = map[Status]string{
	Created: "Created", Deleted: "Deleted", Valid: "Valid", Changed: "Changed", Content: "Content",
	BadRequest: "Bad Request", Unauthorized: "Unauthorized", BadOption: "Bad Option",
	Forbidden: "Forbidden", NotFound: "Not Found", MethodNotAllowed: "Method Not Allowed",
	NotAcceptable: "Not Acceptable", Conflict: "Conflict", PreconditionFailed: "Precondition Failed", TooLarge: "Request Entity Too Large",
	BadFormat: "Unsupported Content-Format", TooMany: "Too Many Requests",
	Internal: "Internal Server Error", NotImplemented: "Not Implemented", BadGateway: "Bad Gateway",
	Unavailable: "Service Unavailable", GatewayTimeout: "Gateway Timeout",
}

// Class is 2 for success, 4 when the request was wrong, 5 when the device or
// something on the way failed.
func (s Status) Class() int { return int(s >> 5) }

// String is the code and its name: "4.04 Not Found".
func (s Status) String() string {
	code := fmt.Sprintf("%d.%02d", s>>5, s&31)
	if name, ok := statusNames[s]; ok {
		return code + " " + name
	}
	return code
}

// StatusError is a refusal: a device, or something on the way to it, answered
// with a status other than success.
type StatusError struct {
	Status Status
	Diag   string // for a person: what was wrong; may be empty

	// Retry is when to try again, of a TooMany or an Unavailable; 0: not said.
	// On wires it is whole seconds.
	Retry time.Duration

	// Body is what else the refusal says, in Format: how each item of a batch
	// went, of which one has failed. It is nil as a rule, and then Diag is
	// what a wire carries.
	Body   []byte
	Format ContentFormat
}

func (e *StatusError) Error() string {
	if e.Diag == "" {
		return e.Status.String()
	}
	return e.Status.String() + ": " + e.Diag
}

// Errorf returns a refusal whose diagnostic is made as by fmt.Sprintf.
func Errorf(s Status, format string, args ...any) *StatusError {
	return &StatusError{Status: s, Diag: fmt.Sprintf(format, args...)}
}

// ErrOffline is the error of a Handler whose device cannot be reached now.
var ErrOffline = errors.New("device offline")

// ErrNotSent stands in the chain of an error, beside what else it says, when the
// device has certainly not been given the request: it may be made again, by
// another way too, whatever it does. Without it nobody knows.
var ErrNotSent = errors.New("not sent")

// ErrNotObservable is the error of Observe for a resource that was answered
// once but does not report its changes.
var ErrNotObservable = errors.New("resource cannot be observed")

// StatusOf is the one place where an error becomes an answer on a wire. What
// went wrong inside stays in our log.
func StatusOf(err error) (Status, string) {
	if e, ok := errors.AsType[*StatusError](err); ok {
		return e.Status, e.Diag
	}
	switch {
	case errors.Is(err, ErrOffline):
		return Unavailable, "device offline"
	case errors.Is(err, context.DeadlineExceeded):
		return GatewayTimeout, "device did not answer in time"
	case errors.Is(err, context.Canceled):
		return Unavailable, "cancelled"
	}
	return Internal, "internal error"
}
