// Package audit is the durable memory of who changed what about accounts and
// rights, and of who tried to get in and was refused.
//
//	cloud ── Add ───────────────────────▶ one log (store) ──▶ List ──▶ its account, an admin
//	        ── Refused ──▶ counted, 10 s ─┘  key: account, class
//
// It holds no secret: tokens and devices stand in it by their ids and names,
// and of a name that nobody has not even that, because it may be a password in
// the wrong place. Each account keeps its newest entries of either class, so
// that guessing from outside pushes nothing out of the log but older guesses.
//
// Who may read it is not decided here but in package cloud.
package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/farreach/farreach/store"
)

// What is kept at most.
const (
	maxAge     = 400 * 24 * time.Hour
	maxBytes   = 64 << 20
	maxEntries = 5000 // of an account and a class
)

// Entry is one thing that was done, or tried.
type Entry struct {
	Seq     uint64    `json:"-"` // order of all entries
	Time    time.Time `json:"time"`
	Account string    `json:"account"` // whose matter it is; "": the server's
	By      By        `json:"by"`
	What    string    `json:"what"`            // "token.create"
	On      string    `json:"on,omitzero"`     // what it was done to, for a person
	From    string    `json:"from,omitzero"`   // address of who was refused, as far as a household has one
	Times   int       `json:"times,omitzero"`  // how often, within 10 s
	Detail  string    `json:"detail,omitzero"` // more, for a person
}

// By is who did it.
type By struct {
	Account string `json:"account,omitzero"`
	Kind    string `json:"kind"`          // "token", "password", "browser", "device"; "server": the program itself; "nobody": who was refused
	ID      string `json:"id,omitzero"`   // of the token or device
	Name    string `json:"name,omitzero"` // of the token at that time
}

// Log is that memory. Its methods may be called from several goroutines at once.
type Log struct {
	records *store.Log
	log     *slog.Logger

	mu      sync.Mutex // guards refused
	refused map[refusal]*tries

	stop  context.CancelFunc
	tasks sync.WaitGroup
}

// The classes of entries.
const (
	done  = "done"
	tried = "tried"
)

// Open returns the log in s. Close is to be called at the end.
func Open(ctx context.Context, s *store.Store, log *slog.Logger) (*Log, error) {
	records, err := store.OpenLog(ctx, s, "audit", store.LogConfig{
		Tokens: 2, MaxAge: maxAge, MaxBytes: maxBytes, PerKey: maxEntries,
	})
	if err != nil {
		return nil, fmt.Errorf("open audit: %w", err)
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	l := &Log{records: records, log: log, refused: map[refusal]*tries{}, stop: stop}
	l.tasks.Go(func() { l.collect(run) })
	return l, nil
}

// Close writes down what was counted, and ends what Open started. The store
// stays open.
func (l *Log) Close() {
	l.stop()
	l.tasks.Wait()
}

// Add stores e, whose Time is set if it is zero. What was done is not undone
// because nobody could write it down: the caller reports the error, and goes on.
func (l *Log) Add(ctx context.Context, e Entry) error { return l.add(ctx, done, e) }

func (l *Log) add(ctx context.Context, class string, e Entry) error {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Time = e.Time.UTC()
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = l.records.Append(ctx, []string{token(e.Account), class}, b)
	return err
}

// token is an account as a part of a key: an empty one cannot be.
func token(account string) string {
	if account == "" {
		return "-" // no account is called so
	}
	return account
}

// Filter selects entries. The zero Filter selects the newest.
type Filter struct {
	Everybody bool      // of all accounts, and the server
	Account   string    // whose; "" without Everybody: the server's
	Since     time.Time // not before this time
	Before    uint64    // of lower sequence than this; 0: any
	Limit     int       // the newest ones of those; 0: 100
}

// List returns the entries that f selects, newest first.
func (l *Log) List(ctx context.Context, f Filter) ([]Entry, error) {
	if f.Limit <= 0 {
		f.Limit = 100
	}
	var prefix []string
	if !f.Everybody {
		prefix = []string{token(f.Account)}
	}
	var last []Entry // a ring: the oldest one is at n % limit, once it is full
	n := 0
	err := l.records.Read(ctx, store.Start{Time: f.Since}, prefix, func(r store.Record) bool {
		if f.Before > 0 && r.Seq >= f.Before {
			return false
		}
		var e Entry
		if err := json.Unmarshal(r.Data, &e); err != nil {
			l.log.Error("audit entry is unreadable and left out", "seq", r.Seq, "err", err)
			return true
		}
		if e.Seq = r.Seq; len(last) < f.Limit {
			last = append(last, e)
		} else {
			last[n%f.Limit] = e
		}
		n++
		return true
	})
	newest := make([]Entry, len(last))
	for i := range last {
		newest[i] = last[(n-1-i)%len(last)]
	}
	return newest, err
}

// Forget removes the entries of an account that is no more.
func (l *Log) Forget(ctx context.Context, account string) error {
	return l.records.Purge(ctx, []string{token(account)})
}

// network is the part of an address that one household has for itself: all of
// IPv4, the first 64 bits of IPv6.
func network(peer netip.Addr) string {
	switch peer = peer.Unmap().WithZone(""); {
	case !peer.IsValid():
		return ""
	case peer.Is4():
		return peer.String()
	}
	p, _ := peer.Prefix(64) // of an IPv6 address there is one
	return p.String()
}
