package main

import (
	"github.com/spf13/cobra"
)

func (a *app) cloudCmd() *cobra.Command {
	cfg := serverConfig{coap: true}
	cmd := &cobra.Command{
		Use:   "cloud",
		Short: "Start the cloud interface, store and HTTP API",
		Long: `Starts what devices dial out to, on its own store or on a NATS server that
several clouds share. Flags, files and the first start are those of up.`,
		Example: `  farreach cloud --listen cloud.example.org
  farreach cloud --nats nats://127.0.0.1:4222 --port-offset 100`,
		GroupID: groupStart,
		Args:    takes(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.serve(cmd.Context(), cfg) },
	}
	a.serverFlags(cmd, &cfg)
	cmd.Flags().StringVar(&cfg.nats, "nats", "", "`URL` of a NATS server with JetStream to keep everything in, instead of the data directory")
	return cmd
}
