package rule

import (
	"container/heap"
	"time"
)

// armed is a rule that is being followed.
type armed struct {
	*stepper
	key   ruleKey
	at    time.Time // due, as the clock knows it
	place int       // in the clock; -1: not there

	// late, if catching, are events that came while those before are read.
	catching bool
	late     []*Event
}

// index finds the rules that an event is for, without looking at others.
type index struct {
	houses map[string]*house // by account
}

// house is the rules of one account.
type house struct {
	rules   map[selector][]*armed
	count   int
	waiting int // firings that are not done yet
}

// selector is what a rule waits for: a device by its name or di, or any, and a
// resource, or any.
type selector struct{ device, href string }

func selectorOf(p *program) selector { return selector{p.When.Event.Device, p.When.Event.Href} }

func (x *index) house(account string) *house {
	h := x.houses[account]
	if h == nil {
		h = &house{rules: map[selector][]*armed{}}
		x.houses[account] = h
	}
	return h
}

func (x *index) add(a *armed) {
	h := x.house(a.Account)
	h.count++
	if a.When.Event != nil {
		s := selectorOf(a.program)
		h.rules[s] = append(h.rules[s], a)
	}
}

func (x *index) remove(a *armed) {
	h := x.house(a.Account)
	h.count--
	if a.When.Event != nil {
		s := selectorOf(a.program)
		var rest []*armed // others may be looking at the old list
		for _, other := range h.rules[s] {
			if other != a {
				rest = append(rest, other)
			}
		}
		if h.rules[s] = rest; len(rest) == 0 {
			delete(h.rules, s)
		}
	}
	x.leave(a.Account)
}

// leave forgets a house in which nothing is left.
func (x *index) leave(account string) {
	if h := x.houses[account]; h != nil && h.count == 0 && h.waiting == 0 {
		delete(x.houses, account)
	}
}

// each calls f with the rules that wait for ev.
func (h *house) each(ev *Event, f func(*armed)) {
	h.at(selector{ev.Device, ev.Href}, ev, f)
	h.at(selector{ev.Device, ""}, ev, f)
	h.at(selector{"", ev.Href}, ev, f)
	h.at(selector{"", ""}, ev, f)
	if name := ev.about.Name; name != "" && name != ev.Device {
		h.at(selector{name, ev.Href}, ev, f)
		h.at(selector{name, ""}, ev, f)
	}
}

func (h *house) at(s selector, ev *Event, f func(*armed)) {
	for _, a := range h.rules[s] {
		if a.selects(ev) {
			f(a)
		}
	}
}

// clock has the rules that wait for an instant, the first in front.
type clock []*armed

func (c clock) Len() int           { return len(c) }
func (c clock) Less(i, j int) bool { return c[i].at.Before(c[j].at) }
func (c clock) Swap(i, j int) {
	c[i], c[j] = c[j], c[i]
	c[i].place, c[j].place = i, j
}

// Push implements heap.Interface.
func (c *clock) Push(x any) {
	a := x.(*armed)
	a.place = len(*c)
	*c = append(*c, a)
}

// Pop implements heap.Interface.
func (c *clock) Pop() any {
	last := len(*c) - 1
	a := (*c)[last]
	(*c)[last] = nil
	*c = (*c)[:last]
	a.place = -1
	return a
}

// set puts a where it belongs, and reports whether the first instant is
// another one now.
func (c *clock) set(a *armed) bool {
	at := a.due()
	if at.Equal(a.at) && (a.place >= 0) == !at.IsZero() {
		return false
	}
	first := a.place == 0
	a.at = at
	switch {
	case at.IsZero():
		c.drop(a)
	case a.place < 0:
		heap.Push(c, a)
	default:
		heap.Fix(c, a.place)
	}
	return first || a.place == 0
}

func (c *clock) drop(a *armed) {
	if a.place >= 0 {
		heap.Remove(c, a.place)
	}
}
