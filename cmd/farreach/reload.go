package main

import (
	"context"
	"crypto/tls"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/farreach/farreach/cmd/farreach/internal/certs"
	"github.com/farreach/farreach/cmd/farreach/internal/settings"
	"github.com/farreach/farreach/cmd/farreach/internal/systemd"
	"github.com/farreach/farreach/internal/localca"
)

// authority is the private authority of a server, and the certificate of the
// operator beside it, if there is one.
type authority struct {
	*localca.Authority
	*certs.Chooser
}

// Ends is when the first certificate does that listeners show.
func (a *authority) Ends() time.Time {
	end := a.Authority.Ends()
	if own := a.Chooser.Ends(); !own.IsZero() && own.Before(end) {
		return own
	}
	return end
}

// ServerConfig is the choice between the two.
func (a *authority) ServerConfig() *tls.Config { return a.Chooser.ServerConfig() }

// configFile is the file of --config as it was read.
type configFile struct {
	command string // that it is for
	name    string // "": none
	entries []settings.Entry
}

// read reads the file again, as the command would at its next start.
func (f configFile) read() ([]settings.Entry, error) {
	now, err := settings.ReadFile(f.name)
	if err != nil {
		return nil, err
	}
	nothing := func(string) (string, bool) { return "", false }
	next, _, err := (&app{lookup: nothing}).rootCmd().Find([]string{f.command})
	if err != nil {
		return nil, err
	}
	next.InheritedFlags() // from here on they are among its own
	return now, settings.Apply(next.Flags(), nothing, now)
}

// hangups are the signals that ask for a reload, until stop. On a terminal
// there are none: there the signal says that the terminal is gone.
func (a *app) hangups() (hup chan os.Signal, stop func()) {
	hup = make(chan os.Signal, 1)
	if !a.terminal {
		signal.Notify(hup, syscall.SIGHUP)
	}
	return hup, func() { signal.Stop(hup) }
}

// manage tells the service manager how the server does, and reads files again
// at each hangup, until ctx ends.
func (a *app) manage(ctx context.Context, b *booted, hup <-chan os.Signal) {
	manager := systemd.Open(a.lookup)
	tell := func(err error) {
		if err != nil {
			b.log.Warn("not told", "err", err)
		}
	}
	tell(manager.Ready("ready"))
	var watch sync.WaitGroup
	watch.Go(func() {
		if err := manager.Watch(ctx, b.alive); ctx.Err() == nil {
			tell(err)
		}
	})
	for {
		select {
		case <-hup:
			tell(manager.Reloading())
			a.reload(b)
			tell(manager.Ready("ready; files were read again"))
		case <-ctx.Done():
			tell(manager.Stopping())
			watch.Wait()
			return
		}
	}
}

// alive reports whether the server answers. A store that does not is no reason
// to start it again: that heals by itself.
func (b *booted) alive(ctx context.Context) bool {
	_, err := b.cloud.Census(ctx, operator)
	return err == nil
}

// reload reads again what can be changed while the server runs: the operator's
// certificate. What cannot, and what is wrong, is said and stays as it was.
func (a *app) reload(b *booted) {
	if err := b.ca.Reload(); err != nil {
		a.say("farreach: reload: %s; the old certificate stays", oneLine(err))
	} else if end := b.ca.Chooser.Ends(); !end.IsZero() {
		a.say("farreach: reload: certificate of %s, good until %s", strings.Join(b.ca.Names(), ", "), end.Format(time.DateOnly))
	}
	if a.config.name == "" {
		return
	}
	now, err := a.config.read()
	if err != nil {
		a.say("farreach: reload: %s; the old settings stay", oneLine(err))
		return
	}
	if changed := settings.Changed(a.config.entries, now); len(changed) > 0 {
		a.say("farreach: reload: %s: takes effect at the next start", strings.Join(changed, ", "))
	}
}
