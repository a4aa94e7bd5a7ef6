package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/cmd/farreach/internal/pages"
	"github.com/farreach/farreach/cmd/farreach/internal/settings"
	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/device/sim"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
)

// deviceFlags is what the command device is told.
type deviceFlags struct {
	access
	kind, name  string
	clouds      []string
	code, state string
	dialect     string
	provider    string
	lan         bool
	owner       shared // the key of the owner
	xmpp        xmppFlags
	password    passwordSource // of xmpp
}

func (a *app) deviceCmd() *cobra.Command {
	var d deviceFlags
	cmd := &cobra.Command{
		Use:   "device",
		Short: "Be a device, and join a cloud or an XMPP account",
		Long: `Runs a simulated device that dials out to a cloud and stays registered there,
until Ctrl-C. It joins once, with a code of farreach pair; what it was given then
it keeps in a file, so that later starts need no code.

With --xmpp it is reached over that XMPP account, by any XMPP server; alone, or
beside a cloud that --cloud or --code names. Whoever has the account's password
commands it. For the account of the profile it needs no password: the server makes
one for it alone.

With --lan alone it waits to be led to a cloud by an onboarding tool, at its
CoAPCloudConf: farreach post coap://HOST:PORT/CoapCloudConfResURI cis=URL sid=UUID
apn=NAME at=CODE. It leaves that cloud when cis is empty. With --psk-file only the
owner may do that, at coaps://, and farreach ra provision gives it an XMPP account.`,
		Example: `  farreach device --type lamp --name attic-lamp --code K3J7-9QWX-42MD
  farreach device --type lamp --name porch --lan
  farreach device --type lamp --name porch --lan --psk-file owner.key
  farreach device --type lamp --name hall --xmpp ann@home.example --password-file pw
  farreach device --type oic.d.thermostat --name cellar --cloud coaps+tcp://cloud.example.org --code K3J7-9QWX-42MD`,
		GroupID: groupStart,
		Args:    takes(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.device(cmd.Context(), d) },
	}
	flags := cmd.Flags()
	flags.StringVar(&d.kind, "type", "oic.d.light", "device `type`: "+strings.Join(sim.Types(), ", ")+"; or lamp, door, thermostat, meter, strip")
	flags.StringVar(&d.name, "name", "", "`name` of the device (default its type)")
	flags.StringSliceVar(&d.clouds, "cloud", nil, "`URL` of the cloud, coaps+tcp://, coap+tcp://, coaps+ws:// or coap+ws:// (default that of the profile); may be repeated for other servers of the same cloud, to go to when the first is gone")
	flags.BoolVar(&d.lan, "lan", false, "answer on the local network, too: found by multicast, and open to everybody there, who may also lead it to another cloud")
	flags.StringVar(&d.code, "code", "", "one-time pairing `code`, for the first time; or what its QR code says, farreach:pair?at=CODE&cis=URL, which names the cloud too")
	flags.StringVar(&d.dialect, "cloud-dialect", "auto", "how to speak to the cloud: ocf, classic for that of IoTivity 1.x, or auto to find out")
	flags.StringVar(&d.provider, "provider", "", "`name` of who gave the code, where the cloud wants to know")
	flags.StringVar(&d.state, "state", "", "`file` to keep what the cloud gave (default below the user's state directory, by name)")
	d.owner.ownerFlags(cmd)
	d.xmpp.flags(cmd, "be reached over")
	d.password.flags(cmd)
	d.trustFlags(cmd)
	for flag, values := range map[string][]string{"type": sim.Types(), "cloud-dialect": {"auto", "ocf", "classic"}} {
		if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
			panic(err) // a misspelled flag name
		}
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
	started := time.AfterFunc(startTime, a.started)
	defer started.Stop()
	err = m.run(ctx)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // told to stop, which is how a device ends
	}
	if refused, ok := errors.AsType[*oic.StatusError](err); ok && refused.Status.Class() == 4 {
		return fail(exitNotAllowed, a.command("pair")+" makes a new code", "%s: %w", strings.Join(m.servers, ", "), err)
	}
	return err
}

// startTime is how long a device, or a proxy, takes to start and to join, as a rule.
const startTime = 5 * time.Second

// started gives back what a device, or a proxy, needs no more when it has started:
// two thirds of what is resident, until it is asked.
func (a *app) started() {
	if err := pages.GiveBack(); err != nil {
		a.log(slog.LevelError).Debug("memory not given back", "err", err)
	}
}

