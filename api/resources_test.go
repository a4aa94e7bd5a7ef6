package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/farreach/farreach/oic"
)

const light = "/api/v1/devices/" + lamp + "/resources/a/light"

// bulb is the lamp at the end of its session, without the wire.
type bulb struct {
	detach func()
	forget bool         // what it got
	silent atomic.Int64 // for how long, a time.Duration

	mu   sync.Mutex // guards what follows
	got  []oic.Request
	err  error // what it answers everything with
	body string
	news chan string
}

func (b *bulb) LastSeen() time.Time { return time.Now().Add(-time.Duration(b.silent.Load())) }
func (b *bulb) Close(string)        { b.detach() }

func (b *bulb) Handle(_ context.Context, req *oic.Request) (*oic.Response, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	got := *req
	got.Body = append([]byte(nil), req.Body...)
	if !b.forget {
		b.got = append(b.got, got)
	}
	resp := &oic.Response{Status: oic.Content, Format: oic.OCF, Body: []byte(b.body)}
	switch req.Op {
	case oic.Update, oic.Replace:
		resp.Status = oic.Changed
	case oic.Create:
		resp.Status, resp.Location = oic.Created, "/a/scene/7"
	case oic.Delete:
		resp.Status, resp.Body = oic.Deleted, nil
	}
	return resp, b.err
}

