package rule

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/farreach/farreach/oic"
)

// How often a rule may fire, whatever it allows itself.
const (
	ratePerSecond = 10
	rateBurst     = 20
	sleepTime     = 60 * time.Second
	maxHops       = 8           // firings that lead to one another
	maxOn         = 8192        // resources for which a rule remembers that its condition holds
	maxDecoded    = 16 << 10    // bytes of a representation that conditions are asked about
	missedAfter   = time.Minute // an instant that is longer ago was missed
)

// Event is what a rule sees of an event.
type Event struct {
	Seq     uint64
	Time    time.Time // when it was received
	Account string
	Device  string // di
	Href    string
	Format  oic.ContentFormat
	Body    []byte

	hops    int    // firings that led to it
	about   Device // whose event it is
	in      *input // made at the first need
	failure error
}

// Device is what a rule knows of a device.
type Device struct{ ID, Name, Type string }

// Kind says what came of a firing.
type Kind string

// The kinds of firings.
const (
	Fired   Kind = "fired"
	Asleep  Kind = "asleep"  // too many: nothing is done, and no more for a minute
	Stopped Kind = "stopped" // it led to itself: nothing is done
	Missed  Kind = "missed"  // the instant passed while nobody looked: nothing is done
)

// Firing is one time that a rule did, or would have done, what it says.
type Firing struct {
	ID       string    `json:"id"` // of rule, revision and cause
	Rule     string    `json:"rule"`
	Name     string    `json:"name"` // of the rule then
	Account  string    `json:"account"`
	Revision uint64    `json:"revision"`
	Kind     Kind      `json:"kind"`
	Time     time.Time `json:"time"` // of its cause, and for how long that had to hold
	Cause    Cause     `json:"cause"`
	Hops     int       `json:"hops,omitzero"` // firings that led to it
	Do       []Planned `json:"do,omitzero"`
}

// Cause is why a rule fired: an event or an instant.
type Cause struct {
	Event  uint64    `json:"event,omitzero"` // its sequence
	Device string    `json:"di,omitzero"`
	Href   string    `json:"href,omitzero"`
	Time   time.Time `json:"time"` // of the event, or the instant
}

// Planned is one thing that a firing does.
type Planned struct {
	Command *Order `json:"command,omitzero"`
	Device  string `json:"di,omitzero"` // the device that is meant, once it is known
	Message string `json:"message,omitzero"`
	Webhook string `json:"webhook,omitzero"` // its name
	Problem string `json:"problem,omitzero"` // why it cannot be done
}

// State is what a rule remembers from one step to the next.
type State struct {
	Revision uint64        `json:"revision"`
	Followed bool          `json:"followed,omitzero"` // a worker has begun with it
	Seq      uint64        `json:"seq"`               // events up to this one have been stepped
	On       map[string]on `json:"on,omitzero"`       // resources for which the condition holds
	Due      time.Time     `json:"due,omitzero"`      // the next instant
	Last     time.Time     `json:"last,omitzero"`     // the newest firing
	Hour     []time.Time   `json:"hour,omitzero"`     // the firings of an hour, if they are counted
	Credit   float64       `json:"credit,omitzero"`   // firings that are allowed at Filled
	Filled   time.Time     `json:"filled,omitzero"`
	Wakes    time.Time     `json:"wakes,omitzero"` // asleep until then
	Fired    uint64        `json:"fired,omitzero"`
	Held     uint64        `json:"held,omitzero"`    // firings that limits or sleep forbade
	Dropped  uint64        `json:"dropped,omitzero"` // firings for which there was no room
	Failed   uint64        `json:"failed,omitzero"`  // events for which the condition could not be evaluated
	Problem  string        `json:"problem,omitzero"` // the newest reason
}

// on is a resource for which the condition holds.
type on struct {
	Seq   uint64    `json:"seq"` // the event since which it does
	Since time.Time `json:"since"`
	Wait  bool      `json:"wait,omitzero"` // it must hold on before the rule fires
	Hops  int       `json:"hops,omitzero"`
	Texts []string  `json:"texts,omitzero"` // the messages that wait with it
}

// stepper is a rule with its state. Given the same events and instants in the
// same order, it fires the same.
type stepper struct {
	*program
	state State
	dirty bool      // the state has changed since it was kept
	waits []waiting // those that are on and wait, the first due in front
}

type waiting struct {
	resource string
	seq      uint64
	due      time.Time
}

func newStepper(p *program, s State) *stepper {
	st := &stepper{program: p, state: s}
	if st.state.On == nil {
		st.state.On = map[string]on{}
	}
	for resource, o := range st.state.On {
		if o.Wait {
			st.waits = append(st.waits, waiting{resource, o.Seq, o.Since.Add(st.patience())})
		}
	}
	slices.SortFunc(st.waits, func(a, b waiting) int { return cmp.Or(a.due.Compare(b.due), cmp.Compare(a.seq, b.seq)) })
	return st
}

