package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
)

// Messages between the processes that share a store. Nobody keeps them: who is
// not there does not get them, and what is under way when a connection breaks
// is lost.

// What a subscription keeps for a callback that is busy; what is more is lost,
// and logged.
const (
	maxMessages     = 4096
	maxMessageBytes = 64 << 20
)

// Message is one message.
type Message struct {
	Data  []byte
	reply string
}

// Shared reports whether other processes may use the same store.
func (s *Store) Shared() bool { return s.server == nil }

// Connected returns a context that ends when the connection of this moment is
// lost, and messages with it.
func (s *Store) Connected() context.Context { return s.epoch() }

// Publish sends data to all who are subscribed to subject now. It is
// ErrTooLarge, or ErrUnavailable without a connection.
func (s *Store) Publish(subject string, data []byte) error {
	if !s.nc.IsConnected() {
		return fmt.Errorf("publish: %w: %w", ErrUnavailable, errLost)
	}
	return failure(context.Background(), "publish", s.nc.Publish(subject, data))
}

// Subscribe calls each with the messages to subject, one at a time, until end
// is called or the store is closed. When it returns, the server knows of it.
func (s *Store) Subscribe(ctx context.Context, subject string, each func(Message)) (end func(), err error) {
	sub, err := s.nc.Subscribe(subject, func(m *nats.Msg) { each(Message{m.Data, m.Reply}) })
	if err != nil {
		return nil, failure(ctx, "subscribe", err)
	}
	end = func() { _ = sub.Unsubscribe() } // only if the connection is closed
	err = sub.SetPendingLimits(maxMessages, maxMessageBytes)
	if err == nil {
		op, cancel := s.patience(ctx)
		defer cancel()
		err = s.nc.FlushWithContext(op)
	}
	if err != nil {
		end()
		return nil, failure(ctx, "subscribe", err)
	}
	return end, nil
}

// Inbox returns a new subject for one's own messages.
func (s *Store) Inbox() string { return s.nc.NewInbox() }

// Request sends data to subject and returns the first answer. It is ErrNotFound
// at once if nobody is subscribed, and ErrUnavailable if the connection breaks:
// then nobody knows whether the message was taken. ctx is to end some time.
func (s *Store) Request(ctx context.Context, subject string, data []byte) ([]byte, error) {
	op, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.epoch(), cancel)()
	m, err := s.nc.RequestWithContext(op, subject, data)
	if errors.Is(err, nats.ErrNoResponders) {
		return nil, fmt.Errorf("request: nobody is there: %w", ErrNotFound)
	}
	if err != nil {
		return nil, failure(ctx, "request", err)
	}
	return m.Data, nil
}

// Answer answers a message that came by Request.
func (s *Store) Answer(m Message, data []byte) error { return s.Publish(m.reply, data) }
