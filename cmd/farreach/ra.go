package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
)

func (a *app) raCmd() *cobra.Command {
	return a.parent(&cobra.Command{
		Use:   "ra",
		Short: "Give a device the XMPP account over which it is reached",
		Long: `Remote Access: a device that is reached over XMPP has an account on a server, and
keeps both at two resources (oic.ra.user, oic.ra.xmpp). Its owner sets them on the
local network, over a secured link; the password cannot be read back.`,
		Example: `  farreach ra provision coaps://192.0.2.7:40123 --psk-file owner.key --jid ann@home.example --password-file pw
  farreach ra show coaps://192.0.2.7:40123 --psk-file owner.key`,
		GroupID: groupReach,
	}, a.raProvisionCmd(), a.raShowCmd())
}

// provision is what ra provision is told.
type provision struct {
	request
	jid      string
	password passwordSource
	address  string
	port     uint16
	wait     time.Duration
}

func (a *app) raProvisionCmd() *cobra.Command {
	var p provision
	cmd := &cobra.Command{
		Use:   "provision TARGET",
		Short: "Give it the account, and wait until it is there",
		Long: `Tells the device at TARGET, coaps://HOST:PORT, on which XMPP server it is to be and
as whom, and waits until it is, or says why not. Account and server are those of the
profile unless others are named; without a password the server of the profile makes
one that is good for this device alone. The key is that of the device's owner.`,
		Example: `  farreach ra provision coaps://192.0.2.7:40123 --psk-file owner.key
  farreach ra provision coaps://192.0.2.7:40123 --psk-file owner.key --jid ann@home.example --password-file pw --address xmpp.home.example --port 5222`,
		Args: takes("a target such as coaps://192.0.2.7:40123"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.provision(cmd.Context(), p, args[0]) },
	}
	p.raFlags(cmd)
	p.password.flags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&p.jid, "jid", "", "XMPP `account`, as ann@home.example (default that of the profile)")
	flags.StringVar(&p.address, "address", "", "`host` of the XMPP server (default that of the profile, for its account; else the account's domain)")
	flags.Uint16Var(&p.port, "port", 0, "its `port` (default as --address; else 5222)")
	flags.DurationVar(&p.wait, "for", 30*time.Second, "how long to wait for the device to be there")
	return cmd
}

func (a *app) raShowCmd() *cobra.Command {
	var r request
	cmd := &cobra.Command{
		Use:   "show TARGET",
		Short: "Show on which XMPP server a device is, and how it stands with it",
		Example: `  farreach ra show coaps://192.0.2.7:40123 --psk-file owner.key
  farreach ra show lamp --json`,
		Args:              takes("a target such as coaps://192.0.2.7:40123"),
		ValidArgsFunction: a.completeAnyDevice,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.raShow(cmd.Context(), r, args[0]) },
	}
	r.raFlags(cmd)
	return cmd
}

// raFlags adds the flags of who asks the owner's device.
func (r *request) raFlags(cmd *cobra.Command) {
	r.access.flags(cmd)
	cmd.Flags().StringVar(&r.shared.file, "psk-file", "", "`file` with the key of the device's owner, as text or 0x and hex (or FARREACH_PSK)")
	cmd.Flags().StringVar(&r.shared.identity, "psk-identity", defaultOwner, "`name` under which the device knows its owner; uuid:… is sent as 16 bytes, as OCF devices do")
}

// raDoc is what ra show and ra provision write with --json.
type raDoc struct {
	Schema  string `json:"schema"`
	Target  string `json:"target"`
	Account string `json:"jid,omitempty"` // absent if it is not shown to us
	Address string `json:"address"`
	Port    uint16 `json:"port"`
	Status  string `json:"status"` // Connected, Error, NotInitialized
	Reason  string `json:"reason,omitempty"`
}

func (a *app) showRA(doc raDoc) error {
	doc.Schema = "farreach.ra/v1"
	if a.json {
		return a.screen().Doc(doc)
	}
	return a.screen().Table([]string{"account", "address", "port", "status", "reason"},
		[][]any{{doc.Account, doc.Address, doc.Port, doc.Status, doc.Reason}})
}

func (a *app) raShow(ctx context.Context, r request, target string) error {
	p, err := a.path(ctx, r, target)
	if err != nil {
		return err
	}
	defer p.close()
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	both, err := findRA(ctx, p)
	if err != nil {
		return p.failed(ctx, target, err)
	}
	doc := raDoc{Target: target}
	if err := p.call(ctx, oic.Retrieve, both.server, nil, &doc); err != nil {
		return p.failed(ctx, target, err)
	}
	_ = p.call(ctx, oic.Retrieve, both.user, nil, &doc) // only its owner, near it, may see that
	return a.showRA(doc)
}

func (a *app) provision(ctx context.Context, r provision, target string) error {
	account, server, err := a.provisions(&r)
	if err != nil {
		return err
	}
	p, err := a.path(ctx, r.request, target)
	if err != nil {
		return err
	}
	defer p.close()
	doc := raDoc{Target: target}
	login := func(ctx context.Context) (raUser, error) { return a.provisionLogin(ctx, &r, account, p) }
	href, err := p.provision(ctx, r.timeout, login, server, &doc)
	if err != nil {
		return p.failed(ctx, target, err)
	}
	a.say("%s: told of %s at %s", target, doc.Account, rae.Server{Address: doc.Address, Port: doc.Port})
	if err := p.settled(ctx, r.wait, href, &doc); err != nil {
		return p.failed(ctx, target, err)
	}
	if err := a.showRA(doc); err != nil {
		return err
	}
	return raOutcome(&doc)
}

// The bodies of the two requests.
type (
	raUser struct {
		JID        string `json:"jid"`
		Credential string `json:"credential"` // base64
	}
	raServer struct {
		Address string `json:"address"`
		Port    uint16 `json:"port"`
	}
)