func (b *bulb) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	resp, err := b.Handle(ctx, req)
	if err != nil {
		return err
	}
	each(resp)
	for {
		select {
		case body := <-b.news:
			each(&oic.Response{Status: oic.Content, Format: oic.OCF, Body: []byte(body)})
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (b *bulb) last() oic.Request {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.got) == 0 {
		return oic.Request{}
	}
	return b.got[len(b.got)-1]
}

func (b *bulb) refuse(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

// plug connects the lamp.
func (h *home) plug() *bulb {
	h.t.Helper()
	b := &bulb{body: "\xa1\x65value\xf5", news: make(chan string)}
	detach, _, err := h.cloud.Attach(h.t.Context(), h.lamp, b)
	if err != nil {
		h.t.Fatal(err)
	}
	b.detach = detach
	return b
}

// TestResource: requests as the device gets them, and answers as the client
// does.
func TestResource(t *testing.T) {
	h := newHome(t)
	b := h.plug()
	for _, test := range []struct {
		method, path, body string
		op                 oic.Op
		href, cbor         string
		code               int
		status             string
	}{
		{"GET", light, "", oic.Retrieve, "/a/light", "", 200, "2.05"},
		{"GET", light + "?if=oic.if.baseline&timeout=3s&x=%20y", "", oic.Retrieve, "/a/light?if=oic.if.baseline&x=%20y", "", 200, "2.05"},
		{"GET", strings.Replace(light, "a/light", "%2Fa%2Flight", 1), "", oic.Retrieve, "/a/light", "", 200, "2.05"},
		{"GET", strings.Replace(light, "a/light", "a/dim%20light", 1), "", oic.Retrieve, "/a/dim%20light", "", 200, "2.05"},
		{"POST", light, `{"value":true}`, oic.Update, "/a/light", "\xa1\x65value\xf5", 200, "2.04"},
		{"PUT", light + "?queue=1h", `{"value":true}`, oic.Replace, "/a/light", "\xa1\x65value\xf5", 200, "2.04"},
		{"POST", light + "?if=oic.if.create", `{}`, oic.Create, "/a/light?if=oic.if.create", "\xa0", 201, "2.01"},
		{"DELETE", light, "", oic.Delete, "/a/light", "", 200, "2.02"},
		{"POST", light, "", oic.Update, "/a/light", "", 200, "2.04"},
	} {
		resp := h.ask(test.method, test.path, h.as("home"), test.body)
		doc := document(t, resp, test.code)
		got := b.last()
		if got.Op != test.op || got.Href != test.href || string(got.Body) != test.cbor || got.Accept != oic.OCF || got.From.Account != "home" {
			t.Errorf("%s %s: the device got %+v", test.method, test.path, got)
		}
		if doc["schema"] != "farreach.resource/v1" || doc["status"] != test.status || doc["di"] != lamp || doc["href"] != test.href {
			t.Errorf("%s %s: %v", test.method, test.path, doc)
		}
		if rep, ok := doc["rep"].(map[string]any); test.op != oic.Delete && (!ok || rep["value"] != true) {
			t.Errorf("%s %s: rep %v", test.method, test.path, doc["rep"])
		}
		if _, is := doc["command"]; is != (test.op != oic.Retrieve) {
			t.Errorf("%s %s: command %v", test.method, test.path, doc["command"])
		}
		if where := resp.Header.Get("Location"); test.op == oic.Create && where != "/api/v1/devices/"+lamp+"/resources/a/scene/7" {
			t.Errorf("Location: %s", where)
		}
	}
}

// TestResourceCBOR: a body that is CBOR goes to the device as it is.
func TestResourceCBOR(t *testing.T) {
	h := newHome(t)
	b := h.plug()
	for media, want := range map[string]struct {
		code   int
		format oic.ContentFormat
	}{
		"application/cbor": {200, oic.CBOR}, "application/vnd.ocf+cbor": {200, oic.OCF}, "text/plain": {415, 0}, "a/b/c": {415, 0},
	} {
		resp := h.ask("POST", light, h.as("home"), "\xa1\x65value\xf4", func(r *http.Request) { r.Header.Set("Content-Type", media) })
		document(t, resp, want.code)
		if got := b.last(); want.code == 200 && (got.Format != want.format || string(got.Body) != "\xa1\x65value\xf4") {
			t.Errorf("%s: the device got %+v", media, got)
		}
	}
}

// TestBadResource: what is wrong with a request is said, and the device does
// not hear of it.
func TestBadResource(t *testing.T) {
	h := newHome(t)
	b := h.plug()
	deep := strings.Repeat("[", 40) + strings.Repeat("]", 40)
	for _, test := range []struct {
		method, path, body string
		code               int
		detail             string
	}{
		{"POST", light, `{"value":tru}`, 400, "body: "},
		{"POST", light, deep, 400, "body: "},
		{"POST", light, `{"a":1,"a":2}`, 400, "body: "},
		{"POST", light, `"` + strings.Repeat("x", 1<<20) + `"`, 413, ""},
		{"POST", light + "?queue=2h", `{}`, 400, "queue: a time up to 1h0m0s, as 30s"},
		{"POST", light + "?queue=soon", `{}`, 400, "queue: "},
		{"GET", light + "?timeout=-1s", "", 400, "timeout: a time up to 55s, as 30s"},
		{"GET", light + "?timeout=1h", "", 400, "timeout: "},
		{"GET", strings.Replace(light, "a/light", "oic%2Fsec%2Fdoxm", 1), "", 403, "not allowed"},
		{"POST", strings.Replace(light, "a/light", "oic/sec/doxm", 1), "{}", 403, "not allowed"},
		{"GET", strings.Replace(light, "a/light", "a/%252e%252e/x", 1), "", 400, "not the path of a resource"},
		{"GET", strings.Replace(light, lamp, "22222222-1111-4111-8111-111111111111", 1), "", 404, "no such device"},
		{"GET", light + "x?cached", "", 404, "the device has reported nothing of /a/lightx"},
	} {
		doc := document(t, h.ask(test.method, test.path, h.as("home"), test.body), test.code)
		if detail, _ := doc["detail"].(string); !strings.HasPrefix(detail, test.detail) {
			t.Errorf("%s %s %.40s: %v", test.method, test.path, test.body, doc)
		}
	}
	if got := b.last(); got.Href != "" {
		t.Errorf("the device got %+v", got)
	}
}

// TestDeviceRefuses: the device's refusals in HTTP.
func TestDeviceRefuses(t *testing.T) {
	h := newHome(t)
	b := h.plug()
	for _, test := range []struct {
		err  error
		code int
		said string // the device's code
	}{
		{oic.Errorf(oic.Unauthorized, "who are you"), 403, "4.01"},
		{oic.Errorf(oic.BadOption, ""), 400, "4.02"},
		{oic.Errorf(oic.NotFound, "no such light"), 404, "4.04"},
		{oic.Errorf(oic.MethodNotAllowed, ""), 405, "4.05"},
		{oic.Errorf(oic.Internal, "burnt out"), 502, "5.00"},
		{oic.Errorf(oic.Unavailable, "busy"), 503, "5.03"},
		{context.DeadlineExceeded, 504, ""},
		{errors.New("a secret of ours"), 500, ""},
	} {
		b.refuse(test.err)
		for _, method := range []string{"GET", "POST", "DELETE"} {
			resp := h.ask(method, light, h.as("home"), "")
			doc := document(t, resp, test.code)
			if code, _ := doc["code"].(string); code != test.said || resp.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s, %v: %v", method, test.err, doc)
			}
			refusal, _ := errors.AsType[*oic.StatusError](test.err)
			if detail := doc["detail"].(string); refusal != nil && !strings.HasSuffix(detail, refusal.Diag) || strings.Contains(detail, "secret") {
				t.Errorf("%s, %v: %v", method, test.err, doc)
			}
			if id, _ := doc["command"].(string); (id != "") != (method != "GET") {
				t.Errorf("%s, %v: %v", method, test.err, doc)
			}
		}
	}
}

// TestOfflineResource: a device that is away is told since when, its last state
// can be had, and a command may wait.
func TestOfflineResource(t *testing.T) {
	h := newHome(t)
	h.plug().detach()
	resp := h.ask("GET", light, h.as("home"), "")
	doc := document(t, resp, 503)
	since, err := time.Parse(time.RFC3339Nano, doc["since"].(string))
	if err != nil || time.Since(since) > time.Minute || doc["state"] != "offline" || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%v", doc)
	}
	doc = document(t, h.ask("POST", light, h.as("home"), "{}"), 503)
	failed := document(t, h.ask("GET", "/api/v1/commands/"+doc["command"].(string), h.as("home"), ""), 200)
	if failed["state"] != "failed" || !strings.HasPrefix(failed["why"].(string), "device offline since") {
		t.Errorf("%v", failed)
	}
	doc = document(t, h.ask("GET", light+"?cached", h.as("home"), ""), 200)
	if doc["rep"].(map[string]any)["value"] != true || doc["seq"] == 0.0 || doc["age_s"] == 0.0 {
		t.Errorf("%v", doc)
	}
	resp = h.ask("POST", light+"?queue=1h", h.as("home"), `{"value":false}`)
	doc = document(t, resp, 202)
	if doc["schema"] != "farreach.command/v1" || doc["state"] != "queued" || resp.Header.Get("Location") != "/api/v1/commands/"+doc["id"].(string) {
		t.Errorf("%v", doc)
	}
	b := h.plug()
	for end := time.Now().Add(time.Minute); string(b.last().Body) != "\xa1\x65value\xf4"; {
		if time.Now().After(end) {
			t.Fatalf("the device got %+v", b.last())
		}
		<-time.After(time.Millisecond)
	}
}

