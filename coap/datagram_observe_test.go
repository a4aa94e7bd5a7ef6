package coap_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/simnet"
)

// watching is a GET that begins (0) or ends (1) an observation.
func watching(id uint16, token string, value uint32) *coap.Message {
	m := datagram(coap.Confirmable, id, coap.GET, token, "/a")
	m.AddUint(coap.Observe, value)
	return m
}

// observable is a resource that answers "0", and to its observers "1", "2" and
// so on as often as something comes from change, until it is closed.
func observable(change chan struct{}) coap.Handler {
	return coap.HandlerFunc(func(x *coap.Exchange) {
		if v, ok := x.Request().Options.Uint(coap.Observe); x.Request().Code != coap.GET || !ok || v != 0 {
			x.Reply(&coap.Message{Code: coap.MethodNotAllowed})
			return
		}
		x.Go(func(ctx context.Context) {
			for i := 0; ; i++ {
				m := &coap.Message{Code: coap.Content, Payload: []byte(strconv.Itoa(i))}
				m.AddUint(coap.Observe, 1) // the endpoint counts itself
				if x.Send(ctx, m) != nil {
					return
				}
				select {
				case _, ok := <-change:
					if !ok {
						x.Send(ctx, &coap.Message{Code: coap.NotFound})
						return
					}
				case <-ctx.Done():
					return
				}
			}
		})
	})
}

func sequence(t *testing.T, m *coap.Message) uint32 {
	t.Helper()
	v, ok := m.Options.Uint(coap.Observe)
	if !ok {
		t.Fatalf("%v is no notification", m)
	}
	return v
}

// Every fifth notification is Confirmable; they count upwards; the last one is
// Confirmable and ends it.
func TestNotifications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		change := make(chan struct{})
		_, _, far := lan(t, simnet.Config{}, coap.EndpointConfig{Handler: observable(change), Closed: true})
		far.tell(watching(1, "tok", 0))
		m := far.hear()
		if m.Type != coap.Acknowledgement || string(m.Payload) != "0" {
			t.Fatalf("%v %v", m.Type, m)
		}
		last := sequence(t, m)
		var types []coap.Type
		for i := 1; i <= 12; i++ {
			change <- struct{}{}
			m := far.hear()
			types = append(types, m.Type)
			if v := sequence(t, m); (v-last)&0xffffff != 1 || string(m.Payload) != strconv.Itoa(i) || m.Token != coap.MakeToken([]byte("tok")) {
				t.Errorf("%v %q %d behind %d", m, m.Payload, v, last)
			}
			last = sequence(t, m)
			if m.Type == coap.Confirmable {
				far.tell(datagram(coap.Acknowledgement, m.ID, coap.Empty, "", ""))
			}
		}
		con, non := coap.Confirmable, coap.NonConfirmable
		if want := []coap.Type{non, non, non, non, con, non, non, non, non, con, non, non}; !slices.Equal(types, want) {
			t.Errorf("types %v", types)
		}
		close(change)
		if m := far.hear(); m.Type != con || m.Code != coap.NotFound || m.Options.Has(coap.Observe) {
			t.Errorf("%v %v", m.Type, m)
		} else {
			far.tell(datagram(coap.Acknowledgement, m.ID, coap.Empty, "", ""))
		}
		far.silence(time.Minute)
	})
}

// What ends an observation from the observer's side.
func TestObserverLeaves(t *testing.T) {
	leave := map[string]func(far *station, last *coap.Message){
		"reset of a notification": func(far *station, last *coap.Message) {
			far.tell(datagram(coap.Reset, last.ID, coap.Empty, "", ""))
		},
		"GET with Observe 1": func(far *station, last *coap.Message) {
			far.tell(watching(99, "tok", 1))
			far.hear()
		},
	}
	for name, f := range leave {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				change := make(chan struct{}, 100)
				_, _, far := lan(t, simnet.Config{}, coap.EndpointConfig{Handler: observable(change), Closed: true})
				far.tell(watching(1, "tok", 0))
				far.hear()
				change <- struct{}{}
				f(far, far.hear())
				synctest.Wait()
				change <- struct{}{}
				far.silence(time.Minute)
				if len(change) != 1 { // nobody takes it: the function given to Go has ended
					t.Error("the observation goes on")
				}
			})
		})
	}
}

