package reach

import (
	"context"
	"log/slog"
	"testing"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/xmpp/jid"
)

// Whatever a proxy says of who is behind it: what is remembered is bounded, has
// an id, and is listed once.
func FuzzBehind(f *testing.F) {
	for _, seed := range []string{
		`[{"anchor":"ocf://0685b960-736f-46f7-bec0-9e6cbd61adc1","href":"/oic/d","rt":["oic.d.light","oic.wk.d"],"title":"attic"}]`,
		`[{"di":"0685B960-736f-46f7-bec0-9e6cbd61adc1","n":"x","links":[{"href":"/oic/d","rt":"a b"}]}]`, `[]`, `{}`,
	} {
		b, _ := oic.FromJSON(oic.CBOR, []byte(seed))
		f.Add(b, b)
	}
	f.Fuzz(func(t *testing.T, one, two []byte) {
		x := &xmppWay{log: slog.New(slog.DiscardHandler), ctx: context.Background(), changed: map[string]chan struct{}{}}
		b := newBehind(x)
		p := &proxy{peer: jid.JID{}, di: "p", told: make(chan struct{}), devices: map[string]hidden{}}
		b.proxies[p.peer] = p
		for _, body := range [][]byte{one, two} {
			b.take(p, &oic.Response{Format: oic.CBOR, Body: body})
			if len(p.devices) > maxHidden || p.devices["p"] != (hidden{}) || p.devices[""] != (hidden{}) {
				t.Fatalf("%+v", p.devices)
			}
		}
	})
}
