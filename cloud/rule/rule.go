// Package rule decides what follows from what happens: events and time in,
// commands out.
//
//	event log ──▶ step ──▶ firing ──▶ log of runs ──▶ commands, in order ──▶ device
//	instants  ──▶   ▲        made once by its cause      ├─ messages ──▶ event log
//	                │                                    └─ webhooks ──▶ their queue
//	                └── state of each rule, kept each second
//
// The core (step.go) is a pure function of a rule, its state, and an event or an
// instant. The worker (worker.go) runs it over the log as it grows; Replay runs
// the same over the past. A firing is named by its rule, revision and cause, so
// that an event that is stepped again after a crash fires nothing twice.
//
// Rules know neither the directory nor the log of events: they are given
// functions, in Config.
package rule

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The limits of rules.
const (
	maxRules    = 100 // of an account
	maxName     = 64  // bytes
	maxActions  = 16  // of a rule
	maxBody     = 16 << 10
	maxMessage  = 1 << 10
	maxPerHour  = 1000
	maxFor      = 7 * 24 * time.Hour
	maxQueue    = time.Hour
	minInterval = time.Second
	maxInterval = 366 * 24 * time.Hour
)

// Document is a rule as a person writes it: the same in a file and in JSON.
type Document struct {
	Name     string   `json:"name" doc:"by which people know it" example:"lamp-at-the-door"`
	Disabled bool     `json:"disabled,omitempty" doc:"kept, but not followed"`
	When     When     `json:"when"`
	Then     []Action `json:"then" doc:"in this order"`
	Limits   Limits   `json:"limits,omitzero" required:"false"`
}

// When is what a rule waits for: exactly one of these.
type When struct {
	Event *Trigger `json:"event,omitempty" doc:"something that a device reports"`
	At    *At      `json:"at,omitempty" doc:"a time of day"`
	Every Duration `json:"every,omitempty" doc:"an interval, such as 15m"`
	Sun   *Sun     `json:"sun,omitempty" doc:"sunrise or sunset"`
}

// Trigger is an event after which a condition holds that did not hold before.
type Trigger struct {
	Device string   `json:"device,omitempty" doc:"name or id of the device; none: any"`
	Type   string   `json:"type,omitempty" doc:"only devices of this type" example:"oic.d.light"`
	Href   string   `json:"href,omitempty" doc:"only of this resource" example:"/a/door"`
	If     string   `json:"if,omitempty" doc:"condition in CEL, about event, device, href and now; none: every event" example:"event.value"`
	For    Duration `json:"for,omitempty" doc:"only if the condition holds for so long"`
}

// At is a time of day.
type At struct {
	Time string   `json:"time" doc:"HH:MM or HH:MM:SS" example:"07:30"`
	Days []string `json:"days,omitempty" doc:"mon … sun; none: every day"`
	Zone string   `json:"zone,omitempty" doc:"time zone; none: that of the server" example:"Europe/Berlin"`
}

// Sun is sunrise or sunset somewhere.
type Sun struct {
	Event     string   `json:"event" enum:"sunrise,sunset"`
	Latitude  float64  `json:"latitude" minimum:"-90" maximum:"90" doc:"degrees north"`
	Longitude float64  `json:"longitude" minimum:"-180" maximum:"180" doc:"degrees east"`
	Offset    Duration `json:"offset,omitempty" doc:"later, or earlier if negative"`
	Days      []string `json:"days,omitempty" doc:"mon … sun; none: every day"`
	Zone      string   `json:"zone,omitempty" doc:"time zone of the days; none: that of the server"`
}

// Action is what a rule does: exactly one of these.
type Action struct {
	Command *Order   `json:"command,omitempty" doc:"change a resource of a device"`
	Message *Message `json:"message,omitempty" doc:"say something: an event of the account"`
	Webhook *Notice  `json:"webhook,omitempty" doc:"tell a program that the rule fired, until it has taken it"`
}

// Order is a command: it changes a resource.
type Order struct {
	Device string          `json:"device" doc:"name or id of the device" example:"lamp"`
	Href   string          `json:"href" example:"/a/light"`
	Method string          `json:"method,omitempty" enum:"post,put,delete" doc:"none: post"`
	Set    json.RawMessage `json:"set,omitempty" doc:"the representation that is sent"`
	Keep   *Duration       `json:"keep,omitempty" doc:"how long it waits for a device that is away; none: 30s"`
}

// Message says something to the account's people and programs.
type Message struct {
	Text string `json:"text" doc:"between {{ and }} stands an expression in CEL" example:"freezer at {{event.temperature}} °C"`
}

// Notice tells a program of the account's owner that the rule fired, and on
// what.
type Notice struct {
	Name string `json:"name" doc:"of a webhook of the account" example:"pager"`
}

// Limits are how often a rule may fire. Beyond, it is not asked again.
type Limits struct {
	PerHour  int      `json:"per_hour,omitempty" minimum:"0" maximum:"1000" doc:"at most so often in an hour; 0: as often as it comes"`
	CoolDown Duration `json:"cool_down,omitempty" doc:"at least this time between two firings"`
}

// Rule is a document that is followed, in one revision.
type Rule struct {
	ID       string    `json:"id"`
	Account  string    `json:"account"`
	Revision uint64    `json:"revision"` // from 1; each change makes a new one
	Created  time.Time `json:"created"`
	Changed  time.Time `json:"changed"` // when this revision was made
	By       string    `json:"by,omitzero"`
	Document
}

// key is where the rule stands in tables and logs.
func (r *Rule) key() ruleKey { return ruleKey{r.Account, r.ID} }

type ruleKey struct{ account, id string }

// Duration is a length of time that is written as 90s, 1h30m or 7d.
type Duration time.Duration

// ParseDuration reads what String writes.
func ParseDuration(s string) (Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > -100_000 && n < 100_000 {
			return Duration(n) * Duration(24*time.Hour), nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%.32q is no length of time such as 90s, 5m or 1h30m", s)
	}
	return Duration(d), nil
}

// String writes d as a person would: 5m, not 5m0s.
func (d Duration) String() string {
	const day = Duration(24 * time.Hour)
	if d != 0 && d%day == 0 {
		return strconv.Itoa(int(d/day)) + "d"
	}
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) (err error) {
	*d, err = ParseDuration(string(b))
	return err
}

// UnmarshalJSON takes a text for an At of that time.
func (a *At) UnmarshalJSON(b []byte) error {
	type object At
	return unmarshalText(b, &a.Time, (*object)(a))
}

// UnmarshalJSON takes a text for a Message of that text.
func (m *Message) UnmarshalJSON(b []byte) error {
	type object Message
	return unmarshalText(b, &m.Text, (*object)(m))
}

// UnmarshalJSON takes a text for a Notice to the webhook of that name.
func (n *Notice) UnmarshalJSON(b []byte) error {
	type object Notice
	return unmarshalText(b, &n.Name, (*object)(n))
}

// unmarshalText reads what is a text in short, or an object.
func unmarshalText(b []byte, text *string, object any) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, text)
	}
	return json.Unmarshal(b, object)
}