// A Confirmable notification that is not acknowledged ends the observation; as
// long as it is repeated, it has the newest state (RFC 7641, section 4.5.2).
func TestObserverVanishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		change := make(chan struct{}, 100)
		_, _, far := lan(t, simnet.Config{}, coap.EndpointConfig{Handler: observable(change), Closed: true})
		far.tell(watching(1, "tok", 0))
		far.hear()
		for range 5 {
			change <- struct{}{}
			synctest.Wait()
		}
		for range 4 {
			far.hear()
		}
		first := far.hear()
		if first.Type != coap.Confirmable || string(first.Payload) != "5" {
			t.Fatalf("%v %q", first.Type, first.Payload)
		}
		change <- struct{}{}
		change <- struct{}{}
		second := far.hear()
		if string(second.Payload) != "7" || second.ID == first.ID || second.Type != coap.Confirmable {
			t.Errorf("repeated as %v %q", second.Type, second.Payload)
		}
		for range 3 {
			if m := far.hear(); m.ID != second.ID {
				t.Errorf("repeated as %v", m)
			}
		}
		far.silence(time.Hour)
		change <- struct{}{}
		far.silence(time.Minute)
	})
}

// hearing observes and collects what it hears.
func hearing(t *testing.T, p *coap.Peer) (o *coap.Observation, heard func() []string) {
	t.Helper()
	var got []string
	o, err := p.Observe(get("/a"), func(m *coap.Message, err error) {
		if err != nil {
			got = append(got, err.Error())
			return
		}
		got = append(got, string(m.Payload))
	})
	if err != nil {
		t.Fatal(err)
	}
	return o, func() []string {
		synctest.Wait()
		return got
	}
}

// Notifications that are overtaken are dropped (RFC 7641, section 3.4).
func TestFreshness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, e, far := lan(t, simnet.Config{}, coap.EndpointConfig{})
		_, heard := hearing(t, e.Peer(far.Addr()))
		req := far.hear()
		id := uint16(100)
		tell := func(v uint32, text string) {
			id++
			m := &coap.Message{Type: coap.NonConfirmable, ID: id, Code: coap.Content, Token: req.Token, Payload: []byte(text)}
			if id == 101 {
				m.Type, m.ID = coap.Acknowledgement, req.ID
			}
			m.AddUint(coap.Observe, v)
			m.AddUint(coap.MaxAge, 3600)
			far.tell(m)
			synctest.Wait()
		}
		tell(1<<24-2, "a")
		tell(1<<24-1, "b")
		tell(1<<24-2, "old")
		tell(1<<24-1, "same")
		tell(1, "c") // around
		tell(1<<24-1, "old")
		time.Sleep(30 * time.Second)
		tell(0, "old")
		tell(5, "d")
		time.Sleep(25 * time.Second)
		tell(6, "e")
		time.Sleep(129 * time.Second) // from then on a smaller number is a newer one
		tell(2, "f")
		if got := heard(); !slices.Equal(got, []string{"a", "b", "c", "d", "e", "f"}) {
			t.Errorf("heard %q", got)
		}
	})
}

// An observation that hears nothing asks again when its state is stale, and
// ends when nobody answers.
func TestObservationIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, e, far := lan(t, simnet.Config{}, coap.EndpointConfig{})
		_, heard := hearing(t, e.Peer(far.Addr()))
		start := time.Now()
		var token coap.Token
		for i := range 3 {
			req := far.hear()
			if v, ok := req.Options.Uint(coap.Observe); !ok || v != 0 || i > 0 && req.Token != token {
				t.Errorf("%v", req)
			}
			if took := time.Since(start); i > 0 && (took < 35*time.Second || took > 45*time.Second) {
				t.Errorf("asked again after %v", took)
			}
			token, start = req.Token, time.Now()
			m := &coap.Message{Type: coap.Acknowledgement, ID: req.ID, Code: coap.Content, Token: req.Token, Payload: []byte{'0' + byte(i)}}
			m.AddUint(coap.Observe, 7) // a server that has restarted may count from anywhere
			m.AddUint(coap.MaxAge, 30)
			far.tell(m)
		}
		time.Sleep(10 * time.Minute)
		if got := heard(); !slices.Equal(got, []string{"0", "1", "2", coap.ErrSilent.Error()}) {
			t.Errorf("heard %q", got)
		}
	})
}

