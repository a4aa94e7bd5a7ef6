package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/cmd/farreach/internal/screen"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
	"github.com/farreach/farreach/reach"
)

// pinging is what ping is told.
type pinging struct {
	request
	count    int
	interval time.Duration
	path     bool
}

func (a *app) pingCmd() *cobra.Command {
	var p pinging
	cmd := &cobra.Command{
		Use:   "ping TARGET",
		Short: "Measure how long a device takes to answer",
		Long: `Asks a device for its own description again and again, and says how long each
answer took and how long the device has been known to be there. A server that is
reached straight is sent a CoAP Ping instead; a TARGET with a path is asked for
that.

With --path it names every hop with its time: that to the server in between is
measured by itself, the rest is the difference. In a pipe that is a line for each
hop: where it leads, and its time in ms; without --path it is one line: target,
sent, answered, then least, median and longest time, and that to the server, in
ms.

The exit status is 7 if nothing answered in time, and 8 if the device is offline.`,
		Example: `  farreach ping lamp
  farreach ping lamp --path -c 10
  farreach ping coap+tcp://192.0.2.7`,
		GroupID:           groupReach,
		Args:              takes("a target such as lamp"),
		ValidArgsFunction: a.completeAnyDevice,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.ping(cmd.Context(), p, args[0]) },
	}
	p.access.flags(cmd)
	p.xmpp.flags(cmd)
	p.shared.flags(cmd)
	cmd.Flags().IntVarP(&p.count, "count", "c", 4, "ask `N` times")
	cmd.Flags().DurationVar(&p.interval, "interval", 200*time.Millisecond, "`time` between two questions")
	cmd.Flags().BoolVar(&p.path, "path", false, "name every hop with its time")
	return cmd
}

func (a *app) ping(ctx context.Context, p pinging, target string) error {
	if p.count < 1 {
		return misuse("-c 4", "nothing to do")
	}
	way, err := a.path(ctx, p.request, target)
	if err != nil {
		return err
	}
	defer way.close()
	probe := probe{name: nameIn(target), ask: way.asker(target), server: way.ping}
	if way.di == "" {
		probe.server = nil
	}
	if err := probe.run(ctx, p); err != nil {
		return way.failed(ctx, target, err)
	}
	inCloud := way.di != "" && !way.onXMPP()
	if inCloud {
		probe.presence = a.presence(ctx, p.access, way.di)
	}
	if probe.answered() == 0 {
		known := ""
		if inCloud {
			known = "; the cloud has it " + cmp.Or(probe.proven(), "not at all")
		}
		return fail(exitTimeout, "a longer --timeout", "%s: none of %d answered within %v%s", target, probe.sent, p.timeout, known)
	}
	return a.showPing(probe, way, p.path)
}

// nameIn is the device or server in a target.
func nameIn(target string) string {
	t, err := reach.ParseTarget(target)
	if err != nil {
		return target
	}
	if n, ok := rae.ParseName(t.Peer.Resource()); ok && t.Device == "" {
		return n.ID
	}
	if t.URI == "" {
		return t.Device
	}
	_, host, _ := strings.Cut(t.URI, "://")
	return host
}

// descriptionHref is a resource that each device has, and that costs it little.
const descriptionHref = "/oic/d"

// asker is what is asked for a sign of life: a server that is reached straight
// for a Pong, a device for its description, and both for a path that was typed.
func (p *path) asker(target string) func(context.Context) error {
	req := &oic.Request{Op: oic.Retrieve, Href: p.href}
	if p.href == reach.DefaultHref && !strings.HasSuffix(target, reach.DefaultHref) {
		if p.di == "" {
			return func(ctx context.Context) error {
				_, err := p.ping(ctx)
				return err
			}
		}
		req.Href = descriptionHref
	}
	return func(ctx context.Context) error {
		_, err := p.device.Handle(ctx, req)
		return err
	}
}

// probe measures.
type probe struct {
	name   string
	ask    func(context.Context) error
	server func(context.Context) (time.Duration, error) // in between; nil: there is none

	sent         int
	whole, first []time.Duration // of the answers: all the way, and to the server
	presence     apiclient.Device
}

func (p *probe) answered() int { return len(p.whole) }

