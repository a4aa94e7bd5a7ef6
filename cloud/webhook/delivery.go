package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// What is kept of deliveries (threats, section 5).
const (
	maxWaiting = 1000           // of a target; beyond, the oldest is given up
	maxAge     = 24 * time.Hour // of one that waits
	maxTold    = 16 << 10       // bytes of a body
	keptEnded  = 1000           // of a target, delivered or given up
	keptFor    = 7 * 24 * time.Hour
)

// State is what has become of a delivery.
type State string

// The states of a delivery.
const (
	Waiting   State = "waiting"
	Delivered State = "delivered"
	GivenUp   State = "given-up"
)

// Delivery is what a target is told, and what has become of that.
type Delivery struct {
	Account string          `json:"-"`
	Target  string          `json:"-"`
	ID      string          `json:"-"`     // webhook-id of each request
	Made    time.Time       `json:"made"`  // when what it is about happened
	Since   time.Time       `json:"since"` // it waits, or did: as Made, or when somebody asked to tell it again
	Body    json.RawMessage `json:"body"`

	// Of those that wait, only the oldest of a target has been tried: the others
	// wait for their turn.
	State    State     `json:"state"`
	Attempts int       `json:"attempts,omitzero"`
	Tried    time.Time `json:"tried,omitzero"`   // the newest attempt
	Next     time.Time `json:"-"`                // the next one, of the oldest that waits
	Ended    time.Time `json:"ended,omitzero"`   // when it was delivered or given up
	Status   int       `json:"status,omitzero"`  // of HTTP, of the newest attempt; 0: there was no answer
	Problem  string    `json:"problem,omitzero"` // why the newest attempt failed, or why it was given up

	Trace string `json:"trace,omitzero"` // the span in which it was enqueued
}

func (d *Delivery) key() []string { return []string{d.Account, d.Target, d.ID} }

// progress is how far the courier is with a target, as it is kept.
type progress struct {
	Of        time.Time `json:"of"` // Target.Created
	Waiting   int       `json:"waiting"`
	Delivered uint64    `json:"delivered"`
	GivenUp   uint64    `json:"given_up"`

	ID       string    `json:"id,omitzero"` // the delivery that is being tried: the oldest that waits
	Attempts int       `json:"attempts,omitzero"`
	Tried    time.Time `json:"tried,omitzero"`
	Next     time.Time `json:"next,omitzero"`
	Status   int       `json:"status,omitzero"`
	Problem  string    `json:"problem,omitzero"`
}

// Enqueue makes sure that a target is told body, which is JSON, in its turn: it
// is in the store when Enqueue returns. made is when what it is about happened.
// An id that the target has been given already is not told it again.
//
// It is a 4.04 without such a target and a 4.13 for a body above 16 KiB.
func (w *Webhooks) Enqueue(ctx context.Context, account, name, id string, made time.Time, body []byte) error {
	if len(body) > maxTold {
		return oic.Errorf(oic.TooLarge, "a webhook is told %d bytes at most", maxTold)
	}
	if _, err := w.Get(ctx, account, name); err != nil {
		return err
	}
	d := Delivery{Account: account, Target: name, ID: id, Made: made.UTC(), Since: made.UTC(), Body: body, State: Waiting, Trace: w.cfg.Tracer.Parent(ctx)}
	_, err := w.write(ctx, &d, 0)
	if errors.Is(err, store.ErrConflict) {
		return nil
	}
	return err
}

// write stores d if the record of it that is there is still that at after.
func (w *Webhooks) write(ctx context.Context, d *Delivery, after uint64) (seq uint64, err error) {
	b, err := json.Marshal(d)
	if err != nil {
		return 0, err
	}
	return w.log.AppendAfter(ctx, d.key(), b, after)
}

func parseDelivery(rec store.Record) (d Delivery, err error) {
	if err = json.Unmarshal(rec.Data, &d); err == nil && len(rec.Key) == 3 {
		d.Account, d.Target, d.ID = rec.Key[0], rec.Key[1], rec.Key[2]
	}
	return d, err
}