// fresh is the state of a rule that begins at seq, now. States are the last
// ones of resources: what holds then is no news.
func fresh(p *program, seq uint64, now time.Time, states []*Event) State {
	s := State{Revision: p.Revision, Seq: seq, On: map[string]on{}, Credit: rateBurst, Filled: now}
	if p.schedule != nil {
		s.Due = p.schedule.next(now)
	}
	for _, ev := range states {
		if p.condition == nil || !p.selects(ev) {
			continue
		}
		if ok, err := p.holds(ev); ok && err == nil && len(s.On) < maxOn {
			s.On[resourceOf(ev)] = on{Seq: ev.Seq, Since: ev.Time}
		}
	}
	return s
}

func resourceOf(ev *Event) string { return ev.Device + ev.Href }

// patience is how long the condition has to hold.
func (p *program) patience() time.Duration {
	if p.When.Event == nil {
		return 0
	}
	return time.Duration(p.When.Event.For)
}

// selects reports whether p waits for events of this device and resource.
func (p *program) selects(ev *Event) bool {
	t := p.When.Event
	return t != nil && (t.Href == "" || t.Href == ev.Href) && (t.Type == "" || t.Type == ev.about.Type) &&
		(t.Device == "" || t.Device == ev.about.Name || t.Device == ev.Device)
}

// holds evaluates the condition.
func (p *program) holds(ev *Event) (bool, error) {
	if p.condition == nil {
		return true, nil
	}
	return p.condition.Holds(ev)
}

// Holds evaluates c for one event, as a rule would.
func (c *Condition) Holds(ev *Event) (bool, error) {
	in, err := ev.input()
	if err != nil {
		return false, err
	}
	return c.holds(in)
}

// input is ev as expressions see it, as long as Body is good. It is made once for
// all rules.
func (ev *Event) input() (*input, error) {
	if ev.in != nil || ev.failure != nil {
		return ev.in, ev.failure
	}
	in := &input{href: ev.Href, now: ev.Time, about: ev.about}
	switch {
	case len(ev.Body) > maxDecoded:
		ev.failure = oic.Errorf(oic.TooLarge, "a representation of more than %d bytes", maxDecoded)
	case ev.Format == oic.Text:
		in.event = string(ev.Body)
	default:
		var rep oic.Item
		rep, ev.failure = oic.ParseItem(ev.Format, ev.Body)
		in.represents(rep)
	}
	if ev.failure != nil {
		return nil, ev.failure
	}
	ev.in = in
	return in, nil
}

// event steps over an event that p selects. Instants before it come first.
func (s *stepper) event(ev *Event, fire func(*Firing)) {
	s.advance(ev.Time, fire)
	if ev.Seq <= s.state.Seq {
		return
	}
	s.state.Seq = ev.Seq
	resource := resourceOf(ev)
	was, known := s.state.On[resource]
	ok, err := s.holds(ev)
	if err != nil {
		s.state.Failed++
		s.state.Problem, s.dirty = short(err.Error()), true
	}
	switch {
	case !ok:
		if known {
			delete(s.state.On, resource)
			s.dirty = true
		}
	case s.condition == nil:
		s.fire(Cause{ev.Seq, ev.Device, ev.Href, ev.Time}, ev.Time, ev.hops, s.render(ev), fire)
	case !known:
		s.edge(resource, ev, fire)
	case was.Wait && s.messages:
		was.Texts, s.dirty = s.render(ev), true
		s.state.On[resource] = was
	}
}

// edge is the begin of something that holds.
func (s *stepper) edge(resource string, ev *Event, fire func(*Firing)) {
	s.dirty = true
	if len(s.state.On) >= maxOn {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(s.state.On)), func(a, b string) int {
			return cmp.Compare(s.state.On[a].Seq, s.state.On[b].Seq)
		})
		delete(s.state.On, oldest)
	}
	o := on{Seq: ev.Seq, Since: ev.Time, Hops: ev.hops, Wait: s.patience() > 0}
	if o.Wait {
		o.Texts = s.render(ev)
		s.waits = append(s.waits, waiting{resource, ev.Seq, ev.Time.Add(s.patience())})
	}
	s.state.On[resource] = o
	if !o.Wait {
		s.fire(Cause{ev.Seq, ev.Device, ev.Href, ev.Time}, ev.Time, ev.hops, s.render(ev), fire)
	}
}

// render is what the messages say about ev, by action.
func (s *stepper) render(ev *Event) []string {
	if !s.messages {
		return nil
	}
	in, err := ev.input()
	if err != nil {
		in = &input{href: ev.Href, now: ev.Time}
	}
	texts := make([]string, len(s.texts))
	for i, t := range s.texts {
		if t != nil {
			texts[i] = t.render(in)
		}
	}
	return texts
}

