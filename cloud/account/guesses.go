package account

import (
	"context"
	"encoding/json"
	"net/netip"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/store"
)

// Processes that share a store tell each other of wrong guesses, so that who
// guesses gains nothing by asking one after the other:
//
//	wrong here ──▶ throttle ──▶ farreach-guess ──▶ throttle of every other process
//
// Nothing of it is kept, and what is lost on the way is not told again: a guess
// that is not counted everywhere is counted where it was made. A process that has
// just been started knows of none.

const subjectGuess = "farreach-guess"

// trial is what is told.
type trial struct {
	From      string     `json:"from"` // the process
	Principal string     `json:"principal"`
	Peer      netip.Addr `json:"peer"`
	Proved    bool       `json:"proved,omitzero"` // it was right, after wrong ones
}

// guesses tells other processes, and hears them. The zero value is alone.
type guesses struct {
	store *store.Store // nil: there is no other
	me    string
	end   func()
}

// open begins to hear of the guesses at other processes.
func (g *guesses) open(ctx context.Context, s *store.Store, t *throttle) (err error) {
	if !s.Shared() {
		return nil
	}
	me := secret.ID()
	g.end, err = s.Subscribe(ctx, subjectGuess, func(m store.Message) {
		var it trial
		switch err := json.Unmarshal(m.Data, &it); {
		case err != nil || it.From == me:
		case it.Proved:
			t.proved(it.Principal, it.Peer)
		default:
			t.failed(it.Principal, it.Peer)
		}
	})
	if err == nil {
		g.store, g.me = s, me
	}
	return err
}

func (g *guesses) close() {
	if g.end != nil {
		g.end()
	}
}

// tell tells all other processes, if they can be reached.
func (g *guesses) tell(it trial) {
	if g.store == nil {
		return
	}
	it.From, it.Principal = g.me, clip(it.Principal)
	if b, err := json.Marshal(it); err == nil {
		_ = g.store.Publish(subjectGuess, b) // it is counted here
	}
}

// failed counts a wrong guess, at all processes.
func (a *Accounts) failed(principal string, peer netip.Addr) {
	a.throttle.failed(principal, peer)
	a.guesses.tell(trial{Principal: principal, Peer: peer})
}

// proved remembers that principal has logged in from peer.
func (a *Accounts) proved(principal string, peer netip.Addr) {
	if a.throttle.proved(principal, peer) {
		a.guesses.tell(trial{Principal: principal, Peer: peer, Proved: true})
	}
}
