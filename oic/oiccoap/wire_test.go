package oiccoap_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
)

// answers is a Handler that gives the same answer to everyone, and keeps the
// last request.
type answers struct {
	resp *oic.Response
	err  error
	last oic.Request
}

func (a *answers) Handle(_ context.Context, req *oic.Request) (*oic.Response, error) {
	a.last = *req
	a.last.Body = append([]byte(nil), req.Body...)
	return a.resp, a.err
}

// A request and its answer are the same at both ends, but for the label of CBOR.
func TestThereAndBack(t *testing.T) {
	body := []byte{0xa1, 0x61, 0x61, 0x01}
	for _, c := range []struct {
		name      string
		req       oic.Request
		resp      oic.Response
		arrives   string
		comesBack string
	}{
		{"retrieve", oic.Request{Href: "/a/light?if=oic.if.a&x=%26"}, oic.Response{Status: oic.Content, Format: oic.OCF, Body: body},
			"retrieve /a/light?if=oic.if.a&x=& 0 10000 ", "2.05 10000 a1616101 "},
		{"update", oic.Request{Op: oic.Update, Href: "/a", Format: oic.OCF, Body: body}, oic.Response{Status: oic.Changed},
			"update /a 10000 10000 a1616101", "2.04 0  "},
		{"CBOR becomes OCF (rule 6)", oic.Request{Op: oic.Replace, Href: "/a", Format: oic.CBOR, Accept: oic.CBOR, Body: body}, oic.Response{Status: oic.Changed, Format: oic.CBOR, Body: body},
			"replace /a 10000 10000 a1616101", "2.04 10000 a1616101 "},
		{"create", oic.Request{Op: oic.Create, Href: "/c", Format: oic.OCF, Body: body}, oic.Response{Status: oic.Created, Location: "/c/1?x=1"},
			"create /c?if=oic.if.create 10000 10000 a1616101", "2.01 0  /c/1?x=1"},
		{"delete", oic.Request{Op: oic.Delete, Href: "/a"}, oic.Response{Status: oic.Deleted}, "delete /a 0 10000 ", "2.02 0  "},
		{"status that the handler left out", oic.Request{Op: oic.Delete, Href: "/a"}, oic.Response{}, "delete /a 0 10000 ", "2.02 0  "},
		{"text", oic.Request{Href: "/a"}, oic.Response{Status: oic.Content, Format: oic.Text, Body: []byte("x")}, "retrieve /a 0 10000 ", "2.05 65536 78 "},
		{"long", oic.Request{Href: "/a"}, oic.Response{Format: oic.OCF, Body: make([]byte, 100_000)}, "retrieve /a 0 10000 ", "2.05 10000 " + strings.Repeat("00", 100_000) + " "},
	} {
		t.Run(c.name, func(t *testing.T) {
			far := &answers{resp: &c.resp}
			client := oiccoap.NewClient(connect(t, serving(far)))
			resp, err := client.Handle(t.Context(), &c.req)
			if err != nil {
				t.Fatal(err)
			}
			if got := summary(&far.last); got != c.arrives {
				t.Errorf("arrived: %s\n   want: %s", got, c.arrives)
			}
			if far.last.From != me {
				t.Errorf("it is from %+v", far.last.From)
			}
			if got := respText(resp); got != c.comesBack {
				t.Errorf("came back: %.100s\n     want: %.100s", got, c.comesBack)
			}
		})
	}
}

func respText(r *oic.Response) string {
	return fmt.Sprintf("%.4s %d %x %s", r.Status, r.Format, r.Body, r.Location)
}

