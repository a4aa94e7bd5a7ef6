package metrics

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/cloud"
	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/oic"
)

// stub is a Backend that answers everything with err.
type stub struct {
	cloudlink.Backend
	err error
}

func (s *stub) SignUp(context.Context, cloudlink.SignUp) (cloudlink.Grant, error) {
	return cloudlink.Grant{}, s.err
}

func (s *stub) SignIn(context.Context, cloudlink.Login) (oic.Identity, time.Time, error) {
	return oic.Identity{}, time.Time{}, s.err
}

func (s *stub) Report(_ context.Context, _ oic.Identity, reports []cloudlink.Report) (errs []error) {
	if s.err != nil {
		errs = slices.Repeat([]error{s.err}, len(reports))
	}
	return errs
}

// use does each thing once, with the backend answering err.
func use(t *testing.T, m *Metrics, err error) {
	t.Helper()
	b := m.Backend(&stub{err: err})
	_, _ = b.SignUp(t.Context(), cloudlink.SignUp{})
	_, _, _ = b.SignIn(t.Context(), cloudlink.Login{Device: "x"})
	_, _, _ = b.SignIn(t.Context(), cloudlink.Login{})
	_ = b.Report(t.Context(), oic.Identity{}, []cloudlink.Report{{Href: "/a", Rep: &oic.Response{Body: []byte("four")}}})
	m.Asked(oic.Update, 20*time.Millisecond, err)
	m.Wrote(2*time.Millisecond, err)
}

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestScrape(t *testing.T) {
	m := New("v1.2.3")
	ends := time.Unix(2_000_000_000, 0)
	m.Watch(Sources{
		Link: func() cloudlink.Stats { return cloudlink.Stats{Accepted: 7, Open: 3, HeldBack: 2} },
		Census: func(context.Context) (cloud.Census, error) {
			return cloud.Census{Reachable: 5, Unproven: 1, Unknown: 4}, nil
		},
		Ready: func(context.Context) error { return errors.New("full") },
		Ends:  func() time.Time { return ends },
		XMPP:  func() XMPPStats { return XMPPStats{Sessions: 11, Routed: 12} },
	})
	use(t, m, nil)
	use(t, m, oic.Errorf(oic.Unauthorized, "no"))
	use(t, m, fmt.Errorf("asked: %w", context.Canceled))
	text := scrape(t, m)
	for _, line := range []string{
		"farreach_xmpp_sessions 11", "farreach_xmpp_stanzas_total 12", "farreach_xmpp_log_ins_failed_total 0",
		`farreach_build_info{version="v1.2.3"} 1`,
		`farreach_logins_total{result="ok",what="sign up"} 1`,
		`farreach_logins_total{result="4.01",what="sign in"} 1`,
		`farreach_logins_total{result="gone",what="person"} 1`,
		`farreach_events_total{result="ok"} 1`,
		`farreach_events_total{result="4.01"} 1`,
		`farreach_event_bytes_total 4`,
		`farreach_command_seconds_count{op="update",result="ok"} 1`,
		`farreach_store_write_seconds_count{result="failed"} 2`,
		`farreach_connections_total 7`,
		`farreach_connections 3`,
		`farreach_sign_ins_held_back_total 2`,
		`farreach_devices{state="reachable"} 5`,
		`farreach_devices{state="offline"} 0`,
		`farreach_store_ready 0`,
		`farreach_certificate_end_seconds 2e+09`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	if !regexp.MustCompile(`(?m)^process_resident_memory_bytes |^go_goroutines `).MatchString(text) {
		t.Error("nothing about the process")
	}
}

func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New("")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- m.Run(ctx) }()
		if r := m.Rates(); r != (Totals{}) {
			t.Errorf("at the start: %+v", r)
		}
		for range 600 { // ten minutes, one of each a second
			use(t, m, nil)
			time.Sleep(980 * time.Millisecond)
		}
		r := m.Rates()
		for name, rate := range map[string]float64{"events": r.Events, "sign-ins": r.SignIns, "commands": r.Commands, "writes": r.Writes} {
			if rate < 0.95 || rate > 1.05 {
				t.Errorf("%s: %.2f/s, want 1", name, rate)
			}
		}
		if got := m.Totals(); got.Events != 600 || got.Refused != 0 {
			t.Errorf("totals: %+v", got)
		}
		time.Sleep(2 * sampleSpan)
		if r := m.Rates(); r.Events != 0 {
			t.Errorf("two minutes later: %.2f events/s", r.Events)
		}
		cancel()
		<-done
	})
}

// The quantiles are at most a bucket wrong.
func TestLatency(t *testing.T) {
	m := New("")
	if l := m.Writes(); l != (Latency{}) {
		t.Errorf("of nothing: %+v", l)
	}
	for i := range 1000 {
		m.Wrote(time.Duration(i)*10*time.Microsecond, nil) // evenly up to 10 ms
	}
	m.Wrote(time.Hour, errors.New("does not count"))
	l := m.Writes()
	if l.P50 < 3*time.Millisecond || l.P50 > 7*time.Millisecond || l.P99 < 8*time.Millisecond || l.P99 > 24*time.Millisecond {
		t.Errorf("%+v, want about 5 and 10 ms", l)
	}
	m.Wrote(time.Hour, nil)
	for range 2000 {
		m.Wrote(time.Hour, nil)
	}
	if l := m.Writes(); l.P99 <= time.Second || l.P99 > time.Hour {
		t.Errorf("beyond the last bucket: %+v", l)
	}
}

// Counting does not make an event slower than it is worth.
func BenchmarkReport(b *testing.B) {
	m := New("")
	back := m.Backend(&stub{})
	reports := []cloudlink.Report{{Href: "/a", Rep: &oic.Response{Body: []byte("four")}}}
	b.ReportAllocs()
	for b.Loop() {
		_ = back.Report(b.Context(), oic.Identity{}, reports)
		m.Wrote(time.Millisecond, nil)
	}
}