// due is the next instant at which something may happen without an event; zero
// if there is none.
func (s *stepper) due() time.Time {
	if s.schedule != nil {
		return s.state.Due
	}
	for len(s.waits) > 0 {
		w := s.waits[0]
		if o, ok := s.state.On[w.resource]; ok && o.Wait && o.Seq == w.seq {
			return w.due
		}
		s.waits = s.waits[1:]
	}
	return time.Time{}
}

// advance steps to now: what is due fires.
func (s *stepper) advance(now time.Time, fire func(*Firing)) {
	for at := s.due(); !at.IsZero() && !at.After(now); at = s.due() {
		s.dirty = true
		if s.schedule != nil {
			s.instant(at, now, fire)
			continue
		}
		w := s.waits[0]
		s.waits = s.waits[1:]
		o := s.state.On[w.resource]
		texts := o.Texts
		o.Wait, o.Texts = false, nil
		s.state.On[w.resource] = o
		device, href := splitResource(w.resource)
		s.fire(Cause{o.Seq, device, href, o.Since}, at, o.Hops, texts, fire)
	}
}

// splitResource is the inverse of resourceOf: a di has no slash.
func splitResource(resource string) (device, href string) {
	for i := range len(resource) {
		if resource[i] == '/' {
			return resource[:i], resource[i:]
		}
	}
	return resource, ""
}

// instant fires for the instant at, and finds the next one.
func (s *stepper) instant(at, now time.Time, fire func(*Firing)) {
	if now.Sub(at) > missedAfter {
		s.state.Due = s.schedule.next(now)
		s.tell(Missed, Cause{Time: at}, at, 0, fire)
		return
	}
	s.state.Due = s.schedule.next(at)
	s.fire(Cause{Time: at}, at, 0, s.render(&Event{Time: at}), fire)
}

// fire fires, if the limits allow it.
func (s *stepper) fire(c Cause, at time.Time, hops int, texts []string, fire func(*Firing)) {
	s.dirty = true
	switch {
	case at.Before(s.state.Wakes), !s.allowed(at):
		s.state.Held++
		return
	case hops >= maxHops:
		s.tell(Stopped, c, at, hops, fire)
		return
	case !s.spend(at):
		s.state.Wakes = at.Add(sleepTime)
		s.tell(Asleep, c, at, hops, fire)
		return
	}
	s.state.Fired++
	s.state.Last = at
	if s.Limits.PerHour > 0 {
		s.state.Hour = append(s.state.Hour, at)
	}
	f := s.firing(Fired, c, at, hops)
	f.Do = make([]Planned, len(s.Then))
	for i, a := range s.Then {
		f.Do[i].Command = a.Command
		switch {
		case a.Message != nil:
			f.Do[i].Message = texts[i]
		case a.Webhook != nil:
			f.Do[i].Webhook = a.Webhook.Name
		}
	}
	fire(f)
}

// allowed asks the rule's own limits.
func (s *stepper) allowed(at time.Time) bool {
	if d := time.Duration(s.Limits.CoolDown); d > 0 && !s.state.Last.IsZero() && at.Before(s.state.Last.Add(d)) {
		return false
	}
	if s.Limits.PerHour == 0 {
		return true
	}
	s.state.Hour = slices.DeleteFunc(s.state.Hour, func(t time.Time) bool { return !t.After(at.Add(-time.Hour)) })
	return len(s.state.Hour) < s.Limits.PerHour
}

// spend takes one of the firings that any rule may have.
func (s *stepper) spend(at time.Time) bool {
	st := &s.state
	if d := at.Sub(st.Filled); d > 0 {
		st.Credit = min(st.Credit+d.Seconds()*ratePerSecond, rateBurst)
		st.Filled = at
	}
	if st.Credit < 1 {
		return false
	}
	st.Credit--
	return true
}

// tell fires without doing anything.
func (s *stepper) tell(k Kind, c Cause, at time.Time, hops int, fire func(*Firing)) {
	fire(s.firing(k, c, at, hops))
}

func (s *stepper) firing(k Kind, c Cause, at time.Time, hops int) *Firing {
	return &Firing{
		ID: firingID(s.Rule, c), Rule: s.ID, Name: s.Name, Account: s.Account, Revision: s.Revision,
		Kind: k, Time: at, Cause: c, Hops: hops,
	}
}

// firingID is the same for the same cause, however often it is stepped over.
func firingID(r *Rule, c Cause) string {
	cause := "e" + strconv.FormatUint(c.Event, 10)
	if c.Event == 0 {
		cause = "t" + strconv.FormatInt(c.Time.UnixMilli(), 10)
	}
	return r.ID + "-" + strconv.FormatUint(r.Revision, 10) + "-" + cause
}
