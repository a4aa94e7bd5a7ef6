package device

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
)

// Where the choice of a cloud is, in all that onboarding tools know.
const (
	hrefCloudConf = "/CoapCloudConfResURI"
	typeCloudConf = "oic.r.coapcloudconf"
)

// Secret is a credential: every way of printing it prints stars.
type Secret = secret.String

// CloudState is how a device stands with its cloud, as cps says it.
type CloudState string

// The states, in the order in which a device goes through them.
const (
	CloudUninitialized CloudState = "uninitialized" // no cloud was chosen
	CloudReady         CloudState = "readytoregister"
	CloudRegistering   CloudState = "registering"
	CloudRegistered    CloudState = "registered"
	CloudFailed        CloudState = "failed"
	CloudDeregistering CloudState = "deregistering"
)

// CloudError is why a device is not registered, as clec says it.
type CloudError int

// The errors.
const (
	CloudOK           CloudError = iota
	CloudBadResponse             // the cloud's answer makes no sense
	CloudNoConnect               // it cannot be reached
	CloudNoRefresh               // the token cannot be renewed
	CloudUnauthorized            // it refuses the code or the token
)

// Onboarding is what an onboarding tool tells a device of its cloud.
type Onboarding struct {
	Server   string        // cis, "coaps+tcp://host:port"; coap+tcp, coaps+ws and coap+ws too
	Cloud    string        // sid, a UUID
	Provider string        // apn, who vouches for the code
	Code     Secret        // at, good for one sign-up
	Others   []CloudServer // in the place of Server when that cannot be reached
}

// CloudServer is one more server of a cloud.
type CloudServer struct {
	ID  string `json:"id"`
	URI string `json:"uri"`
}

// CloudConf says how a device is led to a cloud, at /CoapCloudConfResURI (rt
// oic.r.coapcloudconf). Only Join and Leave have no default.
type CloudConf struct {
	// Join begins to join a cloud, or refuses; it does not wait until the
	// device is registered. How that goes on is said with Cloud.Report. An
	// earlier attempt, which may still go on after it failed, ends.
	Join func(ctx context.Context, to Onboarding) error

	// Leave begins to leave the cloud, if the device is in one or wants to be.
	// It does not wait either: the request may have come through that cloud.
	Leave func(ctx context.Context) error

	Chosen Onboarding // before the start; its Code is not needed
	State  CloudState // "": CloudUninitialized, or CloudReady if Chosen has a Server
}

// Cloud is the choice of a device's cloud.
type Cloud struct {
	h   *Host
	cfg CloudConf

	mu     sync.Mutex // guards what follows
	chosen Onboarding // without Code
	state  CloudState
	err    CloudError
}

// AddCloudConf lets onboarding tools choose the cloud of the device. It panics
// if they can already.
func (h *Host) AddCloudConf(cfg CloudConf) *Cloud {
	c := &Cloud{h: h, cfg: cfg, chosen: cfg.Chosen, state: cfg.State}
	c.chosen.Code = ""
	if c.state == "" {
		c.state = CloudUninitialized
		if c.chosen.Server != "" {
			c.state = CloudReady
		}
	}
	h.Add(cloudConf{c})
	return c
}

// Report says how the device stands with its cloud now, and why. With
// CloudUninitialized the cloud is forgotten, unless it was chosen only just now:
// then it is an earlier one that the device has left.
func (c *Cloud) Report(state CloudState, why CloudError) {
	c.mu.Lock()
	if state == CloudUninitialized && c.state == CloudReady {
		c.mu.Unlock()
		return
	}
	changed := c.state != state || c.err != why
	if c.state, c.err = state, why; state == CloudUninitialized {
		c.chosen = Onboarding{}
	}
	c.mu.Unlock()
	if changed {
		c.h.log.Debug("cloud", "state", string(state), "error", int(why))
		c.h.Changed(hrefCloudConf)
	}
}

// cloudConf is /CoapCloudConfResURI.
type cloudConf struct{ c *Cloud }

func (r cloudConf) Link() oic.Link {
	return oic.Link{Href: hrefCloudConf, Types: []string{typeCloudConf}, Interfaces: []string{oic.IfWrite, oic.IfBaseline},
		Policy: oic.Policy{Mask: oic.Discoverable | oic.Observable}}
}

