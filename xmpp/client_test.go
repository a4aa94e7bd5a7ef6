package xmpp_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/sasl"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmpp/stream"
)

// diary notes what happens when.
type diary struct {
	mu    sync.Mutex
	start time.Time
	lines []string
}

func (d *diary) add(format string, a ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf("%v ", time.Since(d.start))+fmt.Sprintf(format, a...))
}

func (d *diary) has(line string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Contains(d.lines, line)
}

// runClient runs a client for a time, and returns what Run returned.
func runClient(t *testing.T, cfg xmpp.Config, d time.Duration) error {
	t.Helper()
	c, err := xmpp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	err = c.Run(ctx)
	if c.Session() != nil {
		t.Error("there is a session after Run")
	}
	return err
}

// TestSilence: a server that says nothing is asked after 30 s, and lost after
// 10 s more; one that drips bytes of a stanza is as silent.
func TestSilence(t *testing.T) {
	for _, id := range []string{"", "sm1"} {
		for _, drip := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				asked := make(chan time.Duration, 1)
				s, err := xmpp.Dial(t.Context(), scripted(t, func(p *script) {
					p.session(id)
					if drip {
						var tasks sync.WaitGroup
						defer tasks.Wait()
						tasks.Go(func() {
							for _, err := p.nc.Write([]byte("<")); err == nil; _, err = p.nc.Write([]byte("m")) {
								time.Sleep(time.Second)
							}
						})
					}
					want := "urn:xmpp:ping"
					if id != "" {
						want = "<r "
					}
					p.expect(want)
					asked <- time.Since(start)
					p.item()
				}))
				if err != nil {
					t.Fatal(err)
				}
				<-s.Done()
				took := time.Since(start)
				s.Close()
				if at := <-asked; !errors.Is(s.Err(), xmpp.ErrSilent) || at != 30*time.Second || took != 40*time.Second {
					t.Errorf("resumable %q, drip %v: asked after %v, over after %v: %v", id, drip, at, took, s.Err())
				}
			})
		}
	}
}

// TestAnsweringServerIsKept: an answer, or anything else, is a sign of life, and
// while things come nobody is asked.
func TestAnsweringServerIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		s, err := xmpp.Dial(t.Context(), scripted(t, func(p *script) {
			p.session("")
			for range 100 {
				time.Sleep(20 * time.Second)
				p.say("<message/>")
			}
			for {
				it := p.item()
				if it.Kind == stream.Closing {
					return
				}
				id := string(it.ID)
				asked.Add(1)
				p.say("<iq type='error' id='" + id + "' from='home.example'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
			}
		}))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(100*20*time.Second + 5*time.Minute + time.Second)
		if s.Err() != nil || asked.Load() != 10 {
			t.Errorf("asked %d times, Err = %v", asked.Load(), s.Err())
		}
		s.Close()
	})
}

// TestBackoff: base 1 s, doubled to 5 min, full jitter; first again after 60 s
// of good service (threats rule 21).
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var at []time.Duration
		cfg := scripted(t, nil)
		dial := cfg.Dial
		cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			at = append(at, time.Since(start))
			return dial(ctx, network, addr)
		}
		if err := runClient(t, cfg, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run = %v", err)
		}
		bound := time.Second
		for i := 1; i < len(at); i++ {
			if wait := at[i] - at[i-1]; wait > bound {
				t.Errorf("wait %d is %v, want at most %v", i, wait, bound)
			}
			bound = min(2*bound, 5*time.Minute)
		}
		if len(at) < 12 || len(at) > 200 {
			t.Errorf("%d attempts in an hour", len(at))
		}
	})
}

// TestStampede: a thousand clients of a server that is killed come back spread
// out, and after a goodbye over 10 s.
func TestStampede(t *testing.T) {
	for name, c := range map[string]struct {
		last   string
		spread time.Duration
	}{
		"killed":    {"", time.Second},
		"goodbye":   {"</stream:stream>", 10 * time.Second},
		"shut down": {"<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>", 10 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			const clients = 150
			var back diary
			var when []time.Duration
			ctx, cancel := context.WithCancel(t.Context())
			var tasks sync.WaitGroup
			killed := time.Now().Add(2 * time.Minute)
			for range clients {
				cfg := scripted(t, func(p *script) {
					p.session("")
					var tasks sync.WaitGroup
					defer tasks.Wait()
					defer p.nc.Close()
					tasks.Go(p.overhear)
					time.Sleep(time.Until(killed))
					p.say(c.last)
				}, func(p *script) {
					back.mu.Lock()
					when = append(when, time.Since(killed))
					back.mu.Unlock()
					p.session("")
					p.rest()
				})
				cfg.KeepAlive = -1
				client, err := xmpp.New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				tasks.Go(func() { client.Run(ctx) })
			}
			time.Sleep(2*time.Minute + 35*time.Second)
			cancel()
			tasks.Wait()
			if len(when) != clients {
				t.Fatalf("%s: %d came back", name, len(when))
			}
			slices.Sort(when)
			if last := when[clients-1]; last > c.spread+time.Second || last < c.spread*8/10 {
				t.Errorf("%s: the last came back after %v, want about %v", name, last, c.spread)
			}
			if half := when[clients/2]; half < c.spread*3/10 || half > c.spread*7/10 {
				t.Errorf("%s: half came back within %v of %v", name, half, c.spread)
			}
		})
	}
}

