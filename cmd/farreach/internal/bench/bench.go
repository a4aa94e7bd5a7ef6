// Package bench measures what the Cloud Interface does on this machine. What
// is measured runs in processes of its own, which this package starts, so that
// its processor time and memory can be told from those of the load:
//
//	Run ──▶ bare echo   the same bytes, one goroutine per connection ┐
//	    ──▶ coap server one GET is answered like the other           ├─ in turn ──▶ ratio
//	    ──▶ coap server with idle connections ──▶ memory
//	    ──▶ farreach up ──▶ time until ready
//	          ◀── a fleet of devices that report ──▶ events in the log
//	          ◀── a person's command ──▶ a device ──▶ the answer
//	    ──▶ farreach up --demo, left alone ──▶ memory
//
// All of it is on the loopback interface, and load and server share the
// processors: rates of the whole way are those of a machine that does both.
package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"
)

// Config says what is measured and how long. Only Program has no default.
type Config struct {
	Program     string                           // farreach, which is started as "PROGRAM bench serve KIND" and "PROGRAM up"
	Connections int                              // idle at once; 0: 10,000, or what the limit of open files allows
	Devices     int                              // that report events; 0: 800
	For         time.Duration                    // of each measurement under load; 0: 2 s
	Progress    func(format string, args ...any) // is told what begins; nil: nobody is
}

// The values that stand for zero, and the most that is sensible.
const (
	defaultConnections = 10_000
	defaultDevices     = 800
	maxDevices         = 999 // an account has 1,000 at most
	defaultFor         = 2 * time.Second
	spareFiles         = 200 // open files of a process beside its connections
)

// Figure is one measurement beside its aim.
type Figure struct {
	Name     string  `json:"name"`
	What     string  `json:"what"`
	Unit     string  `json:"unit"`
	Aim      float64 `json:"aim"`
	AtMost   bool    `json:"at_most"` // less is better
	Measured float64 `json:"measured"`
	Ratio    float64 `json:"ratio"` // Measured to Aim
	Echo     float64 `json:"echo"`  // what bare sockets reached in the same run, in the same unit; 0: there is none
	ToEcho   float64 `json:"to_echo"`
	OK       bool    `json:"ok"`
	Note     string  `json:"note"`
}

// Report is the outcome of Run.
type Report struct {
	Schema      string    `json:"schema"`
	Time        time.Time `json:"time"`
	Go          string    `json:"go"`
	System      string    `json:"system"`
	CPUs        int       `json:"cpus"`
	Connections int       `json:"connections"` // idle at once
	Devices     int       `json:"devices"`
	Seconds     float64   `json:"seconds"` // that the whole took
	Figures     []Figure  `json:"figures"`
	Missed      []string  `json:"missed"` // names of the figures that miss their aim
	Notes       []string  `json:"notes"`
}

// figure judges a measurement.
func figure(f Figure) Figure {
	f.Ratio = f.Measured / f.Aim
	if f.Echo > 0 {
		f.ToEcho = f.Measured / f.Echo
	}
	f.OK = f.Measured >= f.Aim
	if f.AtMost {
		f.OK = f.Measured <= f.Aim
	}
	return f
}

// run is one Run.
type run struct {
	Config
	dir    string // temporary, for all data
	report Report
}

// Run measures everything. It starts what it needs, stops it again, and
// leaves nothing behind. Progress hears at once when less is measured than
// was asked for.
func Run(ctx context.Context, cfg Config) (_ *Report, err error) {
	r := &run{Config: cfg}
	r.Devices = min(cmp.Or(r.Devices, defaultDevices), maxDevices)
	r.For = cmp.Or(r.For, defaultFor)
	if r.Progress == nil {
		r.Progress = func(string, ...any) {}
	}
	start := time.Now()
	r.report = Report{
		Schema: "farreach.bench/v1", Time: start.UTC().Round(time.Second),
		Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.NumCPU(),
		Devices: r.Devices, Missed: []string{}, Notes: []string{},
	}
	r.fitFiles()
	if r.dir, err = os.MkdirTemp("", "farreach-bench-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.dir)) }()
	for _, step := range []func(context.Context) error{r.rates, r.idle, r.cloud, r.demo} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(ctx.Err(), err)
		}
	}
	r.report.Seconds = time.Since(start).Round(10 * time.Millisecond).Seconds()
	return &r.report, nil
}

// fitFiles makes no more connections than files can be open.
func (r *run) fitFiles() {
	wanted := cmp.Or(r.Connections, defaultConnections)
	r.Connections = min(wanted, max(openFiles()-spareFiles, 1))
	if r.Connections < wanted {
		r.note("%d idle connections instead of %d: the limit of open files is %d", r.Connections, wanted, openFiles())
	}
	r.report.Connections = r.Connections
}

func (r *run) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.report.Notes = append(r.report.Notes, text)
	r.Progress("%s", text)
}

func (r *run) add(f Figure) {
	f = figure(f)
	r.report.Figures = append(r.report.Figures, f)
	if !f.OK {
		r.report.Missed = append(r.report.Missed, f.Name)
	}
}

// quantile returns the one below which a part q of all d lies; d gets sorted.
func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(int(q*float64(len(d))), len(d)-1)]
}
