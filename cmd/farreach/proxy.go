package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/cmd/farreach/internal/pages"
	"github.com/farreach/farreach/cmd/farreach/internal/screen"
	"github.com/farreach/farreach/cmd/farreach/internal/settings"
	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/kept"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/lan"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
	"github.com/farreach/farreach/xcproxy"
	"github.com/farreach/farreach/xmpp"
)

// proxyFlags is what the command proxy is told.
type proxyFlags struct {
	access
	xmpp    xmppAccess
	clouds  []string
	streams int
	name    string
	state   string
	net     proxyNet
	allowed allowed
}

func (a *app) proxyCmd() *cobra.Command {
	var p proxyFlags
	cmd := &cobra.Command{
		Use:   "proxy",
		Short: "Show devices of the local network outside, as they are",
		Long: `Finds the OIC devices of the local network and shows them at an XMPP account and
in a cloud, each under its own device id, until Ctrl-C. The devices need to know
nothing of it. Without --xmpp and --cloud, account and cloud are those of the
profile.

Only what --allow or --policy names is shown. The resources of security and of
maintenance never are. Whoever asks for something else gets the answer of what
does not exist.

The policy is a JSON array of rules, {"di": …, "rt": …, "href": …, "readonly": true},
of which each allows what agrees with all that it names. The file is read again
when it changes.`,
		Example: `  farreach proxy --allow all
  farreach proxy --xmpp ann@home.example --password-file pw --lan eth0 --allow oic.d.light
  farreach proxy --device 192.0.2.7:5683 --policy policy.json`,
		GroupID: groupStart,
		Args:    takes(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.proxy(cmd.Context(), p) },
	}
	flags := cmd.Flags()
	p.xmpp.flags(cmd)
	flags.StringSliceVar(&p.clouds, "cloud", nil, "`URL` of the cloud, coaps+tcp:// or the like; may be repeated for other servers of the same cloud")
	flags.IntVar(&p.streams, "streams", 64, "how many devices have an XMPP stream of their own; the others are behind that of the proxy")
	flags.StringVar(&p.name, "name", "proxy", "`name` of the proxy")
	flags.StringVar(&p.state, "state", "", "`file` to keep who has which address (default below the user's state directory, by name); what clouds gave is beside it")
	p.net.flags(cmd)
	p.allowed.flags(cmd)
	p.access.flags(cmd)
	return cmd
}

