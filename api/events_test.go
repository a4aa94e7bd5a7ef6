package api_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/cloud/event"
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
		"limit=2&order=asc":         {0, 1},
		"limit=2&order=desc":        {3, 2},
		fmt.Sprint("from=", seq(2)): {2, 3},
		"device=" + lamp:            {0, 1, 2, 3},
		"device=" + strings.ToUpper(lamp) + "&href=/a/light": {0, 1, 2, 3},
		"device=" + lamp + "&href=/a":                        {},
		"href=/a":                                            {},
		"since=2999-01-01T00:00:00Z":                         {},
		"since=" + first["time"].(string):                    {0, 1, 2, 3},
		"until=" + first["time"].(string):                    {},
		"until=2999-01-01T00:00:00Z":                         {0, 1, 2, 3},
	} {
		got, next := h.events(query)
		wanted := []int{}
		for _, i := range want {
			wanted = append(wanted, seq(i))
		}
		if fmt.Sprint(got) != fmt.Sprint(wanted) {
			t.Errorf("%s gives %v, want %v", query, got, wanted)
		}
		if more := strings.HasPrefix(query, "limit"); (next != "") != more {
			t.Errorf("%s: next is %q", query, next)
		}
	}
	if p := document(t, h.ask("GET", "/api/v1/events?cursor=x", h.as("home"), ""), 400); p["detail"] == nil {
		t.Errorf("problem %v", p)
	}
}

// events asks for one page.
func (h *home) events(query string) (seqs []int, next string) {
	h.t.Helper()
	doc := document(h.t, h.ask("GET", "/api/v1/events?"+query, h.as("home"), ""), 200)
	seqs = []int{}
	for _, e := range doc["events"].([]any) {
		seqs = append(seqs, int(e.(map[string]any)["seq"].(float64)))
	}
	next, _ = doc["next"].(string)
	return seqs, next
}

// TestEventPages: by its cursor, page by page, everything comes once.
func TestEventPages(t *testing.T) {
	h := newHome(t) // has reported once
	for i := range 24 {
		h.report(string([]byte{byte(i)}))
	}
	for order, at := range map[string]func(page, i, n int) int{
		"order=asc":  func(page, i, _ int) int { return 10*page + i },
		"from=1":     func(page, i, _ int) int { return 10*page + i },
		"order=desc": func(page, i, _ int) int { return 24 - 10*page - i },
		"device=":    func(page, i, n int) int { return 25 - 10*page - n + i },
	} {
		next, first, seen := "", 0, 0
		for page := 0; page == 0 || next != ""; page++ {
			var seqs []int
			seqs, next = h.events("limit=10&" + order + "&cursor=" + next)
			if page == 0 {
				first = seqs[0] - at(0, 0, len(seqs))
			}
			for i, seq := range seqs {
				if want := first + at(page, i, len(seqs)); seq != want {
					t.Errorf("%s, page %d: event %d, want %d", order, page, seq, want)
				}
			}
			seen += len(seqs)
		}
		if seen != 25 {
			t.Errorf("%s: %d events", order, seen)
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
	for _, order := range []string{"asc", "desc"} {
		seen, pages, next := 0, 0, ""
		for pages == 0 || next != "" {
			var seqs []int
			seqs, next = h.events("limit=1000&order=" + order + "&cursor=" + next)
			seen += len(seqs)
			pages++
		}
		if pages != 3 || seen != 51 {
			t.Errorf("%s: %d events on %d pages", order, seen, pages)
		}
	}
}

// history adds n temperatures of the lamp, one of each minute up to now.
func (h *home) history(n int) (start time.Time) {
	h.t.Helper()
	e, err := event.Open(h.t.Context(), h.store, event.Config{})
	if err != nil {
		h.t.Fatal(err)
	}
	defer e.Close()
	start = time.Now().Add(-time.Duration(n) * time.Minute).UTC()
	some := make([]event.Event, 0, n)
	for i := range n {
		body, err := oic.Encode(oic.OCF, map[string]any{"temperature": float64(i)})
		if err != nil {
			h.t.Fatal(err)
		}
		some = append(some, event.Event{Account: "home", Device: lamp, Href: "/a/light", Format: oic.OCF, Body: body, Time: start.Add(time.Duration(i) * time.Minute)})
	}
	for part := range slices.Chunk(some, 500) { // what is given to the store together is to be answered in 5 s
		if errs := e.AppendAll(h.t.Context(), part); errs != nil {
			h.t.Fatal(errs)
		}
	}
	return start
}

// streamed is one server-sent event.
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
	return h.streamOf("/api/v1/events/stream"+query, change...)
}

func (h *home) streamOf(path string, change ...func(*http.Request)) *bufio.Reader {
	h.t.Helper()
	resp := h.ask("GET", path, h.as("home"), "", change...)
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
	filtered := h.stream("?device=rule:night")
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

// TestStreamOfStates: a client that was away for long is given states, and told
// how many events they stand for, unless it wants every event.
func TestStreamOfStates(t *testing.T) {
	h := newHome(t)
	const n = 9000
	live := h.stream("?every=true")
	h.history(n)
	for range n {
		nextEvent(t, live)
	}
	in := h.stream("?from=1")
	last := nextEvent(t, in)
	merged := nextEvent(t, in)
	if merged.kind != "merged" || merged.data != fmt.Sprintf(`{"schema":"farreach.merged/v1","events":%d}`, n) || merged.id != "" {
		t.Errorf("streamed %+v, then %+v", last, merged)
	}
	every := h.stream("?every=true&from=1")
	for i := range n + 1 {
		if e := nextEvent(t, every); e.kind != "" || i == n && e != last {
			t.Fatalf("event %d is %+v, the last %+v", i, e, last)
		}
	}
}

// TestManyStreams: streams that nobody reads, as many as there may be, make no
// event wait, and cost no memory for each event.
func TestManyStreams(t *testing.T) {
	h := newHome(t)
	for range 199 {
		h.stream("?from=1") // nobody reads them
	}
	body, err := oic.Encode(oic.OCF, map[string]any{"text": strings.Repeat("x", 20_000)})
	if err != nil {
		t.Fatal(err)
	}
	live := h.stream("")
	memory := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := memory()
	const n = 50
	for range n { // each comes, though nobody else takes it
		h.report(string(body))
		nextEvent(t, live)
	}
	if more := int64(memory()) - int64(before); more > 200*(1<<20) {
		t.Errorf("%d MiB more are in use", more>>20)
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
