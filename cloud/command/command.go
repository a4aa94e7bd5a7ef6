// Package command remembers what was asked of devices, by whom, and what came
// of it, and keeps commands for devices that are away.
//
//	who asks ──▶ Do ──── sent ──▶ log ──▶ device ──▶ answer ──── done, refused, failed ──▶ log ──▶ who asked
//	         │                  └── has just gone: not sent ──▶ Queue
//	         └─▶ Queue ─ queued ▶ log, table ── device is back ──▶ Do
//	                                  └────── too late, cancelled, the right is lost ──▶ log
//
// A command is stored as sent before it goes to the device, and its outcome
// before whoever asked is answered. So what the log does not have was not sent,
// and a command whose outcome it does not have when it should is Unknown: the
// server ended meanwhile. Such a command is not sent again.
//
// The log has one record for each change of a command, each with all that is
// known of it, under the account and the device. The newest counts. The table
// has the commands that wait, and decides who of several may take one: who sends
// it, who cancels it, and whoever finds it too late.
//
// Who may do what is not decided here but in package cloud.
package command

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/farreach/farreach/internal/tracing"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

const (
	defaultAge = 90 * 24 * time.Hour
	maxBytes   = 1 << 30 // of all commands that are kept; the oldest go first
	maxKept    = 16 << 10
)

// Patience is how long a device may take to answer, and the store to keep the
// answer. A command without an outcome is Unknown after that.
const Patience = 70 * time.Second

// State is what has become of a command.
type State string

// The states of a command. All but the first two are final.
const (
	Queued    State = "queued"    // waits for the device
	Sent      State = "sent"      // is on its way to the device, or there
	Done      State = "done"      // the device did it
	Refused   State = "refused"   // the device answered that it will not
	Failed    State = "failed"    // the device could not be asked, or did not answer
	Expired   State = "expired"   // the device did not come back in time
	Cancelled State = "cancelled" // somebody took it back, or who asked lost the right
	Unknown   State = "unknown"   // the server ended while it was on its way
)

// States are all of them.
var States = []State{Queued, Sent, Done, Refused, Failed, Expired, Cancelled, Unknown}

// Final reports whether s is the last state of a command.
func (s State) Final() bool { return s != Queued && s != Sent }

// Command is one Create, Update, Replace or Delete of a resource, and what has
// become of it.
type Command struct {
	ID      string // a UUID that begins with the time it was made, version 7
	Account string // that the device belongs to
	Device  string // di
	Op      oic.Op
	Href    string            // with query, as it was sent
	Format  oic.ContentFormat // of Body
	Body    []byte            // nil, if it is longer than 16 KiB
	Size    int               // of Body, bytes, also if it was not kept
	By      Asker

	// Fresh says, to Do and Queue, that no command with this ID was made before:
	// they need not look. It is not kept.
	Fresh bool

	// Keep says, to Do, for how long a command waits for its device if that has just
	// gone, so that it certainly was not sent: it may be on its way to another node.
	// 0: not at all; at most MaxQueue. It is not kept.
	Keep time.Duration

	State   State
	Made    time.Time
	Expires time.Time // when one that waits for its device is given up; zero: it does not wait
	Sent    time.Time // zero: it was not
	Ended   time.Time // when State became final

	// What the device answered, and what is to say about it: the diagnostic of
	// the device, or why there was no answer.
	Status       oic.Status
	AnswerFormat oic.ContentFormat
	Answer       []byte // nil, if it is longer than 16 KiB
	Why          string
}

// Waits reports whether c may wait for its device.
func (c *Command) Waits() bool { return !c.Expires.IsZero() }

// Asker is who asked, as it is told later.
type Asker struct {
	Account string `json:"account"`
	Kind    string `json:"kind"`           // "token", "password", "login", "device", "rule"; "server": the program itself
	ID      string `json:"id,omitzero"`    // of the token, device or rule
	Name    string `json:"name,omitzero"`  // of the token or the rule at that time
	Cause   *Cause `json:"cause,omitzero"` // of a rule
}

