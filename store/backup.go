package store

import (
	"bufio"
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A backup is a list of parts, in the order in which they are written and read:
//
//	<stream>/stream.json   what JetStream needs to make the stream again
//	<stream>/data          JetStream's own snapshot of it, in pieces
//	…                      first those of all tables, then those of the logs
//
// All tables are of one moment: no write of this Store comes between the first
// and the last of them. A log is of a later moment, and has what was appended
// until then. Sequences, revisions and times remain what they were.
const (
	partConfig = "stream.json"
	partData   = "data"

	backupPiece  = 256 << 10 // bytes of one piece
	backupWindow = 16        // pieces on the way from the server
	quietTime    = 30 * time.Second
)

// Part is a piece of a backup.
type Part struct {
	Name string // "KV_farreach-devices/data"
	Data []byte
}

// snapshot is what the server says of the stream that it is about to send.
type snapshot struct {
	Config json.RawMessage     `json:"config"`
	State  json.RawMessage     `json:"state"`
	Error  *jetstream.APIError `json:"error,omitempty"`
}

// Backup calls add for each part of a backup of the whole store, while it is
// in use. What add returns as an error ends it, and so does an add that takes
// many seconds.
func (s *Store) Backup(ctx context.Context, add func(Part) error) error {
	tables, logs, err := s.streams(ctx)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if err := s.backupTables(ctx, tables, add); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	for _, name := range logs {
		if err := s.backupStream(ctx, name, add); err != nil {
			return fmt.Errorf("backup: %w", err)
		}
	}
	return nil
}

// streams are the names of what this package keeps, sorted.
func (s *Store) streams(ctx context.Context) (tables, logs []string, err error) {
	op, cancel := s.op(ctx)
	defer cancel()
	list := s.js.StreamNames(op)
	for name := range list.Name() {
		switch {
		case strings.HasPrefix(name, "KV_farreach-"):
			tables = append(tables, name)
		case strings.HasPrefix(name, "farreach-"):
			logs = append(logs, name)
		}
	}
	slices.Sort(tables)
	slices.Sort(logs)
	return tables, logs, failure(ctx, "list streams", list.Err())
}

// backupTables keeps the tables still for no longer than it takes to read them
// into a file; then it passes them on at the pace of add.
func (s *Store) backupTables(ctx context.Context, tables []string, add func(Part) error) (err error) {
	spool, err := os.CreateTemp(s.spoolDir(), spoolName) // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(spool.Name())
	defer spool.Close()
	w := bufio.NewWriter(spool)
	if err := s.readStill(ctx, tables, gob.NewEncoder(w)); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return err
	}
	for parts := gob.NewDecoder(bufio.NewReader(spool)); ; {
		var p Part
		if err := parts.Decode(&p); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := add(p); err != nil {
			return err
		}
	}
}

const spoolName = "backup-*"

// removeSpools removes what a process that was killed has left in dir.
func removeSpools(dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, spoolName)) // fails only for a bad pattern
	for _, name := range left {
		_ = os.Remove(name) // it is in nobody's way
	}
}

func (s *Store) readStill(ctx context.Context, tables []string, to *gob.Encoder) error {
	s.still.Lock()
	defer s.still.Unlock()
	for _, name := range tables {
		if err := s.backupStream(ctx, name, func(p Part) error { return to.Encode(p) }); err != nil {
			return err
		}
	}
	return nil
}

// spoolDir is on the disk of the embedded server; "": where temporary files are.
func (s *Store) spoolDir() string {
	if s.server == nil {
		return ""
	}
	return s.server.dir
}

// backupStream asks the server for a snapshot and passes it on.
func (s *Store) backupStream(ctx context.Context, stream string, add func(Part) error) error {
	inbox := s.nc.NewInbox()
	sub, err := s.nc.SubscribeSync(inbox)
	if err != nil {
		return failure(ctx, stream, err)
	}
	defer sub.Unsubscribe()
	var head snapshot
	err = s.ask(ctx, "$JS.API.STREAM.SNAPSHOT."+stream, map[string]any{
		"deliver_subject": inbox, "no_consumers": true, "chunk_size": backupPiece, "window_size": backupWindow * backupPiece,
	}, &head)
	if err == nil && head.Error != nil {
		err = head.Error
	}
	if err != nil {
		return failure(ctx, stream, err)
	}
	b, err := json.Marshal(head)
	if err != nil {
		return err
	}
	if err := add(Part{stream + "/" + partConfig, b}); err != nil {
		return err
	}
	return s.eachPiece(ctx, sub, func(b []byte) error { return add(Part{stream + "/" + partData, b}) })
}

