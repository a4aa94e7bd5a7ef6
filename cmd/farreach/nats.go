package main

import (
	"errors"

	"github.com/spf13/pflag"

	"github.com/farreach/farreach/store"
)

// natsConfig says which NATS servers keep everything, if not the data directory.
type natsConfig struct {
	url         string // "": the data directory
	credentials string
	ca          string
	replicas    int
}

func (n *natsConfig) flags(flags *pflag.FlagSet) {
	flags.StringVar(&n.url, "nats", "", "`URL` of a NATS server with JetStream to keep everything in, instead of the data directory; of a cluster, several with commas")
	flags.StringVar(&n.credentials, "nats-credentials", "", "`file` that lets us in there: .creds of NATS, or a line with user:password or a token")
	flags.StringVar(&n.ca, "nats-ca", "", "PEM `file` with the authorities of the NATS servers (default those of the system)")
	flags.IntVar(&n.replicas, "nats-replicas", 1, "on how many servers of the NATS cluster everything is kept: 1, 3 or 5; with 3, one may be lost")
}

// into says it in a store's configuration.
func (n *natsConfig) into(cfg *store.Config) error {
	if n.replicas != 1 && n.replicas != 3 && n.replicas != 5 && n.replicas != 0 {
		return fail(exitConfig, "--nats-replicas 3", "nats-replicas %d: neither 1, 3 nor 5", n.replicas)
	}
	if n.url == "" && (n.credentials != "" || n.ca != "" || n.replicas > 1) {
		return fail(exitConfig, "--nats URL", "settings for NATS servers, and no --nats")
	}
	cfg.URL, cfg.Credentials, cfg.CAFile, cfg.Replicas = n.url, n.credentials, n.ca, n.replicas
	return nil
}

// natsFault is the exit status for NATS servers that cannot be used.
func natsFault(err error) exitCode {
	if errors.Is(err, store.ErrUnavailable) {
		return exitNoConnect
	}
	return exitConfig
}
