package metrics

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
)

// Backend is b, counted.
func (m *Metrics) Backend(b cloudlink.Backend) cloudlink.Backend { return &backend{b, m} }

type backend struct {
	cloudlink.Backend
	m *Metrics
}

// SignUp implements cloudlink.Backend.
func (b *backend) SignUp(ctx context.Context, s cloudlink.SignUp) (cloudlink.Grant, error) {
	g, err := b.Backend.SignUp(ctx, s)
	b.m.login("sign up", err)
	return g, err
}

// SignIn implements cloudlink.Backend.
func (b *backend) SignIn(ctx context.Context, l cloudlink.Login) (oic.Identity, time.Time, error) {
	who, until, err := b.Backend.SignIn(ctx, l)
	if l.Device != "" {
		b.m.login("sign in", err)
	} else {
		b.m.login("person", err)
	}
	return who, until, err
}

// Bearer implements cloudlink.Backend.
func (b *backend) Bearer(ctx context.Context, peer netip.Addr, token secret.String) (oic.Identity, error) {
	who, err := b.Backend.Bearer(ctx, peer, token)
	b.m.login("bearer", err)
	return who, err
}

// Refresh implements cloudlink.Backend.
func (b *backend) Refresh(ctx context.Context, r cloudlink.Refresh) (cloudlink.Grant, error) {
	g, err := b.Backend.Refresh(ctx, r)
	b.m.login("refresh", err)
	return g, err
}

// Report implements cloudlink.Backend.
func (b *backend) Report(ctx context.Context, who oic.Identity, reports []cloudlink.Report) []error {
	errs := b.Backend.Report(ctx, who, reports)
	for i, r := range reports {
		if len(errs) > 0 {
			b.m.event(len(r.Rep.Body), errs[i])
		} else {
			b.m.event(len(r.Rep.Body), nil)
		}
	}
	return errs
}

// Event implements cloudlink.Backend.
func (b *backend) Event(ctx context.Context, who oic.Identity, href string, rep *oic.Response) error {
	n := len(rep.Body)
	err := b.Backend.Event(ctx, who, href, rep)
	b.m.event(n, err)
	return err
}

// Asked is a cloud.Config.Asked.
func (m *Metrics) Asked(op oic.Op, took time.Duration, err error) {
	m.commands.WithLabelValues(strings.ToLower(op.String()), result(err)).Observe(took.Seconds())
}

// Token counts a request of the HTTP API by what became of its token. m may be
// nil.
func (m *Metrics) Token(err error) {
	if m != nil {
		m.login("api", err)
	}
}

func (m *Metrics) login(what string, err error) { m.logins.WithLabelValues(what, result(err)).Inc() }

func (m *Metrics) event(bytes int, err error) {
	if err != nil {
		m.events.WithLabelValues(result(err)).Inc()
		return
	}
	m.eventStored.Inc()
	m.bytes.Add(float64(bytes))
}

// result is a label for how something went: "ok", the code of a refusal, or
// "gone" for an asker that did not wait for the answer.
func result(err error) string {
	switch {
	case err == nil:
		return ok
	case errors.Is(err, context.Canceled):
		return "gone"
	}
	status, _ := oic.StatusOf(err)
	if status.Class() != 4 && status.Class() != 5 {
		return "other"
	}
	return fmt.Sprintf("%d.%02d", status>>5, status&31)
}
