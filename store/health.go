package store

import (
	"context"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// Health is how well what is stored is kept, on the servers of a cluster.
type Health struct {
	Replicas int      // on how many servers each table and log is, the least of all; 1: on one
	Streams  int      // tables and logs
	Leaders  int      // of these, that have a server which leads: the others can be neither read nor written
	Behind   []string // tables and logs of which a server is away or has not everything yet
}

// Health asks the servers how they keep what is stored.
func (s *Store) Health(ctx context.Context) (h Health, err error) {
	op, cancel := s.op(ctx)
	defer cancel()
	list := s.js.ListStreams(op)
	for info := range list.Info() {
		name, table := strings.CutPrefix(info.Config.Name, "KV_farreach-")
		if !table {
			var ours bool
			if name, ours = strings.CutPrefix(info.Config.Name, "farreach-"); !ours {
				continue
			}
		}
		h.add(name, info)
	}
	slices.Sort(h.Behind)
	return h, failure(ctx, "look at the store", list.Err())
}

func (h *Health) add(name string, info *jetstream.StreamInfo) {
	h.Streams++
	if h.Replicas == 0 || info.Config.Replicas < h.Replicas {
		h.Replicas = info.Config.Replicas
	}
	if info.Cluster == nil || info.Cluster.Leader != "" {
		h.Leaders++
	}
	if info.Cluster == nil {
		return
	}
	if slices.ContainsFunc(info.Cluster.Replicas, func(p *jetstream.PeerInfo) bool { return p.Offline || !p.Current }) {
		h.Behind = append(h.Behind, name)
	}
}
