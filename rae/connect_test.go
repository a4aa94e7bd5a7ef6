package rae

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/disco"
	"github.com/farreach/farreach/xmpp/ibb"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/ping"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmppd/xmppdtest"
)

// overheard is a connection on which all that we say is noted.
type overheard struct {
	net.Conn
	mu   *sync.Mutex
	said *bytes.Buffer
}

func (o overheard) Write(b []byte) (int, error) {
	o.mu.Lock()
	o.said.Write(b)
	o.mu.Unlock()
	return o.Conn.Write(b)
}

// TestConnectSequence: RA-053, RA-060, RA-065, E-02; D16, RA-067: bind under the
// full name, stream management, roster, presence; unavailable before the end.
func TestConnectSequence(t *testing.T) {
	for name, c := range map[string]struct {
		change   func(*Config)
		resource string
		priority string
	}{
		"server":            {func(cfg *Config) { cfg.Device = newLamp() }, "OIC/1.0/oic.d.light/" + lampID, "-80"},
		"client":            {func(cfg *Config) { cfg.ID = strings.ToUpper(phoneID) }, "OIC/1.0/Client/" + phoneID, "-16"},
		"server that chats": {func(cfg *Config) { cfg.Device, cfg.Chat = newLamp(), true }, "OIC/1.0/oic.d.light/" + lampID, "16"},
		"client that chats": {func(cfg *Config) { cfg.ID, cfg.Chat = phoneID, true }, "OIC/1.0/Client/" + phoneID, "84"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := xmppdtest.Run(t, xmppdtest.Config{Memory: true})
				var mu sync.Mutex
				var said bytes.Buffer
				d := dialer{between: func(nc net.Conn) (net.Conn, error) { return overheard{nc, &mu, &said}, nil }}
				cfg := Config{XMPP: d.on(srv.Client("ann", "ignored"))}
				c.change(&cfg)
				e := start(t, cfg)
				e.stop()
				text := said.String()
				for _, want := range []string{
					"<resource>" + c.resource + "</resource>", "<enable xmlns='urn:xmpp:sm:3'", "<query xmlns='jabber:iq:roster'/>",
					"<presence><priority>" + c.priority + "</priority><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://github.com/farreach/farreach' ver='",
					"<presence type='unavailable'/>", "</stream:stream>",
				} {
					_, after, ok := strings.Cut(text, want)
					if !ok {
						t.Fatalf("no %s behind what came before it in\n%s", want, said.String())
					}
					text = after
				}
				if strings.Contains(said.String(), "urn:xmpp:carbons") {
					t.Error("asks for carbons")
				}
			})
		})
	}
}

// observer is a plain session that hears presence.
func observer(t *testing.T, cfg xmpp.Config) (*xmpp.Session, chan *stanza.Presence) {
	heard := make(chan *stanza.Presence, 64)
	cfg.Handlers = new(xmpp.Handlers)
	cfg.Handlers.Presence(func(_ *xmpp.Session, p *stanza.Presence) { heard <- p })
	s, err := xmpp.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(t.Context(), &stanza.Presence{}); err != nil {
		t.Fatal(err)
	}
	return s, heard
}

// TestCapabilities: E-04, section 4.9: what an endpoint says of itself, and that
// the string in its presence stands for that.
func TestCapabilities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := xmppdtest.Run(t, xmppdtest.Config{Memory: true})
		s, heard := observer(t, srv.Client("ann", "tablet"))
		for name, cfg := range map[string]Config{
			"oic-server": {XMPP: srv.Client("ann", ""), Device: newLamp()},
			"oic-client": {XMPP: srv.Client("ann", ""), ID: phoneID},
		} {
			e := start(t, cfg)
			p := <-heard
			for p.From == s.JID() {
				p = <-heard
			}
			info, err := new(disco.Cache).Info(t.Context(), s, p)
			if err != nil {
				t.Fatal(err)
			}
			if ver := p.Children[0].Attr("ver"); ver == "" || ver != info.Ver() {
				t.Errorf("the presence says %q, the answer is %q", ver, info.Ver())
			}
			if len(info.Identities) != 1 || info.Identities[0] != (disco.Identity{Category: "automation", Type: name}) {
				t.Errorf("is %v", info.Identities)
			}
			if slices.ContainsFunc(info.Features, func(f string) bool { return strings.Contains(f, "jingle") }) { // RA-006
				t.Errorf("%v", info.Features)
			}
			for _, f := range []string{disco.NSInfo, ibb.NS, ping.NS, "rest.oic.org", "urn:x-farreach:ra:token", "urn:x-farreach:ra:frag", "urn:x-farreach:ra:cbor"} {
				if !info.Has(f) {
					t.Errorf("%s: no %s", name, f)
				}
			}
			e.stop()
			if p := <-heard; p.Type != "unavailable" {
				t.Errorf("leaves with %q", p.Type)
			}
		}
		s.Close()
	})
}