// TestRefusedAccountIsFinal: RA-031: a wrong password is told at once; a server
// that is not ready is asked again.
func TestRefusedAccountIsFinal(t *testing.T) {
	for condition, want := range map[string]bool{
		"not-authorized": true, "account-disabled": true, "credentials-expired": true,
		"temporary-auth-failure": false, "mechanism-too-weak": false, "something-new": false,
	} {
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			cfg := scripted(t, func(p *script) {
				tries++
				p.open(withSASL)
				p.expect("<auth")
				p.say("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><" + condition + "/><text>no\x7f entry</text></failure></stream:stream>")
				p.rest()
			})
			err := runClient(t, cfg, time.Minute)
			e, told := errors.AsType[*xmpp.AuthError](err)
			if told != want || (tries == 1) != want || told && (e.Condition != condition || e.Text != "no entry") {
				t.Errorf("%s: %v after %d tries", condition, err, tries)
			}
		})
	}
}

// TestNotResumedInTime: a session that cannot be resumed is given up when its
// time is over, not later: then everybody is unavailable and calls fail.
func TestNotResumedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := diary{start: time.Now()}
		cfg := scripted(t, func(p *script) {
			p.login()
			p.open(withBind + withSM)
			p.bind()
			p.expect("<enable xmlns='urn:xmpp:sm:3' resume='true' max='10'/>")
			p.say("<enabled xmlns='urn:xmpp:sm:3' resume='true' id='sm1' max='60'/>")
			p.say("<presence from='ann@home.example/lamp'/>")
			p.expect("<iq")
		}, nil)
		cfg.Backoff = backoff.Backoff{Base: 5 * time.Minute}
		cfg.Resume = 10 * time.Second // the server may keep it for longer
		cfg.Handlers.Presence(func(_ *xmpp.Session, p *stanza.Presence) { d.add("%s %s", p.From.Resource(), p.Type) })
		cfg.Timeout = 10 * time.Minute
		cfg.Online = func(ctx context.Context, s *xmpp.Session) error {
			_, err := s.Ask(ctx, stanza.IQ{Type: "get", Payload: &stanza.Element{NS: "q", Name: "x"}})
			d.add("%v", errors.Is(err, xmpp.ErrClosed) || errors.Is(err, context.Canceled))
			return nil
		}
		runClient(t, cfg, 20*time.Minute)
		if !d.has("0s lamp ") || !d.has("1m0s lamp unavailable") || !d.has("1m0s true") {
			t.Errorf("%q", d.lines)
		}
	})
}

// TestResumeIsRefused: then there is a new session on the same stream, and the
// old one is over.
func TestResumeIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sessions []*xmpp.Session
		cfg := scripted(t, func(p *script) {
			p.session("sm1")
		}, func(p *script) {
			p.login()
			p.open(withBind + withSM)
			p.expect("previd='sm1'")
			p.say("<failed xmlns='urn:xmpp:sm:3'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>")
			p.bind()
			p.expect("<enable")
			p.say("<failed xmlns='urn:xmpp:sm:3'/>")
			p.rest()
		})
		cfg.Online = func(_ context.Context, s *xmpp.Session) error {
			sessions = append(sessions, s)
			return nil
		}
		runClient(t, cfg, 30*time.Second)
		if len(sessions) != 2 || sessions[0].Err() == nil || sessions[1].Terms().Manage {
			t.Fatalf("%d sessions", len(sessions))
		}
	})
}

