// Package metrics counts what a cloud does, for those who run it.
//
//	cloudlink.Server ── Backend ──▶ counts ──▶ cloud.Cloud
//	cloud.Cloud ─────── Asked ────▶ times, of requests to devices: of programs, devices and rules
//	store.Store ─────── Wrote ────▶ times
//	                                  ├─▶ Handler ──▶ /metrics, in the text format of Prometheus
//	                                  └─▶ Totals, Rates, Latency ──▶ farreach status
//
// Nothing here knows a device or an account: a label has one of few values,
// lest a scrape grow with the fleet or tell about people.
package metrics

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/farreach/farreach/cloud"
	"github.com/farreach/farreach/cloudlink"
)

// Sources is where gauges are read when somebody looks. Nil: not shown.
type Sources struct {
	Link   func() cloudlink.Stats
	Census func(context.Context) (cloud.Census, error)
	Ready  func(context.Context) error
	Ends   func() time.Time // of the server's certificate
	XMPP   func() XMPPStats

	Webhooks func() WebhookStats
}

// XMPPStats is what an XMPP server has done since it was started.
type XMPPStats struct {
	Sessions                       int64 // that there are now
	Connections                    int64 // that were accepted
	LogIns, LogInsFailed, Resumed  int64
	Routed, Refused, SlowReceivers int64 // stanzas that arrived, and that came back; sessions that ended because they took too little
}

// WebhookStats is what this process has told webhooks since it was started, and
// what waits for them, if it is the one that delivers.
type WebhookStats struct {
	Delivered, Failed, GivenUp uint64 // attempts that went well and that did not; deliveries given up
	Waiting                    int64
}

// Metrics is the figures of one server. Its methods may be called from several
// goroutines at once.
type Metrics struct {
	counts *prometheus.Registry // what happened, cheap to read
	state  *prometheus.Registry // what is

	logins   *prometheus.CounterVec   // by what was tried, and the result
	events   *prometheus.CounterVec   // by result
	bytes    prometheus.Counter       // of events that were stored
	commands *prometheus.HistogramVec // by operation and result
	writes   *prometheus.HistogramVec // of the store, by result

	eventStored  prometheus.Counter
	writeStored  prometheus.Observer
	writeRefused prometheus.Observer

	link func() cloudlink.Stats // Sources.Link; nil: none

	mu      sync.Mutex // guards samples
	samples []sample   // the last minute, oldest first
}

// New returns the figures of a server of this version.
func New(version string) *Metrics {
	m := &Metrics{
		counts: prometheus.NewRegistry(), state: prometheus.NewRegistry(),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "farreach_logins_total", Help: "Attempts of devices and people to get in, by what they tried and the code they were answered.",
		}, []string{"what", "result"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "farreach_events_total", Help: "What devices reported, by the code that it was taken with.",
		}, []string{"result"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "farreach_event_bytes_total", Help: "Bytes of the representations that devices reported and that were taken.",
		}),
		commands: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "farreach_command_seconds", Help: "Time from a request to a device to its answer, by operation and code.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 14), // 0.1 ms to 15 s
		}, []string{"op", "result"}),
		writes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "farreach_store_write_seconds", Help: "Time until the store acknowledged a write.",
			Buckets: prometheus.ExponentialBuckets(0.00001, 2.5, 15), // 0.01 ms to 4 s
		}, []string{"result"}),
	}
	m.counts.MustRegister(m.logins, m.events, m.bytes, m.commands, m.writes)
	m.eventStored = m.events.WithLabelValues(ok)
	m.writeStored, m.writeRefused = m.writes.WithLabelValues(ok), m.writes.WithLabelValues("failed")
	build := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "farreach_build_info", Help: "Always 1; the version is a label.", ConstLabels: prometheus.Labels{"version": version},
	}, func() float64 { return 1 })
	m.state.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// ok is the result of what went well.
const ok = "ok"

// Wrote is a store.Config.Wrote.
func (m *Metrics) Wrote(took time.Duration, err error) {
	if err != nil {
		m.writeRefused.Observe(took.Seconds())
		return
	}
	m.writeStored.Observe(took.Seconds())
}

// Handler answers a scrape. Who may have it is for the caller to decide.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(prometheus.Gatherers{m.counts, m.state}, promhttp.HandlerOpts{})
}

