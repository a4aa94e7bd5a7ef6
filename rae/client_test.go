package rae

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/xmpp/ibb"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmppd/xmppdtest"
)

// client starts an endpoint of ann that is a client.
func client(t *testing.T, srv *xmppdtest.Server) *started {
	t.Helper()
	phone := start(t, Config{XMPP: srv.Client("ann", ""), ID: phoneID})
	<-phone.Complete()
	return phone
}

func lampEndpoint(t *testing.T, srv *xmppdtest.Server, h oic.Handler) *started {
	t.Helper()
	return start(t, Config{XMPP: srv.Client("ann", ""), Device: h})
}

// result is what an oic.Handler says, as text: ! before what nobody answered.
func result(resp *oic.Response, err error) string {
	switch refusal, refused := errors.AsType[*oic.StatusError](err); {
	case err == nil:
		body, _ := oic.ToJSON(resp.Format, resp.Body)
		return strings.TrimSpace(resp.Status.String() + " " + string(body))
	case refused:
		return refusal.Error()
	}
	text := "! " + err.Error()
	for _, is := range []struct {
		err  error
		text string
	}{{oic.ErrOffline, "offline"}, {ErrNotConnected, "not connected"}, {context.DeadlineExceeded, "late"}, {oic.ErrNotSent, "not sent"}} {
		if errors.Is(err, is.err) {
			text += " [" + is.text + "]"
		}
	}
	return text
}

var lightOn = []byte("\xa1\x65value\xf5")

// E-03, E-06, E-07: a device is found by presence, read, changed, and refuses.
func TestRemote(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		lamp := lampEndpoint(t, srv, newLamp().Remote())
		phone := client(t, srv)
		devices := phone.Devices()
		if len(devices) != 1 || devices[0].Name.Type != "oic.d.light" || devices[0].Name.Device() != lampID || !devices[0].Available {
			t.Fatalf("there is %+v", devices)
		}
		r := phone.Open(devices[0].JID)
		if r.Peer() != lamp.session().JID() {
			t.Errorf("%s is not the lamp", r.Peer())
		}
		for _, c := range []struct {
			req  oic.Request
			want string
		}{
			{oic.Request{Href: "/a/light"}, `2.05 Content {"value":false}`},
			{oic.Request{Op: oic.Update, Href: "/a/light", Format: oic.OCF, Body: lightOn}, "2.04 Changed"},
			{oic.Request{Href: "/a/light"}, `2.05 Content {"value":true}`},
			{oic.Request{Href: "/nothing"}, "4.04 Not Found: no resource /nothing"},
			{oic.Request{Href: "/XMPPUserResURI"}, "4.03 Forbidden: not by remote access, whoever asks"},
		} {
			if got := result(r.Handle(t.Context(), &c.req)); got != c.want {
				t.Errorf("%v %s: %s\nwant %s", c.req.Op, c.req.Href, got, c.want)
			}
		}
		if got, want := result(r.Behind(doorID).Handle(t.Context(), &oic.Request{Href: "/a/door"})), "4.04 Not Found: no such device here"; got != want {
			t.Errorf("a device behind the lamp: %s, want %s", got, want)
		}
	})
}

