package reach

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/farreach/farreach/oic"
)

// Kind says what a person can do about an error.
type Kind uint8

// The kinds.
const (
	Failed     Kind = iota // none of the others
	Usage                  // the target makes no sense
	NotFound               // there is no such device
	Ambiguous              // there are several such devices
	NotAllowed             // 4.01 or 4.03, or a certificate that is not trusted
	NoConnect              // the server cannot be reached
	Timeout                // no answer in time
	Offline                // the device is not connected
	Refused                // 4.xx: the device, or something on the way, refused
	PeerFailed             // 5.xx: the device, or something on the way, failed
)

// Error is a failure to reach something.
type Error struct {
	Kind Kind
	Err  error
	Hint string // what to try; may be empty
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns what is behind the error.
func (e *Error) Unwrap() error { return e.Err }

func usagef(hint, format string, args ...any) error {
	return &Error{Kind: Usage, Err: fmt.Errorf(format, args...), Hint: hint}
}

// KindOf returns the kind of an error of this package, or of an oic.Handler
// that it gave.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	if untrusted(err) {
		return NotAllowed
	}
	if errors.Is(err, oic.ErrOffline) {
		return Offline
	}
	if refusal, ok := errors.AsType[*oic.StatusError](err); ok {
		return kindOfStatus(refusal.Status)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	}
	return Failed
}

// untrusted reports whether a certificate was refused.
func untrusted(err error) bool {
	_, tls := errors.AsType[*tls.CertificateVerificationError](err)
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, name := errors.AsType[x509.HostnameError](err)
	_, invalid := errors.AsType[x509.CertificateInvalidError](err)
	return tls || unknown || name || invalid
}

func kindOfStatus(s oic.Status) Kind {
	switch {
	case s == oic.Unauthorized || s == oic.Forbidden:
		return NotAllowed
	case s == oic.GatewayTimeout:
		return Timeout
	case s.Class() == 4:
		return Refused
	case s.Class() == 5:
		return PeerFailed
	}
	return Failed
}

// HintOf returns what to try, or "".
func HintOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Hint
	}
	return ""
}
