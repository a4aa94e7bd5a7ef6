// Package node is the processes of one cloud, which share a store: who they
// are, which of them has the connection of a device, and how one asks a device
// that is connected to another.
//
//	Claim, Leave ─▶ claims ── farreach-node.all ──▶ claims of every other node ─▶ Where, Changed, Replaced
//	beat, each second ─────── farreach-node.all ──▶ peers: who is there
//	Session ─▶ Far ────────── farreach-node.ask.<id> ──▶ Config.Serve ─▶ device
//	            ◀── answers, notifications ─────────────┘
//
// Nothing of this is kept: a device's place is proved by its connection. All
// nodes tell all others what changes, and everything again to one that is new
// or has missed something. They trust each other as they trust the store.
//
// Of two claims on a device the newer holds, by a clock that never runs behind
// what it has heard: so that a node which loses a device knows it as soon as it
// hears of the other, whatever its own clock shows.
package node

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// Times of the membership.
const (
	beatEvery = time.Second
	lostAfter = 4 * time.Second  // without a beat
	seenEvery = 10 * time.Second // all signs of life are told again; proofs of directory last longer
	anewEvery = 200 * time.Millisecond
	maxPage   = 500 // claims in one message
)

const subjectAll = "farreach-node.all"

// subjectAsk is where requests for devices of a node go.
func subjectAsk(id string) string { return "farreach-node.ask." + id }

// Config says who this node is. Only Store and Serve have no default. The
// functions must not block.
type Config struct {
	Store   *store.Store
	Name    string // for people, such as its host
	Version string

	// Serve returns the way to a device that is connected to this node, or nil.
	Serve func(di string) oic.Observer

	// Seen returns the last sign of life of a device that is connected to this
	// node. nil: that of its claim.
	Seen func(di string) (time.Time, bool)

	// Replaced says that a device which was connected here has connected to
	// another node since.
	Replaced func(di string)

	// Changed says that Where tells something else of a device.
	Changed func(di string)

	Log *slog.Logger // nil: slog.Default()
}

// Info is a node as others see it.
type Info struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Devices int       `json:"devices"` // connected to it
	Self    bool      `json:"self,omitzero"`
}

// Nodes is this node and what it knows of the others. Its methods may be called
// from several goroutines at once.
type Nodes struct {
	cfg  Config
	self Info
	log  *slog.Logger

	life  context.Context
	stop  context.CancelFunc
	tasks sync.WaitGroup
	ends  []func() // of subscriptions
	asks  *semaphore.Weighted
	anew  chan struct{} // holds one if everything is to be told again

	tell sync.Mutex // held while something is numbered and sent
	left bool       // nothing is told any more; tell guards it

	mu     sync.Mutex // guards what follows
	seq    uint64     // of what this node told last
	clock  int64      // the newest stamp that was seen or made
	claims map[string]*claim
	mine   int              // claims that are this node's and hold
	peers  map[string]*peer // by id

	watches map[string]context.CancelFunc // by inbox: observations of other nodes
}

// peer is another node.
type peer struct {
	Info
	seq  uint64          // of what was heard last
	seen time.Time       // when
	lost time.Time       // zero: it is there
	life context.Context // ends when it is lost
	end  context.CancelFunc
}

// note is what a node tells all others.
type note struct {
	Info
	Seq    uint64    `json:"seq"`
	Now    time.Time `json:"now"`
	Anew   bool      `json:"anew,omitzero"` // tell me everything
	Bye    bool      `json:"bye,omitzero"`
	Claims []claim   `json:"claims,omitzero"`
}

// Open joins the nodes of the store. Close is to be called at the end.
func Open(ctx context.Context, cfg Config) (*Nodes, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	n := &Nodes{
		cfg: cfg, log: cfg.Log,
		self:   Info{ID: rand.Text(), Name: cfg.Name, Version: cfg.Version, Started: time.Now().UTC().Round(0), Self: true},
		asks:   semaphore.NewWeighted(maxAsks),
		anew:   make(chan struct{}, 1),
		claims: map[string]*claim{}, peers: map[string]*peer{}, watches: map[string]context.CancelFunc{},
	}
	n.life, n.stop = context.WithCancel(context.WithoutCancel(ctx))
	for subject, each := range map[string]func(store.Message){
		subjectAll: n.heard, subjectAsk(n.self.ID): n.asked,
	} {
		end, err := cfg.Store.Subscribe(ctx, subject, each)
		if err != nil {
			n.Close()
			return nil, fmt.Errorf("join the nodes: %w", err)
		}
		n.ends = append(n.ends, end)
	}
	n.say(note{Anew: true})
	n.tasks.Go(n.run)
	return n, nil
}

