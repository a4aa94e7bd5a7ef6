package ibb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// taker notes what a Receiver gets.
type taker struct {
	mu   sync.Mutex // guards what follows
	got  []string
	over []error
	fail error
}

func (k *taker) Take(block []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.got = append(k.got, string(block))
	return k.fail
}

func (k *taker) Over(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.over = append(k.over, err)
}

func (k *taker) text() string {
	synctest.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	return fmt.Sprint(strings.Join(k.got, " "), k.over)
}

// receiving opens a session to a lamp whose blocks go to a Receiver.
func receiving(t *testing.T, form Form, cfg Config) (near *Conn, lamp *side, k *taker) {
	t.Helper()
	var w world
	k = &taker{}
	cfg.Receive = func(*Conn) Receiver { return k }
	lamp = w.join(t, lampAddr, cfg)
	phone := w.join(t, phoneAddr, Config{Idle: -1})
	near, err := phone.Open(t.Context(), phone, lamp.j, form)
	if err != nil {
		t.Fatal(err)
	}
	return near, lamp, k
}

// TestReceiver: blocks come in order, whatever their number, and the end once.
func TestReceiver(t *testing.T) {
	overEachForm(t, func(t *testing.T, form Form) {
		near, lamp, k := receiving(t, form, Config{Buffer: 1, Memory: 1}) // which are for who reads
		var want []string
		for i := range 100 {
			if err := near.Send(t.Context(), fmt.Append(nil, i)); err != nil {
				t.Fatal(err)
			}
			want = append(want, fmt.Sprint(i))
		}
		if got := k.text(); got != strings.Join(want, " ")+"[]" {
			t.Errorf("taken: %s", got)
		}
		near.Close()
		if got := k.text(); got != strings.Join(want, " ")+fmt.Sprint([]error{io.EOF}) {
			t.Errorf("after the end: %s", got)
		}
		lamp.empty(t)
	})
}

// TestReceiverRefuses: an error of Take ends the session, and both ends know why.
func TestReceiverRefuses(t *testing.T) {
	overEachForm(t, func(t *testing.T, form Form) {
		near, lamp, k := receiving(t, form, Config{})
		k.fail = errors.New("nonsense")
		err := near.Send(t.Context(), []byte("x"))
		if got := k.text(); got != "x[nonsense]" {
			t.Error(got)
		}
		if form == IQ && !refused(err) {
			t.Errorf("the sender hears %v", err)
		}
		if err := near.Send(t.Context(), []byte("y")); err == nil {
			t.Error("the sender may go on")
		}
		lamp.empty(t)
	})
}

// TestSend: a block goes whole or not at all, and what is too long in several.
func TestSend(t *testing.T) {
	overEachForm(t, func(t *testing.T, form Form) {
		near, _, k := receiving(t, form, Config{Block: 4096})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		near.writing <- struct{}{} // somebody else writes
		if err := near.Send(ctx, []byte("never")); err != context.Canceled {
			t.Error(err)
		}
		<-near.writing
		if err := near.Send(t.Context(), make([]byte, near.Block()+1)); err != nil {
			t.Error(err)
		}
		k.text()
		if len(k.got) != 2 || len(k.got[0]) != near.Block() || len(k.got[1]) != 1 {
			t.Errorf("%d blocks", len(k.got))
		}
		k.got = nil
		near.Fail(errors.New("enough"))
		if err := near.Send(t.Context(), []byte("z")); !errors.Is(err, ErrNotBegun) || !strings.HasSuffix(err.Error(), ": enough") {
			t.Errorf("after Fail: %v", err)
		}
		if got := k.text(); got != "[EOF]" {
			t.Error(got)
		}
	})
}

// TestKeep: IBB rule 7. Who has a reason to be silent may be, and is counted from
// the end of that.
func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, _, far := pair(t, Message, Config{})
		far.Keep()
		far.Keep()
		time.Sleep(time.Hour)
		far.Leave()
		time.Sleep(time.Hour)
		far.Leave()
		start := time.Now()
		<-far.Done()
		if took := time.Since(start); took != 300*time.Second {
			t.Errorf("over %v after the last reason", took)
		}
	})
}
