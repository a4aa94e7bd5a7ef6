package cloudlink

import (
	"errors"
	"math"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
)

// Dialect is how a device speaks to its cloud.
//
//	             sign-up, sign-in     code         content format   keep-alive
//	OCF          /oic/sec/account …   accesstoken  10000            Ping
//	Classic      /oic/account …       authcode     60               /oic/ping
//
// The server half speaks both, request by request, on every connection.
type Dialect string

// The dialects.
const (
	// Auto is OCF, and Classic if the first cloud that is asked to sign the
	// device up turns out to be one of IoTivity classic. What it was is kept in
	// the State.
	Auto Dialect = ""

	// OCF is that of OCF's device to cloud services: iotivity-lite, plgd, ours.
	OCF Dialect = "ocf"

	// Classic is that of the Java cloud of IoTivity (rules 25 and 26).
	Classic Dialect = "classic"
)

func (d Dialect) valid() bool { return d == Auto || d == OCF || d == Classic }

// path is what the dialect calls a resource of the cloud.
func (d Dialect) path(ocf string) string {
	if d != Classic {
		return ocf
	}
	switch ocf {
	case pathAccount:
		return "/oic/account"
	case pathSession:
		return "/oic/account/session"
	case pathRefresh:
		return "/oic/account/tokenrefresh"
	}
	return ocf
}

// today returns what a path of IoTivity classic is called today.
func today(path string) string {
	for _, ocf := range []string{pathAccount, pathSession, pathRefresh} {
		if Classic.path(ocf) == path {
			return ocf
		}
	}
	return path
}

// isClassic reports whether req was sent to a path of IoTivity classic.
func isClassic(req *oic.Request) bool {
	path, _ := oic.SplitHref(req.Href)
	return today(path) != path
}

// format is the content format of what the dialect sends, and asks for: Classic
// does not name what it accepts.
func (d Dialect) format() (content, accept oic.ContentFormat) {
	if d == Classic {
		return oic.CBOR, oic.NoFormat
	}
	return oic.OCF, oic.OCF
}

// signUpError says that a sign-up in the dialect of OCF was refused by a cloud
// that may be one of IoTivity classic.
type signUpError struct{ error }

func (e signUpError) Unwrap() error { return e.error }

// mayBeClassic marks the error of a sign-up that says less about the code than
// about the cloud. The classic one answers 4.12 to a sign-up without authcode; a
// cloud that knows no /oic/sec/account says so, in one way or another. In 4.01,
// which older ones say to every path that they do not know, it is the missing
// CSM that tells, or the odd one that the classic cloud sends in answer to ours:
// elsewhere the code is wrong, and is not to be tried twice.
func mayBeClassic(err error, peer coap.PeerSettings) error {
	switch statusOf(err) {
	case oic.PreconditionFailed, oic.BadOption, oic.NotFound, oic.MethodNotAllowed, oic.BadFormat, oic.Internal, oic.NotImplemented:
		return signUpError{err}
	case oic.Unauthorized:
		if !peer.SentCSM || peer.MaxMessage == math.MaxUint32 {
			return signUpError{err}
		}
	}
	return err
}

func isSignUpError(err error) bool {
	_, ok := errors.AsType[signUpError](err)
	return ok
}