// Close leaves: others need not wait to see it. It returns when all that it
// served has ended.
func (n *Nodes) Close() {
	n.mu.Lock()
	n.stop()
	n.mu.Unlock()
	for _, end := range n.ends {
		end()
	}
	n.tasks.Wait()
	n.say(note{Bye: true})
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.peers {
		p.end()
	}
}

// List returns all nodes that are there, this one first, by name.
func (n *Nodes) List() []Info {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := []Info{n.me()}
	for _, p := range n.peers {
		if p.lost.IsZero() {
			list = append(list, p.Info)
		}
	}
	slices.SortFunc(list[1:], func(x, y Info) int { return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.ID, y.ID)) })
	return list
}

// me is this node as it is now. n.mu is held.
func (n *Nodes) me() Info {
	me := n.self
	me.Devices = n.mine
	return me
}

// run tells the others that this node is there, until it is closed.
func (n *Nodes) run() {
	beat, seen := time.NewTicker(beatEvery), time.NewTicker(seenEvery)
	defer beat.Stop()
	defer seen.Stop()
	for {
		select {
		case <-n.life.Done():
			return
		case now := <-beat.C:
			n.say(note{})
			n.miss(now)
		case <-seen.C:
			n.sayAll(true)
			n.bury()
		case <-n.anew:
			n.sayAll(false)
			select {
			case <-time.After(anewEvery): // all who ask meanwhile have one answer
			case <-n.life.Done():
				return
			}
		}
	}
}

// say tells all others. What is lost on the way they miss by its number.
func (n *Nodes) say(what note) {
	n.tell.Lock()
	defer n.tell.Unlock()
	if n.left { // who heard of it would take this node for one that is back
		return
	}
	n.left = what.Bye
	n.mu.Lock()
	n.seq++
	what.Info, what.Seq, what.Now = n.me(), n.seq, time.Now().UTC().Round(0)
	n.mu.Unlock()
	what.Self = false
	b, err := json.Marshal(what)
	if err == nil {
		err = n.cfg.Store.Publish(subjectAll, b)
	}
	if err != nil {
		n.log.Debug("not told to the other nodes", "err", err)
	}
}

// heard takes what another node tells, or this one.
func (n *Nodes) heard(m store.Message) {
	var what note
	if err := json.Unmarshal(m.Data, &what); err != nil || what.ID == "" {
		n.log.Warn("a message of no node", "err", err)
		return
	}
	if what.ID == n.self.ID {
		return
	}
	if what.Bye {
		n.lose(what.ID, "it has left")
		return
	}
	missed, back := n.meet(&what)
	if missed {
		n.say(note{Anew: true})
	}
	if what.Anew {
		select {
		case n.anew <- struct{}{}:
		default: // it will come anyway
		}
	}
	n.take(&what)
	for _, di := range back {
		n.cfg.Changed(di)
	}
}

// meet notes that a node is there. missed says that it has told something that
// was not heard; back are the devices of one that had been lost.
func (n *Nodes) meet(what *note) (missed bool, back []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peers[what.ID]
	switch {
	case p == nil:
		n.log.Info("a node has joined", "node", what.Name, "id", what.ID)
		p = &peer{}
		p.life, p.end = context.WithCancel(n.life)
		n.peers[what.ID] = p
		missed = !what.Anew // it tells everything to those who ask, and this node is asked
	case !p.lost.IsZero():
		n.log.Info("a node is back", "node", what.Name, "id", what.ID)
		p.lost = time.Time{}
		p.life, p.end = context.WithCancel(n.life)
		missed, back = true, n.of(what.ID)
	default:
		missed = what.Seq != p.seq+1
	}
	p.Info, p.seq, p.seen = what.Info, what.Seq, time.Now()
	return missed, back
}

// miss looks for nodes that have fallen silent.
func (n *Nodes) miss(now time.Time) {
	n.mu.Lock()
	var lost []string
	for id, p := range n.peers {
		if p.lost.IsZero() && now.Sub(p.seen) > lostAfter {
			lost = append(lost, id)
		}
	}
	n.mu.Unlock()
	for _, id := range lost {
		n.lose(id, "it has fallen silent")
	}
}

// bury forgets nodes that are gone, once all their devices are elsewhere.
func (n *Nodes) bury() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id, p := range n.peers {
		if !p.lost.IsZero() && len(n.of(id)) == 0 {
			delete(n.peers, id)
		}
	}
}

// lose notes that a node is gone.
func (n *Nodes) lose(id, why string) {
	n.mu.Lock()
	p := n.peers[id]
	if p == nil || !p.lost.IsZero() {
		n.mu.Unlock()
		return
	}
	n.log.Warn("a node is gone", "node", p.Name, "id", id, "why", why)
	p.lost = p.seen
	p.end()
	devices := n.of(id)
	n.mu.Unlock()
	for _, di := range devices {
		n.cfg.Changed(di)
	}
}