// String is who asked, for a person: "ann, by token ci-7".
func (a Asker) String() string {
	text := a.Kind
	if a.Name != "" || a.ID != "" {
		text += " " + cmp.Or(a.Name, a.ID)
	}
	if a.Kind == "rule" && a.Cause != nil {
		text += fmt.Sprintf(", revision %d", a.Cause.Revision)
	}
	if a.Account == "" || a.Kind == "rule" {
		return text
	}
	return a.Account + ", by " + text
}

// Cause is why a rule sent a command.
type Cause struct {
	Revision uint64    `json:"revision"`       // of the rule
	Event    uint64    `json:"event,omitzero"` // sequence of the event on which it fired; 0: none
	At       time.Time `json:"at"`             // when the event was received, or when the rule was due
	Hops     int       `json:"hops,omitzero"`  // how many commands of rules led to the event
}

// Config says how commands are kept. Only Store has no default; without Reach
// and Hold nothing can be queued.
type Config struct {
	Store  *store.Store
	MaxAge time.Duration   // of a command in the log; 0: 90 days
	Log    *slog.Logger    // nil: slog.Default()
	Tracer *tracing.Tracer // nil: nothing is traced

	// Reach returns the way to a device that is connected to this process now,
	// and an oic.ErrOffline otherwise. Of several processes with one store the
	// one that has the device delivers to it.
	Reach func(di string) (oic.Handler, error)

	// Hold returns a refusal if who may not command the device, at href. If
	// who may, it calls end, which does not block, when that is lost, until
	// release is called.
	Hold func(who oic.Identity, di, href string, end func(cause error)) (release func(), err error)
}

// Commands is the log of all commands, and those that wait. Its methods may be
// called from several goroutines at once.
type Commands struct {
	cfg    Config
	log    *store.Log
	recent recent
	queue  queue
	opened time.Time
	alone  bool // nobody else uses the store

	stop  context.CancelFunc
	tasks sync.WaitGroup
}

// Open returns the commands in the store. Those that wait are delivered from
// now on. Close is to be called at the end.
func Open(ctx context.Context, cfg Config) (*Commands, error) {
	if cfg.MaxAge == 0 {
		cfg.MaxAge = defaultAge
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	log, err := store.OpenLog(ctx, cfg.Store, "command", store.LogConfig{Tokens: 2, MaxAge: cfg.MaxAge, MaxBytes: maxBytes})
	if err != nil {
		return nil, err
	}
	c := &Commands{cfg: cfg, log: log, opened: now(), alone: cfg.Store.Alone()}
	if err := c.queue.open(ctx, cfg.Store); err != nil {
		return nil, err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.stop = stop
	c.tasks.Go(func() { c.tend(run) })
	return c, nil
}

// Leave ends the delivery of what waits: another process with the same store
// goes on with it. It does not wait for what is being delivered; Close does.
func (c *Commands) Leave() { c.stop() }

// Close ends what Open started. What is being delivered has the time of Parting
// to be answered, and its outcome is stored. The store stays open.
func (c *Commands) Close() {
	c.stop()
	c.tasks.Wait()
	c.queue.close()
}

// NewID returns an id for a command that is made at t. Of the same seed it is
// the same: one command that is made twice, after a crash perhaps, is one. No
// seed makes an id that is different from all others.
func NewID(t time.Time, seed ...string) string {
	var id uuid.UUID
	if len(seed) == 0 {
		return uuid.Must(uuid.NewV7()).String()
	}
	space := uuid.UUID{} // of those ids alone
	text := ""
	for _, s := range seed {
		text += fmt.Sprintf("%d:%s", len(s), s)
	}
	id = uuid.NewSHA1(space, []byte(text))
	ms := uint64(t.UnixMilli())
	for i := range 6 { // RFC 9562, section 5.7: 48 bits of time, version, variant
		id[i] = byte(ms >> (40 - 8*i))
	}
	id[6] = id[6]&0x0f | 0x70
	return id.String()
}

// madeAt is the time in an id, to the millisecond.
func madeAt(id string) (time.Time, error) {
	u, err := uuid.Parse(id)
	if err != nil || len(id) != 36 || u.Version() != 7 {
		return time.Time{}, oic.Errorf(oic.NotFound, "no such command")
	}
	ms := uint64(0)
	for _, b := range u[:6] {
		ms = ms<<8 | uint64(b)
	}
	return time.UnixMilli(int64(ms)), nil
}
