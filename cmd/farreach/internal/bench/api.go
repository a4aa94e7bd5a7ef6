package bench

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/internal/secret"
)

// APIConfig says what RunAPI measures. Only Program has no default.
type APIConfig struct {
	Program     string        // farreach, which is started as "PROGRAM bench serve KIND" and "PROGRAM up"
	Connections int           // of clients, each with one request at a time; 0: 16
	For         time.Duration // of each measurement; 0: 2 s
	Progress    func(format string, args ...any)
}

const (
	aimAPIRate            = 20_000
	defaultAPIConnections = 16
	kindHTTP              = "http" // answers every request with as many bytes as it is asked for

	// An account may ask 500 times a second, and 1,000 times at once: it takes
	// many to ask for what they share as often as is measured.
	apiReaders = 100
	apiAnswer  = 256 // bytes of the answer of the bare server: about what ours has
)

// RunAPI measures how often the HTTP API tells the last state of a device, beside
// a bare server of net/http that knows its answer.
//
//	100 accounts, with whom the lamp is shared ──HTTP, kept open──▶ farreach up --demo
//	the same requests ─────────────────────────────────────────────▶ net/http
//
// Load and server share the processors.
func RunAPI(ctx context.Context, cfg APIConfig) (_ *Report, err error) {
	cfg.For = cmp.Or(cfg.For, defaultFor)
	cfg.Connections = cmp.Or(cfg.Connections, defaultAPIConnections)
	if cfg.Progress == nil {
		cfg.Progress = func(string, ...any) {}
	}
	r := &run{Config: Config{Program: cfg.Program, For: cfg.For, Progress: cfg.Progress}}
	start := time.Now()
	r.report = Report{
		Schema: "farreach.bench-api/v1", Time: start.UTC().Round(time.Second),
		Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.NumCPU(),
		Connections: cfg.Connections, Devices: 1, Missed: []string{}, Notes: []string{},
	}
	if r.dir, err = os.MkdirTemp("", "farreach-bench-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.dir)) }()
	if err := r.apiRates(ctx, cfg.Connections); err != nil {
		return nil, errors.Join(ctx.Err(), err)
	}
	r.report.Seconds = time.Since(start).Round(10 * time.Millisecond).Seconds()
	return &r.report, nil
}

func (r *run) apiRates(ctx context.Context, connections int) error {
	bare, err := r.start(ctx, kindHTTP)
	if err != nil {
		return err
	}
	defer bare.stop()
	s, err := r.up(ctx, "api", "--demo")
	if err != nil {
		return err
	}
	defer s.stop()
	api := s.api()
	defer api.Close()
	r.Progress("%d accounts are made, and the lamp is shared with them", apiReaders)
	requests, err := readersOf(ctx, s, api)
	if err != nil {
		return err
	}
	var plain, whole answersTo
	for range 3 { // in turn, lest one has a better moment than the other
		p, err := askHTTP(ctx, bare.addr, connections, r.For/3, requests)
		if err != nil {
			return fmt.Errorf("bare net/http: %w", err)
		}
		w, err := askHTTP(ctx, s.where.HTTP, connections, r.For/3, requests)
		if err != nil {
			return fmt.Errorf("api: %w", err)
		}
		plain.add(p)
		whole.add(w)
	}
	r.add(Figure{
		Name: "api-state", What: "GET of a device's last state", Unit: "/s", Aim: aimAPIRate, Measured: whole.perSecond(), Echo: plain.perSecond(),
		Note: fmt.Sprintf("%d connections, p50 %v, p99 %v; echo: a bare net/http", connections, whole.quantile(0.5), whole.quantile(0.99)),
	})
	return nil
}

// readersOf makes accounts that may read the lamp, and returns the request of
// each.
func readersOf(ctx context.Context, s *server, api *apiclient.Client) ([][]byte, error) {
	devices, err := api.Devices(ctx)
	if err != nil {
		return nil, err
	}
	lamp, err := apiclient.Find(devices, "lamp")
	if err != nil {
		return nil, err
	}
	requests := make([][]byte, apiReaders)
	return requests, each(ctx, apiReaders, func(ctx context.Context, i int) error {
		name, password := fmt.Sprintf("reader-%d", i), secret.String(secret.ID())
		if err := api.AddAccount(ctx, name, password, false); err != nil {
			return err
		}
		made, err := s.enterAs(ctx, name, password)
		if err != nil {
			return err
		}
		share, err := api.Share(ctx, lamp.ID, name, "viewer")
		if err != nil {
			return err
		}
		own := apiclient.New(apiclient.Config{Base: "http://" + s.where.HTTP, Token: made, Timeout: patience})
		defer own.Close()
		if _, err := own.AcceptShare(ctx, share.ID); err != nil {
			return err
		}
		requests[i] = fmt.Appendf(nil, "GET /api/v1/devices/%s/resources/a/light?cached=true HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n",
			lamp.ID, made.Reveal())
		return nil
	})
}

// enterAs makes a token with the password of an account.
func (s *server) enterAs(ctx context.Context, name string, password secret.String) (secret.String, error) {
	first := apiclient.New(apiclient.Config{Base: "http://" + s.where.HTTP, Account: name, Password: password, Timeout: patience})
	defer first.Close()
	made, err := first.AddToken(ctx, "bench", "admin", 0) // it accepts what is shared
	return made.Secret, err
}

// answersTo is how many requests were answered in what time, and how long each took.
type answersTo struct {
	took  time.Duration
	each  []time.Duration
	count int
}

func (r *answersTo) add(o answersTo) {
	r.took += o.took
	r.count += o.count
	r.each = append(r.each, o.each...)
}

func (r *answersTo) perSecond() float64 { return float64(r.count) / r.took.Seconds() }

func (r *answersTo) quantile(q float64) time.Duration {
	return quantile(r.each, q).Round(time.Microsecond)
}

// askHTTP asks a server over some connections at once for some time, each request
// in turn.
func askHTTP(ctx context.Context, addr string, connections int, length time.Duration, requests [][]byte) (answersTo, error) {
	parts, failed := make([]answersTo, connections), make([]error, connections)
	start := time.Now()
	var clients sync.WaitGroup
	for i := range connections {
		clients.Go(func() { parts[i], failed[i] = askOver(ctx, addr, start.Add(length), i, requests) })
	}
	clients.Wait()
	whole := answersTo{took: time.Since(start)}
	for i := range parts {
		parts[i].took = 0
		whole.add(parts[i])
	}
	return whole, errors.Join(failed...)
}

// askOver is one connection: it writes a request and reads the answer, until the
// time is over.
func askOver(ctx context.Context, addr string, until time.Time, first int, requests [][]byte) (r answersTo, err error) {
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return r, err
	}
	defer nc.Close()
	if err := nc.SetDeadline(until.Add(patience)); err != nil {
		return r, err
	}
	in := bufio.NewReaderSize(nc, 8<<10)
	for i := first; ctx.Err() == nil; i++ {
		asked := time.Now()
		if asked.After(until) {
			return r, nil
		}
		if _, err := nc.Write(requests[i%len(requests)]); err != nil {
			return r, err
		}
		if err := answered(in); err != nil {
			return r, err
		}
		r.each = append(r.each, time.Since(asked))
		r.count++
	}
	return r, ctx.Err()
}

// answered reads an answer of success, by less work than a whole client of HTTP
// takes.
func answered(in *bufio.Reader) error {
	length := -1
	for first := true; ; first = false {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		text := strings.TrimSpace(string(line))
		switch {
		case first && !strings.HasPrefix(text, "HTTP/1.1 200"):
			return fmt.Errorf("answered with %s", text)
		case text == "":
			if length < 0 {
				return errors.New("an answer without a length")
			}
			_, err := in.Discard(length)
			return err
		}
		if value, ok := strings.CutPrefix(text, "Content-Length: "); ok {
			if length, err = strconv.Atoi(value); err != nil {
				return err
			}
		}
	}
}

// bareHTTP answers every request with the same bytes.
func bareHTTP(ln net.Listener) {
	runtime.GOMAXPROCS(runtime.NumCPU()) // as many as what it stands beside
	answer := strings.Repeat("x", apiAnswer)
	_ = http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { // until the process ends
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer)
	}))
}