// cloudConfRep has no place for the code, which is written only.
type cloudConfRep struct {
	Provider string        `json:"apn"`
	Server   string        `json:"cis"`
	Cloud    string        `json:"sid"`
	Error    CloudError    `json:"clec"`
	State    CloudState    `json:"cps"`
	Others   []CloudServer `json:"x.org.iotivity.servers,omitempty"`
}

func (r cloudConf) Retrieve(context.Context, string) (any, error) {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	o := r.c.chosen
	return cloudConfRep{o.Provider, o.Server, o.Cloud, r.c.err, r.c.state, o.Others}, nil
}

// cloudChange is what a request wants.
type cloudChange struct {
	Provider string        `json:"apn"`
	Server   *string       `json:"cis"`
	Cloud    string        `json:"sid"`
	Code     string        `json:"at"`
	Others   []CloudServer `json:"x.org.iotivity.servers"`
}

// Update joins the cloud that rep names, or leaves: cis is "" then. A device
// that is in a cloud or on its way into one has to leave first.
func (r cloudConf) Update(ctx context.Context, _ string, rep []byte) (any, error) {
	var want cloudChange
	if err := oic.Decode(oic.OCF, rep, &want); err != nil {
		return nil, err
	}
	if err := want.check(); err != nil {
		return nil, err
	}
	if *want.Server == "" {
		return nil, r.leave(ctx)
	}
	r.c.mu.Lock()
	state := r.c.state
	r.c.mu.Unlock()
	switch state {
	case CloudRegistering, CloudRegistered, CloudDeregistering:
		return nil, oic.Errorf(oic.BadRequest, `the device is %s: leave first, with cis ""`, state)
	}
	return nil, r.join(ctx, Onboarding{*want.Server, want.Cloud, want.Provider, Secret(want.Code), want.Others})
}

// join holds the turn of the resource, not the lock, while Join may Report.
func (r cloudConf) join(ctx context.Context, to Onboarding) error {
	r.c.mu.Lock()
	before, state, why := r.c.chosen, r.c.state, r.c.err
	r.c.chosen, r.c.state, r.c.err = to, CloudReady, CloudOK
	r.c.chosen.Code = ""
	r.c.mu.Unlock()
	r.c.h.log.Info("cloud chosen", "server", to.Server)
	err := r.c.cfg.Join(ctx, to)
	if err != nil {
		r.c.mu.Lock()
		r.c.chosen, r.c.state, r.c.err = before, state, why
		r.c.mu.Unlock()
	}
	return err
}

func (r cloudConf) leave(ctx context.Context) error {
	if err := r.c.cfg.Leave(ctx); err != nil {
		return err
	}
	r.c.h.log.Info("cloud given up")
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	r.c.chosen, r.c.err = Onboarding{}, CloudOK
	switch r.c.state {
	case CloudRegistering, CloudRegistered, CloudDeregistering:
		r.c.state = CloudDeregistering // until Report says otherwise
	default:
		r.c.state = CloudUninitialized
	}
	return nil
}

// maxServers is how many servers besides the first a cloud may have.
const maxServers = 8

func (w *cloudChange) check() error {
	switch {
	case w.Server == nil:
		return oic.Errorf(oic.BadRequest, "cis is missing: the address of the cloud, or nothing to leave it")
	case *w.Server == "":
		return nil
	case w.Code == "":
		return oic.Errorf(oic.BadRequest, "at is missing: the authorization code")
	case len(w.Code) > 1024 || len(w.Provider) > maxSetting:
		return oic.Errorf(oic.BadRequest, "at or apn is too long")
	case len(w.Others) > maxServers:
		return oic.Errorf(oic.BadRequest, "more than %d servers", maxServers)
	}
	if err := checkServer(w.Cloud, *w.Server); err != nil {
		return err
	}
	for _, s := range w.Others {
		if err := checkServer(s.ID, s.URI); err != nil {
			return err
		}
	}
	return nil
}

func checkServer(id, uri string) error {
	if _, err := uuid.Parse(id); err != nil || len(id) != 36 {
		return oic.Errorf(oic.BadRequest, "sid is not the UUID of the cloud")
	}
	u, err := url.Parse(uri)
	if err != nil || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || len(uri) > 255 {
		return oic.Errorf(oic.BadRequest, "cis is not like coaps+tcp://host:port")
	}
	if !slices.Contains([]string{"coaps+tcp", "coap+tcp", "coaps+ws", "coap+ws"}, u.Scheme) {
		return oic.Errorf(oic.BadRequest, "cis: %.20s:// is not a way to a cloud", u.Scheme)
	}
	return nil
}