// Delivery returns one delivery. It is a 4.04 if there is none.
func (w *Webhooks) Delivery(ctx context.Context, account, name, id string) (Delivery, error) {
	d, _, err := w.delivery(ctx, account, name, id)
	one := []Delivery{d}
	if err == nil {
		err = w.attempted(ctx, account, name, one)
	}
	return one[0], err
}

func (w *Webhooks) delivery(ctx context.Context, account, name, id string) (Delivery, uint64, error) {
	rec, err := w.log.Last(ctx, []string{account, name, id})
	if errors.Is(err, store.ErrNotFound) {
		err = oic.Errorf(oic.NotFound, "no such delivery")
	}
	if err != nil {
		return Delivery{}, 0, err
	}
	d, err := parseDelivery(rec)
	return d, rec.Seq, err
}

// Deliveries returns the deliveries of a target that are in a state, or with ""
// in any: limit at most, the one that was made or ended last in front.
func (w *Webhooks) Deliveries(ctx context.Context, account, name string, state State, limit int) (list []Delivery, err error) {
	if _, err := w.Get(ctx, account, name); err != nil {
		return nil, err
	}
	err = w.log.Read(ctx, store.Start{}, []string{account, name}, func(rec store.Record) bool {
		d, err := parseDelivery(rec)
		if err != nil || state != "" && d.State != state {
			return true
		}
		if list = append(list, d); len(list) > limit {
			list = slices.Delete(list, 0, 1)
		}
		return true
	})
	slices.Reverse(list)
	if err != nil {
		return nil, err
	}
	return list, w.attempted(ctx, account, name, list)
}

// attempted adds what is known of the attempts to those of list that wait.
func (w *Webhooks) attempted(ctx context.Context, account, name string, list []Delivery) error {
	p, _, err := w.states.Get(ctx, store.Key(account, name))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	for i := range list {
		if d := &list[i]; d.State == Waiting && d.ID == p.ID {
			d.Attempts, d.Tried, d.Next, d.Status, d.Problem = p.Attempts, p.Tried, p.Next, p.Status, p.Problem
		}
	}
	return err
}

// Standing is how a target does, as it was a second ago.
type Standing struct {
	Waiting            int
	Delivered, GivenUp uint64 // since the target was registered
	Tried, Next        time.Time
	Attempts           int    // for the oldest that waits
	Problem            string // why the newest attempt failed; "" if it did not
}

// Standing tells how a target does.
func (w *Webhooks) Standing(ctx context.Context, t *Target) (Standing, error) {
	p, _, err := w.states.Get(ctx, t.key())
	if errors.Is(err, store.ErrNotFound) || err == nil && !p.Of.Equal(t.Created) {
		return Standing{}, nil
	}
	return Standing{p.Waiting, p.Delivered, p.GivenUp, p.Tried, p.Next, p.Attempts, p.Problem}, err
}

// Hurry lets what waits for a target be tried at once, instead of when its turn
// would be.
func (w *Webhooks) Hurry(ctx context.Context, account, name string) error {
	_, err := w.targets.Modify(ctx, store.Key(account, name), func(t *Target) error {
		t.Hurried = time.Now().UTC()
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		err = errNone
	}
	return err
}

// Again tells a target once more what was delivered or given up, behind what
// waits for it already; one that waits is tried at once.
func (w *Webhooks) Again(ctx context.Context, account, name, id string) (Delivery, error) {
	d, seq, err := w.delivery(ctx, account, name, id)
	if err != nil {
		return d, err
	}
	if d.State == Waiting {
		return d, w.Hurry(ctx, account, name)
	}
	d = Delivery{Account: account, Target: name, ID: id, Made: d.Made, Since: time.Now().UTC(), Body: d.Body, State: Waiting}
	_, err = w.write(ctx, &d, seq)
	if errors.Is(err, store.ErrConflict) { // somebody else does it
		return w.Delivery(ctx, account, name, id)
	}
	return d, err
}
