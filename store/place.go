package store

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	placeTime  = 10 * time.Second // for the servers of a cluster to find each other
	placeAgain = 100 * time.Millisecond

	// noPeers is the code with which a cluster refuses a stream for which it does
	// not see enough servers.
	noPeers jetstream.ErrorCode = 10005
)

// placed makes a table or a log where it is to be. A cluster that has just begun
// may not see all of its servers yet: it is asked again.
func placed[T any](ctx context.Context, s *Store, create func(context.Context) (T, error)) (T, error) {
	s.makes.Add(1)
	defer func() {
		s.made.Add(1)
		s.makes.Add(-1)
	}()
	for begin := time.Now(); ; {
		op, cancel := s.op(ctx)
		v, err := create(op)
		cancel()
		e, refused := errors.AsType[*jetstream.APIError](err)
		early := refused && e.ErrorCode == noPeers || errors.Is(err, nats.ErrNoResponders)
		if !early || time.Since(begin) > placeTime || pause(ctx, placeAgain) != nil {
			return v, err
		}
	}
}
