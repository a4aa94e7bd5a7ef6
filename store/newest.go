package store

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What is read to decide on must have all that was acknowledged before. Of a
// cluster any replica answers what nats.go asks for, and may be behind; the
// server that leads has it:
//
//	write ──▶ leader ── acknowledged ──▶ Get, Last, Next: asked of the leader
//	             └── a moment later ──▶ replicas: Follow, View, which come to it

// where names a message of a stream for which the leader is asked.
type where struct {
	LastOf string `json:"last_by_subj,omitzero"` // the newest with this subject, or
	Seq    uint64 `json:"seq,omitzero"`          // the first from there on
	NextOf string `json:"next_by_subj,omitzero"` // with this subject, which may have wildcards
}

// newest is the message at w that all have acknowledged. Its error is one of
// NATS, for failure.
func (s *Store) newest(op context.Context, stream string, w where) (message, error) {
	var answer struct {
		Message struct {
			Subject string    `json:"subject"`
			Seq     uint64    `json:"seq"`
			Header  []byte    `json:"hdrs"`
			Data    []byte    `json:"data"`
			Time    time.Time `json:"time"`
		} `json:"message"`
		Error *jetstream.APIError `json:"error"`
	}
	err := s.ask(op, "$JS.API.STREAM.MSG.GET."+stream, w, &answer)
	if err == nil && answer.Error != nil {
		if err = answer.Error; answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound {
			err = jetstream.ErrMsgNotFound
		}
	}
	if err != nil {
		return message{}, err
	}
	m := message{subject: answer.Message.Subject, data: answer.Message.Data, seq: answer.Message.Seq, time: answer.Message.Time}
	if len(answer.Message.Header) > 0 {
		m.header, err = nats.DecodeHeadersMsg(answer.Message.Header)
	}
	return m, err
}
