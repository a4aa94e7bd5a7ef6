package cloudlink

import (
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
)

// pathTime is where a device without a clock of its own asks what time it is,
// before it signs in: it needs that to check certificates. iotivity-lite and
// plgd's hub have it.
const pathTime = "/x.plgd.dev/time"

// timeAnswer answers a GET of pathTime.
type timeAnswer struct {
	Time string `json:"time"` // RFC 3339, with nanoseconds
}

// time tells the time to whoever asks.
func (s *session) time(x *coap.Exchange) {
	req, err := oiccoap.ToRequest(x.Request())
	if err == nil && req.Op != oic.Retrieve {
		err = oic.Errorf(oic.MethodNotAllowed, "%v is not for %s", req.Op, pathTime)
	}
	var out outcome
	if err == nil {
		out, err = answer(req, oic.Content, timeAnswer{time.Now().UTC().Format(time.RFC3339Nano)})
	}
	oiccoap.Reply(x, out.resp, err)
}
