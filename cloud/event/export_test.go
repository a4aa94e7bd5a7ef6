package event

import (
	"errors"
	"testing"
	"time"

	"github.com/farreach/farreach/store"
)

// Remembered is how many bytes of last states are in memory.
func Remembered(e *Events) int {
	e.lasts.mu.Lock()
	defer e.lasts.mu.Unlock()
	return e.lasts.bytes
}

// MakeBlocks makes the blocks of a resource that are missing, although the
// process or another may make them, too.
func MakeBlocks(t testing.TB, e *Events, device, href string) {
	t.Helper()
	k := key{"home", device, href}
	for deadline := time.Now().Add(time.Minute); ; {
		m := blockMaker{e: e, key: k, tokens: k.tokens()}
		err := m.run(t.Context(), func(time.Duration) error { return nil })
		if err == nil {
			return
		}
		if !errors.Is(err, store.ErrConflict) && !errors.Is(err, errGone) || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// ForgetBlocks removes all blocks.
func ForgetBlocks(t testing.TB, e *Events) {
	t.Helper()
	if err := e.blocks.Purge(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}
