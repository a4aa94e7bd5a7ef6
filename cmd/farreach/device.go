package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/cmd/farreach/internal/settings"
	"github.com/farreach/farreach/device/sim"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
)

// deviceFlags is what the command device is told.
type deviceFlags struct {
	access
	kind, name  string
	cloud, code string
	state       string
}

func (a *app) deviceCmd() *cobra.Command {
	var d deviceFlags
	cmd := &cobra.Command{
		Use:   "device",
		Short: "Be a device, and join a cloud",
		Long: `Runs a simulated device that dials out to a cloud and stays registered there,
until Ctrl-C. It joins once, with a code of farreach pair; what it was given then
it keeps in a file, so that later starts need no code.`,
		Example: `  farreach device --type lamp --name attic-lamp --code K3J7-9QWX-42MD
  farreach device --type oic.d.thermostat --name cellar --cloud coaps+tcp://cloud.example.org --code K3J7-9QWX-42MD`,
		GroupID: groupStart,
		Args:    takes(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.device(cmd.Context(), d) },
	}
	flags := cmd.Flags()
	flags.StringVar(&d.kind, "type", "oic.d.light", "device `type`: "+strings.Join(sim.Types(), ", ")+"; or lamp, door, thermostat, meter")
	flags.StringVar(&d.name, "name", "", "`name` of the device (default its type)")
	flags.StringVar(&d.cloud, "cloud", "", "`URL` of the cloud, coaps+tcp:// or coap+tcp:// (default that of the profile)")
	flags.StringVar(&d.code, "code", "", "one-time pairing `code`, for the first time")
	flags.StringVar(&d.state, "state", "", "`file` to keep what the cloud gave (default below the user's state directory, by name)")
	d.trustFlags(cmd)
	if err := cmd.RegisterFlagCompletionFunc("type", cobra.FixedCompletions(sim.Types(), cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // a misspelled flag name
	}
	return cmd
}

func (a *app) device(ctx context.Context, d deviceFlags) error {
	m, err := a.member(d)
	if err != nil {
		return err
	}
	lock, err := lockState(string(m.state))
	if err != nil {
		return err
	}
	defer lock.release()
	err = m.run(ctx)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // told to stop, which is how a device ends
	}
	if refused, ok := errors.AsType[*oic.StatusError](err); ok && refused.Status.Class() == 4 {
		return fail(exitNotAllowed, a.command("pair")+" makes a new code", "%s: %w", m.server, err)
	}
	return err
}

// member is the device that the flags describe.
func (a *app) member(d deviceFlags) (*member, error) {
	name := cmp.Or(d.name, strings.TrimPrefix(d.kind, "oic.d."))
	if strings.ContainsAny(name, "/\x00") || strings.HasPrefix(name, ".") {
		return nil, misuse("--name attic-lamp", "name %q: no slash in it, nor a dot before it", name)
	}
	if _, err := sim.New(d.kind, "", name, slog.New(slog.DiscardHandler)); err != nil {
		return nil, misuse("--type lamp", "%w", err)
	}
	m := &member{kind: d.kind, name: name, log: a.log(slog.LevelError)}
	m.state = cloudlink.FileState(cmp.Or(d.state, filepath.Join(settings.StateDir(a.lookup), "devices", name+".json")))
	m.code = func(context.Context) (secret.String, error) { return a.pairingCode(d.code) }
	m.changed = func(s cloudlink.Status) { a.registration(m, s) }
	if err := a.chooseCloud(m, d); err != nil {
		return nil, err
	}
	return m, nil
}

// chooseCloud is the cloud that was named, or that of the profile. The
// profile's authority vouches for the profile's addresses alone.
func (a *app) chooseCloud(m *member, d deviceFlags) error {
	s, err := a.server()
	if errors.Is(err, settings.ErrNoProfile) && d.cloud != "" {
		s, err = new(settings.Server), nil
	}
	if err != nil {
		return err
	}
	m.server = cmp.Or(d.cloud, s.Cloud())
	if m.server == "" {
		return misuse("--cloud coaps+tcp://HOST", "profile %s has no cloud address", a.profile)
	}
	if !strings.HasPrefix(m.server, "coaps+tcp://") && !strings.HasPrefix(m.server, "coap+tcp://") {
		return misuse("--cloud coaps+tcp://HOST", "cloud %q: not a coaps+tcp or coap+tcp address", m.server)
	}
	if s.CoAPSTCP == "" || m.server != "coaps+tcp://"+s.CoAPSTCP {
		s = new(settings.Server)
	}
	m.trust, err = a.tls(d.access, s)
	return err
}

func (a *app) pairingCode(typed string) (secret.String, error) {
	if typed == "" {
		return "", misuse("--code, with one of "+a.command("pair"), "no pairing code")
	}
	code, err := secret.ParseCode(secret.String(typed))
	if err != nil {
		return "", misuse(a.command("pair"), "%w", err)
	}
	return code, nil
}

// registration tells the user how it stands with the cloud.
func (a *app) registration(m *member, s cloudlink.Status) {
	switch {
	case s.Registered:
		a.say("%s: registered at %s, account %s", m.name, cmp.Or(s.Server, m.server), s.Account)
	case s.Err != nil:
		a.say("%s: not registered at %s: %v", m.name, m.server, oneLine(s.Err))
	}
}

// lockState keeps a device from being run twice at a time: the cloud would
// throw out the one whenever the other comes.
func lockState(state string) (*lock, error) {
	if err := os.MkdirAll(filepath.Dir(state), 0o700); err != nil {
		return nil, fail(exitConfig, "another --state", "state: %w", err)
	}
	l, err := takeLock(state + ".lock")
	if holder, ok := errors.AsType[*heldError](err); ok {
		return nil, fail(exitFailed, "another --name or --state", "%s is used by another device%s", state, holder)
	}
	return l, err
}
