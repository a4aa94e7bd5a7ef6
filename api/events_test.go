package api_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/farreach/farreach/oic"
)

func TestEvents(t *testing.T) {
	h := newHome(t)
	h.report("\xa1\x65value\xf4")
	h.report("not CBOR")
	h.report("")
	list := document(t, h.ask("GET", "/api/v1/events", h.as("home"), ""), 200)
	events := list["events"].([]any)
	if list["schema"] != "farreach.events/v1" || len(events) != 4 {
		t.Fatalf("events: %v", list)
	}
	first := events[0].(map[string]any)
	for key, want := range map[string]any{
		"schema": "farreach.event/v1", "account": "home", "di": lamp, "name": "lamp", "href": "/a/light",
	} {
		if first[key] != want {
			t.Errorf("event has %s %v, want %v", key, first[key], want)
		}
	}
	if rep := fmt.Sprint(first["rep"]); rep != "map[value:true]" {
		t.Errorf("rep %s", rep)
	}
	broken := events[2].(map[string]any)
	if broken["rep"] != nil || broken["format"] != "application/vnd.ocf+cbor" || broken["raw"] == nil {
		t.Errorf("what is not CBOR: %v", broken)
	}
	if empty := events[3].(map[string]any); empty["rep"] != nil || empty["raw"] != nil {
		t.Errorf("nothing: %v", empty)
	}

	seq := func(i int) int { return int(events[i].(map[string]any)["seq"].(float64)) }
	for query, want := range map[string][]int{
		"limit=2":                   {2, 3},
		"limit=2&from=1":            {0, 1},
		fmt.Sprint("from=", seq(2)): {2, 3},
		"device=" + lamp:            {0, 1, 2, 3},
		"device=" + strings.ToUpper(lamp) + "&href=/a/light": {0, 1, 2, 3},
		"device=other":                    {},
		"href=/a":                         {},
		"since=2999-01-01T00:00:00Z":      {},
		"since=" + first["time"].(string): {0, 1, 2, 3},
	} {
		doc := document(t, h.ask("GET", "/api/v1/events?"+query, h.as("home"), ""), 200)
		got := []int{}
		for _, e := range doc["events"].([]any) {
			got = append(got, int(e.(map[string]any)["seq"].(float64)))
		}
		wanted := []int{}
		for _, i := range want {
			wanted = append(wanted, seq(i))
		}
		if fmt.Sprint(got) != fmt.Sprint(wanted) {
			t.Errorf("%s gives %v, want %v", query, got, wanted)
		}
		if len(got) > 0 && doc["next"] != float64(got[len(got)-1]+1) {
			t.Errorf("%s: next is %v", query, doc["next"])
		}
	}
}

// TestEventsAreCut: large representations are paged by size.
func TestEventsAreCut(t *testing.T) {
	h := newHome(t)
	text := strings.Repeat("x", 60_000)
	body, err := oic.Encode(oic.OCF, []string{text, text, text, text})
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		h.report(string(body))
	}
	seen, next := 0, 1
	for pages := 1; ; pages++ {
		doc := document(t, h.ask("GET", fmt.Sprint("/api/v1/events?limit=1000&from=", next), h.as("home"), ""), 200)
		seen += len(doc["events"].([]any))
		if doc["more"] != true {
			if pages != 2 || seen != 51 {
				t.Errorf("%d events on %d pages", seen, pages)
			}
			return
		}
		next = int(doc["next"].(float64))
	}
}

// stream is one server-sent event.
type streamed struct{ id, kind, data string }

// nextEvent reads the next server-sent event.
func nextEvent(t *testing.T, in *bufio.Reader) (e streamed) {
	t.Helper()
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("stream: %v", err)
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch field {
		case "id":
			e.id = value
		case "event":
			e.kind = value
		case "data":
			e.data = value
		case "":
			if e != (streamed{}) {
				return e
			}
		}
	}
}