// member is the device that the flags describe.
func (a *app) member(d deviceFlags) (*member, error) {
	name := cmp.Or(d.name, strings.TrimPrefix(d.kind, "oic.d."))
	if strings.ContainsAny(name, "/\x00") || strings.HasPrefix(name, ".") {
		return nil, misuse("--name attic-lamp", "name %q: no slash in it, nor a dot before it", name)
	}
	if _, err := sim.New(d.kind, device.Config{}); err != nil {
		return nil, misuse("--type lamp", "%w", err)
	}
	code, cloud, err := parsePairing(d.code)
	if err != nil {
		return nil, misuse(a.command("pair"), "--code: %w", err)
	}
	if d.code = code; cloud != "" && len(d.clouds) == 0 {
		d.clouds = []string{cloud}
	}
	m := &member{kind: d.kind, name: name, lan: d.lan, provider: d.provider, log: a.log(slog.LevelError)}
	switch d.dialect {
	case "auto":
	case "ocf", "classic":
		m.dialect = cloudlink.Dialect(d.dialect)
	default:
		return nil, misuse("auto, ocf or classic", "--cloud-dialect %q", d.dialect)
	}
	m.state = cloudlink.FileState(cmp.Or(d.state, filepath.Join(settings.StateDir(a.lookup), "devices", name+".json")))
	m.code = func(context.Context) (secret.String, error) { return a.pairingCode(d.code) }
	m.listening = func(scheme string, port uint16) {
		a.say("%s: answers on the local network at %s://HOST:%d", name, scheme, port)
		a.stands(standingDoc{Name: name, By: "lan", There: true, At: fmt.Sprintf("%s://HOST:%d", scheme, port)})
	}
	m.changed = func(s cloudlink.Status) { a.registration(name, s) }
	m.trust = func(servers []string) (*tls.Config, error) { return a.trustOf(d.access, servers) }
	if err := a.ways(m, &d); err != nil {
		return nil, err
	}
	if led, err := m.led(d); led || err != nil {
		return m, err
	}
	if d.xmpp.jid != "" && len(d.clouds) == 0 && d.code == "" {
		return m, nil // over XMPP alone
	}
	if err := a.chooseCloud(m, d); err != nil {
		return nil, err
	}
	return m, nil
}

// ways are the ways to the device beside a cloud.
func (a *app) ways(m *member, d *deviceFlags) (err error) {
	if !d.lan && d.owner.file != "" {
		return misuse("--lan", "--psk-file: a key of the owner is for the local network")
	}
	if d.lan {
		key, err := a.key(d.owner)
		if err != nil {
			return err
		}
		m.owner = ownerKey(key)
	}
	m.remote, err = a.remote(m.name, d, m.owner.known())
	return err
}

// led reports whether the device leaves the choice of its cloud to people near
// it: it was led to one, or has none and nobody names one.
func (m *member) led(d deviceFlags) (bool, error) {
	if !d.lan || len(d.clouds) > 0 || d.code != "" {
		return false, nil
	}
	memory, err := remember(m.state)
	if err != nil {
		return false, err
	}
	state, err := m.state.Load()
	return memory.cloud().Server != "" || state.Grant.Account == "", err
}

// trustOf is whom a device believes that goes to these servers. The profile's
// authority vouches for the profile's addresses alone.
func (a *app) trustOf(x access, servers []string) (*tls.Config, error) {
	s, err := a.server()
	if err != nil && !errors.Is(err, settings.ErrNoProfile) {
		return nil, err
	}
	if err != nil || slices.ContainsFunc(servers, func(server string) bool { return !slices.Contains(s.Clouds(), server) }) {
		s = new(settings.Server)
	}
	return a.tls(x, s)
}

// chooseCloud is the cloud that was named, or that of the profile.
func (a *app) chooseCloud(m *member, d deviceFlags) error {
	s, err := a.server()
	if errors.Is(err, settings.ErrNoProfile) && len(d.clouds) > 0 {
		s, err = new(settings.Server), nil
	}
	if err != nil {
		return err
	}
	if m.servers = d.clouds; len(m.servers) == 0 && s.Cloud() != "" {
		m.servers = []string{s.Cloud()}
	}
	if len(m.servers) == 0 {
		return misuse("--cloud coaps+tcp://HOST", "profile %s has no cloud address", a.profile)
	}
	for _, server := range m.servers {
		if u, err := coap.ParseURI(server); err != nil || u.Transport == coap.UDP {
			return misuse("--cloud coaps+tcp://HOST", "cloud %q: not a coaps+tcp, coap+tcp, coaps+ws or coap+ws address", server)
		}
	}
	return nil
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
func (a *app) registration(name string, s cloudlink.Status) {
	switch {
	case s.Registered:
		a.say("%s: registered at %s, account %s", name, s.Server, s.Account)
		a.stands(standingDoc{Name: name, By: "cloud", There: true, At: s.Server, Account: s.Account})
	case s.Err != nil:
		a.say("%s: not registered at %s: %v", name, s.Server, oneLine(s.Err))
		a.stands(standingDoc{Name: name, By: "cloud", At: s.Server, Why: s.Err.Error()})
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
