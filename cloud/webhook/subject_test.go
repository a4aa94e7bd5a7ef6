package webhook

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
	"github.com/farreach/farreach/store/storetest"
)

// TestSubjectEmbedded: a store that has no port has nobody to ask there.
func TestSubjectEmbedded(t *testing.T) {
	w := open(t, true)
	_, err := w.Add(t.Context(), "home", "diagnosis", "nats:diagnosis")
	refused(t, "embedded", err, oic.BadRequest)
	if err == nil || !strings.Contains(err.Error(), "keeps its data itself") {
		t.Error(err)
	}
}

// TestSubject: a program at a subject of NATS answers what is asked, is told
// what a rule did, and is one of its account.
func TestSubject(t *testing.T) {
	s, err := store.Open(t.Context(), store.Config{URL: storetest.Server(t)})
	if err != nil {
		t.Fatal(err)
	}
	w, err := Open(t.Context(), Config{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close(); s.Close() })
	for _, bad := range []string{"nats:", "nats:a.*", "nats:>", "nats:a b", "nats:a..b", "nats:.a", "nats:$JS.API", "nats://127.0.0.1:4222", "nats:" + strings.Repeat("a", 201)} {
		_, err := w.Add(t.Context(), "home", "diagnosis", bad)
		refused(t, bad, err, oic.BadRequest)
	}
	for _, account := range []string{"home", "barn"} {
		if _, err := w.Add(t.Context(), account, "diagnosis", "nats:diagnosis.v1"); err != nil {
			t.Fatal(err)
		}
	}
	_, err = w.Call(t.Context(), "home", "diagnosis", "1", []byte("{}"))
	refused(t, "nobody is there", err, oic.BadGateway)
	told := make(chan string, 10)
	end, err := s.Subscribe(t.Context(), "farreach-service.home.diagnosis.v1", func(m store.Message) {
		told <- string(m.Data)
		switch string(m.Data) {
		case `"hang"`:
		case `"much"`:
			_ = s.Answer(m, make([]byte, maxBody+1))
		default:
			_ = s.Answer(m, []byte(`{"ok":true}`))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	answer, err := w.Call(t.Context(), "home", "diagnosis", "1", []byte(`{"a":1}`))
	if err != nil || answer.Status != 200 || string(answer.Body) != `{"ok":true}` || <-told != `{"a":1}` {
		t.Errorf("%+v, %v", answer, err)
	}
	_, err = w.Call(t.Context(), "home", "diagnosis", "1", []byte(`"much"`))
	refused(t, "much", err, oic.BadGateway)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = w.Call(ctx, "home", "diagnosis", "1", []byte(`"hang"`))
	refused(t, "hang", err, oic.GatewayTimeout)
	_, err = w.Call(t.Context(), "barn", "diagnosis", "1", []byte("{}"))
	refused(t, "the program of another account", err, oic.BadGateway)
	deliver(t, w)
	enqueue(t, w, "diagnosis", "a")
	until(t, "it is delivered", func() bool { return len(states(t, w, "diagnosis")[Delivered]) == 1 })
}

// TestOneCourier: of two processes with one store, one delivers; when it ends,
// the other goes on, also with what the first has not delivered.
func TestOneCourier(t *testing.T) {
	url := storetest.Server(t)
	join := func() *Webhooks {
		s, err := store.Open(t.Context(), store.Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		w, err := Open(t.Context(), Config{Store: s, Private: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { w.Close(); s.Close() })
		return w
	}
	first, second := join(), join()
	p := newProgram(t, first, "home", "pager")
	stop := deliver(t, first)
	enqueue(t, second, "pager", "a")
	until(t, "the first delivers", func() bool { return first.Counts().Delivered == 1 })
	deliver(t, second)
	p.answer(500)
	enqueue(t, second, "pager", "b")
	until(t, "an attempt of the first", func() bool { return first.Counts().Failed > 0 })
	stop()
	p.answer(200)
	enqueue(t, first, "pager", "c")
	until(t, "the second delivers", func() bool { return strings.Join(states(t, first, "pager")[Delivered], "") == "abc" })
	if n := second.Counts().Delivered; n != 2 {
		t.Errorf("the second has delivered %d", n)
	}
}