// Who is not there is not waited for, and the error says since when and what
// may help.
func TestRemoteUnreachable(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		req := &oic.Request{Href: "/a/light"}
		lamp := lampEndpoint(t, srv, newLamp().Remote())
		phone := client(t, srv)
		began := time.Now()
		ask := func(peer string) (string, string) {
			err := func() error { _, err := phone.Open(mustJID(t, peer)).Handle(t.Context(), req); return err }()
			unanswered, _ := errors.AsType[*UnansweredError](err)
			if unanswered == nil {
				t.Fatalf("%s: %v", peer, err)
			}
			return result(nil, err), unanswered.Try
		}
		for _, c := range []struct{ peer, want, try string }{
			{"ann@home.example/OIC/1.0/oic.d.light/" + doorID, "nobody of that name is there who lets this account ask [offline] [not sent]", "farreach discover lists who is there"},
			{"ann@home.example/OIC/2.1/oic.d.light/" + doorID, "speaks version 2.1 of remote access, and this program 1.0 [not sent]", ""},
		} {
			if got, try := ask(c.peer); got != "! "+c.peer+": "+c.want || try != c.try {
				t.Errorf("%s, try %q\nwant %s, try %q", got, try, c.want, c.try)
			}
		}
		lamp.stop()
		synctest.Wait()
		if got, try := ask(annLamp); got != "! "+annLamp+": offline since "+time.Now().UTC().Format(time.RFC3339)+" [offline] [not sent]" || try == "" {
			t.Errorf("who has gone: %s, try %q", got, try)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("that took %v", took)
		}
		srv.Stop()
		synctest.Wait()
		if got, try := ask(annLamp); !strings.HasPrefix(got, "! "+annLamp+": not connected to home.example: reconnecting: host-unreachable: ") || !strings.HasSuffix(got, "[offline] [not connected] [not sent]") || try == "" {
			t.Errorf("without a server: %s, try %q", got, try)
		}
	})
}

// 4.8: a peer that does not answer is a 5.04 after the time-out, and nobody says
// that it has not got the request.
func TestRemoteSilent(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		joinForeign(t, srv, lampName, ibb.Config{})
		phone := client(t, srv)
		began := time.Now()
		_, err := phone.Open(mustJID(t, annLamp)).Handle(t.Context(), &oic.Request{Href: "/a/light"})
		if got := result(nil, err); got != "! "+annLamp+": no answer within 30s [late]" || time.Since(began) != 30*time.Second {
			t.Errorf("%s after %v", got, time.Since(began))
		}
		if status, _ := oic.StatusOf(err); status != oic.GatewayTimeout {
			t.Errorf("on a wire that is %v", status)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := phone.Open(mustJID(t, annLamp)).Handle(ctx, &oic.Request{Href: "/a/light"}); err != context.DeadlineExceeded {
			t.Errorf("the caller's own time: %v", err)
		}
	})
}

// 4.8: when the session is lost, GET, PUT and DELETE are sent once more over a
// new one, and no more than that; POST never is.
func TestRemoteRetries(t *testing.T) {
	for _, c := range []struct {
		op    oic.Op
		drops int // sessions that the peer closes instead of answering
		want  string
		times int // that it is asked
	}{
		{oic.Retrieve, 1, "2.05 Content", 2},
		{oic.Replace, 1, "2.04 Changed", 2},
		{oic.Delete, 1, "2.02 Deleted", 2},
		{oic.Retrieve, 2, "! " + annLamp + ": the session was lost before it answered", 2},
		{oic.Update, 1, "! " + annLamp + ": the session was lost before it answered", 1},
		{oic.Create, 1, "! " + annLamp + ": the session was lost before it answered", 1},
	} {
		t.Run(fmt.Sprintf("%v %d", c.op, c.drops), func(t *testing.T) {
			inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
				lamp := joinForeign(t, srv, lampName, ibb.Config{})
				phone := client(t, srv)
				times := 0
				var peer sync.WaitGroup
				peer.Go(func() {
					for conn := range lamp.conns {
						doc := lamp.read(conn)
						if times++; times <= c.drops {
							conn.Close()
							continue
						}
						lamp.write(conn, "%s", answerXML(tokenOf(doc), "200 OK", ""))
					}
				})
				got := result(phone.Open(mustJID(t, annLamp)).Handle(t.Context(), &oic.Request{Op: c.op, Href: "/a/light"}))
				close(lamp.conns)
				peer.Wait()
				if got != c.want || times != c.times {
					t.Errorf("%s, asked %d times; want %s, %d times", got, times, c.want, c.times)
				}
			})
		})
	}
}

