package command_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/cloud/command"
	"github.com/farreach/farreach/oic"
)

// TestQueue: what waits is delivered when the device is back, in order and
// once, also by a server that was started again meanwhile.
func TestQueue(t *testing.T) {
	h := newHouse(t)
	h.go_()
	var last command.Command
	for _, body := range []string{"1", "2", "3", "4"} {
		last = h.queue(body, time.Hour)
	}
	h.Arrived(lamp) // it is not there
	h.close()
	h.open()
	if list, err := h.List(t.Context(), command.Filter{Account: "home", State: command.Queued}); err != nil || len(list) != 4 {
		t.Fatalf("%d wait, %v", len(list), err)
	}
	h.come()
	cmd := h.becomes(last.ID, command.Done)
	h.come()
	h.close()
	h.open()
	h.come()
	if err := h.Behind(t.Context(), lamp); err != nil {
		t.Fatal(err)
	}
	if got := h.sent(); !slices.Equal(got, []string{"1", "2", "3", "4"}) {
		t.Errorf("the lamp was sent %q", got)
	}
	if cmd.Sent.Before(cmd.Made) || cmd.Status != oic.Changed || cmd.By.Name != "phone" {
		t.Errorf("%+v", cmd)
	}
}

// TestQueueIsBounded: threats, section 3.4.
func TestQueueIsBounded(t *testing.T) {
	h := newHouse(t)
	h.go_()
	for range 16 {
		h.queue("1", time.Hour)
	}
	_, err := h.Queue(t.Context(), to(lamp), update("1"), ann, time.Hour)
	if status, _ := oic.StatusOf(err); status != oic.Unavailable {
		t.Errorf("the 17th: %v", err)
	}
	if _, err := h.Queue(t.Context(), to(door), update("1"), ann, time.Hour); err != nil {
		t.Errorf("for another device: %v", err)
	}
	for _, wait := range []time.Duration{0, -1, time.Hour + 1} {
		_, err := h.Queue(t.Context(), to(door), update("1"), ann, wait)
		if status, _ := oic.StatusOf(err); status != oic.BadRequest {
			t.Errorf("to wait for %v: %v", wait, err)
		}
	}
}

// TestQueueEnds: one that waits expires, is cancelled, or ends with the right
// of who asked, and is not sent afterwards.
func TestQueueEnds(t *testing.T) {
	h := newHouse(t)
	h.go_()
	late := h.queue("late", 50*time.Millisecond)
	back := h.queue("back", time.Hour)
	if got, err := h.Cancel(t.Context(), "home", back.ID, "by ann"); err != nil || got.State != command.Cancelled || got.Why != "by ann" {
		t.Errorf("%+v, %v", got, err)
	}
	h.becomes(late.ID, command.Expired)
	for _, id := range []string{back.ID, late.ID} {
		_, err := h.Cancel(t.Context(), "home", id, "by ann")
		if status, _ := oic.StatusOf(err); status != oic.Conflict {
			t.Errorf("cancelled again: %v", err)
		}
	}
	_, err := h.Cancel(t.Context(), "barn", back.ID, "by a stranger")
	if status, _ := oic.StatusOf(err); status != oic.NotFound {
		t.Errorf("cancelled by another account: %v", err)
	}
	lost := h.queue("lost", time.Hour)
	h.deny()
	cmd := h.becomes(lost.ID, command.Cancelled)
	if cmd.Why != "who asked lost the right: the login no longer holds" {
		t.Errorf("%+v", cmd)
	}
	denied := h.queue("denied", time.Hour)
	h.becomes(denied.ID, command.Cancelled)
	h.come()
	if err := h.Behind(t.Context(), lamp); err != nil || len(h.sent()) > 0 {
		t.Errorf("the lamp was sent %q; %v", h.sent(), err)
	}
}

// TestRightLostWhileDown: who has lost his right while no server ran has lost
// what waits.
func TestRightLostWhileDown(t *testing.T) {
	h := newHouse(t)
	h.go_()
	cmd := h.queue("1", time.Hour)
	h.close()
	h.denied = oic.Errorf(oic.NotFound, "no such device")
	h.away = false
	h.open()
	h.becomes(cmd.ID, command.Cancelled)
	if len(h.sent()) > 0 {
		t.Errorf("the lamp was sent %q", h.sent())
	}
}

// TestNotSent: what was certainly not sent waits again, what was sent perhaps
// is not sent again.
func TestNotSent(t *testing.T) {
	h := newHouse(t)
	h.go_()
	cmd := h.queue("1", time.Hour)
	tries := 0
	h.handle = func(context.Context, *oic.Request) (*oic.Response, error) {
		if tries++; tries == 1 {
			return nil, errors.Join(errAway, oic.ErrNotSent)
		}
		return nil, errAway
	}
	h.come()
	if got := h.becomes(cmd.ID, command.Failed); got.Why != "device offline" {
		t.Errorf("%+v", got)
	}
	if tries != 2 {
		t.Errorf("sent %d times", tries)
	}
}

