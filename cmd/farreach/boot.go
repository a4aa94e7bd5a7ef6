package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/farreach/farreach/cloud"
	"github.com/farreach/farreach/cloud/metrics"
	"github.com/farreach/farreach/cmd/farreach/internal/certs"
	"github.com/farreach/farreach/cmd/farreach/internal/listen"
	"github.com/farreach/farreach/cmd/farreach/internal/otlp"
	"github.com/farreach/farreach/cmd/farreach/internal/settings"
	"github.com/farreach/farreach/internal/kept"
	"github.com/farreach/farreach/internal/localca"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/internal/tracing"
	build "github.com/farreach/farreach/internal/version"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rabridge"
	"github.com/farreach/farreach/store"
	"github.com/farreach/farreach/xmppd"
)

// firstAccount is made at the first start. It may manage all others.
const firstAccount = "home"

// operator is who this process is to the cloud that it runs, and owner whose
// devices the simulated ones are.
var (
	operator = oic.Identity{Admin: true}
	owner    = oic.Identity{Account: firstAccount, Admin: true}
)

// booted is a server that has everything open and answers nobody yet.
type booted struct {
	cfg       serverConfig
	log       *slog.Logger
	lock      *lock
	ports     *listen.Set
	ca        *authority
	store     *store.Store
	cloud     *cloud.Cloud
	metrics   *metrics.Metrics
	tracer    *tracing.Tracer // nil: nothing is traced
	traced    func()          // sends the rest of the traces
	relays    []xmppd.Relay
	xmpp      *xmppd.Server                              // nil: it is off
	inside    *xmppd.Inside                              // of xmpp, for bridge; nil: there is none
	bridge    *rabridge.Bridge                           // nil: devices on XMPP alone take no part in the cloud
	partaking atomic.Pointer[func(di string, here bool)] // is told of those that do; nil: nobody is
	password  secret.String                              // of the first account, if this start made it
}

// boot opens, in this order, what a server needs, so that what is most likely
// to be wrong is found before anything is made: the data directory, the ports,
// certificates, store, cloud, first account, XMPP.
func (a *app) boot(ctx context.Context, cfg serverConfig) (b *booted, err error) {
	b = &booted{cfg: cfg, log: a.log(slog.LevelWarn)}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
			b = nil
		}
	}()
	offset, err := listen.ParseOffset(cmp.Or(cfg.portOffset, "0"))
	if err != nil {
		return b, fail(exitConfig, "--port-offset auto", "port-offset %q: %w", cfg.portOffset, err)
	}
	if b.cfg.listen, err = listen.ParseHost(cfg.listen); err != nil {
		return b, fail(exitConfig, "--listen 192.0.2.7", "listen %q: %w", cfg.listen, err)
	}
	if b.relays, err = cfg.relays(); err != nil {
		return b, err
	}
	if cfg.data, err = filepath.Abs(cfg.data); err != nil {
		return b, err
	}
	b.cfg.data = cfg.data
	for _, step := range []func() error{
		b.openData,
		func() error { return b.openPorts(ctx, offset) },
		b.openCA,
		func() error { return b.openTracing(ctx, a.lookup) },
		func() error { return b.openStore(ctx) },
		func() error { return b.openAccount(ctx) },
		func() error { return b.openXMPP(ctx) },
		b.openBridge,
		func() error { return b.openLogin(ctx) },
	} {
		if err := step(); err != nil {
			return b, err
		}
	}
	return b, nil
}

// close closes what is open, the other way round.
func (b *booted) close() (err error) {
	if b.xmpp != nil {
		b.xmpp.Close()
	}
	if b.cloud != nil {
		b.cloud.Close()
	}
	if b.traced != nil {
		b.traced()
	}
	if b.store != nil {
		err = b.store.Close()
	}
	if b.ports != nil {
		b.ports.Close()
	}
	if b.lock != nil {
		b.lock.release()
	}
	return err
}

// name is what people call this process: its host, and the port of the HTTP API.
func (b *booted) name() string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	_, port, _ := net.SplitHostPort(b.ports.HTTP.Addr().String())
	return net.JoinHostPort(host, port)
}

func (b *booted) file(name string) string { return filepath.Join(b.cfg.data, name) }

