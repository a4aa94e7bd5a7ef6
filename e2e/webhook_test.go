package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/oic"
)

// listener is a program of the account's owner, which is away at first.
type listener struct {
	*httptest.Server

	mu    sync.Mutex // guards what follows
	there bool
	asked int
	told  map[string]hookTold // by webhook-id
}

// hookTold is what a rule told the program.
type hookTold struct {
	Schema string
	ID     string
	Rule   struct {
		Name     string
		Revision int
	}
	Event struct {
		Seq  uint64
		Name string
		Href string
		Rep  struct{ Open bool }
	}
}

func newListener(t *testing.T) *listener {
	l := &listener{told: map[string]hookTold{}}
	l.Server = httptest.NewServer(l)
	t.Cleanup(l.Close)
	return l
}

func (l *listener) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	if r.URL.Path == "/diagnosis" {
		_, _ = io.WriteString(rw, `{"battery":"low"}`)
		return
	}
	if !l.there {
		panic(http.ErrAbortHandler) // the connection ends without a word
	}
	var what hookTold
	if err := json.Unmarshal(b, &what); err != nil || !strings.HasPrefix(r.Header.Get("webhook-signature"), "v1,") {
		rw.WriteHeader(http.StatusBadRequest)
		return
	}
	l.told[r.Header.Get("webhook-id")] = what
}

func (l *listener) got() (asked int, all map[string]hookTold) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked, maps.Clone(l.told)
}

// delivered is a delivery as the API tells it.
type delivered struct {
	ID, State string
	Attempts  int
}

// TestWebhook: a device asks for a service and is answered by a program. A rule
// tells a program that is away; the server is killed a moment after the event,
// three times, and when the program is there it is told each firing, which is
// known as delivered once.
func TestWebhook(t *testing.T) {
	t.Parallel()
	const rounds = 3
	l := newListener(t)
	c := newChild(t, "--private-webhooks")
	c.start()
	for name, path := range map[string]string{"diagnosis": "/diagnosis", "pager": "/"} {
		if _, err := c.farreach("webhook", "add", name, l.URL+path); err != nil {
			t.Fatal(err)
		}
	}
	door := joinDoor(t, c)
	for round := range rounds {
		openDoor(t, c, door, round)
		if round == 0 {
			within(t, patience, func() bool {
				list := deliveries(t, c, "")
				return len(list) == 1 && list[0].State == "waiting" && list[0].Attempts > 0
			})
		}
		timer := time.NewTimer(rand.N(5 * time.Millisecond))
		<-timer.C
		c.kill()
		c.start()
	}
	l.mu.Lock()
	l.there = true
	l.mu.Unlock()
	if _, err := c.farreach("webhook", "retry", "pager"); err != nil {
		t.Fatal(err)
	}
	within(t, patience, func() bool { return len(deliveries(t, c, "delivered")) == rounds })
	settled(t, c, l, rounds)
}

// joinDoor makes a door that asks for a service, and a rule that tells the pager
// when it opens.
func joinDoor(t *testing.T, c *child) *member {
	t.Helper()
	ctx := t.Context()
	code, err := c.code(ctx)
	if err != nil {
		t.Fatal(err)
	}
	link, door := c.link(), &member{di: uuid.NewString()}
	door.grant, err = link.SignUp(ctx, cloudlink.SignUp{Device: door.di, Code: code})
	if err == nil {
		err = signIn(ctx, link, door.grant.Account, door.di, door.grant.Access)
	}
	if err == nil {
		_, err = link.Publish(ctx, cloudlink.Publication{Device: door.di, Name: "door", Links: []oic.Link{{Href: "/a/door", Types: []string{"oic.r.door"}}}})
	}
	if err != nil {
		t.Fatal(err)
	}
	resp, err := link.Device("svc").Handle(ctx, &oic.Request{Op: oic.Update, Href: "/diagnosis", Format: oic.OCF, Body: []byte{0xa0}})
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := oic.ToJSON(resp.Format, resp.Body); err != nil || string(answer) != `{"battery":"low"}` {
		t.Errorf("the service answered %s, %v", answer, err)
	}
	if err := c.call(ctx, http.MethodPost, "/rules", map[string]any{
		"name": "pager-at-the-door", "when": map[string]any{"event": map[string]any{"device": "door", "href": "/a/door", "if": "event.open"}},
		"then": []any{map[string]any{"webhook": map[string]any{"name": "pager"}}},
	}, nil); err != nil {
		t.Fatal(err)
	}
	return door
}

