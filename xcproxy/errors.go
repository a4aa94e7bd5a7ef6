package xcproxy

import (
	"context"
	"errors"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/coap/dtls"
	"github.com/farreach/farreach/oic"
)

// The refusals that the proxy itself makes. None tells of the local network, nor
// what there is that cannot be seen.
var (
	errUnreachable = oic.Errorf(oic.Unavailable, "the device is not reachable on its local network")
	errSilent      = oic.Errorf(oic.GatewayTimeout, "the device does not answer on its local network")
	errDistrust    = oic.Errorf(oic.BadGateway, "the device and the proxy do not trust each other")
	errUnreadable  = oic.Errorf(oic.BadGateway, "what the device answers cannot be read")
	errOther       = oic.Errorf(oic.BadGateway, "another device answers in its place")
	errReadOnly    = oic.Errorf(oic.Forbidden, "this can only be read")
	errManyWatch   = oic.Errorf(oic.Unavailable, "too many observe this device")
	errBehind      = oic.Errorf(oic.Unavailable, "more than %d notifications wait", maxFresh)
)

func errAbsent(path string) error { return oic.Errorf(oic.NotFound, "no resource %s", path) }

// outward is the error of a device as it is told outside (section 6 of the wire
// profile, 4): refusals as they are, and for whoever did not answer, why.
func outward(ctx context.Context, err error) error {
	if _, refused := errors.AsType[*oic.StatusError](err); refused || err == nil || errors.Is(err, oic.ErrNotObservable) {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if _, ok := errors.AsType[*dtls.HandshakeError](err); ok {
		return errDistrust
	}
	if errors.Is(err, coap.ErrSilent) || errors.Is(err, context.DeadlineExceeded) {
		return errSilent
	}
	return errUnreachable
}