// proxy shows what it finds until ctx ends.
func (a *app) proxy(ctx context.Context, f proxyFlags) error {
	policy, err := f.allowed.policy()
	if err != nil {
		return err
	}
	watch, err := f.net.config()
	if err != nil {
		return err
	}
	f.state = cmp.Or(f.state, filepath.Join(settings.StateDir(a.lookup), "proxies", f.name+".json"))
	a.collect(proxyGarbage)
	lock, err := lockState(f.state)
	if err != nil {
		return err
	}
	defer lock.release()
	cfg, err := a.proxyConfig(ctx, f)
	if err != nil {
		return err
	}
	cfg.Policy = policy
	calm, told := a.calm(), cfg.OnChange
	cfg.OnChange = func(c xcproxy.Change) {
		calm.Stir()
		told(c)
	}
	proxy, err := xcproxy.New(cfg)
	if err != nil {
		return fail(exitConfig, "another --state, or --policy", "%w", err)
	}
	known := make(chan lan.Known)
	watch.Directory, watch.Reload, watch.Log = proxy.ID(), known, cfg.Log
	defer calm.Stop()
	group, ctx := errgroup.WithContext(ctx)
	watching, stop := context.WithCancel(context.WithoutCancel(ctx)) // until the proxy has taken leave of the devices
	group.Go(func() error {
		defer stop()
		return proxy.Run(ctx)
	})
	group.Go(func() error { return lan.Watch(watching, watch, shows(proxy)) })
	group.Go(func() error { return f.allowed.follow(ctx, a, proxy) })
	group.Go(func() error { return f.net.follow(ctx, a, known) })
	if err := group.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// proxyGarbage makes a proxy collect garbage twice as often as other programs do:
// it runs on small machines, with much that stays and little that moves.
const proxyGarbage = 50

// calm has memory given back some seconds after the last device has found its
// place.
func (a *app) calm() *pages.Calm {
	return &pages.Calm{After: startTime, Every: time.Minute, Failed: func(err error) {
		a.log(slog.LevelError).Debug("memory not given back", "err", err)
	}}
}

// proxyConfig is where devices are shown.
func (a *app) proxyConfig(ctx context.Context, f proxyFlags) (cfg xcproxy.Config, err error) {
	cfg = xcproxy.Config{Name: f.name, Streams: f.streams, State: xcproxy.FileState(f.state), Log: a.log(slog.LevelError), OnChange: a.standing()}
	if f.streams == 0 {
		cfg.Streams = -1
	}
	if f.xmpp.jid != "" || len(f.clouds) == 0 {
		account, err := a.proxyAccount(ctx, f)
		if err != nil {
			return cfg, err
		}
		if account != nil {
			cfg.XMPP = *account
		}
	}
	if f.xmpp.jid == "" || len(f.clouds) > 0 {
		cfg.Cloud, err = a.proxyCloud(f)
	}
	return cfg, err
}

// proxyAccount is the account that was named, or that of the profile. If nobody
// says a password for the latter, its server makes one, which is kept beside the
// state: that of the profile is for commands.
func (a *app) proxyAccount(ctx context.Context, f proxyFlags) (*xmpp.Config, error) {
	cfg, err := a.xmppAccount(f.access, f.xmpp)
	if err != nil || cfg == nil {
		return nil, err
	}
	s, err := a.profileOf(cfg.JID)
	if err != nil || s.API() == "" || a.named(passwordSource{}) || f.xmpp.passwordFile != "" {
		return cfg, err
	}
	file := strings.TrimSuffix(f.state, ".json") + ".password"
	text, err := settings.ReadSecret(file)
	if cfg.Password = secret.String(text); !errors.Is(err, fs.ErrNotExist) {
		return cfg, err
	}
	if cfg.Password, err = a.newLogin(ctx, f.access, cfg.JID, "proxy "+f.name, "OIC/1.0/*"); err != nil {
		return nil, err
	}
	return cfg, kept.Write(file, []byte(cfg.Password.Reveal()+"\n"), 0o600)
}

// proxyCloud is the cloud that was named, or that of the profile. The server of
// the profile makes the codes.
func (a *app) proxyCloud(f proxyFlags) (*xcproxy.Cloud, error) {
	var m member
	if err := a.chooseCloud(&m, deviceFlags{clouds: f.clouds}); err != nil {
		return nil, err
	}
	trust, err := a.trustOf(f.access, m.servers)
	if err != nil {
		return nil, err
	}
	grants := strings.TrimSuffix(f.state, ".json") + ".devices"
	return &xcproxy.Cloud{
		Client: func(di string) cloudlink.Config {
			return cloudlink.Config{Servers: m.servers, TLS: trust, App: "farreach", Backoff: patience(m.servers),
				State: cloudlink.FileState(filepath.Join(grants, di+".json"))}
		},
		Code: func(ctx context.Context, _ string) (secret.String, error) {
			api, err := a.api(f.access)
			if err != nil {
				return "", err
			}
			defer api.Close()
			code, err := api.NewCode(ctx)
			return code.Code, err
		},
		Connected: func(ctx context.Context, di string) (bool, error) { return a.connected(ctx, f.access, di) },
	}, nil
}

// connected is xcproxy.Cloud.Connected, as the server of the profile says.
func (a *app) connected(ctx context.Context, how access, di string) (bool, error) {
	api, err := a.api(how)
	if err != nil {
		return false, err
	}
	defer api.Close()
	d, err := api.Device(ctx, di)
	if problem, ok := errors.AsType[*apiclient.Problem](err); ok && problem.Status == http.StatusNotFound {
		return false, oic.Errorf(oic.NotFound, "%s", problem.Detail)
	}
	return d.State == stateReachable || d.State == stateUnproven, err
}

// shows passes on to the proxy what becomes of the devices of the network.
func shows(proxy *xcproxy.Proxy) func(lan.Change) {
	return func(c lan.Change) {
		d := c.Device
		if c.Kind == lan.Gone {
			proxy.Lost(d.ID)
			return
		}
		proxy.Found(xcproxy.Found{ID: d.ID, Name: d.Name, Types: d.Types, Links: d.Links, Device: placed{d.Open(), d.Address.String() + d.Secure.String()}})
	}
}

// standing tells the user how devices stand outside, once for each change.
func (a *app) standing() func(xcproxy.Change) {
	var mu sync.Mutex
	last := map[string]string{}
	return func(c xcproxy.Change) {
		text := standingOf(c)
		mu.Lock()
		defer mu.Unlock()
		if last[c.Device] != text {
			last[c.Device] = text
			a.say("%s %s: %s", c.Device, screen.Printable(c.Name), text)
			for _, d := range standings(c) {
				a.stands(d)
			}
		}
	}
}

// standings is how a device stands by each way.
func standings(c xcproxy.Change) []standingDoc {
	all := []standingDoc{{By: "lan", There: c.Here}}
	if c.XMPP.Status == rae.Connected || c.XMPP.Status == rae.Error {
		all = append(all, standingDoc{By: "xmpp", There: c.XMPP.Status == rae.Connected, Why: c.XMPP.Reason})
	}
	if c.Cloud.Registered || c.Cloud.Err != nil {
		d := standingDoc{By: "cloud", There: c.Cloud.Registered, At: c.Cloud.Server}
		if c.Cloud.Err != nil {
			d.Why = c.Cloud.Err.Error()
		}
		all = append(all, d)
	}
	for i := range all {
		all[i].Device, all[i].Name = c.Device, c.Name
	}
	return all
}

func standingOf(c xcproxy.Change) string {
	var ways []string
	if c.XMPP.Status == rae.Connected {
		ways = append(ways, "on XMPP")
	}
	if c.XMPP.Status == rae.Error {
		ways = append(ways, "not on XMPP: "+screen.Printable(c.XMPP.Reason))
	}
	if c.Cloud.Registered {
		ways = append(ways, "registered at "+c.Cloud.Server)
	}
	if c.Cloud.Err != nil {
		ways = append(ways, "not registered: "+oneLine(c.Cloud.Err))
	}
	switch {
	case !c.Here:
		return "does not answer on the local network"
	case len(ways) == 0:
		return "on the local network"
	}
	return strings.Join(ways, ", ")
}

// proxyNet says where the proxy looks for devices.
type proxyNet struct {
	interfaces  []string
	addresses   []string
	described   string
	credentials string
	check       time.Duration
}

func (n *proxyNet) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVar(&n.interfaces, "lan", nil, "network `interface` to look at by multicast (default all, unless there is --device); may be repeated")
	flags.StringSliceVar(&n.addresses, "device", nil, "`address` of a device, host or host:port; may be repeated")
	flags.StringVar(&n.described, "describe", "", "`file` with what CoAP servers have that know nothing of OIC, a JSON array of {address, di, n, rt, links}; an address of coaps:// needs --credentials")
	flags.StringVar(&n.credentials, "credentials", "", "`directory` with a file DI.json for each device that has to be asked over coaps")
	flags.DurationVar(&n.check, "check", time.Minute, "silence after which a device is asked whether it is there; after three times without an answer it is not")
}

// minCheck is the least silence after which devices are asked: many run on
// batteries.
const minCheck = time.Second

func (n *proxyNet) config() (cfg lan.Config, err error) {
	cfg = lan.Config{Interfaces: n.interfaces, Addresses: n.addresses, Check: n.check}
	if n.check < minCheck {
		return cfg, misuse("--check 1m", "--check %v: at least %v, for the sake of the devices", n.check, minCheck)
	}
	for _, text := range n.addresses {
		if u, err := coap.ParseURI(addressURI(text)); err != nil || u.Transport != coap.UDP || u.Secure {
			return cfg, misuse("--device 192.0.2.7:5683", "--device %q: not a host with a port", text)
		}
	}
	if cfg.Known, err = n.known(); err != nil {
		return cfg, err
	}
	if len(n.interfaces) == 0 && len(n.addresses)+len(cfg.Described) > 0 {
		cfg.Groups = groupsNone
	}
	return cfg, nil
}

func addressURI(text string) string {
	if strings.Contains(text, "://") {
		return text
	}
	if ip, err := netip.ParseAddr(text); err == nil && ip.Is6() {
		text = "[" + text + "]"
	}
	return "coap://" + text
}
