package directory

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/farreach/farreach/store"
)

const (
	proofEvery = time.Second     // between two writes: devices that come and go all the time cost no more
	closeTime  = 5 * time.Second // for the last write
)

// proofs are the last signs of life of devices that have no session, by di.
// They are stored when a session ends, and never while it lasts:
//
//	session ends ── went ──▶ all, dirty ── within a second, and at the end ──▶ store
//
// After a crash, a proof may be older than the last sign of life was, which is
// true still.
type proofs struct {
	table *store.Table[proof]
	stop  context.CancelFunc
	tasks sync.WaitGroup
	wake  chan struct{} // holds one if dirty is not empty

	mu    sync.Mutex // guards what follows
	all   map[string]time.Time
	dirty map[string]bool
}

// proof is one of them as it is stored.
type proof struct {
	Seen time.Time `json:"seen"`
}

func openProofs(ctx context.Context, s *store.Store) (*proofs, error) {
	t, err := store.OpenTable[proof](ctx, s, "proofs", 0)
	if err != nil {
		return nil, err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	p := &proofs{
		table: t, stop: stop,
		wake: make(chan struct{}, 1),
		all:  map[string]time.Time{}, dirty: map[string]bool{},
	}
	for e, err := range t.All(ctx, "") {
		if err != nil {
			stop()
			return nil, err
		}
		p.all[e.Key] = e.Value.Seen
	}
	p.tasks.Go(func() { p.write(run) })
	return p, nil
}

// of returns the last sign of life; zero: none is known.
func (p *proofs) of(di string) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all[di]
}

// went notes when a device that has no session any more was last seen; zero:
// it is no device any more.
func (p *proofs) went(di string, seen time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if seen.IsZero() {
		delete(p.all, di)
	} else {
		p.all[di] = seen.Round(0).UTC()
	}
	p.dirty[di] = true
	select {
	case p.wake <- struct{}{}:
	default: // it will come anyway
	}
}

// write stores what is dirty until ctx ends.
func (p *proofs) write(ctx context.Context) {
	pause := time.NewTicker(proofEvery)
	defer pause.Stop()
	for {
		select {
		case <-p.wake:
		case <-ctx.Done():
			return
		}
		if err := p.flush(ctx); err != nil {
			select {
			case p.wake <- struct{}{}: // once more
			default:
			}
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return
		}
	}
}

// flush stores what is dirty. What fails stays so.
func (p *proofs) flush(ctx context.Context) error {
	p.mu.Lock()
	dirty := p.dirty
	p.dirty = map[string]bool{}
	p.mu.Unlock()
	var err error
	for di := range dirty {
		if err == nil {
			err = p.store(ctx, di)
		}
		if err != nil {
			p.mu.Lock()
			p.dirty[di] = true
			p.mu.Unlock()
		}
	}
	return err
}

func (p *proofs) store(ctx context.Context, di string) (err error) {
	if seen := p.of(di); seen.IsZero() {
		err = p.table.Delete(ctx, di)
	} else {
		_, err = p.table.Put(ctx, di, proof{seen})
	}
	if err != nil {
		return fmt.Errorf("store when %s was last seen: %w", di, err)
	}
	return nil
}

// close stores what is left.
func (p *proofs) close() error {
	p.stop()
	p.tasks.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	return p.flush(ctx)
}