// asked is what an address answers to everything that a stranger can say to it.
func asked(t *testing.T, s *xmpp.Session, to jid.JID) string {
	var b strings.Builder
	for _, payload := range []stanza.Element{
		{NS: disco.NSInfo, Name: "query"}, {NS: disco.NSItems, Name: "query"}, {NS: ping.NS, Name: "ping"}, {NS: "jabber:iq:roster", Name: "query"}, {NS: "jabber:iq:version", Name: "query"},
		{NS: ibb.NS, Name: "open", Attrs: []stanza.Attr{{Name: "sid", Value: "a"}, {Name: "block-size", Value: "4096"}, {Name: "stanza", Value: "message"}}},
		{NS: ibb.NS, Name: "open", Attrs: []stanza.Attr{{Name: "sid", Value: "a"}, {Name: "block-size", Value: "99999"}}},
		{NS: ibb.NS, Name: "data", Attrs: []stanza.Attr{{Name: "sid", Value: "a"}, {Name: "seq", Value: "0"}}, Text: "PHJlc3Q+"},
		{NS: ibb.NS, Name: "close", Attrs: []stanza.Attr{{Name: "sid", Value: "a"}}},
	} {
		for _, kind := range []string{"get", "set"} {
			e, err := s.Ask(t.Context(), stanza.IQ{To: to, Type: kind, Payload: &payload})
			fmt.Fprintln(&b, kind, payload.NS, payload.Name, e, err)
		}
	}
	return b.String()
}

// TestStrangers: RA-068, RA-069, threats T6: to another account an endpoint looks
// like any program that knows nothing of Remote Access; nothing leaks.
func TestStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := xmppdtest.Run(t, xmppdtest.Config{Memory: true})
		host := newLamp()
		lamp := start(t, Config{XMPP: srv.Client("ann", ""), Device: oic.HandlerFunc(func(ctx context.Context, req *oic.Request) (*oic.Response, error) {
			if req.From.Account != "" {
				t.Errorf("%v reaches the device", req.From)
			}
			return host.Handle(ctx, req)
		}), Shares: []Share{{mustJID(t, "bob@home.example"), []string{phoneID}}}})
		dull, err := xmpp.Dial(t.Context(), srv.Client("bob", "chat"))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		cfg := srv.Client("eve", "OIC/1.0/Client/"+phoneID)
		cfg.Handlers = new(xmpp.Handlers)
		cfg.Handlers.OtherMessage(func(_ *xmpp.Session, m *stanza.Message) { got = append(got, m.ID+" "+m.Type) })
		cfg.Handlers.MessageError(func(_ *xmpp.Session, m *stanza.Message) bool {
			got = append(got, m.ID+" "+m.Err.Condition)
			return true
		})
		eve, err := xmpp.Dial(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		to := lamp.session().JID()
		if lamp, other := asked(t, eve, to), asked(t, eve, dull.JID()); lamp != other || strings.Count(lamp, "service-unavailable") != 18 {
			t.Errorf("a stranger hears\n%s\nfrom the lamp, and from others\n%s", lamp, other)
		}
		data := stanza.Element{NS: ibb.NS, Name: "data", Attrs: []stanza.Attr{{Name: "sid", Value: "a"}, {Name: "seq", Value: "0"}}, Text: "PHJlc3Q+"}
		var heard []string
		for _, to := range []jid.JID{to, dull.JID()} {
			for _, m := range []stanza.Message{{ID: "1", Children: []stanza.Element{data}}, {ID: "2", Body: "hello"}, {ID: "3", Type: "chat", Body: "RAEfKl0fAKexYQVsaWdodA=="}} {
				m.To = to
				if err := eve.Send(t.Context(), &m); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			heard = append(heard, strings.Join(got, ", "))
			got = nil
		}
		if heard[0] != heard[1] {
			t.Errorf("a stranger's messages: %q", heard)
		}
		eve.Send(t.Context(), &stanza.Presence{To: to})
		eve.Send(t.Context(), &stanza.Presence{To: to.Bare(), Type: "subscribe"})
		synctest.Wait()
		if all := lamp.dir.list(); len(all) != 0 {
			t.Errorf("strangers are devices: %v", all)
		}
		eve.Close()
		dull.Close()
		lamp.stop()
	})
}

