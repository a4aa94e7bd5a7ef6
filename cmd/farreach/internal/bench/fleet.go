package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/oic"
)

// fleet connects devices to a server and measures what goes to and fro.
func (r *run) fleet(ctx context.Context, s *server) error {
	r.Progress("%d devices sign up", r.Devices)
	api := s.api()
	defer api.Close()
	meters := make([]*meter, r.Devices)
	defer func() {
		for _, m := range meters {
			if m != nil {
				m.link.Close()
			}
		}
	}()
	start := time.Now()
	err := each(ctx, r.Devices, func(ctx context.Context, i int) (err error) {
		meters[i], err = join(ctx, s, api)
		return err
	})
	if err != nil {
		return fmt.Errorf("sign up: %w", err)
	}
	r.note("%d devices signed up and published in %.1f s", r.Devices, time.Since(start).Seconds())
	f := Figure{Name: "events", What: "device to log, durable", Unit: "events/s", Aim: aimEvents}
	if err := r.events(ctx, s, api, meters, f); err != nil {
		return fmt.Errorf("events: %w", err)
	}
	if err := r.command(ctx, s, meters[0]); err != nil {
		return fmt.Errorf("command: %w", err)
	}
	return nil
}

// meter is a device with one resource. It reports what it is told to.
type meter struct {
	id   string
	link *cloudlink.Link

	watched chan struct{} // closed when the cloud watches
	tell    func(*oic.Response)
}

var meterLink = oic.Link{
	Href: "/m", Types: []string{"oic.r.energy.consumption"}, Interfaces: []string{oic.IfRead},
	Policy: oic.Policy{Mask: oic.Discoverable | oic.Observable},
}

// join makes a device of the account and waits until the cloud watches it.
func join(ctx context.Context, s *server, api *apiclient.Client) (*meter, error) {
	m := newMeter()
	return m, m.join(ctx, s, api, m)
}

func newMeter() *meter { return &meter{id: uuid.NewString(), watched: make(chan struct{})} }

// join is join for a meter that is a part of what answers for it.
func (m *meter) join(ctx context.Context, s *server, api *apiclient.Client, as oic.Handler) error {
	code, err := api.NewCode(ctx)
	if err != nil {
		return err
	}
	m.link, err = cloudlink.Connect(ctx, cloudlink.ServerInfo{URI: s.uri(), Handler: as, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	_, _, err = m.link.Register(ctx, cloudlink.Registration{Device: m.id, Name: "meter", Links: []oic.Link{meterLink}, Code: code.Code})
	if err == nil {
		err = m.awaitWatched(ctx)
	}
	if err != nil {
		m.link.Close()
		return err
	}
	return nil
}

func (m *meter) awaitWatched(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-m.watched:
		return nil
	case <-m.link.Done():
		return m.link.Err()
	case <-ctx.Done():
		return fmt.Errorf("not watched by the cloud: %w", ctx.Err())
	}
}

// state is a CBOR map {"power": n} whose number has four bytes.
func state(n uint32) []byte {
	return []byte{0xa1, 0x65, 'p', 'o', 'w', 'e', 'r', 0x1a, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
}

// Handle implements oic.Handler.
func (m *meter) Handle(_ context.Context, req *oic.Request) (*oic.Response, error) {
	if path, _ := oic.SplitHref(req.Href); path != meterLink.Href {
		return nil, oic.Errorf(oic.NotFound, "no such resource")
	}
	status := oic.Content
	if req.Op == oic.Update {
		status = oic.Changed
	}
	return &oic.Response{Status: status, Format: oic.OCF, Body: state(0)}, nil
}

// Observe implements oic.Observer, for the one who watches: the cloud.
func (m *meter) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	resp, err := m.Handle(ctx, req)
	if err != nil {
		return err
	}
	each(resp)
	m.tell = each
	close(m.watched)
	<-ctx.Done()
	return ctx.Err()
}

// What the cloud takes of one device: so many events a second, and so many
// more at once (docs/threats.md, section 3.2).
const (
	eventRate  = 50
	eventBurst = 200
)

// batch is how many events a device reports before it waits until the cloud has
// kept them: fewer than those of which the cloud would keep the newest only.
const batch = 8

// events has all devices report as fast as the cloud takes it, and looks when
// the last of it is in the log. f is the figure that says so.
func (r *run) events(ctx context.Context, s *server, api *apiclient.Client, meters []*meter, f Figure) error {
	r.Progress("%d devices report events", len(meters))
	first, err := stored(ctx, api)
	if err != nil {
		return err
	}
	drive, stop := context.WithTimeout(ctx, r.For)
	defer stop()
	most := int(eventBurst + eventRate*r.For.Seconds())
	var sent atomic.Int64
	var all sync.WaitGroup
	start, cpu := time.Now(), processorTimeOf(s.cmd.Process.Pid)
	for _, m := range meters {
		all.Go(func() { m.report(drive, most, &sent) })
	}
	all.Wait()
	missing, err := awaitStored(ctx, api, first+sent.Load())
	if err != nil {
		return err
	}
	took, used := time.Since(start), processorTimeOf(s.cmd.Process.Pid)-cpu
	note := fmt.Sprintf("%d devices, all of %d events in %.1f s", len(meters), sent.Load(), took.Seconds())
	if used > 0 {
		note += fmt.Sprintf("; %.0f/core-s of the server", float64(sent.Load())/used.Seconds())
	}
	if missing != 0 {
		note = fmt.Sprintf("%d devices; of %d events %d are not in the log", len(meters), sent.Load(), missing)
	}
	f.Measured, f.Note = float64(sent.Load()-missing)/took.Seconds(), note
	r.add(f)
	return nil
}

// report reports up to most events, until ctx ends. What is sent is counted.
func (m *meter) report(ctx context.Context, most int, sent *atomic.Int64) {
	resp := &oic.Response{Status: oic.Content, Format: oic.OCF}
	for n := 1; n <= most && ctx.Err() == nil; n++ {
		resp.Body = state(uint32(n))
		m.tell(resp)
		sent.Add(1)
		if n%batch == 0 {
			if err := m.link.Kept(ctx); err != nil {
				return // ctx has ended, or the link: then events will be missing
			}
		}
	}
}

// stored is the sequence of the newest event in the log: how many there are.
func stored(ctx context.Context, api *apiclient.Client) (int64, error) {
	events, err := api.Events(ctx, apiclient.Filter{Limit: 1})
	if err != nil || len(events) == 0 {
		return 0, err
	}
	return int64(events[0].Seq), nil
}

// awaitStored waits until the log has that many events, or no more come for a
// while, and returns how many are missing.
func awaitStored(ctx context.Context, api *apiclient.Client, want int64) (missing int64, err error) {
	const still = 3 * time.Second
	for last, since := int64(-1), time.Now(); ; {
		n, err := stored(ctx, api)
		switch p, busy := errors.AsType[*apiclient.Problem](err); {
		case busy && p.Status == http.StatusServiceUnavailable:
			n = last
		case err != nil:
			return 0, err
		}
		if n > last {
			last, since = n, time.Now()
		}
		if n >= want || time.Since(since) > still {
			return max(want-n, 0), nil
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}
