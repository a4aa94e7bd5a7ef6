package cloudlink

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/internal/kept"
	"github.com/farreach/farreach/oic"
)

// MembershipConfig says which device is led to a cloud, and how. Host and Client
// have no default.
type MembershipConfig struct {
	Host *device.Host

	// Client is how the device stays registered at the cloud that was chosen: TLS,
	// Backoff and the like. What the choice, the Host and State say is filled in:
	// Servers, Code and Provider, Device, Name, Links and Handler, State.
	Client func(to device.Onboarding) Config

	State  StateStore        // nil: kept in memory only
	Chosen device.Onboarding // before the start; none if its Server is empty

	// Keep remembers a choice, code included, before it is acted upon; the zero one
	// forgets what was chosen. nil: it is remembered as long as the Membership.
	Keep func(to device.Onboarding) error

	Log *slog.Logger // nil: slog.Default()
}

// Membership keeps a device registered at the cloud that somebody near it has
// chosen at CoAPCloudConf, whichever that is at the time.
//
//	onboarding tool ── cis, at ──▶ device.Cloud ── Join, Leave ──▶ Membership ──▶ Client ──▶ cloud
//	onboarding tool ◀── cps, clec ── device.Cloud ◀── Report ──────────┴────────────┘
type Membership struct {
	cfg   MembershipConfig
	log   *slog.Logger
	cloud *device.Cloud

	mu     sync.Mutex // guards what follows
	chosen device.Onboarding
	other  chan struct{} // closed when something else is chosen
}

// NewMembership gives the host its CoAPCloudConf. It does not touch the network.
func NewMembership(cfg MembershipConfig) *Membership {
	if cfg.State == nil {
		cfg.State = new(kept.Memory[State])
	}
	m := &Membership{cfg: cfg, log: cmp.Or(cfg.Log, slog.Default()).With("device", cfg.Host.ID()),
		chosen: cfg.Chosen, other: make(chan struct{})}
	m.cloud = cfg.Host.AddCloudConf(device.CloudConf{
		Chosen: cfg.Chosen,
		Join: func(_ context.Context, to device.Onboarding) error {
			if _, err := New(m.config(to)); err != nil {
				return oic.Errorf(oic.BadRequest, "%v", err)
			}
			return m.choose(to)
		},
		Leave: func(context.Context) error { return m.choose(device.Onboarding{}) },
	})
	return m
}

// choose keeps a choice, and tells Run of it.
func (m *Membership) choose(to device.Onboarding) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.keep(to); err != nil {
		return err
	}
	m.chosen = to
	close(m.other)
	m.other = make(chan struct{})
	return nil
}

func (m *Membership) keep(to device.Onboarding) error {
	if m.cfg.Keep == nil {
		return nil
	}
	if err := m.cfg.Keep(to); err != nil {
		m.log.Error("choice of a cloud not kept", "err", err)
		return oic.Errorf(oic.Unavailable, "the choice cannot be kept")
	}
	return nil
}

// choice is what is chosen now, and what is closed when that changes.
func (m *Membership) choice() (to device.Onboarding, other <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.chosen, m.other
}

// Run keeps the device in the cloud that is chosen, until ctx ends; it returns
// ctx.Err() then. A cloud that refuses the device is not asked again before
// somebody chooses anew. Run is called once.
func (m *Membership) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		to, other := m.choice()
		if to.Server != "" {
			m.belong(ctx, to, other)
			continue
		}
		m.forget()
		m.cloud.Report(device.CloudUninitialized, device.CloudOK)
		await(ctx, other)
	}
	return ctx.Err()
}

func await(ctx context.Context, other <-chan struct{}) {
	select {
	case <-other:
	case <-ctx.Done():
	}
}

// belong is a member of a cloud until something else is chosen.
func (m *Membership) belong(ctx context.Context, to device.Onboarding, other <-chan struct{}) {
	client, err := New(m.config(to))
	if err == nil {
		err = m.tidy(to)
	}
	if err != nil {
		m.log.Error("no way to the cloud", "server", to.Server, "err", err)
		m.cloud.Report(device.CloudFailed, device.CloudBadResponse)
		await(ctx, other)
		return
	}
	m.cloud.Report(device.CloudRegistering, device.CloudOK)
	running, stop := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	tasks.Go(func() { client.Follow(running, m.cfg.Host) })
	tasks.Go(func() {
		if err := client.Run(running); running.Err() == nil {
			m.log.Warn("refused by the cloud", "server", to.Server, "err", err)
		}
	})
	await(ctx, other)
	if next, _ := m.choice(); ctx.Err() == nil && next.Server == "" {
		m.signOff(ctx, client)
	}
	stop()
	tasks.Wait()
}

