package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/farreach/farreach/cmd/farreach/internal/settings"
	"github.com/farreach/farreach/xmpp/jid"
)

// clientID is the device id of this process on one XMPP account, as long as it
// holds it.
//
// A client keeps its id for life (RA-055), and an id can be online once: who
// binds it again throws the first out. So the user's id for an account is
// made once and kept in a file, and whoever runs first has it; further commands
// that run at the same time, say an observe in another terminal, have ids that
// are derived from it, each the same again the next time. Which of them are in
// use, locks on files tell, and those end with their process however it ends.
type clientID struct {
	id   string // a UUID
	lock *lock  // nil: nothing to give back
}

// maxClients is how many commands of a user may be on one account at a time.
const maxClients = 64

// leaseClientID takes the first id of account that no other process holds. A
// user without a place to keep it has another one each time.
func (a *app) leaseClientID(account jid.JID) (clientID, error) {
	dir := a.clientDir(account)
	own, err := ownClientID(dir)
	if err != nil || !locksHold {
		a.log(0).Debug("the id of this client is for once", "err", err)
		return clientID{id: uuid.NewString()}, nil
	}
	for n := range maxClients {
		l, err := takeLock(filepath.Join(dir, strconv.Itoa(n)+".lock"))
		if _, held := errors.AsType[*heldError](err); held {
			continue
		}
		if err != nil {
			return clientID{}, fmt.Errorf("id of this client: %w", err)
		}
		return clientID{derivedID(own, n), l}, nil
	}
	return clientID{}, fmt.Errorf("%d commands are online as %s already", maxClients, account.Bare())
}

// clientDir is where is kept what the user's commands are on an account.
func (a *app) clientDir(account jid.JID) string {
	return filepath.Join(settings.StateDir(a.lookup), "clients", url.PathEscape(account.Bare().String()))
}

// memoryFile is where is kept who was seen on an account. Servers on which
// accounts have the same name, as those that one tries at home, are told apart by
// the certificates that are trusted there.
func (a *app) memoryFile(x access, account jid.JID) string {
	name, trusted := "seen.json", x.caFile
	if s, err := a.server(); err == nil && trusted == "" && s.JID() == account.Bare().String() {
		trusted = s.CAFile
	}
	if b, err := os.ReadFile(trusted); err == nil {
		sum := sha256.Sum256(b)
		name = fmt.Sprintf("seen-%x.json", sum[:4])
	}
	return filepath.Join(a.clientDir(account), name)
}

// derivedID is the id of the n-th client at a time.
func derivedID(own uuid.UUID, n int) string {
	if n == 0 {
		return own.String()
	}
	return uuid.NewSHA1(own, []byte("farreach client "+strconv.Itoa(n))).String()
}

// release gives the id back.
func (c clientID) release() {
	if c.lock != nil {
		c.lock.release()
	}
}

// ownClientID is the id that is kept in dir. It is made there if there is none;
// of several processes that do so at once, one wins.
func ownClientID(dir string) (id uuid.UUID, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return id, err
	}
	file := filepath.Join(dir, "id")
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		if err = newClientID(dir, file); err == nil {
			text, err = os.ReadFile(file)
		}
	}
	if err != nil {
		return id, err
	}
	return uuid.Parse(strings.TrimSpace(string(text)))
}

// newClientID writes an id to file, unless somebody was faster.
func newClientID(dir, file string) error {
	f, err := os.CreateTemp(dir, ".id-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = fmt.Fprintln(f, uuid.NewString())
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), file); !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}