// eachPiece passes on the pieces that come in, and acknowledges each.
func (s *Store) eachPiece(ctx context.Context, sub *nats.Subscription, each func([]byte) error) error {
	for {
		msg, err := s.piece(ctx, sub)
		if err != nil {
			return err
		}
		if len(msg.Data) == 0 { // the end; a status that is none of success says why
			if code := msg.Header.Get("Status"); code != "" && code[0] != '2' {
				return fmt.Errorf("snapshot: %s %s", code, msg.Header.Get("Description"))
			}
			return nil
		}
		if err := each(msg.Data); err != nil {
			return err
		}
		if msg.Reply != "" {
			if err := msg.Respond(nil); err != nil {
				return failure(ctx, "snapshot", err)
			}
		}
	}
}

func (s *Store) piece(ctx context.Context, sub *nats.Subscription) (*nats.Msg, error) {
	op, cancel := context.WithTimeout(ctx, quietTime)
	defer cancel()
	defer context.AfterFunc(s.epoch(), cancel)()
	msg, err := sub.NextMsgWithContext(op)
	return msg, failure(ctx, "snapshot", err)
}

// ask sends a request of JetStream's API and reads the answer.
func (s *Store) ask(ctx context.Context, subject string, in, out any) error {
	b, err := json.Marshal(in)
	if err != nil {
		return err
	}
	op, cancel := s.op(ctx)
	defer cancel()
	msg, err := s.nc.RequestWithContext(op, subject, b)
	if err != nil {
		return err
	}
	return json.Unmarshal(msg.Data, out)
}

// Restore makes the store what it was. next returns the parts of a backup in
// their order, and io.EOF after the last. The store must be empty: nothing is
// written over. What was restored before an error stays.
func (s *Store) Restore(ctx context.Context, next func() (Part, error)) error {
	tables, logs, err := s.streams(ctx)
	if err == nil && len(tables)+len(logs) > 0 {
		err = fmt.Errorf("%w: the store is not empty", ErrExists)
	}
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	r := restore{s: s}
	for {
		p, err := next()
		if errors.Is(err, io.EOF) {
			err = r.end(ctx)
			if err != nil {
				err = fmt.Errorf("restore: %w", err)
			}
			return err
		}
		if err == nil {
			err = r.take(ctx, p)
		}
		if err != nil {
			return fmt.Errorf("restore: %w", err)
		}
	}
}

// restore is a backup on its way back.
type restore struct {
	s      *Store
	stream string // that is being restored; "": none
	to     string // the subject that takes its pieces
}

func (r *restore) take(ctx context.Context, p Part) error {
	stream, part, _ := strings.Cut(p.Name, "/")
	switch {
	case part == partConfig:
		if err := r.end(ctx); err != nil {
			return err
		}
		return r.begin(ctx, stream, p.Data)
	case part == partData && stream == r.stream:
		return r.send(ctx, p.Data)
	}
	return fmt.Errorf("part %q is not of a backup", p.Name)
}

// begin tells the server which stream comes.
func (r *restore) begin(ctx context.Context, stream string, b []byte) error {
	if !strings.HasPrefix(stream, "KV_farreach-") && !strings.HasPrefix(stream, "farreach-") || strings.ContainsAny(stream, ".*> \\") {
		return fmt.Errorf("%q is not of this store", stream)
	}
	var head snapshot
	var config map[string]any
	if err := errors.Join(json.Unmarshal(b, &head), json.Unmarshal(head.Config, &config)); err != nil {
		return fmt.Errorf("%s: %w", stream, err)
	}
	config["num_replicas"] = r.s.replicas // of here, not of where it was
	var answer struct {
		To    string              `json:"deliver_subject"`
		Error *jetstream.APIError `json:"error"`
	}
	err := r.s.ask(ctx, "$JS.API.STREAM.RESTORE."+stream, map[string]any{"config": config, "state": head.State}, &answer)
	if err == nil && answer.Error != nil {
		err = answer.Error
	}
	if err == nil && answer.To == "" {
		err = errors.New("strange answer")
	}
	r.stream, r.to = stream, answer.To
	return failure(ctx, stream, err)
}

// send hands one piece to the server; an empty one ends the stream.
func (r *restore) send(ctx context.Context, b []byte) error {
	op, cancel := context.WithTimeout(ctx, quietTime)
	defer cancel()
	msg, err := r.s.nc.RequestWithContext(op, r.to, b)
	var answer struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err == nil && len(msg.Data) > 0 {
		err = json.Unmarshal(msg.Data, &answer)
	}
	if err == nil && answer.Error != nil {
		err = answer.Error
	}
	return failure(ctx, r.stream, err)
}

// end completes the stream that was begun, if one was.
func (r *restore) end(ctx context.Context) error {
	if r.stream == "" {
		return nil
	}
	err := r.send(ctx, nil)
	if err == nil {
		err = r.s.syncer.wrote(ctx, r.s, r.stream)
	}
	r.stream = ""
	return err
}