// run asks as often as it was told. Nothing in time is a result; another error
// is one, and ends it.
func (p *probe) run(ctx context.Context, cfg pinging) error {
	tick := time.NewTicker(max(cfg.interval, time.Millisecond))
	defer tick.Stop()
	for {
		if err := p.once(ctx, cfg.timeout); err != nil {
			return err
		}
		if p.sent == cfg.count {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (p *probe) once(ctx context.Context, timeout time.Duration) error {
	within, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	p.sent++
	if p.server != nil {
		first, err := p.server(within)
		if err != nil {
			return tooLate(ctx, err)
		}
		p.first = append(p.first, first)
	}
	start := time.Now()
	if err := p.ask(within); err != nil {
		return tooLate(ctx, err)
	}
	p.whole = append(p.whole, time.Since(start))
	return nil
}

// tooLate is err, or nil if it only says that there was no answer in time.
func tooLate(ctx context.Context, err error) error {
	if ctx.Err() == nil && (reach.KindOf(err) == reach.Timeout || errors.Is(err, context.DeadlineExceeded)) {
		return nil
	}
	return err
}

// proven says what the cloud knows of the device; "" if nothing.
func (p *probe) proven() string {
	d := p.presence
	switch {
	case d.State == "":
		return ""
	case d.Proven.IsZero():
		return d.State + ", not seen yet"
	}
	return fmt.Sprintf("%s, proven %s", d.State, screen.Age(time.Since(d.Proven)))
}

// presence is what the directory says of a device; the zero Device if it
// cannot be asked, for that is no reason not to tell what was measured.
func (a *app) presence(ctx context.Context, x access, di string) apiclient.Device {
	x.insecure = false // has been said already
	api, err := a.api(x)
	if err != nil {
		return apiclient.Device{}
	}
	defer api.Close()
	d, err := api.Device(ctx, di)
	if err != nil {
		return apiclient.Device{}
	}
	return d
}

// pingDoc is what ping writes with --json. Times are in milliseconds.
type pingDoc struct {
	Schema   string    `json:"schema"`
	Target   string    `json:"target"`
	Device   string    `json:"di,omitempty"`
	Via      string    `json:"via"`
	Sent     int       `json:"sent"`
	Answered int       `json:"answered"`
	Min      float64   `json:"min_ms"`
	Median   float64   `json:"median_ms"`
	Max      float64   `json:"max_ms"`
	Hops     []pingHop `json:"hops"`
	State    string    `json:"state,omitempty"`
	Proven   time.Time `json:"proven,omitzero"`
}

// pingHop is one part of the way, by its median.
type pingHop struct {
	To   string  `json:"to"`
	Time float64 `json:"ms"`
}

func (a *app) showPing(p probe, way *path, hops bool) error {
	doc := p.doc(way)
	switch {
	case a.json:
		return a.screen().Doc(doc)
	case hops && !a.terminal:
		for _, hop := range doc.Hops {
			if err := a.screen().Line(hop.To, hop.Time); err != nil {
				return err
			}
		}
		return nil
	case !a.terminal:
		server := "-"
		if len(doc.Hops) > 1 {
			server = fmt.Sprint(doc.Hops[0].Time)
		}
		return a.screen().Line(doc.Target, doc.Sent, doc.Answered, doc.Min, doc.Median, doc.Max, server)
	case hops:
		line := "you"
		for _, hop := range doc.Hops {
			line += fmt.Sprintf(" ── %s ── %s", ms(hop.Time), hop.To)
		}
		if err := a.screen().Line(line); err != nil {
			return err
		}
	}
	via, _, _ := strings.Cut(doc.Via, ":")
	cells := []any{fmt.Sprintf("%d of %d answered", doc.Answered, doc.Sent),
		"min " + ms(doc.Min), "median " + ms(doc.Median), "max " + ms(doc.Max), "via " + via}
	if state := p.proven(); state != "" {
		cells = append(cells, state)
	}
	return a.screen().Line(cells...)
}

func (p *probe) doc(way *path) pingDoc {
	whole := slices.Sorted(slices.Values(p.whole))
	mid := median(whole)
	doc := pingDoc{
		Schema: "farreach.ping/v1", Target: p.name, Device: way.di, Via: way.via(),
		Sent: p.sent, Answered: len(whole),
		Min: milli(whole[0]), Median: milli(mid), Max: milli(whole[len(whole)-1]),
		State: p.presence.State, Proven: p.presence.Proven,
	}
	if len(p.first) > 0 {
		first := median(slices.Sorted(slices.Values(p.first)))
		server := "cloud"
		if way.onXMPP() {
			server = "XMPP server"
		}
		doc.Hops = append(doc.Hops, pingHop{server, milli(first)})
		mid = max(mid-first, 0)
	}
	doc.Hops = append(doc.Hops, pingHop{p.name, milli(mid)})
	return doc
}

// median of sorted times.
func median(sorted []time.Duration) time.Duration {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// milli is d in milliseconds, to the microsecond.
func milli(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond)) / float64(time.Millisecond)
}

// ms is a time for the eye: three digits are enough.
func ms(t float64) string {
	switch {
	case t < 10:
		return fmt.Sprintf("%.2f ms", t)
	case t < 100:
		return fmt.Sprintf("%.1f ms", t)
	}
	return fmt.Sprintf("%.0f ms", t)
}
