package command

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// record is a command as the log keeps it, as JSON. Its account and device are
// the key.
type record struct {
	Version int       `json:"v"` // recordVersion
	ID      string    `json:"id"`
	Op      string    `json:"op"`
	Href    string    `json:"href"`
	Format  uint32    `json:"format,omitzero"`
	Body    []byte    `json:"body,omitempty"`
	Size    int       `json:"size,omitzero"`
	By      Asker     `json:"by"`
	State   State     `json:"state"`
	Made    time.Time `json:"made"`
	Expires time.Time `json:"expires,omitzero"`
	Sent    time.Time `json:"sent,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	Status  uint8     `json:"status,omitzero"`
	AFormat uint32    `json:"answer_format,omitzero"`
	Answer  []byte    `json:"answer,omitempty"`
	Why     string    `json:"why,omitzero"`
}

const recordVersion = 1

// ops are the operations that are commands, by their names in a record.
var ops = map[string]oic.Op{
	oic.Update.String(): oic.Update, oic.Replace.String(): oic.Replace,
	oic.Create.String(): oic.Create, oic.Delete.String(): oic.Delete,
}

func recordOf(c *Command) record {
	r := record{
		Version: recordVersion, ID: c.ID, Op: c.Op.String(), Href: c.Href, Format: uint32(c.Format), Body: c.Body, Size: c.Size,
		By: c.By, State: c.State, Made: c.Made, Expires: c.Expires, Sent: c.Sent, Ended: c.Ended,
		Status: uint8(c.Status), AFormat: uint32(c.AnswerFormat), Answer: c.Answer, Why: c.Why,
	}
	if len(r.Body) > maxKept {
		r.Body = nil
	}
	if len(r.Answer) > maxKept {
		r.Answer = nil
	}
	return r
}

// command is the inverse of recordOf.
func (r *record) command(account, device string) (Command, error) {
	op, ok := ops[r.Op]
	if !ok || r.Version != recordVersion {
		return Command{}, fmt.Errorf("command: no record of version %d: %q, version %d", recordVersion, r.Op, r.Version)
	}
	return Command{
		ID: r.ID, Account: account, Device: device, Op: op, Href: r.Href,
		Format: oic.ContentFormat(r.Format), Body: r.Body, Size: r.Size, By: r.By,
		State: r.State, Made: r.Made, Expires: r.Expires, Sent: r.Sent, Ended: r.Ended,
		Status: oic.Status(r.Status), AnswerFormat: oic.ContentFormat(r.AFormat), Answer: r.Answer, Why: r.Why,
	}, nil
}

func parseRecord(rec store.Record) (Command, error) {
	if len(rec.Key) != 2 {
		return Command{}, fmt.Errorf("command: key of %d tokens", len(rec.Key))
	}
	var r record
	if err := json.Unmarshal(rec.Data, &r); err != nil {
		return Command{}, fmt.Errorf("command: %w", err)
	}
	return r.command(rec.Key[0], rec.Key[1])
}

// note stores what is known of cmd now.
func (c *Commands) note(ctx context.Context, cmd *Command) error {
	b, err := json.Marshal(recordOf(cmd))
	if err != nil {
		return err
	}
	_, err = c.log.Append(ctx, []string{cmd.Account, cmd.Device}, b)
	return err
}
