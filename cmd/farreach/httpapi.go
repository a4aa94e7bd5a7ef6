package main

import (
	"cmp"
	"context"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/farreach/farreach/api"
	"github.com/farreach/farreach/cloud"
	"github.com/farreach/farreach/cloud/metrics"
	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/cmd/farreach/internal/listen"
	build "github.com/farreach/farreach/internal/version"
	"github.com/farreach/farreach/web"
)

// api is the HTTP API of the cloud, by the names that its certificate has, too,
// which gives WebSockets to the handlers given.
func (b *booted) api(overCoAP, overXMPP http.Handler) *api.Handler {
	cfg := api.Config{Version: build.Get(version).Version, Log: b.log, Tracer: b.tracer, CoAP: overCoAP, XMPP: overXMPP, Operate: b.operate()}
	if b.cfg.coap { // without devices there is nothing to show
		cfg.Pages = web.Handler
		cloud := b.outside().Cloud()
		cfg.PairingURI = func(code string) string { return pairingURI(cloud, code) }
	}
	if b.ports.Secure {
		cfg.Hosts = listen.Hosts(b.cfg.listen)
		if name, err := os.Hostname(); err == nil {
			cfg.Hosts = append(cfg.Hosts, name)
		}
		cfg.Hosts = append(cfg.Hosts, b.ca.Names()...)
	}
	return api.New(b.cloud, cfg)
}

// watch gives the metrics what they are asked for.
func (b *booted) watch(link *cloudlink.Server) {
	sources := metrics.Sources{
		Link:   link.Stats,
		Census: func(ctx context.Context) (cloud.Census, error) { return b.cloud.Census(ctx, operator) },
		Ready:  b.cloud.Ready,
		Ends:   b.ca.Ends,
		Webhooks: func() metrics.WebhookStats {
			n, _ := b.cloud.WebhookCounts(context.Background(), operator) // who may
			return metrics.WebhookStats(n)
		},
	}
	if b.xmpp != nil {
		sources.XMPP = b.xmppStats
	}
	b.metrics.Watch(sources)
}

// operate is what operators are told.
func (b *booted) operate() *api.Operate {
	o := &api.Operate{Metrics: b.metrics, Started: time.Now(), Store: "embedded", Ends: b.ca.Ends}
	if b.cfg.nats.url != "" {
		o.Store = "NATS"
	}
	s := b.outside()
	for _, uri := range s.Clouds() {
		name, _, _ := strings.Cut(uri, "://")
		o.Listeners = append(o.Listeners, api.Listener{Name: name, Address: uri})
	}
	for name, address := range map[string]string{"xmpp": s.XMPP, "xmpps": s.XMPPS, "http": s.API()} {
		if address != "" {
			o.Listeners = append(o.Listeners, api.Listener{Name: name, Address: address})
		}
	}
	slices.SortFunc(o.Listeners, func(x, y api.Listener) int { return cmp.Compare(x.Name, y.Name) })
	return o
}

// passwordChanged removes the file with the first password, which it is not
// any more.
func (b *booted) passwordChanged(account string) {
	if account != firstAccount {
		return
	}
	if err := removeIfThere(b.file("password")); err != nil {
		b.log.Warn("the file with the first password is still there", "err", err)
	}
}
