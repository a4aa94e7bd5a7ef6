package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/farreach/farreach/store"
	"github.com/farreach/farreach/store/storetest"
)

// TestMessages: who is subscribed gets what is published, once and in order; a
// request has the first answer, and none at once if nobody is there.
func TestMessages(t *testing.T) {
	overEach(t, func(t *testing.T, s *store.Store) {
		got := make(chan string, 10)
		for range 2 {
			end, err := s.Subscribe(t.Context(), "farreach-test.all", func(m store.Message) { got <- string(m.Data) })
			if err != nil {
				t.Fatal(err)
			}
			defer end()
		}
		for _, text := range []string{"one", "two"} {
			if err := s.Publish("farreach-test.all", []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		seen := map[string]int{}
		for range 4 {
			seen[<-got]++
		}
		if seen["one"] != 2 || seen["two"] != 2 {
			t.Errorf("got %v", seen)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := s.Request(ctx, "farreach-test.ask", nil); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a request that nobody takes: %v, want ErrNotFound", err)
		}
		inbox := s.Inbox()
		end, err := s.Subscribe(ctx, inbox, func(m store.Message) {
			if err := s.Answer(m, append([]byte("you said "), m.Data...)); err != nil {
				t.Error(err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if answer, err := s.Request(ctx, inbox, []byte("hello")); err != nil || string(answer) != "you said hello" {
			t.Errorf("Request = %q, %v", answer, err)
		}
		end()
		if err := s.Publish("farreach-test.all", make([]byte, 2*store.MaxValue)); !errors.Is(err, store.ErrTooLarge) {
			t.Errorf("a message of 2 MiB: %v, want ErrTooLarge", err)
		}
	})
}

// TestRequestEndsWithTheConnection: who waits for an answer learns at once that
// it will not come.
func TestRequestEndsWithTheConnection(t *testing.T) {
	s := at(t, storetest.Server(t), 1)
	asked := make(chan struct{}, 1)
	end, err := s.Subscribe(t.Context(), "farreach-test.mute", func(store.Message) { asked <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	connected, closed := s.Connected(), make(chan struct{})
	go func() {
		defer close(closed)
		<-asked
		s.Close()
	}()
	if _, err := s.Request(t.Context(), "farreach-test.mute", nil); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a request whose connection was closed: %v, want ErrUnavailable", err)
	}
	<-connected.Done()
	<-closed
	if err := s.Publish("farreach-test.all", nil); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Publish of a closed store: %v, want ErrUnavailable", err)
	}
}
