package main

import (
	"time"

	"github.com/spf13/cobra"
)

func (a *app) cloudCmd() *cobra.Command {
	cfg := serverConfig{coap: true, drain: time.Second}
	cmd := &cobra.Command{
		Use:   "cloud",
		Short: "Start the cloud interface, store, HTTP API and dashboard, without XMPP",
		Long: `Starts what devices dial out to, on its own store or on NATS servers that several
processes share: these are the nodes of one cloud, each of which reaches every
device. Flags, files and the first start are those of up.`,
		Example: `  farreach cloud --listen cloud.example.org
  farreach cloud --nats nats://127.0.0.1:4222 --port-offset 100
  farreach cloud --nats nats://n1,nats://n2,nats://n3 --nats-replicas 3 --nats-credentials farreach.creds`,
		GroupID: groupStart,
		Args:    takes(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.serve(cmd.Context(), cfg) },
	}
	a.serverFlags(cmd, &cfg)
	cfg.nats.flags(cmd.Flags())
	return cmd
}