// signOffTime bounds the farewell to a cloud that the device leaves.
const signOffTime = 5 * time.Second

// signOff tells the cloud that the device leaves it, if it can be told.
func (m *Membership) signOff(ctx context.Context, client *Client) {
	ctx, cancel := context.WithTimeout(ctx, signOffTime)
	defer cancel()
	if err := client.SignOff(ctx); err != nil {
		m.log.Warn("the cloud may still list the device", "err", err)
	}
}

// tidy forgets what another cloud gave, before it would be shown to this one.
func (m *Membership) tidy(to device.Onboarding) error {
	st, err := m.cfg.State.Load()
	if err != nil || st.Grant.Account == "" || to.Code == "" || slices.Contains(serversOf(to), st.Server) {
		return err
	}
	return m.cfg.State.Save(State{Device: st.Device})
}

// forget removes what the cloud gave that the device has left.
func (m *Membership) forget() {
	st, err := m.cfg.State.Load()
	if err == nil && st.Grant.Account != "" {
		err = m.cfg.State.Save(State{Device: st.Device})
	}
	if err != nil {
		m.log.Error("registration not forgotten", "err", err)
	}
}

// serversOf lists the servers of a choice.
func serversOf(to device.Onboarding) []string {
	list := []string{to.Server}
	for _, s := range to.Others {
		list = append(list, s.URI)
	}
	return list
}

// config is that of the Client for a choice.
func (m *Membership) config(to device.Onboarding) Config {
	cfg, h := m.cfg.Client(to), m.cfg.Host
	cfg.Servers, cfg.Code, cfg.Provider, cfg.State = serversOf(to), to.Code, to.Provider, m.cfg.State
	cfg.Device, cfg.Name, cfg.Links, cfg.Handler = h.ID(), h.Name, h.Links, h.Remote()
	cfg.TLS = ofCloud(cfg.TLS, to.Cloud)
	tell := cfg.OnChange
	cfg.OnChange = func(s Status) {
		now, _ := m.choice()
		if now.Server != to.Server {
			return // it is being left
		}
		m.report(now, s)
		if tell != nil {
			tell(s)
		}
	}
	return cfg
}

// report says at CoAPCloudConf how it stands with the cloud.
func (m *Membership) report(now device.Onboarding, s Status) {
	switch {
	case s.Registered:
		m.redeemed(now)
		m.cloud.Report(device.CloudRegistered, device.CloudOK)
	case final(s.Err):
		m.cloud.Report(device.CloudFailed, why(s.Err))
	case now.Code == "": // it has joined before
		m.cloud.Report(device.CloudRegistered, why(s.Err))
	default:
		m.cloud.Report(device.CloudRegistering, why(s.Err))
	}
}

// redeemed forgets the code of a choice, which is used up.
func (m *Membership) redeemed(to device.Onboarding) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if to.Code == "" || m.chosen.Code != to.Code {
		return
	}
	m.chosen.Code = ""
	_ = m.keep(m.chosen) // logged; a code that is used up does no harm
}

// why says what an error means to an onboarding tool.
func why(err error) device.CloudError {
	switch {
	case errors.Is(err, errRefresh):
		return device.CloudNoRefresh
	case statusOf(err) == oic.Unauthorized || statusOf(err) == oic.Forbidden:
		return device.CloudUnauthorized
	case statusOf(err) != 0 || errors.Is(err, errAnswer):
		return device.CloudBadResponse
	}
	return device.CloudNoConnect
}

// ofCloud is cfg for the cloud with this id: a certificate that names a cloud
// must name this one. Many name none.
func ofCloud(cfg *tls.Config, id string) *tls.Config {
	if cfg == nil {
		cfg = &tls.Config{}
	}
	cfg = cfg.Clone()
	verify := cfg.VerifyConnection
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		if named, ok := cloudOf(s.PeerCertificates); ok && id != "" && !strings.EqualFold(named, id) {
			return fmt.Errorf("the certificate is that of cloud %s, not of %s", named, id)
		}
		if verify != nil {
			return verify(s)
		}
		return nil
	}
	return cfg
}

func cloudOf(certs []*x509.Certificate) (id string, ok bool) {
	if len(certs) == 0 {
		return "", false
	}
	return strings.CutPrefix(certs[0].Subject.CommonName, "uuid:")
}
