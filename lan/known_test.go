package lan_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/coap/dtls"
	"github.com/farreach/farreach/internal/simnet"
	"github.com/farreach/farreach/lan"
	"github.com/farreach/farreach/oic"
)

// What somebody has written down counts as soon as it is told: who is described
// is there, in other words, elsewhere, and not any more; what makes no sense
// changes nothing.
func TestDescriptionsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, simnet.Config{})
		for _, at := range []string{"10.0.0.2:5683", "10.0.0.3:5683"} {
			n.run(n.Listen(at), coap.EndpointConfig{Handler: coap.HandlerFunc(func(x *coap.Exchange) {
				_ = x.Reply(&coap.Message{Code: coap.Content, Payload: []byte(at)})
			})})
		}
		known := make(chan lan.Known)
		w := n.watch(lan.Config{Reload: known})
		clock := lan.Described{Address: "10.0.0.2", ID: lampID, Name: "clock", Links: []oic.Link{{Href: "/time", Types: []string{"oic.r.time"}}}}
		told := func(want []string, list ...lan.Described) {
			t.Helper()
			known <- lan.Known{Described: list}
			pass(3 * time.Second)
			w.expect(want...)
		}
		told([]string{"+clock"}, clock)
		d := w.device(lampID).Open()
		told(nil, clock)
		clock.Name = "watch"
		told([]string{"-watch", "+watch"}, clock)
		clock.Address = "10.0.0.3"
		told([]string{"-watch", "+watch"}, clock)
		if got := read(t, d, "/time"); got != `"10.0.0.3:5683"` {
			t.Errorf("the time is %s", got)
		}
		told(nil, lan.Described{ID: "no di"})
		if got := w.warned("what was known of devices before stays"); got != 1 {
			t.Errorf("%d warnings", got)
		}
		told([]string{"-watch"})
		told([]string{"+watch"}, clock)
	})
}

// A device is asked in the way that its credentials say, as soon as they are
// there, are others, or are none.
func TestCredentialsChange(t *testing.T) {
	right, wrong := withKey(t, sharedKey), withKey(t, "abababababababababababababababab")
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, simnet.Config{})
		n.owned(simulated(t, "lamp", lampID, "lamp"), dtls.Config{PSK: func([]byte) ([]byte, error) {
			return []byte("\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"), nil
		}})
		known := make(chan lan.Known)
		w := n.watch(lan.Config{Reload: known})
		pass(5 * time.Second)
		w.expect("+lamp")
		const denied, light = "4.01 Unauthorized: by coaps only", `{"value":false,"dimming":100}`
		for _, step := range []struct {
			name string
			keys map[string]lan.Credentials
			told []string
			want string
		}{
			{"none", nil, nil, denied},
			{"the right ones", right, []string{"-lamp", "+lamp"}, light},
			{"the same", withKey(t, sharedKey), nil, light},
			{"wrong ones", wrong, []string{"-lamp"}, "device offline: not on the local network now: not sent"},
			{"the right ones again", right, []string{"+lamp"}, light},
			{"none any more", nil, []string{"-lamp", "+lamp"}, denied},
		} {
			known <- lan.Known{Credentials: step.keys}
			pass(2 * time.Minute)
			w.expect(step.told...)
			if got := read(t, w.device(lampID).Open(), "/a/light"); got != step.want {
				t.Errorf("%s: the light is %s, want %s", step.name, got, step.want)
			}
		}
	})
}
