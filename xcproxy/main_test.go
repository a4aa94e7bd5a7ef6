package xcproxy

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/coap/coaptest"
	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
	"github.com/farreach/farreach/rae"
	"github.com/farreach/farreach/xmpp/jid"
)

// TestMain fails the package if a test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const lampID = "0685b960-736f-46f7-bec0-9e6cbd61adc1"

var quiet = slog.New(slog.DiscardHandler)

// thing is a resource that holds a number.
type thing struct {
	link  oic.Link
	value atomic.Int64
}

type number struct {
	Value int64 `json:"value"`
}

func newThing(href string, types ...string) *thing {
	return &thing{link: oic.Link{Href: href, Types: types, Interfaces: []string{oic.IfActuator, oic.IfBaseline},
		Policy: oic.Policy{Mask: oic.Discoverable | oic.Observable}}}
}

func (r *thing) Link() oic.Link { return r.link }

func (r *thing) Retrieve(context.Context, string) (any, error) { return number{r.value.Load()}, nil }

func (r *thing) Update(_ context.Context, _ string, rep []byte) (any, error) {
	var want number
	if err := oic.Decode(oic.OCF, rep, &want); err != nil {
		return nil, err
	}
	r.value.Store(want.Value)
	return nil, nil
}

// counted counts what reaches a device.
type counted struct {
	*device.Host
	asked, watched, ended atomic.Int64
}

func (c *counted) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	c.asked.Add(1)
	return c.Host.Handle(ctx, req)
}

func (c *counted) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	c.watched.Add(1)
	defer c.ended.Add(1)
	return c.Host.Observe(ctx, req, each)
}

// lamp is a device that answers on loopback, by datagrams.
type lamp struct {
	counted
	light *thing
	asks  oic.Observer // the proxy's way to it
}

func newLamp(t *testing.T, id string) *lamp {
	t.Helper()
	l := &lamp{light: newThing("/a/light", "oic.r.switch.binary")}
	l.Host = device.NewHost(device.Config{ID: id, Type: "oic.d.light", Name: "lamp", Log: quiet, Reset: func(context.Context) error { return nil }})
	l.Add(l.light)
	l.Add(newThing("/a/dim", "oic.r.light.dimming"))
	l.Add(newThing("/oic/sec/doxm", "oic.r.doxm"))
	l.Add(newThing("/x", "oic.r.coapcloudconf"))
	pc := coaptest.UDP(t)
	at := pc.LocalAddr().(*net.UDPAddr).AddrPort()
	asks := new(oiccoap.Server)
	coaptest.Endpoint(t, pc, coap.EndpointConfig{Log: quiet, Accept: func(*coap.Peer) coap.Handler {
		return coap.HandlerFunc(func(x *coap.Exchange) { asks.Serve(x, &l.counted, oic.Identity{}) })
	}})
	l.asks = oiccoap.NewClient(coaptest.Endpoint(t, coaptest.UDP(t), coap.EndpointConfig{Log: quiet}).Peer(at))
	return l
}

// set changes the light.
func (l *lamp) set(v int64) {
	l.light.value.Store(v)
	l.Changed("/a/light")
}

// found is the lamp as a search finds it, with addresses.
func (l *lamp) found(t *testing.T) Found {
	t.Helper()
	resp, err := l.asks.Handle(t.Context(), &oic.Request{Href: "/oic/res"})
	if err != nil {
		t.Fatal(err)
	}
	sets, err := oic.ParseLinks(resp.Format, resp.Body)
	if err != nil || len(sets) != 1 || len(sets[0].Links[0].Endpoints) == 0 {
		t.Fatalf("%v, %+v", err, sets)
	}
	return Found{ID: l.ID(), Name: l.Name(), Types: []string{"oic.d.light"}, Links: sets[0].Links, Device: l.asks}
}

// mirrorOf is the lamp as it is seen under a policy.
func mirrorOf(t *testing.T, l *lamp, p Policy) *mirror {
	t.Helper()
	m := newMirror(l.ID(), quiet)
	m.found(l.found(t), p)
	t.Cleanup(m.tasks.Wait)
	return m
}

// ask is what a device answers, in one line.
func ask(t *testing.T, h oic.Handler, op oic.Op, href string, body any) string {
	t.Helper()
	req := &oic.Request{Op: op, Href: href}
	if body != nil {
		b, err := oic.Encode(oic.OCF, body)
		if err != nil {
			t.Fatal(err)
		}
		req.Format, req.Body = oic.OCF, b
	}
	resp, err := h.Handle(t.Context(), req)
	if err != nil {
		return err.Error()
	}
	text, err := oic.ToJSON(oic.CBOR, resp.Body)
	if len(resp.Body) > 0 && err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(fmt.Sprintf("%d.%02d %s", resp.Status>>5, resp.Status&31, text))
}

// until waits for something that happens elsewhere.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not in time: %s", what)
		}
	}
}

// hrefs of a document of links.
func hrefs(links []oic.Link) (list []string) {
	for _, l := range links {
		list = append(list, l.Href)
	}
	slices.Sort(list)
	return list
}

// sortedJSON is the JSON behind a status with its members in order.
func sortedJSON(s string) string {
	code, text, _ := strings.Cut(s, " ")
	var doc any
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		return s
	}
	b, _ := json.Marshal(doc)
	return code + " " + string(b)
}

// jidOf is the address of the device di, as presence tells it.
func jidOf(t *testing.T, e *rae.Endpoint, di string) jid.JID {
	t.Helper()
	for _, d := range e.Devices() {
		if d.Name.ID == di {
			return d.JID
		}
	}
	t.Fatalf("nobody called %s is there", di)
	return jid.JID{}
}
