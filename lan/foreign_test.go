package lan

import (
	"context"
	"fmt"
	"testing"

	"github.com/farreach/farreach/oic"
)

// echo answers with what it is asked, and notes it.
type echo struct {
	asked  oic.Request
	answer oic.Response
}

func (e *echo) Handle(_ context.Context, req *oic.Request) (*oic.Response, error) {
	e.asked = *req
	return &e.answer, nil
}

func (e *echo) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	e.asked = *req
	each(&e.answer)
	<-ctx.Done()
	return ctx.Err()
}

// What a server says that knows nothing of OIC is a representation all the same,
// and a text is written to it as a text.
func TestForeign(t *testing.T) {
	cbor := func(text string) []byte {
		b, err := oic.FromJSON(oic.OCF, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, c := range []struct {
		name   string
		format oic.ContentFormat
		body   []byte
		want   string
	}{
		{"no format", oic.NoFormat, []byte("Nov 22"), `"Nov 22"`},
		{"a text that could be CBOR", oic.NoFormat, []byte("N"), `"N"`},
		{"text/plain", oic.Text, []byte("on"), `"on"`},
		{"links", 40, []byte("</time>"), `"</time>"`},
		{"bytes", 42, []byte{0xff, 0xfe}, `"__4"`},
		{"JSON", oic.JSON, []byte(`{"value":1}`), `{"value":1}`},
		{"CBOR", oic.CBOR, cbor(`{"value":1}`), `{"value":1}`},
		{"nothing", oic.NoFormat, nil, ""},
	} {
		far := &echo{answer: oic.Response{Status: oic.Content, Format: c.format, Body: c.body}}
		resp, err := foreign{far}.Handle(t.Context(), &oic.Request{Href: "/time", Accept: oic.OCF})
		if err != nil {
			t.Fatal(err)
		}
		text := resp.Body
		if resp.Format.IsCBOR() {
			text, err = oic.ToJSON(resp.Format, resp.Body)
		}
		if err != nil || string(text) != c.want {
			t.Errorf("%s is %s, %v; want %s", c.name, text, err, c.want)
		}
		if far.asked.Accept != oic.NoFormat {
			t.Errorf("%s: it was asked for %v", c.name, far.asked.Accept)
		}
		ctx, cancel := context.WithCancel(t.Context())
		err = foreign{far}.Observe(ctx, &oic.Request{Href: "/time"}, func(told *oic.Response) {
			if string(told.Body) != string(resp.Body) || told.Format != resp.Format {
				t.Errorf("%s was told as %v %q", c.name, told.Format, told.Body)
			}
			cancel()
		})
		if err != context.Canceled {
			t.Errorf("Observe = %v", err)
		}
	}
	for body, want := range map[string]string{`"on"`: "text/plain on", `{"value":1}`: "application/vnd.ocf+cbor " + string(cbor(`{"value":1}`)), ``: "application/vnd.ocf+cbor "} {
		far := &echo{answer: oic.Response{Status: oic.Changed}}
		req := &oic.Request{Op: oic.Replace, Href: "/a", Format: oic.OCF}
		if body != "" {
			req.Body = cbor(body)
		}
		if _, err := (foreign{far}).Handle(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%v %s", far.asked.Format, far.asked.Body); got != want {
			t.Errorf("%s was written as %q, want %q", body, got, want)
		}
	}
	if _, err := (foreign{&echo{}}).Handle(t.Context(), &oic.Request{Op: oic.Replace, Href: "/a", Body: []byte{0xff}}); err == nil {
		t.Error("no CBOR was written")
	}
}
