package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// newest is Get for what is decided on the value. Any replica answers a Get, and
// may be behind; only the one that leads has what was acknowledged last.
func (t *Table[T]) newest(ctx context.Context, key string) (v T, rev uint64, err error) {
	if t.s.replicas < 2 {
		return t.Get(ctx, key)
	}
	k, err := t.subject(key)
	if err != nil {
		return v, 0, err
	}
	var answer struct {
		Message struct {
			Seq    uint64 `json:"seq"`
			Header []byte `json:"hdrs"`
			Data   []byte `json:"data"`
		} `json:"message"`
		Error *jetstream.APIError `json:"error"`
	}
	op, cancel := t.s.op(ctx)
	defer cancel()
	question := map[string]string{"last_by_subj": "$KV." + t.kv.Bucket() + "." + k}
	err = t.s.ask(op, "$JS.API.STREAM.MSG.GET."+t.stream(), question, &answer)
	m := &answer.Message
	switch {
	case err != nil:
		return v, 0, failure(ctx, t.name, err)
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound,
		bytes.Contains(m.Header, []byte("KV-Operation:")), bytes.Contains(m.Header, []byte(jetstream.MarkerReasonHeader+":")):
		return v, 0, fmt.Errorf("%s: %w", t.name, ErrNotFound)
	case answer.Error != nil:
		return v, 0, failure(ctx, t.name, answer.Error)
	}
	if err := json.Unmarshal(m.Data, &v); err != nil {
		return v, 0, fmt.Errorf("%s: broken value: %w", t.name, err)
	}
	return v, m.Seq, nil
}