// openDoor has the door closed and opened.
func openDoor(t *testing.T, c *child, door *member, round int) {
	t.Helper()
	ctx, link := t.Context(), c.link()
	if err := signIn(ctx, link, door.grant.Account, door.di, door.grant.Access); err != nil {
		t.Fatal(err)
	}
	for _, open := range []bool{false, true} {
		body, err := oic.FromJSON(oic.OCF, fmt.Appendf(nil, `{"open":%v}`, open))
		if err == nil {
			err = link.Report(ctx, "/a/door", &oic.Response{Format: oic.OCF, Body: body})
		}
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
}

func deliveries(t *testing.T, c *child, state string) []delivered {
	t.Helper()
	var doc struct{ Deliveries []delivered }
	path := "/webhooks/pager/deliveries?limit=100"
	if state != "" {
		path += "&state=" + state
	}
	if err := c.call(context.WithoutCancel(t.Context()), http.MethodGet, path, nil, &doc); err != nil {
		t.Fatal(err)
	}
	return doc.Deliveries
}

// settled compares what the program was told with what the server knows of it.
func settled(t *testing.T, c *child, l *listener, rounds int) {
	t.Helper()
	var runs struct {
		Runs []struct {
			Event uint64
			Do    []struct{ Webhook, Delivery, State string }
		}
	}
	if err := c.call(t.Context(), http.MethodGet, "/runs", nil, &runs); err != nil {
		t.Fatal(err)
	}
	asked, got := l.got()
	if len(got) != rounds || len(deliveries(t, c, "")) != rounds || len(runs.Runs) != rounds {
		t.Errorf("%d firings, %d deliveries; the program knows of %d", len(runs.Runs), len(deliveries(t, c, "")), len(got))
	}
	for _, r := range runs.Runs {
		what, ok := got[r.Do[0].Delivery]
		if !ok || r.Do[0].State != "delivered" || what.ID != r.Do[0].Delivery || what.Event.Seq != r.Event || !what.Event.Rep.Open ||
			what.Event.Name != "door" || what.Rule.Name != "pager-at-the-door" || what.Schema != "farreach.firing/v1" {
			t.Errorf("%+v: the program was told %+v", r, what)
		}
	}
	ids := slices.Sorted(maps.Keys(got))
	text, err := c.farreach("webhook", "deliveries", "pager")
	if err != nil || strings.Count(string(text), "\tdelivered\t") != rounds {
		t.Errorf("%s, %v", text, err)
	}
	if text, err := c.farreach("webhook", "show", "pager", ids[0][len(ids[0])-12:]); err != nil || !strings.Contains(string(text), `"farreach.firing/v1"`) {
		t.Errorf("%s, %v", text, err)
	}
	if text, err := c.farreach("webhook", "why", "pager", ids[0]); err != nil ||
		!strings.Contains(string(text), "told by rule pager-at-the-door, revision 1, delivered") || !strings.Contains(string(text), "door/a/door\t{\"open\":true}") {
		t.Errorf("%s, %v", text, err)
	}
	if text, err := c.farreach("rule", "test", "pager-at-the-door", "--json"); err != nil || strings.Count(string(text), `"webhook":"pager"`) != rounds {
		t.Errorf("%s, %v", text, err)
	}
	t.Logf("%d openings, asked %d times in all", rounds, asked)
}
