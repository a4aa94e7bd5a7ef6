package rae_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
	"github.com/farreach/farreach/xmpp/jid"
)

// Who asks, and how.
var (
	owner    = oic.Identity{Device: clientID, Owner: true}
	neighbor = oic.Identity{Device: "0685b960-736f-46f7-bec0-000000000000"}
	account  = oic.Identity{Account: "ann@home.example", Device: clientID} // by Remote Access
)

// asker asks h as somebody.
type asker struct {
	h   oic.Observer
	who oic.Identity
}

func (a asker) ask(t *testing.T, op oic.Op, href, body string) (*oic.Response, error) {
	t.Helper()
	req := &oic.Request{Op: op, Href: href, From: a.who}
	if body != "" {
		b, err := oic.FromJSON(oic.OCF, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Format, req.Body = oic.OCF, b
	}
	return a.h.Handle(t.Context(), req)
}

// text is the answer in a line, its body in JSON.
func (a asker) text(t *testing.T, op oic.Op, href, body string) string {
	t.Helper()
	resp, err := a.ask(t, op, href, body)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(resp.Status.String()[:4] + " " + string(toJSON(t, resp)))
}

func toJSON(t *testing.T, resp *oic.Response) []byte {
	t.Helper()
	text, err := oic.ToJSON(resp.Format, resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// provisioned is a device with both resources, of which nothing runs.
func provisioned(cfg rae.ProvisioningConfig) (*device.Host, *rae.Provisioning) {
	cfg.Host = device.NewHost(device.Config{ID: di, Type: "oic.d.light"})
	return cfg.Host, rae.NewProvisioning(cfg)
}

const (
	confHref  = "/XMPPResURI"
	userHref  = "/XMPPUserResURI"
	annsLogin = `{"jid":"ann@home.example","credential":"czNjcmV0IQ=="}`
	annsHost  = `{"address":"xmpp.home.example","port":5222}`
)

// settings are those of the two above.
func settings(t *testing.T) rae.Settings {
	ann, err := jid.Parse("ann@home.example")
	if err != nil {
		t.Fatal(err)
	}
	return rae.Settings{Account: ann, Password: "s3cret!", Server: rae.Server{Address: "xmpp.home.example", Port: 5222}}
}

func confRep(rt, server string, status string, reason string) string {
	alias := ""
	if status == "Error" {
		alias = fmt.Sprintf(`,"error":%q`, reason)
	}
	return fmt.Sprintf(`{"rt":%s,%s,"status":%q,"ErrorReason":%q%s}`, rt, strings.Trim(server, "{}"), status, reason, alias)
}

// E-01: the whole of it, as far as it goes without a server. RA-029, RA-040 to
// RA-043.
func TestProvisioningE01(t *testing.T) {
	var kept []rae.Settings
	h, p := provisioned(rae.ProvisioningConfig{Keep: func(s rae.Settings) error { kept = append(kept, s); return nil }})
	a := asker{h, owner}
	for _, step := range []struct {
		op               oic.Op
		href, body, want string
	}{
		{oic.Retrieve, userHref, "", `2.05 {"rt":["oic.ra.user"],"jid":"","credential":""}`},
		{oic.Retrieve, confHref, "", "2.05 " + confRep(`["oic.ra.xmpp"]`, `{"address":"","port":0}`, "NotInitialized", "")},
		{oic.Update, userHref, annsLogin, `2.04 {"rt":["oic.ra.user"],"jid":"ann@home.example","credential":""}`},
		{oic.Update, confHref, annsHost, "2.04 " + confRep(`["oic.ra.xmpp"]`, annsHost, "NotInitialized", "")},
		{oic.Retrieve, confHref, "", "2.05 " + confRep(`["oic.ra.xmpp"]`, annsHost, "NotInitialized", "")},
		{oic.Retrieve, userHref + "?if=oic.if.baseline", "",
			`2.05 {"rt":["oic.ra.user"],"if":["oic.if.s","oic.if.rw","oic.if.baseline"],"jid":"ann@home.example","credential":""}`},
	} {
		if got := a.text(t, step.op, step.href, step.body); got != step.want {
			t.Errorf("%v %s\n got %s\nwant %s", step.op, step.href, got, step.want)
		}
	}
	if len(kept) != 2 || kept[1] != settings(t) {
		t.Errorf("kept %+v", kept)
	}
	if text := fmt.Sprintf("%v %+v %#v", kept, kept, kept); strings.Contains(text, "s3cret") {
		t.Error("the password can be printed")
	}
	if p.State() != (rae.State{Status: rae.NotInitialized}) {
		t.Errorf("state %v", p.State())
	}
}

// RA-002 (Table "mandatory" both ways), RA-034, RA-040, RA-043, A-02, A-19: what is
// answered is valid by the schemas of the specification, in each state, by
// each interface, near and from afar. Core of OIC 1.0 knows rt as a string only,
// which is what goes by Remote Access.
func TestAnswersFitTheSchemas(t *testing.T) {
	for _, state := range []rae.State{{Status: rae.NotInitialized}, {Status: rae.Connected}, {Status: rae.Error, Reason: "auth-failed: not-authorized"}} {
		told := make(chan struct{})
		h, p := provisioned(rae.ProvisioningConfig{Chosen: settings(t),
			Serve: func(ctx context.Context, _ rae.Settings, tell func(rae.State)) error {
				tell(state)
				close(told)
				<-ctx.Done()
				return ctx.Err()
			}})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- p.Run(ctx) }()
		<-told
		for _, query := range []string{"", "?if=oic.if.s", "?if=oic.if.rw", "?if=oic.if.baseline"} {
			for _, a := range []asker{{h, owner}, {h.Remote(), account}} {
				resp, err := a.ask(t, oic.Retrieve, confHref+query, "")
				if err != nil {
					t.Fatal(err)
				}
				checkRep(t, "xmpp.json", toJSON(t, resp), a.who == account)
			}
			resp, err := asker{h, owner}.ask(t, oic.Retrieve, userHref+query, "")
			if err != nil {
				t.Fatal(err)
			}
			checkRep(t, "user.json", toJSON(t, resp), false)
		}
		rep := map[string]any{}
		resp, err := asker{h, oic.Identity{}}.ask(t, oic.Retrieve, confHref, "") // the state is no secret
		if err != nil || json.Unmarshal(toJSON(t, resp), &rep) != nil {
			t.Fatal(err)
		}
		alias, ok := rep["error"]
		if rep["status"] != string(state.Status) || rep["ErrorReason"] != state.Reason || ok != (state.Status == rae.Error) || ok && alias != state.Reason {
			t.Errorf("state %v is shown as %v", state, rep)
		}
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

// checkRep validates a representation, whose rt is a string if text.
func checkRep(t *testing.T, name string, doc []byte, text bool) {
	t.Helper()
	rep := map[string]any{}
	if err := json.Unmarshal(doc, &rep); err != nil {
		t.Fatal(err)
	}
	if list, ok := rep["rt"].([]any); ok && !text {
		rep["rt"] = list[0] // as OIC 1.0 wants it
		doc, _ = json.Marshal(rep)
	}
	if err := validate(t, name, doc); err != nil {
		t.Errorf("%s: %v", doc, err)
	}
}

// RA-041, RA-043, A-03, A-18: what is set, and what is refused; after a refusal all
// is as it was.
func TestSettings(t *testing.T) {
	server := func(address string, port string) string { return `{"address":"` + address + `","port":` + port + `}` }
	login := func(jid, credential string) string { return `{"jid":"` + jid + `","credential":"` + credential + `"}` }
	b64 := base64.StdEncoding.EncodeToString
	const whole = "4.00 Bad Request: port is no whole number from 1 to 65535"
	const host = "4.00 Bad Request: address is neither a DNS name nor an IP address"
	const base = "4.00 Bad Request: credential is not base64"
	const text = "4.00 Bad Request: credential is not a password in UTF-8 of 1 to 1024 bytes"
	const like = "4.00 Bad Request: jid is not like user@domain"
	for _, c := range []struct{ name, href, body, want string }{
		{"IPv4", confHref, server("192.0.2.7", "5222"), "192.0.2.7:5222"},
		{"IPv6", confHref, server("2001:db8::1", "443"), "[2001:db8::1]:443"},
		{"one label", confHref, server("router", "1"), "router:1"},
		{"root", confHref, server("xmpp.example.", "65535"), "xmpp.example.:65535"},
		{"integral float", confHref, server("a.example", "5222.0"), "a.example:5222"},
		{"longest", confHref, server(strings.Repeat("a.", 126)+"b", "1"), strings.Repeat("a.", 126) + "b:1"},
		{"read-only members and more", confHref, `{"rt":"oic.ra.xmpp","status":"Connected","ErrorReason":"x","error":5,"address":"a","port":1}`, "a:1"},
		{"rt as array", confHref, `{"rt":["oic.ra.xmpp"],"status":7,"address":"a","port":1}`, "a:1"},

		{"no address", confHref, `{"port":5222}`, "4.00 Bad Request: address and port are both needed"},
		{"no port", confHref, `{"address":"a"}`, "4.00 Bad Request: address and port are both needed"},
		{"nothing", confHref, `{}`, "4.00 Bad Request: address and port are both needed"},
		{"null", confHref, `{"address":null,"port":1}`, "4.00 Bad Request: address and port are both needed"},
		{"fraction", confHref, server("a", "1.5"), whole},
		{"port 0", confHref, server("a", "0"), whole},
		{"large", confHref, server("a", "65536"), whole},
		{"negative", confHref, server("a", "-1"), whole},
		{"huge", confHref, server("a", "1e300"), whole},
		{"text", confHref, server("a", `"5222"`), "4.00 Bad Request: port cannot be text"},
		{"empty", confHref, server("", "1"), host},
		{"too long", confHref, server(strings.Repeat("a.", 127)+"b", "1"), host},
		{"long label", confHref, server(strings.Repeat("a", 64), "1"), host},
		{"no IP after all", confHref, server("300.1.2.3", "1"), host},
		{"zone", confHref, server("fe80::1%eth0", "1"), host},
		{"brackets", confHref, server("[::1]", "1"), host},
		{"with port", confHref, server("a:5222", "1"), host},
		{"URL", confHref, server("xmpp://a", "1"), host},
		{"hyphens", confHref, server("-a.example", "1"), host},
		{"empty label", confHref, server("a..b", "1"), host},
		{"another alphabet", confHref, server("bücher.example", "1"), host},

		{"padded", userHref, login("bo@b.example", "czNjcmV0IQ=="), "bo@b.example s3cret!"},
		{"without padding", userHref, login("bo@b.example", "czNjcmV0IQ"), "bo@b.example s3cret!"},
		{"UTF-8", userHref, login("bo@b.example", b64([]byte("pässwörd"))), "bo@b.example pässwörd"},
		{"prepared", userHref, login("Bo@B.Example", "eA"), "bo@b.example x"},
		{"longest password", userHref, login("bo@b.example", b64([]byte(strings.Repeat("x", 1024)))), "bo@b.example " + strings.Repeat("x", 1024)},

		{"no jid", userHref, `{"credential":"eA"}`, "4.00 Bad Request: jid and credential are both needed"},
		{"no credential", userHref, `{"jid":"bo@b.example"}`, "4.00 Bad Request: jid and credential are both needed"},
		{"with resource", userHref, login("bo@b.example/OIC", "eA"), like},
		{"no user", userHref, login("b.example", "eA"), like},
		{"no JID", userHref, login("a@b@c", "eA"), like},
		{"empty JID", userHref, login("", "eA"), like},
		{"empty credential", userHref, login("bo@b.example", ""), text}, // what is read cannot be set
		{"no UTF-8", userHref, login("bo@b.example", "/w"), text},
		{"too long a password", userHref, login("bo@b.example", b64([]byte(strings.Repeat("x", 1025)))), text},
		{"URL alphabet", userHref, login("bo@b.example", "_w"), base},
		{"inner padding", userHref, login("bo@b.example", "eA==eA=="), base},
		{"padding alone", userHref, login("bo@b.example", "eA==="), base},
		{"line in it", userHref, login("bo@b.example", `eH\nh4`), base},
		{"one character", userHref, login("bo@b.example", "e"), base},
		{"not base64", userHref, login("bo@b.example", "s3cret!"), base},
	} {
		t.Run(c.name, func(t *testing.T) {
			set := settings(t)
			h, _ := provisioned(rae.ProvisioningConfig{Chosen: set, Keep: func(s rae.Settings) error { set = s; return nil }})
			got := asker{h, owner}.text(t, oic.Update, c.href, c.body)
			switch {
			case strings.HasPrefix(c.want, "4."):
				if got != c.want || set != settings(t) {
					t.Errorf("got %s, want %s; set %v", got, c.want, set)
				}
			case c.href == confHref:
				if !strings.HasPrefix(got, "2.04 {") || set.Server.String() != c.want {
					t.Errorf("got %s; server %s, want %s", got, set.Server, c.want)
				}
			default:
				if !strings.HasPrefix(got, "2.04 {") || set.Account.String()+" "+set.Password.Reveal() != c.want {
					t.Errorf("got %s; account %s, want %s", got, set.Account, c.want)
				}
			}
		})
	}
}

// RA-011, RA-032, RA-038, A-24: who may do what, by which way.
func TestWhoMayProvision(t *testing.T) {
	const (
		ok      = "2.0"
		secure  = "4.03 Forbidden: only over a secured link: coaps://"
		notHis  = "4.03 Forbidden: only for the owner of the device"
		near    = "4.03 Forbidden: /XMPPUserResURI is for somebody near only"
		farther = "4.03 Forbidden: from afar only the account that the device is on may set its server"
	)
	for _, c := range []struct {
		name                         string
		who                          oic.Identity
		far                          bool
		getUser, setUser, get, setXM string
	}{
		{"owner, near", owner, false, ok, ok, ok, ok},
		{"anybody, near", oic.Identity{}, false, secure, secure, ok, secure},
		{"another, near and secured", neighbor, false, notHis, notHis, ok, notHis},
		{"the account, by Remote Access", account, true, near, near, ok, ok},
		{"another account, by Remote Access", oic.Identity{Account: "bo@home.example", Device: clientID}, true, near, near, ok, farther},
		{"through a cloud", oic.Identity{Account: "home"}, true, near, near, ok, farther},
		{"through a cloud, by a claim", oic.Identity{Device: clientID}, true, near, near, ok, farther},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, _ := provisioned(rae.ProvisioningConfig{Chosen: settings(t)})
			a := asker{h, c.who}
			if c.far {
				a.h = h.Remote()
			}
			for _, s := range []struct {
				op               oic.Op
				href, body, want string
			}{
				{oic.Retrieve, userHref, "", c.getUser}, {oic.Update, userHref, annsLogin, c.setUser},
				{oic.Retrieve, confHref, "", c.get}, {oic.Update, confHref, annsHost, c.setXM},
			} {
				if got := a.text(t, s.op, s.href, s.body); got != s.want && (s.want != ok || !strings.HasPrefix(got, ok)) {
					t.Errorf("%v %s: %s, want %s", s.op, s.href, got, s.want)
				}
			}
			if batch := a.text(t, oic.Retrieve, "/oic/res?if=oic.if.b", ""); strings.Contains(batch, "ann@") != (c.getUser == ok) {
				t.Errorf("the batch says %s", batch)
			}
		})
	}
}

// RA-033, RA-044, RA-045, A-05, D12: both resources are there, near and from afar as
// far as they are for those; what is done with them is Retrieve and Update, by
// each of three interfaces. The one with the state can be observed.
func TestProvisioningLinksAndMethods(t *testing.T) {
	h, _ := provisioned(rae.ProvisioningConfig{Chosen: settings(t)})
	a := asker{h, owner}
	for rt, want := range map[string]string{
		"oic.ra.xmpp": `"href":"/XMPPResURI","rt":["oic.ra.xmpp"],"if":["oic.if.s","oic.if.rw","oic.if.baseline"]`,
		"oic.ra.user": `"href":"/XMPPUserResURI","rt":["oic.ra.user"],"if":["oic.if.s","oic.if.rw","oic.if.baseline"]`,
	} {
		if got := a.text(t, oic.Retrieve, "/oic/res?rt="+rt, ""); !strings.Contains(got, want) {
			t.Errorf("%s: %s", rt, got)
		}
		if got := (asker{h.Remote(), account}).text(t, oic.Retrieve, "/oic/res?rt="+rt, ""); strings.Contains(got, want) != (rt == "oic.ra.xmpp") {
			t.Errorf("%s from afar: %s", rt, got)
		}
	}
	for _, query := range []string{"", "?if=oic.if.s", "?if=oic.if.rw", "?if=oic.if.baseline"} {
		for href, body := range map[string]string{confHref: annsHost, userHref: annsLogin} {
			for op, want := range map[oic.Op]string{oic.Retrieve: "2.05", oic.Update: "2.04", oic.Replace: "4.05", oic.Delete: "4.05", oic.Create: "4.05"} {
				if got := a.text(t, op, href+query, body); !strings.HasPrefix(got, want) {
					t.Errorf("%v %s%s: %s, want %s", op, href, query, got, want)
				}
			}
		}
	}
	if got := a.text(t, oic.Retrieve, confHref+"?if=oic.if.a", ""); !strings.HasPrefix(got, "4.00") {
		t.Error(got)
	}
	if err := h.Observe(t.Context(), &oic.Request{Href: userHref, From: owner}, func(*oic.Response) {}); !errors.Is(err, oic.ErrNotObservable) {
		t.Errorf("observing the account: %v", err)
	}
}

// What cannot be kept is not done (RA-041).
func TestSettingsThatCannotBeKept(t *testing.T) {
	h, p := provisioned(rae.ProvisioningConfig{Chosen: settings(t), Keep: func(rae.Settings) error { return errors.New("disk full") }})
	a := asker{h, owner}
	if got := a.text(t, oic.Update, confHref, `{"address":"b.example","port":1}`); got != "5.03 Service Unavailable: the settings cannot be kept" {
		t.Error(got)
	}
	if got := a.text(t, oic.Retrieve, confHref, ""); !strings.Contains(got, "xmpp.home.example") {
		t.Error(got)
	}
	if err := p.Reset(); err == nil {
		t.Error("a reset that is not kept has succeeded")
	}
}

// Whatever is set, it is either refused, and all is as it was, or a server and an
// account as they should be.
func FuzzSettings(f *testing.F) {
	for _, body := range []string{annsHost, annsLogin, `{"address":"::1","port":65535,"jid":"a@b","credential":"eA"}`, `{"port":1e300}`} {
		b, err := oic.FromJSON(oic.OCF, []byte(body))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := settings(&testing.T{})
		set := before
		h, _ := provisioned(rae.ProvisioningConfig{Chosen: before, Keep: func(s rae.Settings) error { set = s; return nil }})
		for _, href := range []string{confHref, userHref} {
			last := set
			_, err := h.Handle(t.Context(), &oic.Request{Op: oic.Update, Href: href, From: owner, Format: oic.OCF, Body: body})
			if err != nil && set != last {
				t.Fatalf("refused with %v, and changed", err)
			}
		}
		if set.Server.Port == 0 || set.Server.Address == "" || strings.ContainsAny(set.Server.Address, "/[]% ") ||
			set.Account.Local() == "" || !set.Account.IsBare() || set.Password == "" {
			t.Fatalf("set %+v", set)
		}
	})
}
