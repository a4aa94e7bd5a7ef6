package rule

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/farreach/farreach/oic"
)

// DocumentError says what is wrong with a rule, and where.
type DocumentError struct {
	Path   string // of the member: "when.event.if", "then.0.command"; empty: the whole
	Line   int    // in the file, from 1; 0: there is none
	Column int    // from 1
	Why    string
}

func (e *DocumentError) Error() string {
	text := e.Why
	if e.Path != "" {
		text = e.Path + ": " + text
	}
	if e.Line > 0 {
		text = fmt.Sprintf("%d:%d: %s", e.Line, e.Column, text)
	}
	return text
}

func wrong(path, format string, args ...any) error {
	return &DocumentError{Path: path, Why: fmt.Sprintf(format, args...)}
}

// Validate reports whether d can be followed. The error is a *DocumentError.
func (d *Document) Validate() error {
	_, err := compileRule(&Rule{Document: *d})
	return err
}

// program is a rule that is ready to be stepped. It is not changed.
type program struct {
	*Rule
	condition *Condition // nil: every event
	schedule  schedule   // nil: it waits for events
	texts     []*text    // of messages; by action, nil for others
	messages  bool
}

// compileRule makes a program of r. The error is a *DocumentError.
func compileRule(r *Rule) (*program, error) {
	p := &program{Rule: r}
	for _, check := range []func() error{p.checkName, p.checkWhen, p.checkThen, p.checkLimits} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *program) checkName() error {
	switch name := p.Name; {
	case name == "":
		return wrong("name", "is missing")
	case len(name) > maxName:
		return wrong("name", "longer than %d bytes", maxName)
	case !plain(name) || strings.TrimSpace(name) != name || strings.ContainsAny(name, "/\\"):
		return wrong("name", "has a slash, a control character, or a space at its end")
	}
	return nil
}

// plain reports whether s can be shown and kept as it is.
func plain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

func (p *program) checkWhen() error {
	w := &p.When
	n := 0
	for _, there := range []bool{w.Event != nil, w.At != nil, w.Every != 0, w.Sun != nil} {
		if there {
			n++
		}
	}
	if n != 1 {
		return wrong("when", "needs one of event, at, every and sun")
	}
	if w.Event != nil {
		return p.checkTrigger(w.Event)
	}
	if d := time.Duration(w.Every); w.Every != 0 && (d < minInterval || d > maxInterval || d%time.Second != 0) {
		return wrong("when.every", "is not in whole seconds from %v to %v", Duration(minInterval), Duration(maxInterval))
	}
	if s := w.Sun; s != nil {
		switch {
		case s.Event != "sunrise" && s.Event != "sunset":
			return wrong("when.sun.event", "%.16q is neither sunrise nor sunset", s.Event)
		case !(s.Latitude >= -90 && s.Latitude <= 90):
			return wrong("when.sun.latitude", "is not from -90 to 90")
		case !(s.Longitude >= -180 && s.Longitude <= 180):
			return wrong("when.sun.longitude", "is not from -180 to 180")
		case s.Offset.abs() > Duration(24*time.Hour):
			return wrong("when.sun.offset", "is longer than a day")
		}
	}
	return p.checkSchedule()
}

func (d Duration) abs() Duration { return max(d, -d) }

func (p *program) checkSchedule() (err error) {
	path := "when.at"
	if p.When.Sun != nil {
		path = "when.sun"
	}
	p.schedule, err = p.When.schedule()
	if e, ok := errors.AsType[*fieldError](err); ok {
		return wrong(path+"."+e.field, "%s", e.why)
	}
	return err
}

func (p *program) checkTrigger(t *Trigger) (err error) {
	const path = "when.event"
	if err := checkHref(path+".href", t.Href, true); err != nil {
		return err
	}
	switch {
	case len(t.Device) > maxName || !plain(t.Device):
		return wrong(path+".device", "is no name of a device")
	case len(t.Type) > maxName || !plain(t.Type):
		return wrong(path+".type", "is no type of a device")
	case t.For < 0 || t.For > Duration(maxFor):
		return wrong(path+".for", "is longer than %v, or negative", Duration(maxFor))
	case t.For > 0 && t.If == "":
		return wrong(path+".for", "needs a condition that can hold so long: if")
	case t.If == "":
		return nil
	}
	if p.condition, err = Compile(t.If); err != nil {
		return wrong(path+".if", "%v", err)
	}
	return nil
}

func checkHref(path, href string, optional bool) error {
	switch {
	case href == "" && optional:
		return nil
	case !strings.HasPrefix(href, "/"), len(href) > 1024, !plain(href):
		return wrong(path, "is no path such as /a/light")
	}
	return nil
}