// befriend has ann and bob see each other, which our server wants before they
// talk, or ends that from ann's side.
func befriend(t *testing.T, srv *xmppdtest.Server, friends bool) {
	t.Helper()
	ann, _ := observer(t, srv.Client("ann", "admin"))
	bob, _ := observer(t, srv.Client("bob", "admin"))
	say := func(s *xmpp.Session, to *xmpp.Session, kind string) {
		if err := s.Send(t.Context(), &stanza.Presence{To: to.JID().Bare(), Type: kind}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
	}
	if friends {
		say(bob, ann, "subscribe")
		say(ann, bob, "subscribed")
		say(ann, bob, "subscribe")
		say(bob, ann, "subscribed")
	} else {
		say(ann, bob, "unsubscribed")
	}
	ann.Close()
	bob.Close()
}

// TestShares: RA-069, D19: a device of another account may ask what Allow says
// once it is shared with and may see us, and not any longer.
func TestShares(t *testing.T) {
	rule := func(p *pair, cfg *Config) {
		cfg.Shares = []Share{{mustJID(p.T, "bob@home.example"), []string{phoneID}}}
		cfg.Allow = func(peer Peer, c *Call) error {
			if !peer.Own && c.Op != oic.Retrieve {
				return oic.Errorf(oic.Forbidden, "look, do not touch")
			}
			return nil
		}
	}
	inPair(t, rule, func(p *pair) {
		bob := start(p.T, Config{XMPP: p.srv.Client("bob", ""), ID: phoneID})
		other := start(p.T, Config{XMPP: p.srv.Client("bob", ""), ID: doorID})
		const unavailable = "service-unavailable"
		if got := bob.asks(p.T, p.lamp, newCall(oic.Retrieve, "/a/light")); !strings.Contains(got, unavailable) {
			p.Errorf("before: %s", got)
		}
		befriend(p.T, p.srv, true)
		for _, c := range []struct {
			op   oic.Op
			href string
			want string
		}{
			{oic.Retrieve, "/a/light", `2.05 Content {"value":false}`},
			{oic.Delete, "/a/light", "4.03 Forbidden: look, do not touch"},
			{oic.Retrieve, "/oic/sec/doxm", "4.03 Forbidden: not by remote access, whoever asks acl"},
		} {
			if got := bob.asks(p.T, p.lamp, newCall(c.op, c.href)); got != c.want {
				p.Errorf("%v %s: %s, want %s", c.op, c.href, got, c.want)
			}
		}
		if got := other.asks(p.T, p.lamp, newCall(oic.Retrieve, "/a/light")); !strings.Contains(got, unavailable) {
			p.Errorf("bob's other device: %s", got)
		}
		over := make(chan error, 1)
		go func() {
			over <- bob.x.observe(p.Context(), bob.session(), p.lampJID(), newCall(oic.Retrieve, "/a/light"), nil, func(*Answer) {})
		}()
		synctest.Wait()
		if n := p.lamp.server.limits.all; n != 1 {
			p.Errorf("%d observations", n)
		}
		befriend(p.T, p.srv, false)
		if n := p.lamp.server.limits.all; n != 0 {
			p.Errorf("%d observations of who is no friend any more", n)
		}
		<-over
		if got := bob.asks(p.T, p.lamp, newCall(oic.Retrieve, "/a/light")); strings.HasPrefix(got, "2.05") {
			p.Errorf("afterwards: %s", got)
		}
		bob.stop()
		other.stop()
	})
}

// turncoat is a device whose di changes.
type turncoat struct {
	mu   sync.Mutex
	host *device.Host
}

func (d *turncoat) become(di string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.host = device.NewHost(device.Config{ID: di, Type: "oic.d.light"})
}

func (d *turncoat) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	d.mu.Lock()
	h := d.host
	d.mu.Unlock()
	return h.Handle(ctx, req)
}

// TestNewOwner: RA-057: a device whose di changes, as it does with its owner,
// leaves and comes back under its new name.
func TestNewOwner(t *testing.T) {
	d := new(turncoat)
	rule := func(_ *pair, cfg *Config) {
		d.become(lampID)
		cfg.Device = d
	}
	inPair(t, rule, func(p *pair) {
		s, heard := observer(p.T, p.srv.Client("ann", "tablet"))
		time.Sleep(10 * time.Minute)
		for len(heard) > 0 {
			<-heard
		}
		d.become(doorID)
		time.Sleep(nameEvery + time.Second)
		gone, came := <-heard, <-heard
		if gone.Type != "unavailable" || gone.From.Resource() != "OIC/1.0/oic.d.light/"+lampID || came.Type != "" || came.From.Resource() != "OIC/1.0/oic.d.light/"+doorID {
			p.Errorf("%s %q, then %s %q", gone.From, gone.Type, came.From, came.Type)
		}
		if got := p.phone.asks(p.T, p.lamp, newCall(oic.Retrieve, "/oic/d")); !strings.Contains(got, doorID) {
			p.Error(got)
		}
		if got := p.phone.asks(p.T, p.lamp, &Call{Request: oic.Request{Href: "/oic/d"}, Device: lampID}); !strings.HasSuffix(got, "unknown-device") {
			p.Errorf("its old name: %s", got)
		}
		s.Close()
	})
}