// TestResumedSession: what the server had not, it gets again, once, in order;
// what it sends meanwhile is counted on.
func TestResumedSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		again := make(chan bool, 1)
		cfg := scripted(t, func(p *script) {
			p.session("sm1")
			for _, id := range []string{"1", "2", "3"} {
				p.expect("id='" + id + "'")
			}
			p.say("<message id='a'/><message id='b'/><r xmlns='urn:xmpp:sm:3'/>")
			p.expect("h='2'")
			p.say("<message id='c'/>")
		}, func(p *script) {
			p.login()
			p.open(withBind + withSM)
			p.expect("h='3'")
			p.say("<resumed xmlns='urn:xmpp:sm:3' previd='sm1' h='1'/><message id='d'/>")
			for _, id := range []string{"2", "3", "4"} {
				p.expect("id='" + id + "'")
			}
			p.expect("<r ")
			p.say("<a xmlns='urn:xmpp:sm:3' h='4'/><r xmlns='urn:xmpp:sm:3'/>")
			p.expect("h='4'")
			again <- true
			p.rest()
		})
		cfg.Handlers.OtherMessage(func(_ *xmpp.Session, m *stanza.Message) { got = append(got, m.ID) })
		cfg.Online = func(ctx context.Context, s *xmpp.Session) error {
			for i := range 3 {
				s.Send(ctx, &stanza.Message{ID: fmt.Sprint(i + 1)})
			}
			time.Sleep(time.Millisecond)
			return s.Send(ctx, &stanza.Message{ID: "4"}) // while the connection is lost
		}
		cfg.Backoff = backoff.Backoff{Base: 2 * time.Second}
		runClient(t, cfg, 30*time.Second)
		if len(again) != 1 || strings.Join(got, "") != "abcd" {
			t.Errorf("resumed %d times, got %q", len(again), got)
		}
	})
}

// TestRemembersTheBest: what a server could once, it is not believed to have
// forgotten (threats, section 4).
func TestRemembersTheBest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logins := 0
		weak := "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>SCRAM-SHA-1</mechanism></mechanisms>"
		cfg := scripted(t, func(p *script) {
			logins++
			p.session("")
		}, func(p *script) {
			p.open(weak)
			p.rest()
		})
		var last error
		cfg.OnChange = func(s xmpp.Status) { last = s.Err }
		runClient(t, cfg, time.Minute)
		if logins != 1 || !errors.Is(last, sasl.ErrTooWeak) {
			t.Errorf("%d logins, then %v", logins, last)
		}
	})
}

// TestOnlineFails: what a session needs is not there: it ends, and the next is
// tried later.
func TestOnlineFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		cfg := scripted(t, func(p *script) { p.session(""); p.rest() })
		cfg.Online = func(context.Context, *xmpp.Session) error {
			tries++
			return errors.New("no roster")
		}
		var told []string
		cfg.OnChange = func(s xmpp.Status) {
			if s.Err != nil {
				told = append(told, s.Err.Error())
			}
		}
		runClient(t, cfg, time.Minute)
		if tries < 3 || len(told) < 3 || told[0] != "no roster" {
			t.Errorf("%d tries, told %q", tries, told)
		}
	})
}

// TestBad05DroppedInEveryState: connections that break at every byte of the
// conversation leave nothing behind.
func TestBad05DroppedInEveryState(t *testing.T) {
	for cut := 0; cut < 2000; cut += 7 {
		cfg := scripted(t, func(p *script) {
			p.nc = &cutConn{Conn: p.nc, left: cut}
			p.session("sm1")
			p.say(strings.Repeat("<message/>", 100))
			p.rest()
		})
		s, err := xmpp.Dial(t.Context(), cfg)
		if err != nil {
			continue
		}
		select {
		case <-s.Done():
		case <-time.After(100 * time.Millisecond):
		}
		s.Close()
	}
}

// cutConn breaks after so many bytes were written.
type cutConn struct {
	net.Conn
	left int
}

func (c *cutConn) Write(b []byte) (int, error) {
	n := min(len(b), c.left)
	c.left -= n
	if _, err := c.Conn.Write(b[:n]); err != nil || n < len(b) {
		c.Conn.Close()
		return n, net.ErrClosed
	}
	return n, nil
}

// TestRounds: connecting and disconnecting leaves nothing behind.
func TestRounds(t *testing.T) {
	rounds := 10_000
	if testing.Short() {
		rounds = 500
	}
	synctest.Test(t, func(t *testing.T) {
		cfg := scripted(t, func(p *script) { p.session("sm1"); p.rest() })
		dial := func(times int) (inUse int64) {
			for range times {
				s, err := xmpp.Dial(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				s.Close()
			}
			time.Sleep(time.Minute) // deadlines of pipes are timers
			runtime.GC()
			runtime.GC() // pools keep what they have over one
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc + m.StackInuse)
		}
		before := dial(100)
		if grown := dial(rounds) - before; grown > 16<<20 { // a session has 3 KB and more: 30 MB of them
			t.Errorf("%d bytes more after %d rounds", grown, rounds)
		}
	})
}
