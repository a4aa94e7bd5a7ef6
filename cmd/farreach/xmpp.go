package main

import (
	"github.com/spf13/cobra"

	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
)

// xmppFlags says which XMPP account, and where its server is.
type xmppFlags struct {
	jid    string
	addr   string
	direct bool
}

// flags adds the flags of an XMPP account to a command; purpose is what the
// account is for.
func (f *xmppFlags) flags(cmd *cobra.Command, purpose string) {
	cmd.Flags().StringVar(&f.jid, "xmpp", "", purpose+" this XMPP account, a `JID` such as ann@home.example")
	cmd.Flags().StringVar(&f.addr, "xmpp-addr", "", "where the XMPP server is, as `HOST:PORT` or wss://HOST:PORT/PATH (default what the DNS says)")
	cmd.Flags().BoolVar(&f.direct, "direct-tls", false, "at --xmpp-addr, TLS from the first byte instead of STARTTLS")
}

// config is the account as one logs in there, without password and whom to
// believe.
func (f *xmppFlags) config() (cfg xmpp.Config, err error) {
	j, err := jid.Parse(f.jid)
	if err != nil || j.Local() == "" {
		return cfg, misuse("--xmpp ann@home.example", "--xmpp %q is no account", f.jid)
	}
	if f.direct && f.addr == "" {
		return cfg, misuse("--xmpp-addr HOST:PORT", "--direct-tls says nothing without an address")
	}
	return xmpp.Config{JID: j.Bare(), Addr: f.addr, Direct: f.direct}, nil
}
