package node

import (
	"context"
	"errors"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// question is a request for a device, from node to node, in CBOR.
type question struct {
	Device  string            `cbor:"1,keyasint"`
	Op      oic.Op            `cbor:"2,keyasint"`
	Href    string            `cbor:"3,keyasint"`
	From    oic.Identity      `cbor:"4,keyasint"`
	Accept  oic.ContentFormat `cbor:"5,keyasint"`
	Format  oic.ContentFormat `cbor:"6,keyasint"`
	Body    []byte            `cbor:"7,keyasint,omitempty"`
	Whole   bool              `cbor:"8,keyasint,omitempty"`
	Timeout time.Duration     `cbor:"9,keyasint"`
	Inbox   string            `cbor:"10,keyasint,omitempty"` // of an observation: where notifications go
	Stop    bool              `cbor:"11,keyasint,omitempty"` // of an observation: nobody wants them any more
}

// answer is what came of it: an answer, a notification, or why there is none.
type answer struct {
	Status   oic.Status        `cbor:"1,keyasint,omitempty"`
	Format   oic.ContentFormat `cbor:"2,keyasint,omitempty"`
	Body     []byte            `cbor:"3,keyasint,omitempty"`
	Location string            `cbor:"4,keyasint,omitempty"`
	Last     bool              `cbor:"5,keyasint,omitempty"`

	Kind    kind          `cbor:"6,keyasint,omitempty"`
	Diag    string        `cbor:"7,keyasint,omitempty"` // of a refusal
	Retry   time.Duration `cbor:"8,keyasint,omitempty"`
	NotSent bool          `cbor:"9,keyasint,omitempty"` // the device has certainly not been given the request
}

// kind says how to read an answer.
type kind uint8

const (
	isResponse  kind = iota
	isRefusal        // *oic.StatusError
	isOffline        // oic.ErrOffline
	isTimeout        // the device did not answer in time
	isNoObserve      // oic.ErrNotObservable
	isFault          // anything else, which is in the log of the other node
	isAlive          // of an observation: nothing is new
	isAccepted       // of an observation: notifications follow
)

func answerOf(resp *oic.Response) answer {
	return answer{Status: resp.Status, Format: resp.Format, Body: resp.Body, Location: resp.Location, Last: resp.Last}
}

func (a *answer) response() *oic.Response {
	return &oic.Response{Status: a.Status, Format: a.Format, Body: a.Body, Location: a.Location, Last: a.Last}
}

// refusalOf is an error on its way to the node that asked.
func refusalOf(err error) answer {
	a := answer{Kind: isFault, NotSent: errors.Is(err, oic.ErrNotSent)}
	if e, ok := errors.AsType[*oic.StatusError](err); ok {
		a.Kind, a.Status, a.Diag, a.Retry, a.Body, a.Format = isRefusal, e.Status, e.Diag, e.Retry, e.Body, e.Format
		return a
	}
	switch {
	case errors.Is(err, oic.ErrOffline):
		a.Kind = isOffline
	case errors.Is(err, oic.ErrNotObservable):
		a.Kind = isNoObserve
	case errors.Is(err, context.DeadlineExceeded):
		a.Kind = isTimeout
	}
	return a
}

// err is the error that refusalOf was given, as far as others may tell it.
func (a *answer) err() error {
	var err error
	switch a.Kind {
	case isRefusal:
		err = &oic.StatusError{Status: a.Status, Diag: a.Diag, Retry: a.Retry, Body: a.Body, Format: a.Format}
	case isOffline:
		err = oic.ErrOffline
	case isNoObserve:
		err = oic.ErrNotObservable
	case isTimeout:
		err = context.DeadlineExceeded
	case isResponse:
		return nil
	default:
		err = errFault
	}
	if a.NotSent {
		err = errors.Join(err, oic.ErrNotSent)
	}
	return err
}

var errFault = errors.New("the node of the device could not ask it")

// tooLong is the answer in place of one that the servers do not carry.
var tooLong = answer{Kind: isRefusal, Status: oic.TooLarge, Diag: "the answer is too long to be carried from node to node"}

// encode is a as it is sent.
func (a answer) encode() []byte {
	if len(a.Body) > store.MaxValue {
		a = tooLong
	}
	b, err := cbor.Marshal(a)
	if err != nil {
		panic(err) // of plain fields
	}
	return b
}

func parseAnswer(b []byte) (*answer, error) {
	a := new(answer)
	if err := cbor.Unmarshal(b, a); err != nil {
		return nil, err
	}
	return a, nil
}
