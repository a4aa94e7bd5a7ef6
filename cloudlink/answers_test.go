package cloudlink_test

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/vector"
	"github.com/farreach/farreach/oic"
)

// answering returns a way to a cloud that answers every request with h.
func answering(t testing.TB, h coap.HandlerFunc) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			coap.Server(far, coap.Config{KeepAlive: -1, Log: quiet, Handler: h}).Run(context.Background())
		}()
		t.Cleanup(func() {
			far.Close()
			<-ended
		})
		return near, nil
	}
}

// FuzzAnswers: whatever a cloud answers, in either dialect, a device comes to an
// end with it: it is registered or it is not.
func FuzzAnswers(f *testing.F) {
	for _, v := range vector.All() {
		if len(v.Message.Payload) > 0 {
			f.Add(v.Message.Payload, v.Message.Code, v.Name[0] == 'C')
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, code byte, classic bool) {
		dialect, format := cloudlink.OCF, uint32(10000)
		if classic {
			dialect, format = cloudlink.Classic, 60
		}
		if class := code >> 5; class != 2 && class != 4 && class != 5 {
			code = byte(coap.Changed)
		}
		dial := answering(t, func(x *coap.Exchange) {
			m := &coap.Message{Code: coap.Code(code), Payload: body}
			m.AddUint(coap.ContentFormat, format)
			x.Reply(m)
		})
		l, err := cloudlink.Connect(t.Context(), cloudlink.ServerInfo{URI: "coap+tcp://cloud", Dialect: dialect, Dial: dial, KeepAlive: -1, Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		st, _, err := l.Register(ctx, cloudlink.Registration{Device: device1, Code: "code-1", Links: lampLinks()})
		if ctx.Err() != nil {
			t.Fatalf("it waits: %v", err)
		}
		if err == nil && (st.Grant.Account == "" || st.Grant.Access == "" || st.Grant.Refresh == "") {
			t.Errorf("registered without tokens: %+v", st)
		}
		l.Discover(ctx)
		l.Disconnect(ctx)
	})
}

// A cloud that gives tokens which have expired already is not asked for others
// without end.
func TestExpiredTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refreshes := 0
		d := run(t, cloudlink.Config{Servers: []string{"coap+tcp://cloud"}, KeepAlive: -1, Dial: answering(t, func(x *coap.Exchange) {
			if x.Request().Options.Path() == "/oic/sec/tokenrefresh" {
				refreshes++
			}
			m := &coap.Message{Code: coap.Changed}
			m.Payload, _ = oic.Encode(oic.OCF, map[string]any{"accesstoken": "at", "refreshtoken": "rt", "uid": account, "expiresin": 0,
				"di": device1, "links": []oic.Link{}})
			m.AddUint(coap.ContentFormat, 10000)
			x.Reply(m)
		})})
		d.registered(t)
		time.Sleep(time.Minute)
		synctest.Wait()
		if refreshes < 30 || refreshes > 60 {
			t.Errorf("%d refreshes in a minute", refreshes)
		}
		d.stop()
	})
}
