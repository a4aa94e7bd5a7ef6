package checkup

import (
	"context"
	"slices"
	"strings"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
)

// replicas looks at how the servers of a cluster keep what is stored.
func (s Subject) replicas(ctx context.Context) Result {
	status, skipped := s.status(ctx)
	kept := status.Store.Kept
	switch {
	case skipped != nil:
		return *skipped
	case kept == nil:
		return skip("the store is in the server itself")
	case kept.Leaders < kept.Streams:
		return failed("start the NATS servers that are away: more than half must run",
			"%d of %d tables and logs have no server that leads them", kept.Streams-kept.Leaders, kept.Streams)
	case len(kept.Behind) > 0:
		return warn("start the NATS server that is away, or wait until it has everything",
			"a server is away or behind: %s", strings.Join(kept.Behind, ", "))
	case kept.Replicas < 2:
		return warn("--nats-replicas 3 on all nodes", "everything is on one NATS server: if it is lost, so is what was stored")
	}
	return ok("%d tables and logs on %d NATS servers each, all in step", kept.Streams, kept.Replicas)
}

// nodes looks at the processes of the cloud.
func (s Subject) nodes(ctx context.Context) Result {
	status, skipped := s.status(ctx)
	switch {
	case skipped != nil:
		return *skipped
	case len(status.Nodes) == 0:
		return skip("the server is alone")
	case len(status.Nodes) == 1:
		return warn("start another farreach cloud with the same --nats", "one node: when it stops, nobody takes its devices")
	}
	if slices.ContainsFunc(status.Nodes, func(n apiclient.Node) bool { return n.Version != status.Nodes[0].Version }) {
		return warn("the same version on all nodes", "nodes of several versions: %s", names(status.Nodes, func(n apiclient.Node) string { return n.Name + " " + n.Version }))
	}
	return ok("%d: %s", len(status.Nodes), names(status.Nodes, func(n apiclient.Node) string { return n.Name }))
}

func names(nodes []apiclient.Node, of func(apiclient.Node) string) string {
	var list []string
	for _, n := range nodes {
		list = append(list, of(n))
	}
	return strings.Join(list, ", ")
}

// status is what an admin sees; skipped says why not.
func (s Subject) status(ctx context.Context) (status apiclient.Status, skipped *Result) {
	if s.Server.API() == "" {
		r := skip("the profile has no HTTP address")
		return status, &r
	}
	status, _, err := s.API.Status(ctx)
	if err != nil {
		r := skip("not told: " + err.Error())
		return status, &r
	}
	return status, nil
}
