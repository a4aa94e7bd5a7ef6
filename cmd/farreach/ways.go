package main

import (
	"cmp"
	"errors"
	"log/slog"
	"strings"

	"github.com/farreach/farreach/cmd/farreach/internal/screen"
	"github.com/farreach/farreach/cmd/farreach/internal/settings"
	"github.com/farreach/farreach/reach"
)

// reachConfig is the profile, and the XMPP account of the flags, as package
// reach wants them. A server that is reached straight needs no profile, but is
// signed in to if it is the profile's. The caller calls done at the end.
func (a *app) reachConfig(r request, t reach.Target) (cfg reach.Config, done func(), err error) {
	s, err := a.server()
	if t.URI != "" || r.xmpp.jid != "" || !t.Peer.IsZero() {
		if errors.Is(err, settings.ErrNoProfile) {
			s, err = new(settings.Server), nil
		}
	}
	if err != nil {
		return cfg, nil, err
	}
	cfg = reach.Config{Cloud: s.Cloud(), Also: s.Clouds(), Account: a.accountOf(r.access, s), OnChange: a.changedWay, Log: a.log(slog.LevelError)}
	if cfg.Token, err = a.token(r.access, s); err != nil {
		return cfg, nil, err
	}
	if cfg.TLS, err = a.tls(r.access, s); err != nil {
		return cfg, nil, err
	}
	done = func() {}
	if t.URI != "" {
		return cfg, done, nil
	}
	if !t.Peer.IsZero() {
		if cfg.Cloud = ""; r.xmpp.jid == "" && s.JID() == "" {
			r.xmpp.jid = t.Peer.Bare().String()
		}
	}
	if cfg.XMPP, done, err = a.xmppWay(r.access, r.xmpp); err != nil {
		return cfg, nil, err
	}
	if cfg.Cloud == "" && cfg.XMPP == nil {
		done()
		return cfg, nil, fail(exitConfig, "another --profile, or --xmpp JID", "profile %s has no cloud address and no XMPP account", a.profile)
	}
	return cfg, done, nil
}

// xmppWay is the XMPP account as package reach wants it; nil if there is none.
// Its ID is ours until done is called.
func (a *app) xmppWay(x access, f xmppAccess) (way *reach.XMPP, done func(), err error) {
	account, err := a.xmppAccount(x, f)
	if err != nil || account == nil {
		return nil, func() {}, err
	}
	id, err := a.leaseClientID(account.JID)
	if err != nil {
		return nil, nil, err
	}
	return &reach.XMPP{Config: *account, ID: id.id, Memory: a.memoryFile(x, account.JID)}, id.release, nil
}

// changedWay tells the user that a device is reached by another way than
// before.
func (a *app) changedWay(c reach.Change) {
	device := cmp.Or(c.Name, c.Device)
	text := "by no way now; waiting until there is one"
	if c.To != "" {
		text = "now by " + wayText(c.To)
	}
	if c.Err != nil {
		text += ": " + oneLine(c.Err)
	}
	if c.From == "" {
		a.say("farreach: %s is back, %s", device, text)
		return
	}
	a.say("farreach: %s is not reached by %s any more, %s", device, wayText(c.From), text)
}

// sayVia says to a person by which way a device of the account was reached.
// Others see it in the documents of --json.
func (a *app) sayVia(p *path) {
	if p.di != "" && !a.json && (a.terminal || a.verbose) {
		a.say("by %s", wayText(p.via()))
	}
}

// onXMPP reports whether the latest answer came over XMPP.
func (p *path) onXMPP() bool { return strings.HasPrefix(p.via(), "xmpp:") }

// wayText is the URI of a way for the eye: that of an endpoint on XMPP is too
// long for it.
func wayText(uri string) string {
	if t, err := reach.ParseTarget(uri); err == nil && !t.Peer.IsZero() {
		return "XMPP, " + t.Peer.Bare().String()
	}
	return "cloud, " + screen.Printable(strings.TrimSuffix(uri, "/"))
}