func (p *program) checkThen() error {
	if len(p.Then) == 0 || len(p.Then) > maxActions {
		return wrong("then", "needs one action, and takes %d", maxActions)
	}
	p.texts = make([]*text, len(p.Then))
	for i := range p.Then {
		path := "then." + strconv.Itoa(i)
		switch a := &p.Then[i]; {
		case a.members() != 1:
			return wrong(path, "needs one of command, message and webhook")
		case a.Command != nil:
			if err := a.Command.check(path + ".command"); err != nil {
				return err
			}
		case a.Webhook != nil:
			if name := a.Webhook.Name; name == "" || len(name) > maxName || !plain(name) {
				return wrong(path+".webhook.name", "is no name of a webhook")
			}
		default:
			t, err := parseText(a.Message.Text)
			if err == nil && p.schedule != nil && len(t.parts) > 0 {
				err = errors.New("has an expression about an event, and there will be none")
			}
			if err != nil {
				return wrong(path+".message.text", "%v", err)
			}
			p.texts[i], p.messages = t, true
		}
	}
	return nil
}

// members counts what a does.
func (a *Action) members() (n int) {
	for _, there := range []bool{a.Command != nil, a.Message != nil, a.Webhook != nil} {
		if there {
			n++
		}
	}
	return n
}

func (c *Order) check(path string) error {
	if err := checkHref(path+".href", c.Href, false); err != nil {
		return err
	}
	switch {
	case c.Device == "" || len(c.Device) > maxName || !plain(c.Device):
		return wrong(path+".device", "is no name of a device")
	case !slices.Contains([]string{"", "post", "put", "delete"}, c.Method):
		return wrong(path+".method", "%.16q is none of post, put and delete", c.Method)
	case len(c.Set) > maxBody:
		return wrong(path+".set", "longer than %d bytes", maxBody)
	case len(c.Set) == 0 && c.Method != "delete":
		return wrong(path+".set", "is missing: what is sent")
	case c.Keep != nil && (*c.Keep < 0 || *c.Keep > Duration(maxQueue)):
		return wrong(path+".keep", "is longer than %v, or negative", Duration(maxQueue))
	}
	if _, err := oic.FromJSON(oic.OCF, c.Set); err != nil {
		return wrong(path+".set", "%s", diagnostic(err))
	}
	return nil
}

func diagnostic(err error) string {
	_, text := oic.StatusOf(err)
	return text
}

func (p *program) checkLimits() error {
	switch l := p.Limits; {
	case l.PerHour < 0 || l.PerHour > maxPerHour:
		return wrong("limits.per_hour", "is not from 0 to %d", maxPerHour)
	case l.CoolDown < 0 || l.CoolDown > Duration(maxInterval):
		return wrong("limits.cool_down", "is longer than %v, or negative", Duration(maxInterval))
	}
	return nil
}

// text is what a message says: words with expressions between them.
type text struct {
	words []string // one more than parts
	parts []*Condition
}

// parseText reads "freezer at {{event.temperature}} °C".
func parseText(s string) (*text, error) {
	if s == "" || len(s) > maxMessage || !utf8.ValidString(s) {
		return nil, fmt.Errorf("has no text, or more than %d bytes", maxMessage)
	}
	t := &text{}
	for {
		words, rest, found := strings.Cut(s, "{{")
		t.words = append(t.words, words)
		if !found {
			return t, nil
		}
		expression, after, closed := strings.Cut(rest, "}}")
		if !closed {
			return nil, errors.New("has {{ without }}")
		}
		if len(t.parts) == maxActions {
			return nil, fmt.Errorf("has more than %d expressions", maxActions)
		}
		part, err := compile(expression)
		if err != nil {
			return nil, fmt.Errorf("{{%s}}: %w", expression, err)
		}
		t.parts, s = append(t.parts, part), after
	}
}

// render says it about an event. What cannot be evaluated is a question mark.
func (t *text) render(in *input) string {
	var b strings.Builder
	for i, words := range t.words {
		b.WriteString(words)
		if i < len(t.parts) && b.Len() < maxMessage {
			v, err := t.parts[i].value(in)
			if err != nil {
				v = "?"
			}
			b.WriteString(short(fmt.Sprint(v)))
		}
	}
	return b.String()
}

// short is s, cut so that a value cannot make a message long.
func short(s string) string {
	const longest = 256
	if len(s) <= longest {
		return s
	}
	return strings.ToValidUTF8(s[:longest], "") + "…"
}
