package main

import (
	"github.com/spf13/cobra"
)

func (a *app) upCmd() *cobra.Command {
	cfg := serverConfig{coap: true, xmpp: true}
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start everything on this machine",
		Long: `Starts the XMPP server, the cloud interface, the store, the HTTP API and the
dashboard in one process. The first start makes a data directory, a private
certificate authority and an account called home, and writes the profile by which
the other commands find the server.

Every flag may also stand in the configuration file, with _ for -, and in the
environment, as FARREACH_PORT_OFFSET. Ctrl-C stops the server cleanly; a hangup
(SIGHUP) makes it read the certificate of --tls-cert again.`,
		Example: `  farreach up --demo
  farreach up --data /srv/farreach --listen 192.0.2.7`,
		GroupID: groupStart,
		Args:    takes(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.serve(cmd.Context(), cfg) },
	}
	a.serverFlags(cmd, &cfg)
	a.xmppFlags(cmd, &cfg)
	cmd.Flags().BoolVar(&cfg.xmppDevices, "xmpp-devices", true, "have devices that are on XMPP alone take part in the cloud: API, dashboard, history, rules")
	cmd.Flags().BoolVar(&cfg.demo, "demo", false, "add a simulated home: door, lamp, meter, thermostat")
	return cmd
}