// openData makes the data directory, or takes it over: nobody else may read
// it, no other server may use it, and no newer one may have done so.
func (b *booted) openData() error {
	dir := b.cfg.data
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fail(exitConfig, "another --data", "data: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fail(exitConfig, "another --data", "data: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && !closeEmpty(dir) {
		return fail(exitConfig, "chmod 700 "+shellWord(dir), "data: other users can read %s (mode %04o)", dir, mode)
	}
	b.lock, err = takeLock(b.file("lock"))
	if holder, ok := errors.AsType[*heldError](err); ok {
		return fail(exitConfig, "another --data", "data: %s is used by another farreach%s", dir, holder)
	}
	if err != nil {
		return fmt.Errorf("data: %w", err)
	}
	if err := checkFormat(dir); err != nil {
		return err
	}
	return removeIfThere(b.cfg.addrFile)
}

// closeEmpty closes a directory to other users if there is nothing in it yet, such
// as one that was just made for us; what is in one that others could read, they may know.
func closeEmpty(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == 0 && os.Chmod(dir, 0o700) == nil
}

// openPorts opens the listeners. Ports that were picked are remembered, so
// that devices find the server again after its next start.
func (b *booted) openPorts(ctx context.Context, offset listen.Offset) (err error) {
	if offset.Auto {
		if text, err := os.ReadFile(b.file("port-offset")); err == nil {
			offset.N, _ = strconv.Atoi(string(text)) // what is no number is as good as nothing
		}
	}
	if b.ports, err = listen.Open(ctx, listen.Config{Host: b.cfg.listen, Offset: offset, NoCoAP: !b.cfg.coap, XMPP: b.cfg.xmpp}); err != nil {
		if _, taken := errors.AsType[*listen.TakenError](err); taken {
			return err
		}
		return fail(exitConfig, "another --listen", "listen: %w", err)
	}
	if !offset.Auto {
		return nil
	}
	return kept.Write(b.file("port-offset"), []byte(strconv.Itoa(b.ports.Offset)), 0o600)
}

func (b *booted) openCA() (err error) {
	hosts := listen.Hosts(b.cfg.listen)
	if at, ok := b.ports.HTTP.Addr().(*net.TCPAddr); ok && !at.IP.IsUnspecified() { // for who does not ask by the name
		hosts = append(hosts, at.IP.String())
	}
	if b.cfg.xmpp {
		hosts = append(hosts, b.cfg.xmppDomain())
	}
	private, err := localca.Open(localca.Config{Dir: b.file("tls"), Hosts: hosts, Log: b.log})
	if err != nil {
		return fail(exitConfig, "", "%w", err)
	}
	own, err := certs.Open(certs.Config{Cert: b.cfg.tlsCert, Key: b.cfg.tlsKey, Private: private.ServerConfig()})
	if err != nil {
		return fail(exitConfig, "--tls-cert FILE --tls-key FILE", "%w", err)
	}
	b.ca = &authority{private, own}
	return nil
}

func (b *booted) openTracing(ctx context.Context, lookup func(string) (string, bool)) (err error) {
	b.tracer, b.traced, err = otlp.Open(ctx, otlp.Config{
		Endpoint: b.cfg.otlp, Version: build.Get(version).Version, Node: b.name(), Lookup: lookup, Log: b.log,
	})
	if err != nil {
		return fail(exitConfig, "--otlp-endpoint http://127.0.0.1:4318", "otlp-endpoint: %w", err)
	}
	return nil
}

func (b *booted) openStore(ctx context.Context) (err error) {
	b.metrics = metrics.New(build.Get(version).Version)
	cfg := store.Config{Log: b.log, Wrote: b.metrics.Wrote}
	if err := b.cfg.nats.into(&cfg); err != nil {
		return err
	}
	keep, err := b.cfg.retention()
	if err != nil {
		return err
	}
	if cfg.Sync, err = parseSync(b.cfg.storeSync); err != nil {
		return err
	}
	if cfg.URL == "" {
		cfg.Dir = b.file("store")
	}
	if b.store, err = store.Open(ctx, cfg); err != nil {
		if cfg.URL != "" {
			return fail(natsFault(err), "another --nats", "%w", err)
		}
		return err
	}
	b.cloud, err = cloud.Open(ctx, cloud.Config{
		Store: b.store, AccessTTL: b.cfg.accessTTL, RetentionAge: keep.age, RetentionSize: keep.size,
		PasswordChanged: b.passwordChanged, PrivateWebhooks: b.cfg.webhooks, Asked: b.metrics.Asked, Log: b.log, Tracer: b.tracer, Name: b.name(), Version: build.Get(version).Version,
	})
	return err
}

// parseSync reads --store-sync as store.Config has it.
func parseSync(s string) (time.Duration, error) {
	if s == "always" {
		return -1, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, fail(exitConfig, "--store-sync 10ms, or always", "store-sync %q: neither a duration nor always", s)
	}
	return d, nil
}

// openAccount sees to it that there is an account to begin with, and a token by
// which the commands of this user get in. A crash in between is made good at
// the next start.
func (b *booted) openAccount(ctx context.Context) error {
	accounts, err := b.cloud.Accounts(ctx, operator)
	if err != nil {
		return err
	}
	if len(accounts) == 0 {
		b.password = secret.String(secret.ID())
		if err := kept.Write(b.file("password"), []byte(b.password.Reveal()+"\n"), 0o600); err != nil {
			return err
		}
		_, err := b.cloud.CreateAccount(ctx, operator, firstAccount, b.password, true)
		if status, _ := oic.StatusOf(err); err != nil && status == oic.Conflict {
			err = b.otherWasFirst(ctx)
		}
		if err != nil {
			return fmt.Errorf("account %s: %w", firstAccount, err)
		}
	} else if err := b.forgetPassword(ctx); err != nil {
		return err
	}
	return b.openToken(ctx)
}

// otherWasFirst waits until the account is known here that another node has just
// made. Its password is there.
func (b *booted) otherWasFirst(ctx context.Context) error {
	b.password = ""
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		accounts, err := b.cloud.Accounts(ctx, operator)
		if err != nil || len(accounts) > 0 {
			return errors.Join(err, removeIfThere(b.file("password")))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// forgetPassword removes the file with the first password once it is not the
// password any more.
func (b *booted) forgetPassword(ctx context.Context) error {
	text, err := settings.ReadSecret(b.file("password"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		if _, err = b.cloud.Login(ctx, netip.Addr{}, firstAccount, secret.String(text)); err == nil {
			return nil
		}
	}
	return removeIfThere(b.file("password"))
}

func (b *booted) openToken(ctx context.Context) error {
	text, err := settings.ReadSecret(b.file("token"))
	if err == nil {
		if _, err = b.cloud.Authenticate(ctx, netip.Addr{}, secret.String(text)); err == nil {
			return nil
		}
	}
	token, _, err := b.cloud.NewToken(ctx, owner, "farreach on this machine", oic.ScopeAdmin, 0)
	if err != nil {
		return fmt.Errorf("token: %w", err)
	}
	return kept.Write(b.file("token"), []byte(token.Reveal()+"\n"), 0o600)
}

// where is the server as others find it.
func (b *booted) where() *settings.Server { return b.at(listen.Dialable) }

// outside is where to people and devices on other machines.
func (b *booted) outside() *settings.Server { return b.at(listen.Outward) }

func (b *booted) at(address func(ln net.Listener, host string) string) *settings.Server {
	on := func(ln net.Listener) string { return address(ln, b.cfg.listen) }
	s := &settings.Server{
		PID:     os.Getpid(),
		HTTP:    on(b.ports.HTTP),
		HTTPS:   b.ports.Secure,
		CoAPTCP: on(b.ports.CoAP), CoAPSTCP: on(b.ports.CoAPS),
		XMPP: on(b.ports.XMPP), XMPPS: on(b.ports.XMPPS),
		Account:   firstAccount,
		CAFile:    b.ca.CAFile(),
		TokenFile: b.file("token"),
		Data:      b.cfg.data,
	}
	if b.cfg.xmpp {
		s.Domain = b.cfg.xmppDomain()
	}
	if _, err := os.Stat(b.file("password")); err == nil {
		s.PasswordFile = b.file("password")
	}
	return s
}

func removeIfThere(name string) error {
	if err := os.Remove(name); name != "" && err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