// Watch adds the gauges of a server. It is to be called once, before anybody
// looks.
func (m *Metrics) Watch(s Sources) {
	m.link = s.Link
	if s.Link != nil {
		m.counts.MustRegister(
			counter("farreach_connections_total", "Connections that were accepted.", func() float64 { return float64(s.Link().Accepted) }),
			counter("farreach_sign_ins_held_back_total", "Devices that were told to come back later, because too many came at once.",
				func() float64 { return float64(s.Link().HeldBack) }))
		m.state.MustRegister(gauge("farreach_connections", "Connections that are open.", func() float64 { return float64(s.Link().Open) }))
	}
	if s.Census != nil {
		m.state.MustRegister(&census{ask: s.Census, desc: prometheus.NewDesc("farreach_devices",
			"Devices of all accounts, by what is known of them.", []string{"state"}, nil)})
	}
	if s.Ready != nil {
		m.state.MustRegister(gauge("farreach_store_ready", "1 if the store can be read and written.", func() float64 {
			ctx, cancel := context.WithTimeout(context.Background(), askTime)
			defer cancel()
			if s.Ready(ctx) != nil {
				return 0
			}
			return 1
		}))
	}
	if s.XMPP != nil {
		m.watchXMPP(s.XMPP)
	}
	if s.Webhooks != nil {
		m.watchWebhooks(s.Webhooks)
	}
	if s.Ends != nil {
		m.state.MustRegister(gauge("farreach_certificate_end_seconds", "When the server's certificate ends, in Unix time.",
			func() float64 { return float64(s.Ends().Unix()) }))
	}
}

// watchWebhooks adds the figures of deliveries to webhooks.
func (m *Metrics) watchWebhooks(ask func() WebhookStats) {
	for result, value := range map[string]func(WebhookStats) uint64{
		"delivered": func(n WebhookStats) uint64 { return n.Delivered },
		"failed":    func(n WebhookStats) uint64 { return n.Failed },
	} {
		m.counts.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "farreach_webhook_attempts_total", Help: "Attempts to tell webhooks what rules did, by what came of them.",
			ConstLabels: prometheus.Labels{"result": result},
		}, func() float64 { return float64(value(ask())) }))
	}
	m.counts.MustRegister(counter("farreach_webhook_given_up_total", "Deliveries that no webhook took in time.",
		func() float64 { return float64(ask().GivenUp) }))
	m.state.MustRegister(gauge("farreach_webhook_waiting", "Deliveries that wait, at the node that delivers.",
		func() float64 { return float64(ask().Waiting) }))
}

// watchXMPP adds the figures of the XMPP server.
func (m *Metrics) watchXMPP(ask func() XMPPStats) {
	for name, c := range map[string]struct {
		help  string
		value func(XMPPStats) int64
	}{
		"connections":    {"XMPP connections that were accepted.", func(s XMPPStats) int64 { return s.Connections }},
		"log_ins":        {"XMPP log-ins that went well.", func(s XMPPStats) int64 { return s.LogIns }},
		"log_ins_failed": {"XMPP log-ins that failed.", func(s XMPPStats) int64 { return s.LogInsFailed }},
		"resumed":        {"XMPP sessions that went on over another connection.", func(s XMPPStats) int64 { return s.Resumed }},
		"stanzas":        {"XMPP stanzas that were handed to a session.", func(s XMPPStats) int64 { return s.Routed }},
		"refused":        {"XMPP stanzas that were answered with an error.", func(s XMPPStats) int64 { return s.Refused }},
		"slow_receivers": {"XMPP sessions that ended because they took too little of what they got.", func(s XMPPStats) int64 { return s.SlowReceivers }},
	} {
		m.counts.MustRegister(counter("farreach_xmpp_"+name+"_total", c.help, func() float64 { return float64(c.value(ask())) }))
	}
	m.state.MustRegister(gauge("farreach_xmpp_sessions", "XMPP sessions that there are.", func() float64 { return float64(ask().Sessions) }))
}

// askTime is the longest that a scrape waits for one figure.
const askTime = 2 * time.Second

func gauge(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
}

func counter(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, value)
}

// census is the devices, counted when they are asked for.
type census struct {
	ask  func(context.Context) (cloud.Census, error)
	desc *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *census) Describe(to chan<- *prometheus.Desc) { to <- c.desc }

// Collect implements prometheus.Collector.
func (c *census) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	n, err := c.ask(ctx)
	if err != nil {
		to <- prometheus.NewInvalidMetric(c.desc, err)
		return
	}
	for _, one := range []struct {
		state string
		n     int
	}{{"reachable", n.Reachable}, {"unproven", n.Unproven}, {"offline", n.Offline}, {"unknown", n.Unknown}} {
		to <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(one.n), one.state)
	}
}
