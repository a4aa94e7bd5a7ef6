package main

import (
	"errors"
	"io/fs"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/settings"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/xmpp"
)

// xmppAccess is by which XMPP account a client command reaches devices.
type xmppAccess struct {
	xmppFlags
	passwordFile string
}

func (x *xmppAccess) flags(cmd *cobra.Command) {
	x.xmppFlags.flags(cmd, "reach devices over")
	cmd.Flags().StringVar(&x.passwordFile, "password-file", "", "`file` with the password of --xmpp in its first line (default that of the profile; or FARREACH_PASSWORD)")
}

// xmppAccount is the account of --xmpp, else that of the profile; nil if there
// is neither. Where the profile's server is, its password and whom to believe
// are for the profile's account alone.
func (a *app) xmppAccount(x access, f xmppAccess) (*xmpp.Config, error) {
	s, err := a.server()
	if errors.Is(err, settings.ErrNoProfile) && f.jid != "" {
		s, err = new(settings.Server), nil
	}
	if err != nil {
		return nil, err
	}
	named := f.jid != ""
	if !named {
		f.jid = s.JID()
	} else if f.jid != s.JID() {
		s = new(settings.Server)
	}
	if f.jid == "" {
		return nil, nil
	}
	if f.addr == "" && !f.direct {
		f.addr, f.direct = s.XMPPAddr()
	}
	cfg, err := f.config()
	if err != nil {
		return nil, err
	}
	cfg.Log = a.log(slog.LevelError)
	if f.passwordFile == "" {
		f.passwordFile = s.PasswordFile
	}
	if cfg.Password, err = a.xmppPassword(f.passwordFile); err != nil {
		if !named && errors.Is(err, fs.ErrNotExist) {
			return nil, nil // the password was changed, and the cloud does without
		}
		return nil, err
	}
	cfg.TLS, err = a.tls(x, s)
	return &cfg, err
}

// xmppPassword is the password of the environment, else that of the file.
func (a *app) xmppPassword(file string) (secret.String, error) {
	if text, ok := a.lookup("FARREACH_PASSWORD"); ok && text != "" {
		return secret.String(text), nil
	}
	if file == "" {
		return "", misuse("--password-file FILE", "no password for the XMPP account")
	}
	text, err := settings.ReadSecret(file)
	if err != nil {
		return "", fail(exitConfig, "another --password-file", "password: %w", err)
	}
	return secret.String(text), nil
}