// TestBareAddress: RA-017: nothing is asked of an account.
func TestBareAddress(t *testing.T) {
	inPair(t, nil, func(p *pair) {
		routed := p.srv.Counters.Routed.Load()
		a, err := p.phone.x.ask(p.Context(), p.phone.session(), p.lampJID().Bare(), newCall(oic.Retrieve, "/a/light"))
		if err == nil || p.srv.Counters.Routed.Load() != routed {
			p.Errorf("%v, %v", a, err)
		}
	})
}

// TestTwoDomains: RA-002: nothing in an endpoint knows what domain there is.
func TestTwoDomains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lamps []*started
		for _, domain := range []string{"home.example", "work.example"} {
			cfg := xmppdtest.Config{Memory: true}
			cfg.Domain = domain
			srv := xmppdtest.Run(t, cfg)
			lamp := start(t, Config{XMPP: srv.Client("ann", ""), Device: newLamp()})
			phone := start(t, Config{XMPP: srv.Client("ann", ""), ID: phoneID})
			if got, want := phone.asks(t, lamp, newCall(oic.Retrieve, "/a/light")), `2.05 Content {"value":false}`; got != want {
				t.Errorf("%s: %s", domain, got)
			}
			if all := phone.dir.list(); len(all) != 1 {
				t.Errorf("%s: %v", domain, all)
			}
			lamps = append(lamps, lamp, phone)
		}
		for _, l := range lamps {
			l.stop()
		}
	})
}

// TestConfig: what New refuses.
func TestConfig(t *testing.T) {
	ann := mustJID(t, "ann@home.example")
	for want, cfg := range map[string]Config{
		"rae: XMPP.JID must be an account, local@domain":                               {ID: phoneID},
		"rae: Handlers, Online and OnChange of XMPP are the endpoint's own":            {ID: phoneID, XMPP: xmpp.Config{JID: ann, Handlers: new(xmpp.Handlers)}},
		"rae: SCRAM-SHA-1 is the least that proves a login, PLAIN does not (RA-062)":   {ID: phoneID, XMPP: xmpp.Config{JID: ann, AllowPlain: true}},
		`rae: the device id "" is no UUID (A-07)`:                                      {XMPP: xmpp.Config{JID: ann}},
		`rae: the device id "FXFFB960-FFFF-46F7-BABE-9E6234671ADC1" is no UUID (A-07)`: {XMPP: xmpp.Config{JID: ann}, ID: "FXFFB960-FFFF-46F7-BABE-9E6234671ADC1"},
	} {
		if _, err := New(cfg); err == nil || err.Error() != want {
			t.Errorf("New = %v, want %s", err, want)
		}
	}
}

// TestForeignPeer: A-01, RA-074, D4, D5: a peer that opens a session in the iq
// form, and asks as the specification's example does, is answered in that form,
// in order.
func TestForeignPeer(t *testing.T) {
	inPair(t, nil, func(p *pair) {
		cfg := p.srv.Client("ann", "OIC/1.0/Client/FXFFB960-FFFF-46F7-BABE-9E6234671ADC1")
		cfg.Handlers = new(xmpp.Handlers)
		bytestreams := ibb.New(ibb.Config{})
		bytestreams.Handle(cfg.Handlers)
		s, err := xmpp.Dial(p.Context(), cfg)
		if err != nil {
			p.Fatal(err)
		}
		for _, form := range []ibb.Form{ibb.IQ, ibb.Message} {
			c, err := bytestreams.Open(p.Context(), s, p.lampJID(), form)
			if err != nil {
				p.Fatal(err)
			}
			for _, href := range []string{"/a/light", "/nothing"} {
				fmt.Fprintf(c, "<rest xmlns=\"rest.oic.org\"> \n <url method=\"Get\">coap://mydevice%s</url><headers><header name=\"Accept\">application/json</header>"+
					"<header name=\"Accept-Charset\">UTF-8</header><header name=\"Date\">Fri, 14 Aug 2015 08:49:37 GMT</header></headers></rest>", href)
			}
			var got [2]string
			b := make([]byte, 4096)
			for i := range got {
				n, err := c.Read(b)
				if err != nil {
					p.Fatal(err)
				}
				got[i] = string(b[:n])
			}
			if !strings.Contains(got[0], `<url method="RESPONSE">200 OK</url>`) || !strings.Contains(got[0], `{"value":false}`) || !strings.Contains(got[1], ">404 Not Found<") {
				p.Errorf("%s: %q", form, got)
			}
			c.Close()
		}
		s.Close()
		bytestreams.Close()
	})
}