// A refusal is the same near and far; anything else becomes what it means to
// who asks.
func TestErrorsThereAndBack(t *testing.T) {
	long := strings.Repeat("é", 400)
	for _, c := range []struct {
		name string
		err  error
		want *oic.StatusError
	}{
		{"refusal", oic.Errorf(oic.NotFound, "no resource /a"), oic.Errorf(oic.NotFound, "no resource /a")},
		{"without a word", &oic.StatusError{Status: oic.Forbidden}, &oic.StatusError{Status: oic.Forbidden}},
		{"try again (RFC 8516)", &oic.StatusError{Status: oic.TooMany, Retry: 1500 * time.Millisecond}, &oic.StatusError{Status: oic.TooMany, Retry: 2 * time.Second}},
		{"offline", oic.ErrOffline, oic.Errorf(oic.Unavailable, "device offline")},
		{"inside", errors.New("secret"), oic.Errorf(oic.Internal, "internal error")},
		{"no answer", nil, oic.Errorf(oic.Internal, "no answer")},
		{"with a body", &oic.StatusError{Status: oic.NotFound, Diag: "not sent", Format: oic.CBOR, Body: []byte("\x80")}, &oic.StatusError{Status: oic.NotFound, Format: oic.OCF, Body: []byte("\x80")}},
		{"long diagnostic", oic.Errorf(oic.BadRequest, "%s", long), oic.Errorf(oic.BadRequest, "%s", long[:512])},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := oiccoap.NewClient(connect(t, serving(&answers{err: c.err})))
			resp, err := client.Handle(t.Context(), &oic.Request{Href: "/a"})
			if e, ok := errors.AsType[*oic.StatusError](err); !ok || !reflect.DeepEqual(e, c.want) {
				t.Errorf("Handle = %v, %#v; want %#v", resp, err, c.want)
			}
		})
	}
}

// What is on the wire of an answer depends on what the peer has shown to know.
func TestAnswerOnTheWire(t *testing.T) {
	ocf := []coap.Option{option(coap.ContentFormat, 10000), option(coap.OCFContentFormatVersion, 2048)}
	for _, c := range []struct {
		name string
		m    *coap.Message
		want []coap.Option
	}{
		{"Accept 10000 with version", message(coap.GET, "/a", option(coap.Accept, 10000), option(coap.OCFAcceptVersion, 2048)), ocf},
		{"Accept 10000", message(coap.GET, "/a", option(coap.Accept, 10000)), ocf},
		{"Content-Format 10000 (rule 5)", message(coap.POST, "/a", option(coap.ContentFormat, 10000)), ocf},
		{"Content-Format 60 (rule 5)", message(coap.POST, "/a", option(coap.ContentFormat, 60)), []coap.Option{option(coap.ContentFormat, 60)}},
		{"Accept 60", message(coap.GET, "/a", option(coap.Accept, 60)), []coap.Option{option(coap.ContentFormat, 60)}},
		{"nothing: no critical option", message(coap.GET, "/a"), []coap.Option{option(coap.ContentFormat, 10000)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.m.Code == coap.POST {
				c.m.Payload = []byte{0xa0}
			}
			conn := connect(t, serving(&answers{resp: &oic.Response{Format: oic.OCF, Body: []byte{0xa0}}}))
			resp, err := conn.Do(t.Context(), c.m)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := (&coap.Message{Options: resp.Options}), (&coap.Message{Options: c.want}); !sameOptions(got, want) {
				t.Errorf("options %v, want %v", got.Options, want.Options)
			}
		})
	}
	t.Run("error has no format", func(t *testing.T) {
		conn := connect(t, serving(&answers{err: oic.Errorf(oic.NotFound, "gone")}))
		resp, err := conn.Do(t.Context(), message(coap.GET, "/a", option(coap.Accept, 10000)))
		if err != nil || resp.Code != coap.NotFound || len(resp.Options) != 0 || string(resp.Payload) != "gone" {
			t.Errorf("answer %v %v %q, %v", resp, resp.Options, resp.Payload, err)
		}
	})
	t.Run("refused before the handler", func(t *testing.T) {
		far := &answers{}
		conn := connect(t, serving(far))
		resp, err := conn.Do(t.Context(), message(coap.GET, "/a", option(65001, 1)))
		if err != nil || resp.Code != coap.BadOption || far.last.Href != "" {
			t.Errorf("answer %v, %v; the handler saw %q", resp, err, far.last.Href)
		}
	})
}

