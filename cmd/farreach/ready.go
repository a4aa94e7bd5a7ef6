package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/farreach/farreach/cmd/farreach/internal/screen"
	"github.com/farreach/farreach/cmd/farreach/internal/settings"
	"github.com/farreach/farreach/internal/secret"
	build "github.com/farreach/farreach/internal/version"
)

// readyDoc is what a server writes with --json once it is ready.
type readyDoc struct {
	Schema string `json:"schema"`
	*settings.Server
	Pair    string    `json:"pair,omitempty"` // a one-time code, unless there are too many
	Expires time.Time `json:"pair_expires,omitzero"`
	Open    string    `json:"open,omitempty"` // the dashboard, signed in once
	Try     []string  `json:"try"`
}

// announce writes the profile, says that the server is ready, and at last
// writes the address file, for which scripts wait.
func (a *app) announce(ctx context.Context, b *booted, home *demo, start time.Time) error {
	s := b.where()
	profile := *s
	if profile.PasswordFile = ""; b.xmpp != nil {
		profile.PasswordFile = b.file(commandsLogin)
	}
	if err := profile.SaveProfile(a.profileDir, a.profile); err != nil {
		return fail(exitConfig, "another --profile-dir", "profile: %w", err)
	}
	var code, link secret.String
	var expires time.Time
	var err error
	if b.cfg.coap {
		if link, _, err = b.cloud.NewSignInLink(ctx, owner); err != nil {
			b.log.Warn("no link to the dashboard", "err", err)
		}
		code, expires, err = b.cloud.NewPairingCode(ctx, owner)
	}
	if err != nil { // there may be too many: no reason not to start
		b.log.Warn("no pairing code", "err", err)
	}
	home.settle(ctx)
	open := dashboard(b.outside(), link)
	if a.json {
		err = a.screen().Doc(readyDoc{"farreach.ready/v1", s, code.Reveal(), expires.UTC(), open, a.tryThese(b, home, code)})
	} else {
		_, err = fmt.Fprint(a.out, a.banner(b, b.outside(), home, code, time.Until(expires), open, start))
	}
	if err != nil && !errors.Is(err, syscall.EPIPE) { // nobody reads it
		return err
	}
	if b.cfg.addrFile != "" {
		return s.WriteAddrFile(b.cfg.addrFile)
	}
	return nil
}

// banner is what a person sees of a server that has started.
func (a *app) banner(b *booted, s *settings.Server, home *demo, code secret.String, left time.Duration, open string, start time.Time) string {
	var text strings.Builder
	fmt.Fprintf(&text, "farreach %s   data %s\n", build.Get(version).Version, a.short(s.Data))
	if b.ca.Fresh() {
		fmt.Fprintf(&text, "first start: made a private certificate authority (SHA-256 %.11s…)\n", b.ca.Fingerprint())
	}
	if b.password != "" {
		fmt.Fprintf(&text, "first start: made the account %s, password %s   in %s until you change it\n",
			firstAccount, b.password.Reveal(), a.short(b.file("password")))
	}
	text.WriteByte('\n')
	table := tabwriter.NewWriter(&text, 0, 0, 3, ' ', 0)
	row := func(cells ...string) { fmt.Fprintln(table, "  "+strings.Join(cells, "\t")) }
	if s.CoAPSTCP != "" {
		row("ready", "devices", "coaps+tcp://"+s.CoAPSTCP, "TLS 1.2 and 1.3")
	}
	if s.CoAPTCP != "" {
		row("ready", "devices", "coap+tcp://"+s.CoAPTCP, "plain, this machine only")
	}
	if b.cfg.coap {
		row("ready", "devices", s.WebSocket(), "over WebSocket")
	}
	if s.XMPP != "" {
		row("ready", "XMPP", s.XMPP, "STARTTLS, domain "+s.Domain)
		row("ready", "XMPP", s.XMPPS, "TLS")
	}
	row("ready", "HTTP API", s.API())
	if open != "" {
		row("open", "dashboard", open, "signs you in, once, 10 min")
	}
	if code != "" {
		row("pair", "code", code.Reveal(), fmt.Sprintf("good for %.0f min, once", left.Minutes()))
	}
	if names := home.names(); len(names) > 0 {
		row("demo", "home", strings.Join(names, " "), fmt.Sprintf("%d simulated devices, %d online", len(names), home.online()))
	}
	if at := home.onLAN(); at != "" {
		row("demo", "proxy", at, "the meter, which knows no more than its local network")
	}
	_ = table.Flush() // into memory
	if !b.ports.Secure {
		fmt.Fprintf(&text, "\nOther machines cannot reach this yet; that takes: %s %s --listen ADDRESS\n", a.call(), b.cfg.command())
	}
	fmt.Fprintf(&text, "\nready in %.2f s. Try in another terminal:\n\n", time.Since(start).Seconds())
	for _, line := range a.tryThese(b, home, code) {
		fmt.Fprintf(&text, "  %s\n", line)
	}
	fmt.Fprintf(&text, "\nCtrl-C stops. What happens:\n\n")
	return text.String()
}

// dashboard is its address, which signs a browser in if there is a link for that.
func dashboard(s *settings.Server, link secret.String) string {
	if link == "" {
		return ""
	}
	return signInURL(s.API(), link.Reveal())
}

// tryThese are three commands that work when they are pasted.
func (a *app) tryThese(b *booted, home *demo, code secret.String) []string {
	if len(home.names()) > 0 {
		return []string{
			a.command("get", "lamp/a/light"),
			a.command("set", "lamp/a/light", "value=true"),
			a.command("events", "--follow"),
		}
	}
	if !b.cfg.coap {
		return []string{a.command("account", "ls"), a.command("account", "add", "NAME"), a.command("status")}
	}
	if code == "" {
		return []string{a.command("devices"), a.command("status"), a.command("events", "--follow")}
	}
	return []string{
		a.joinCommand(code.Reveal()),
		a.command("set", "new-lamp/a/light", "value=true"),
		a.command("events", "--follow"),
	}
}

// call is how this program is called from a shell.
func (a *app) call() string {
	self, err := os.Executable()
	if err != nil {
		return a.self
	}
	if found, err := exec.LookPath("farreach"); err == nil && sameFile(found, self) {
		return "farreach"
	}
	return a.self
}

func sameFile(x, y string) bool {
	a, err := os.Stat(x)
	if err != nil {
		return false
	}
	b, err := os.Stat(y)
	return err == nil && os.SameFile(a, b)
}

// short is a path as a person writes it.
func (a *app) short(path string) string {
	home, ok := a.lookup("HOME")
	if ok && len(home) > 1 && strings.HasPrefix(path, home+"/") {
		path = "~" + strings.TrimPrefix(path, home)
	}
	return screen.Printable(path)
}