// TestGone: a command whose device goes before it is sent waits, if it has time for
// that, and is sent once; one that may have been sent is not sent again.
func TestGone(t *testing.T) {
	unsent := errors.Join(errAway, oic.ErrNotSent)
	for _, test := range []struct {
		name string
		keep time.Duration
		err  error
		body string
		want command.State
	}{
		{"not sent", time.Hour, unsent, "1", command.Queued},
		{"not sent, and has no time", 0, unsent, "1", command.Failed},
		{"not sent, and too long to be kept", time.Hour, unsent, strings.Repeat("1", 17<<10), command.Failed},
		{"not sent, by a device that is there", time.Hour, errors.Join(oic.Errorf(oic.TooLarge, "no"), oic.ErrNotSent), "1", command.Refused},
		{"sent perhaps", time.Hour, errAway, "1", command.Failed},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHouse(t)
			cmd := to(lamp)
			cmd.Keep = test.keep
			req := update(test.body)
			req.From = ann
			cmd, resp, err := h.Do(t.Context(), cmd, req, oic.HandlerFunc(func(context.Context, *oic.Request) (*oic.Response, error) {
				h.go_()
				return nil, test.err
			}))
			if cmd.State != test.want || resp != nil || (err == nil) != (test.want == command.Queued) {
				t.Fatalf("%+v, %v, %v", cmd, resp, err)
			}
			h.becomes(cmd.ID, test.want)
			h.queue("2", time.Hour)
			h.come()
			if err := h.Behind(t.Context(), lamp); err != nil {
				t.Fatal(err)
			}
			want := []string{"2"}
			if test.want == command.Queued {
				want = []string{"1", "2"}
				if got := h.becomes(cmd.ID, command.Done); !got.Expires.Equal(got.Made.Add(time.Hour)) {
					t.Errorf("%+v", got)
				}
			}
			if got := h.sent(); !slices.Equal(got, want) {
				t.Errorf("the lamp was sent %q", got)
			}
		})
	}
}

// TestKilled: of a command that was on its way when the server ended nobody
// knows, and it is not sent again; those behind it are.
func TestKilled(t *testing.T) {
	h := newHouse(t)
	h.go_()
	first, second := h.queue("1", time.Hour), h.queue("2", time.Hour)
	asked, killed := make(chan bool), make(chan bool)
	h.handle = func(ctx context.Context, req *oic.Request) (*oic.Response, error) {
		if string(req.Body) == "1" {
			close(asked)
			<-killed
			h.store.Close() // so that the outcome is not kept
		}
		return &oic.Response{Status: oic.Changed}, nil
	}
	h.come()
	<-asked
	if got := h.becomes(first.ID, command.Sent); got.Sent.IsZero() {
		t.Errorf("%+v", got)
	}
	_, err := h.Cancel(t.Context(), "home", first.ID, "by ann")
	if status, _ := oic.StatusOf(err); status != oic.Conflict {
		t.Errorf("cancelled: %v", err)
	}
	close(killed)
	h.close()
	h.open()
	if got := h.becomes(first.ID, command.Unknown); got.Why == "" {
		t.Errorf("%+v", got)
	}
	h.becomes(second.ID, command.Done)
	if got := h.sent(); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("the lamp was sent %q", got)
	}
}

// TestBehind: a command for a device that has just come back does not overtake
// those that have waited.
func TestBehind(t *testing.T) {
	h := newHouse(t)
	h.go_()
	h.queue("1", time.Hour)
	h.queue("2", time.Hour)
	if err := h.Behind(t.Context(), door); err != nil { // nothing waits for that one
		t.Fatal(err)
	}
	h.come()
	if err := h.Behind(t.Context(), lamp); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.Do(t.Context(), to(lamp), update("3"), oic.HandlerFunc(h.lamp)); err != nil {
		t.Fatal(err)
	}
	if got := h.sent(); !slices.Equal(got, []string{"1", "2", "3"}) {
		t.Errorf("the lamp was sent %q", got)
	}
}

// TestLeave: when the server stops, a command that the device has is answered and
// kept, and those behind it wait for the next.
func TestLeave(t *testing.T) {
	h := newHouse(t)
	h.go_()
	first, second := h.queue("1", time.Hour), h.queue("2", time.Hour)
	asked, answer := make(chan bool, 2), make(chan bool)
	h.handle = func(ctx context.Context, _ *oic.Request) (*oic.Response, error) {
		asked <- true
		select {
		case <-answer:
			return &oic.Response{Status: oic.Changed}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	h.come()
	<-asked
	h.Leave()
	answer <- true
	h.becomes(first.ID, command.Done)
	h.close()
	if got := h.sent(); !slices.Equal(got, []string{"1"}) {
		t.Errorf("the lamp was sent %q", got)
	}
	close(answer)
	h.open()
	h.becomes(second.ID, command.Done)
}
