package cloudlink

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
)

// pathPing is the keep-alive of IoTivity classic, older than the Ping of
// RFC 8323: the device announces when it will be heard of again, and the server
// watches.
const pathPing = "/oic/ping"

// pingIntervals are the announcements that a server suggests, minutes.
var pingIntervals = []int{1, 2, 4, 8}

// maxPing is the longest announcement taken: a day, in minutes.
const maxPing = 24 * 60

// pingGrace is how long a device may be late: a tenth of what it announced.
const pingGrace = time.Minute / 10

// pingList answers a GET of /oic/ping.
type pingList struct {
	Intervals []int `json:"inarray"` // minutes
}

// pingNote is the body of a POST or PUT to /oic/ping.
type pingNote struct {
	In int `json:"in"` // minutes until the next one
}

// ping answers a request for /oic/ping, which needs no sign-in, in the bytes
// of the classic cloud: content format 60, and the options 2049 and 2053 that
// it adds to whatever it sends.
func (s *session) ping(x *coap.Exchange) {
	req, err := oiccoap.ToRequest(x.Request())
	if err != nil {
		oiccoap.Reply(x, nil, err)
		return
	}
	switch req.Op {
	case oic.Update, oic.Replace:
	case oic.Retrieve:
		m := &coap.Message{Code: coap.Content}
		if m.Payload, err = oic.Encode(oic.CBOR, pingList{pingIntervals}); err != nil {
			oiccoap.Reply(x, nil, err)
			return
		}
		m.AddUint(coap.ContentFormat, uint32(oic.CBOR))
		m.AddUint(coap.OCFAcceptVersion, ocfVersion)
		m.AddUint(coap.OCFContentFormatVersion, ocfVersion)
		x.Reply(m)
		return
	default:
		oiccoap.Reply(x, nil, oic.Errorf(oic.MethodNotAllowed, "%v is not for %s", req.Op, pathPing))
		return
	}
	var note pingNote
	if err := oic.Decode(format(req), req.Body, &note); err != nil {
		oiccoap.Reply(x, nil, err)
		return
	}
	if note.In < 1 || note.In > maxPing {
		oiccoap.Reply(x, nil, oic.Errorf(oic.BadRequest, "in must be 1 to %d minutes", maxPing))
		return
	}
	s.expectPing(time.Duration(note.In))
	x.Reply(&coap.Message{Code: coap.Valid})
}

// ocfVersion is OCF 1.0 in the options 2049 and 2053.
const ocfVersion = 2048

// expectPing ends the connection if no other ping comes in the time announced.
// A device that has sent no CSM may know no other keep-alive, and would take
// our Pings for an answer to nothing: it gets none from now on.
func (s *session) expectPing(minutes time.Duration) {
	if !s.conn.Peer().SentCSM {
		s.conn.SetKeepAlive(-1)
	}
	d := minutes * (time.Minute + pingGrace)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.over:
	case s.announced == nil:
		s.announced = time.AfterFunc(d, func() { s.Close("no ping in the time announced") })
	default:
		s.announced.Reset(d)
	}
}

// pingAnswer is how long the cloud may take to answer a ping.
const pingAnswer = 10 * time.Second

// announce is the keep-alive of a device in the classic dialect, until ctx ends
// or the cloud does not answer: it asks which announcements the cloud suggests,
// and makes the shortest again and again. A cloud without /oic/ping is left alone.
func (l *Link) announce(ctx context.Context) error {
	minutes, err := l.pingInterval(ctx)
	for err == nil {
		next := time.NewTimer(time.Duration(minutes) * time.Minute)
		if err = l.ping(ctx, oic.Update, pingNote{minutes}, nil); err == nil {
			select {
			case <-next.C:
			case <-ctx.Done():
			}
			err = ctx.Err()
		}
		next.Stop()
	}
	if statusOf(err) != 0 {
		l.info.Log.Warn("the cloud does not take pings", "err", err)
		<-ctx.Done()
	}
	return err
}

// pingInterval is the shortest announcement that the cloud suggests, minutes; 1
// if it suggests none.
func (l *Link) pingInterval(ctx context.Context) (int, error) {
	var list pingList
	if err := l.ping(ctx, oic.Retrieve, nil, &list); err != nil {
		return 0, err
	}
	list.Intervals = slices.DeleteFunc(list.Intervals, func(n int) bool { return n < 1 || n > maxPing })
	if len(list.Intervals) == 0 {
		return 1, nil
	}
	return slices.Min(list.Intervals), nil
}

// ping sends a document, or none, to /oic/ping and reads the answer into to.
func (l *Link) ping(ctx context.Context, op oic.Op, doc, to any) error {
	ctx, cancel := context.WithTimeout(ctx, pingAnswer)
	defer cancel()
	if err := l.exchange(ctx, op, pathPing, doc, to); err != nil {
		return fmt.Errorf("%s: %w", pathPing, err)
	}
	return nil
}