func sameOptions(a, b *coap.Message) bool {
	x, err := a.Append(coap.TCP, nil)
	y, err2 := b.Append(coap.TCP, nil)
	return err == nil && err2 == nil && string(x) == string(y)
}

// A server that is not OCF's refuses OCF's critical options, and is asked again
// without them, once and for all.
func TestClientSimplifies(t *testing.T) {
	var asked []string
	far := coap.HandlerFunc(func(x *coap.Exchange) {
		m := x.Request()
		var s string
		for _, o := range m.Options {
			s += fmt.Sprintf(" %d", o.Number)
		}
		asked = append(asked, m.Code.String()+s)
		for _, o := range m.Options {
			if o.Number > 2000 {
				x.Reply(&coap.Message{Code: coap.BadOption})
				return
			}
		}
		x.Reply(&coap.Message{Code: coap.Content, Payload: []byte("now")})
	})
	client := oiccoap.NewClient(connect(t, far))
	for range 2 {
		resp, err := client.Handle(t.Context(), &oic.Request{Href: "/time"})
		if err != nil || string(resp.Body) != "now" || resp.Format != oic.NoFormat {
			t.Fatalf("Handle = %+v, %v", resp, err)
		}
	}
	_, err := client.Handle(t.Context(), &oic.Request{Op: oic.Replace, Href: "/x", Format: oic.CBOR, Body: []byte{0xa0}, Accept: oic.CBOR})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(asked, ","), "GET 11 17 2049,GET 11,GET 11,PUT 11 12 17"; got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
}

// An answer that cannot be understood is the device's fault.
func TestClientRefusesAnswers(t *testing.T) {
	for name, answer := range map[string]*coap.Message{
		"unknown critical option": message(coap.Content, "", option(65001, 1)),
		"blocks":                  {Code: coap.Continue},
		"class 3":                 {Code: 3 << 5},
	} {
		t.Run(name, func(t *testing.T) {
			client := oiccoap.NewClient(connect(t, coap.HandlerFunc(func(x *coap.Exchange) { x.Reply(answer) })))
			wait := time.Minute
			if name == "class 3" { // no answer at all
				wait = time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			defer cancel()
			_, err := client.Handle(ctx, &oic.Request{Href: "/a"})
			if s, _ := oic.StatusOf(err); s != oic.BadGateway && name != "class 3" || err == nil {
				t.Errorf("err = %v", err)
			}
		})
	}
	t.Run("diagnostic in another format", func(t *testing.T) {
		client := oiccoap.NewClient(connect(t, coap.HandlerFunc(func(x *coap.Exchange) {
			m := message(coap.BadRequest, "", option(coap.ContentFormat, 60))
			m.Payload = []byte{0xa0}
			x.Reply(m)
		})))
		_, err := client.Handle(t.Context(), &oic.Request{Href: "/a"})
		if e, ok := errors.AsType[*oic.StatusError](err); !ok || e.Diag != "" {
			t.Errorf("err = %v", err)
		}
	})
	t.Run("diagnostic with control characters", func(t *testing.T) {
		client := oiccoap.NewClient(connect(t, coap.HandlerFunc(func(x *coap.Exchange) {
			x.Reply(&coap.Message{Code: coap.BadRequest, Payload: []byte("a\x1b[2J\nb")})
		})))
		_, err := client.Handle(t.Context(), &oic.Request{Href: "/a"})
		if e, ok := errors.AsType[*oic.StatusError](err); !ok || e.Diag != "a [2J b" {
			t.Errorf("err = %v", err)
		}
	})
}

// silent never answers, and says how many requests it has.
func silent(n *int) coap.Handler {
	return coap.HandlerFunc(func(x *coap.Exchange) { *n++ })
}

func TestClientTimeout(t *testing.T) {
	for name, c := range map[string]struct{ patience, want time.Duration }{
		"none":     {0, 10 * time.Second},
		"short":    {3 * time.Second, 3 * time.Second},
		"too long": {time.Hour, 60 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := oiccoap.NewClient(connect(t, silent(new(int))))
				ctx, cancel := context.WithCancel(t.Context())
				if c.patience > 0 {
					ctx, cancel = context.WithTimeout(t.Context(), c.patience)
				}
				defer cancel()
				for what, ask := range map[string]func() error{
					"Handle":  func() error { _, err := client.Handle(ctx, &oic.Request{Href: "/a"}); return err },
					"Observe": func() error { return client.Observe(ctx, &oic.Request{Href: "/a"}, nil) },
				} {
					start := time.Now()
					err := ask()
					if took := time.Since(start); err != context.DeadlineExceeded || took > c.want {
						t.Errorf("%s: %v after %v, want %v", what, err, took, c.want)
					}
				}
			})
		})
	}
}

func TestClientOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := connect(t, silent(new(int)))
		client := oiccoap.NewClient(conn)
		errs := make(chan error, 3)
		go func() { _, err := client.Handle(t.Context(), &oic.Request{Href: "/a"}); errs <- err }()
		go func() { errs <- client.Observe(t.Context(), &oic.Request{Href: "/a"}, nil) }()
		synctest.Wait()
		conn.Close()
		synctest.Wait()
		go func() { _, err := client.Handle(t.Context(), &oic.Request{Href: "/a"}); errs <- err }()
		for range 3 {
			if err := <-errs; !errors.Is(err, oic.ErrOffline) || !errors.Is(err, coap.ErrClosed) {
				t.Errorf("err = %v", err)
			}
		}
	})
}

// Limit of threats 3.2: requests in flight to a device.
func TestClientBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		client := oiccoap.NewClient(connect(t, silent(&n)))
		ctx, cancel := context.WithCancel(t.Context())
		for range 32 {
			go client.Handle(ctx, &oic.Request{Href: "/a"})
		}
		synctest.Wait()
		_, err := client.Handle(t.Context(), &oic.Request{Href: "/a"})
		if s, _ := oic.StatusOf(err); s != oic.Unavailable || n != 32 {
			t.Errorf("the request after %d: %v", n, err)
		}
		cancel()
		synctest.Wait()
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := client.Handle(ctx, &oic.Request{Href: "/a"}); err != context.DeadlineExceeded {
			t.Errorf("when there is room again: %v", err)
		}
	})
}

func TestRequestTooLong(t *testing.T) {
	client := oiccoap.NewClient(connect(t, serving(&answers{resp: &oic.Response{Format: oic.OCF, Body: make([]byte, 1<<20)}})))
	_, err := client.Handle(t.Context(), &oic.Request{Op: oic.Update, Href: "/a", Body: make([]byte, 1<<20)})
	if s, _ := oic.StatusOf(err); s != oic.TooLarge {
		t.Errorf("a request of 1 MiB: %v", err)
	}
	_, err = client.Handle(t.Context(), &oic.Request{Href: "/a"})
	if s, _ := oic.StatusOf(err); s != oic.Internal || !strings.Contains(err.Error(), "too large") {
		t.Errorf("an answer of 1 MiB: %v", err)
	}
}

func BenchmarkHandle(b *testing.B) {
	far := &answers{resp: &oic.Response{Format: oic.OCF, Body: []byte{0xa1, 0x61, 0x61, 0x01}}}
	client := oiccoap.NewClient(connect(b, serving(far)))
	req := &oic.Request{Href: "/a/light"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Handle(b.Context(), req); err != nil {
			b.Fatal(err)
		}
	}
}