// TestObserveResource: a stream of what a resource is.
func TestObserveResource(t *testing.T) {
	h := newHome(t)
	b := h.plug()
	for _, path := range []string{light, strings.Replace(light, "light", "hidden", 1)} { // from the log, and from the device
		resp := h.ask("GET", path+"?observe", h.as("home"), "")
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("%s: %d %v", path, resp.StatusCode, resp.Header)
		}
		lines := bufio.NewScanner(resp.Body)
		next := func() (rep map[string]any) {
			for lines.Scan() {
				if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
					var doc map[string]any
					if err := json.Unmarshal([]byte(data), &doc); err != nil || doc["schema"] != "farreach.resource/v1" {
						t.Fatalf("%v in %s", err, data)
					}
					return doc["rep"].(map[string]any)
				}
			}
			t.Fatalf("%s: the stream has ended: %v", path, lines.Err())
			return nil
		}
		if rep := next(); rep["value"] != true {
			t.Errorf("%s: %v", path, rep)
		}
		if path == light {
			h.report("\xa1\x65value\xf4")
		} else {
			b.news <- "\xa1\x65value\xf4"
		}
		if rep := next(); rep["value"] != false {
			t.Errorf("%s: %v", path, rep)
		}
		resp.Body.Close()
	}
	b.refuse(oic.Errorf(oic.NotFound, "no such light"))
	if doc := document(t, h.ask("GET", strings.Replace(light, "light", "none", 1)+"?observe", h.as("home"), ""), 404); doc["code"] != "4.04" {
		t.Errorf("%v", doc)
	}
}
