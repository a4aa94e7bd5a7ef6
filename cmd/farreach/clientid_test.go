package main

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/farreach/farreach/xmpp/jid"
)

// Commands that run at the same time have ids of their own, and the same ones
// again the next time, account by account (RA-055, A-20).
func TestClientIDs(t *testing.T) {
	home := t.TempDir()
	a := &app{lookup: func(name string) (string, bool) { return home, name == "HOME" }, err: os.Stderr}
	ann, bob := address(t, "ann@home.example"), address(t, "bob@home.example")
	lease := func(account jid.JID) clientID {
		c, err := a.leaseClientID(account)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	var all []clientID
	var mu sync.Mutex // guards all
	var starting sync.WaitGroup
	for range 8 {
		starting.Go(func() {
			c := lease(ann)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, c)
		})
	}
	starting.Wait()
	seen := map[string]bool{}
	for _, c := range all {
		if _, err := uuid.Parse(c.id); err != nil || seen[c.id] {
			t.Errorf("%q: %v; in use: %v", c.id, err, seen[c.id])
		}
		seen[c.id] = true
	}
	other := lease(bob)
	defer other.release()
	if seen[other.id] {
		t.Error("an id is used in two accounts")
	}
	for _, c := range all {
		c.release()
	}
	first, second := lease(ann), lease(ann)
	defer first.release()
	if !seen[first.id] || !seen[second.id] {
		t.Error("the ids changed")
	}
	second.release()
	if again := lease(ann); again != second && again.id != second.id {
		t.Errorf("%s is followed by %s", second.id, again.id)
	} else {
		again.release()
	}
	text, err := os.ReadFile(filepath.Join(home, ".local/state/farreach/clients/ann@home.example/id"))
	if err != nil || string(text) != first.id+"\n" {
		t.Errorf("kept is %q, used %q: %v", text, first.id, err)
	}
}

// Where nothing can be kept, a client has an id all the same.
func TestClientIDWithoutHome(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a := &app{lookup: func(name string) (string, bool) { return file, name == "HOME" }, err: os.Stderr}
	c, err := a.leaseClientID(address(t, "ann@home.example"))
	if _, bad := uuid.Parse(c.id); err != nil || bad != nil {
		t.Errorf("%q, %v", c.id, err)
	}
	c.release()
}

func address(t *testing.T, text string) jid.JID {
	t.Helper()
	j, err := jid.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return j
}