// 4.8: the same when our own connection is lost, and the session on the server
// with it: then the new one is waited for.
func TestRemoteRetriesAfterReconnecting(t *testing.T) {
	for _, c := range []struct {
		op    oic.Op
		want  string
		times int
	}{
		{oic.Retrieve, "2.05 Content", 2},
		{oic.Delete, "2.02 Deleted", 2},
		{oic.Update, "! " + annLamp + ": the connection to " + xmppdtest.Domain + " was lost [offline] [not connected]", 1},
	} {
		t.Run(c.op.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
				lamp := joinForeign(t, srv, lampName, ibb.Config{})
				cfg := srv.Client("ann", "")
				cfg.NoResume = true
				dial, lines := cfg.Dial, make(chan net.Conn, 4)
				cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
					nc, err := dial(ctx, network, addr)
					lines <- nc
					return nc, err
				}
				phone := start(t, Config{XMPP: cfg, ID: phoneID})
				<-phone.Complete()
				times := 0
				var peer sync.WaitGroup
				peer.Go(func() {
					for conn := range lamp.conns {
						doc := lamp.read(conn)
						if times++; times == 1 {
							(<-lines).Close()
							continue
						}
						lamp.write(conn, "%s", answerXML(tokenOf(doc), "200 OK", ""))
					}
				})
				got := result(phone.Open(mustJID(t, annLamp)).Handle(t.Context(), &oic.Request{Op: c.op, Href: "/a/light"}))
				close(lamp.conns)
				peer.Wait()
				if got != c.want || times != c.times {
					t.Errorf("%s, asked %d times; want %s, %d times", got, times, c.want, c.times)
				}
			})
		})
	}
}

// IBB rule 7: who goes while he is asked is not waited for.
func TestRemoteGoesMeanwhile(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		lamp := joinForeign(t, srv, lampName, ibb.Config{})
		phone := client(t, srv)
		began := time.Now()
		go func() {
			<-lamp.conns
			time.Sleep(time.Second)
			lamp.s.Close()
		}()
		for _, op := range []oic.Op{oic.Update, oic.Retrieve} {
			got := result(phone.Open(mustJID(t, annLamp)).Handle(t.Context(), &oic.Request{Op: op, Href: "/a/light"}))
			if want := "! " + annLamp + ": offline since " + began.Add(time.Second).UTC().Format(time.RFC3339) + " [offline]"; !strings.HasPrefix(got, want) {
				t.Errorf("%v: %s, want %s", op, got, want)
			}
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("that took %v", took)
		}
	})
}

// watching is an observation that a test makes.
type seen struct {
	mu    sync.Mutex // guards told
	told  []string
	ended chan error
	stop  context.CancelFunc
}

func observe(t *testing.T, r oic.Observer, href string) *seen {
	ctx, cancel := context.WithCancel(t.Context())
	s := &seen{ended: make(chan error, 1), stop: cancel}
	go func() {
		s.ended <- r.Observe(ctx, &oic.Request{Href: href}, func(resp *oic.Response) {
			body, _ := oic.ToJSON(resp.Format, resp.Body)
			s.mu.Lock()
			defer s.mu.Unlock()
			if resp.Last {
				body = append(body, " last"...)
			}
			s.told = append(s.told, string(body))
		})
	}()
	t.Cleanup(cancel)
	return s
}

func (s *seen) expect(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.told, want) {
		t.Errorf("told %q, want %q", s.told, want)
	}
}