func (h *home) stream(query string, change ...func(*http.Request)) *bufio.Reader {
	h.t.Helper()
	resp := h.ask("GET", "/api/v1/events/stream"+query, h.as("home"), "", change...)
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		b, _ := io.ReadAll(resp.Body)
		h.t.Fatalf("stream: %d %s %s", resp.StatusCode, resp.Header.Get("Content-Type"), b)
	}
	return bufio.NewReader(resp.Body)
}

func TestStream(t *testing.T) {
	h := newHome(t)
	live := h.stream("") // what is reported after the answer has begun is not missed
	h.report("\xa1\x65value\xf4")
	e := nextEvent(t, live)
	var doc map[string]any
	if err := json.Unmarshal([]byte(e.data), &doc); err != nil {
		t.Fatal(err)
	}
	if doc["schema"] != "farreach.event/v1" || fmt.Sprint(doc["rep"]) != "map[value:false]" || doc["name"] != "lamp" || e.id != fmt.Sprint(doc["seq"]) || e.kind != "" {
		t.Errorf("streamed %+v", e)
	}

	// From the start, and then as a client that comes back.
	first := nextEvent(t, h.stream("?from=1"))
	if !strings.Contains(first.data, `"value":true`) {
		t.Errorf("from the start: %+v", first)
	}
	again := nextEvent(t, h.stream("?from=1", func(r *http.Request) { r.Header.Set("Last-Event-ID", first.id) }))
	if again != e {
		t.Errorf("after %s: %+v, want %+v", first.id, again, e)
	}

	// An event of another device is not for this filter.
	filtered := h.stream("?device=" + strings.Repeat("x", 36))
	h.report("\xa1\x65value\xf5")
	nextEvent(t, live)
	h.api.EndStreams()
	for _, in := range []*bufio.Reader{filtered, live} {
		if e := nextEvent(t, in); e.kind != "end" || !strings.Contains(e.data, "the server is stopping") {
			t.Errorf("at the end: %+v", e)
		}
		if _, err := in.ReadByte(); err != io.EOF {
			t.Errorf("after the end: %v", err)
		}
	}
}

// TestStreamLosesItsRight: rule 2.
func TestStreamLosesItsRight(t *testing.T) {
	h := newHome(t)
	in := h.stream("")
	who, err := h.cloud.Authenticate(t.Context(), h.lampPeer(), h.tokens["home"])
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := h.cloud.Tokens(t.Context(), who)
	if err != nil || len(tokens) != 1 {
		t.Fatal(tokens, err)
	}
	if err := h.cloud.RevokeToken(t.Context(), who, tokens[0].ID); err != nil {
		t.Fatal(err)
	}
	if e := nextEvent(t, in); e.kind != "end" {
		t.Errorf("streamed %+v", e)
	}
	if got := h.ask("GET", "/api/v1/events", h.as("home"), "").StatusCode; got != 401 {
		t.Errorf("a revoked token gets %d", got)
	}
}

// TestTooManyStreams: threats 3.5.
func TestTooManyStreams(t *testing.T) {
	h := newHome(t)
	for range 200 {
		h.stream("")
	}
	resp := h.ask("GET", "/api/v1/events/stream", h.as("home"), "")
	if p := document(t, resp, 429); !strings.Contains(fmt.Sprint(p["detail"]), "200 streams") {
		t.Errorf("problem %v", p)
	}
	if got := h.ask("GET", "/api/v1/devices", h.as("home"), "").StatusCode; got != 200 {
		t.Errorf("beside the streams: %d", got)
	}
}

// TestBad25: a client that takes nothing slows nobody down (the store keeps
// what it misses) and is not fed from memory.
func TestBad25(t *testing.T) {
	h := newHome(t)
	h.stream("?from=1") // nobody reads it
	live := h.stream("")
	text := strings.Repeat("x", 50_000)
	body, err := oic.Encode(oic.OCF, []string{text, text})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 { // 10 MB
		h.report(string(body))
		if e := nextEvent(t, live); len(e.data) < 100_000 {
			t.Fatalf("streamed %+v", e)
		}
	}
}
