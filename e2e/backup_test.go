package e2e_test

import (
	"context"
	"maps"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A backup is taken while devices report, join, leave and refresh their tokens.
// The server that is made of it has everything that was acknowledged before:
// every event, and every device can sign in.
func TestBackupUnderLoad(t *testing.T) {
	k := &killing{child: newChild(t), ledger: newLedger()}
	k.start()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var load sync.WaitGroup
	defer load.Wait()
	for range 4 {
		m := k.newMember(ctx)
		l := k.signedIn(ctx, m)
		k.reporters = append(k.reporters, m)
		for range 4 {
			load.Go(func() { k.report(ctx, l, m.di) })
		}
	}
	k.refresher = k.newMember(ctx) // keeps its tokens: nobody knows which the backup has
	load.Go(func() { k.makeAccounts(ctx, 0) })
	for range 2 {
		load.Go(func() { k.joinAndLeave(ctx) })
	}
	within(t, patience, k.busy)
	restored := newChild(t)
	r, late := &killing{child: restored, ledger: newLedger(), refresher: k.refresher}, newLedger()
	k.copyTo(&r.ledger)
	file := filepath.Join(t.TempDir(), "save")
	out, err := k.farreach("backup", "create", file)
	if err != nil {
		t.Fatalf("%v: %s", err, err.(*exec.ExitError).Stderr)
	}
	t.Logf("%s", strings.TrimSpace(string(out)))
	k.copyTo(&late)
	k.kill()
	cancel()
	load.Wait()

	if _, err := restored.farreach("backup", "restore", file, "--data", filepath.Join(restored.home, "data")); err != nil {
		t.Fatalf("%v: %s", err, err.(*exec.ExitError).Stderr)
	}
	restored.start()
	for di := range r.joined {
		if late.joined[di].di == "" {
			delete(r.joined, di) // it was on its way out
		}
	}
	r.checkAccounts(t.Context())
	r.checkDevices(t.Context())
	r.finalCheck()
	t.Logf("acknowledged before: %d events, %d devices, %d accounts; while the backup was made: %d events",
		len(r.events), len(r.joined), len(r.accounts), len(late.events)-len(r.events))
}

// busy reports whether there is something to lose.
func (l *ledger) busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.events) >= 100 && len(l.accounts) > 0 && len(l.joined) >= 10
}

// copyTo adds what was acknowledged until now to another ledger.
func (l *ledger) copyTo(to *ledger) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.Copy(to.events, l.events)
	maps.Copy(to.accounts, l.accounts)
	maps.Copy(to.joined, l.joined)
	maps.Copy(to.left, l.left)
}