// E-08 and 4.8: an observation outlives a device that goes and comes back, and
// what has not changed meanwhile is not told again.
func TestRemoteObserve(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		host := newLamp()
		lamp := lampEndpoint(t, srv, host.Remote())
		phone := client(t, srv)
		r := phone.Open(mustJID(t, annLamp))
		watched := observe(t, r, "/a/light")
		watched.expect(t, `{"value":false}`)
		turn := func(body []byte) {
			t.Helper()
			if _, err := host.Handle(t.Context(), &oic.Request{Op: oic.Update, Href: "/a/light", Format: oic.OCF, Body: body}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		turn(lightOn)
		watched.expect(t, `{"value":false}`, `{"value":true}`)
		time.Sleep(3 * refresh) // registered anew, three times
		watched.expect(t, `{"value":false}`, `{"value":true}`)
		lamp.stop()
		time.Sleep(time.Hour)
		lamp = lampEndpoint(t, srv, host.Remote())
		watched.expect(t, `{"value":false}`, `{"value":true}`)
		lamp.stop()
		turn([]byte("\xa1\x65value\xf4"))
		lamp = lampEndpoint(t, srv, host.Remote())
		watched.expect(t, `{"value":false}`, `{"value":true}`, `{"value":false}`)
		turn(lightOn)
		watched.expect(t, `{"value":false}`, `{"value":true}`, `{"value":false}`, `{"value":true}`)
		watched.stop()
		if err := <-watched.ended; err != context.Canceled {
			t.Error(err)
		}
		for href, want := range map[string]string{"/nothing": "4.04 Not Found: no resource /nothing", "/oic/p": oic.ErrNotObservable.Error()} {
			got := observe(t, r, href)
			if err := <-got.ended; err.Error() != want {
				t.Errorf("%s: %v, want %s", href, err, want)
			}
		}
		lamp.stop()
		if got := result(nil, <-observe(t, r, "/a/light").ended); !strings.Contains(got, "offline since") {
			t.Errorf("an observation of who is not there: %s", got)
		}
	})
}

// 4.8: a registration goes out anew, with the same token, every 10 minutes, over
// another session when that was lost, and when the peer says again that it is
// there. What it says last is passed on once.
func TestRemoteRegistersAnew(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		lamp := joinForeign(t, srv, lampName, ibb.Config{Idle: -1})
		phone := client(t, srv)
		var mu sync.Mutex
		var log []string
		began := time.Now()
		sequence := 0
		var conn *ibb.Conn
		go func() {
			for c := range lamp.conns {
				mu.Lock()
				conn = c
				mu.Unlock()
				go func() {
					for c.SetReadDeadline(time.Time{}) == nil {
						b := make([]byte, 1<<16)
						n, err := c.Read(b)
						if err != nil {
							return
						}
						mu.Lock()
						token := tokenOf(string(b[:n]))
						log = append(log, fmt.Sprintf("%v %s %v", time.Since(began), token, strings.Contains(string(b[:n]), `"Observe">0<`)))
						sequence++
						mu.Unlock()
						lamp.write(c, "%s", notificationXML(token, sequence, `{"value":true}`))
					}
				}()
			}
		}()
		watched := observe(t, phone.Open(mustJID(t, annLamp)), "/a/light")
		watched.expect(t, `{"value":true}`)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		conn.Close() // at 10 min
		time.Sleep(5 * time.Minute)
		if err := lamp.s.Send(t.Context(), &stanza.Presence{Priority: -80}); err != nil { // at 15 min
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		watched.expect(t, `{"value":true}`)
		mu.Lock()
		token := strings.Fields(log[0])[1]
		want := []string{"0s", "10m0s", "10m", "15m0s"}
		for i, line := range log {
			if i >= len(want) || !strings.HasPrefix(line, want[i]) || !strings.HasSuffix(line, token+" true") {
				t.Errorf("registered %q", log)
				break
			}
		}
		if len(log) != len(want) {
			t.Errorf("registered %q, want at %q", log, want)
		}
		mu.Unlock()
		lamp.write(conn, "%s", answerXML(token, "404 Not Found", `<header name="OIC-Error">gone</header>`))
		if err := <-watched.ended; result(nil, err) != "4.04 Not Found: gone" {
			t.Errorf("it ended with %v", err)
		}
		watched.expect(t, `{"value":true}`)
		close(lamp.conns)
	})
}

// notificationXML is part of an observation.
func notificationXML(token string, sequence int, body string) string {
	return fmt.Sprintf(`<rest xmlns="rest.oic.org"><url method="RESPONSE">200 OK</url><headers><header name="OIC-Token">%s</header><header name="Observe">%d</header>`+
		`<header name="Content-Type">application/json</header></headers><body><json xmlns="urn:xmpp:json:0">%s</json></body></rest>`, token, sequence, body)
}