// A peer that is silent about the age of what it tells is asked no more often
// than once in a minute, however many observations there are.
func TestRenewalsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many, hours = 5, 4
		_, e, far := lan(t, simnet.Config{}, coap.EndpointConfig{})
		for range many {
			hearing(t, e.Peer(far.Addr()))
		}
		asked := map[coap.Token]int{}
		for end := time.Now().Add(hours * time.Hour); time.Now().Before(end); {
			req := far.hear()
			asked[req.Token]++
			m := &coap.Message{Type: coap.Acknowledgement, ID: req.ID, Code: coap.Content, Token: req.Token}
			m.AddUint(coap.Observe, 7)
			far.tell(m)
		}
		all := 0
		for _, times := range asked {
			if all += times; times < hours*6-1 {
				t.Errorf("one was renewed %d times in %d hours", times, hours)
			}
		}
		if len(asked) != many || all > hours*60 {
			t.Errorf("%d of %d observations were renewed %d times in %d hours", len(asked), many, all, hours)
		}
	})
}

// Both ends together: notifications arrive, Cancel ends them.
func TestObserveDatagrams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		change := make(chan struct{}, 100)
		n, _, far := lan(t, simnet.Config{}, coap.EndpointConfig{Handler: observable(change)}) // the client proves its address itself
		e := endpoint(t, n.Listen("10.0.0.3:5683"), coap.EndpointConfig{})
		o, heard := hearing(t, e.Peer(far.to))
		for range 12 {
			synctest.Wait()
			change <- struct{}{}
		}
		want := []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"}
		if got := heard(); !slices.Equal(got, want) {
			t.Errorf("heard %q", got)
		}
		o.Cancel()
		synctest.Wait()
		change <- struct{}{}
		synctest.Wait()
		if got := heard(); len(got) != len(want) || len(change) != 1 {
			t.Errorf("after Cancel heard %q", got[len(want):])
		}
	})
}

// What is answered once, and what is refused.
func TestObserveRefused(t *testing.T) {
	for code, payload := range map[coap.Code]string{coap.Content: "once", coap.NotFound: "", coap.Unauthorized: "no"} {
		t.Run(code.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, e, far := lan(t, simnet.Config{}, coap.EndpointConfig{})
				_, heard := hearing(t, e.Peer(far.Addr()))
				req := far.hear()
				far.tell(&coap.Message{Type: coap.Acknowledgement, ID: req.ID, Code: code, Token: req.Token, Payload: []byte(payload)})
				if got := heard(); !slices.Equal(got, []string{payload, coap.ErrNotObserved.Error()}) {
					t.Errorf("heard %q", got)
				}
				late := &coap.Message{Type: coap.NonConfirmable, ID: 5, Code: coap.Content, Token: req.Token}
				late.AddUint(coap.Observe, 9)
				far.tell(late)
				if m := far.hear(); m.Type != coap.Reset || m.ID != 5 {
					t.Errorf("%v %v", m.Type, m)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		_, e, far := lan(t, simnet.Config{}, coap.EndpointConfig{})
		_, heard := hearing(t, e.Peer(far.Addr()))
		far.tell(datagram(coap.Reset, far.hear().ID, coap.Empty, "", ""))
		if got := heard(); !slices.Equal(got, []string{coap.ErrReset.Error()}) {
			t.Errorf("heard %q", got)
		}
		if _, err := e.Peer(far.Addr()).Observe(&coap.Message{Code: coap.GET, Payload: make([]byte, 1500)}, nil); !errors.Is(err, coap.ErrTooLarge) {
			t.Errorf("Observe = %v", err)
		}
	})
}
