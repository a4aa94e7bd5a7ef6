package rule

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxDocument is the longest rule that is read, in bytes.
const maxDocument = 64 << 10

// maxNested is how deep a document may be nested.
const maxNested = 40

// Parse reads a rule from a file: one document in YAML, of which JSON is a
// part. A member that no rule has is an error, and so is everything that
// Validate refuses. The error is a *DocumentError with a place in the file.
func Parse(b []byte) (*Document, error) {
	if len(b) > maxDocument {
		return nil, wrong("", "longer than %d bytes", maxDocument)
	}
	if err := flat(b); err != nil {
		return nil, err
	}
	file, err := parser.ParseBytes(b, 0)
	if err != nil {
		return nil, syntaxError(err)
	}
	r := reader{places: map[string]*token.Token{}}
	d := &Document{}
	if err := r.file(file, d); err != nil {
		return nil, err
	}
	err = d.Validate()
	if e, ok := errors.AsType[*DocumentError](err); ok {
		e.Line, e.Column = r.place(e.Path)
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

// flat refuses what is nested so deep that reading it takes a stack of its own.
func flat(b []byte) error {
	depth := 0
	for _, c := range b {
		switch c {
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		}
		if depth > maxNested {
			return wrong("", "nested deeper than %d", maxNested)
		}
	}
	return nil
}

func syntaxError(err error) error {
	e := &DocumentError{Why: "is no YAML"}
	if y, ok := errors.AsType[yaml.Error](err); ok {
		e.Why = y.GetMessage()
		e.Line, e.Column = lineOf(y.GetToken())
	}
	return e
}

func lineOf(t *token.Token) (line, column int) {
	if t == nil || t.Position == nil {
		return 0, 0
	}
	return t.Position.Line, t.Position.Column
}

// reader turns the nodes of a YAML document into a Document, and remembers
// where each member stands.
type reader struct{ places map[string]*token.Token }

// place is where the member at path stands, or what it is in.
func (r *reader) place(path string) (line, column int) {
	for {
		if t, ok := r.places[path]; ok {
			return lineOf(t)
		}
		i := strings.LastIndexByte(path, '.')
		if i < 0 {
			return 1, 1
		}
		path = path[:i]
	}
}

func (r *reader) fail(path string, n ast.Node, format string, args ...any) error {
	e := &DocumentError{Path: path, Why: fmt.Sprintf(format, args...)}
	e.Line, e.Column = lineOf(n.GetToken())
	return e
}

func (r *reader) file(f *ast.File, d *Document) error {
	var body ast.Node
	for _, doc := range f.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		if body != nil {
			return r.fail("", doc.Body, "a second document: one file has one rule")
		}
		body = doc.Body
	}
	if body == nil {
		return wrong("", "is empty")
	}
	return r.object("", body, members{
		"name": r.text(&d.Name), "disabled": r.truth(&d.Disabled), "when": r.when(&d.When),
		"then": r.list(func(path string, n ast.Node) error {
			d.Then = append(d.Then, Action{})
			return r.action(&d.Then[len(d.Then)-1])(path, n)
		}),
		"limits": r.limits(&d.Limits),
	})
}

// take reads one node, which stands at path.
type take func(path string, n ast.Node) error

// members says how each member of an object is read.
type members map[string]take

// object reads an object that has these members and no others.
func (r *reader) object(path string, n ast.Node, m members) error {
	pairs, err := r.pairs(path, n)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, p := range pairs {
		key := p.Key.GetToken().Value
		at := join(path, key)
		r.places[at] = p.Key.GetToken()
		read, known := m[key]
		switch {
		case !known:
			names := slices.Sorted(func(yield func(string) bool) {
				for name := range m {
					if !yield(name) {
						return
					}
				}
			})
			return r.fail(path, p.Key, "has no member %.32q, but %s", key, strings.Join(names, ", "))
		case seen[key]:
			return r.fail(at, p.Key, "for the second time")
		}
		seen[key] = true
		if err := read(at, p.Value); err != nil {
			return err
		}
	}
	return nil
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func (r *reader) pairs(path string, n ast.Node) ([]*ast.MappingValueNode, error) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, nil
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, nil
	}
	return nil, r.fail(path, n, `is not a list of "key: value"`)
}

func (r *reader) list(each take) take {
	return func(path string, n ast.Node) error {
		s, ok := n.(*ast.SequenceNode)
		if !ok {
			return r.fail(path, n, "is not a list")
		}
		if len(s.Values) > 2*maxActions {
			return r.fail(path, n, "has more than %d elements", maxActions)
		}
		for i, v := range s.Values {
			at := join(path, strconv.Itoa(i))
			r.places[at] = v.GetToken()
			if err := each(at, v); err != nil {
				return err
			}
		}
		return nil
	}
}

func (r *reader) when(w *When) take {
	return func(path string, n ast.Node) error {
		return r.object(path, n, members{
			"event": func(path string, n ast.Node) error {
				w.Event = &Trigger{}
				return r.object(path, n, members{
					"device": r.text(&w.Event.Device), "type": r.text(&w.Event.Type), "href": r.text(&w.Event.Href),
					"if": r.text(&w.Event.If), "for": r.duration(&w.Event.For),
				})
			},
			"at": func(path string, n ast.Node) error {
				w.At = &At{}
				if _, plain := n.(ast.ScalarNode); plain { // at: 07:30
					return r.text(&w.At.Time)(path, n)
				}
				return r.object(path, n, members{
					"time": r.text(&w.At.Time), "days": r.texts(&w.At.Days), "zone": r.text(&w.At.Zone),
				})
			},
			"every": r.duration(&w.Every),
			"sun": func(path string, n ast.Node) error {
				w.Sun = &Sun{}
				return r.object(path, n, members{
					"event": r.text(&w.Sun.Event), "latitude": r.number(&w.Sun.Latitude), "longitude": r.number(&w.Sun.Longitude),
					"offset": r.duration(&w.Sun.Offset), "days": r.texts(&w.Sun.Days), "zone": r.text(&w.Sun.Zone),
				})
			},
		})
	}
}

func (r *reader) action(a *Action) take {
	return func(path string, n ast.Node) error {
		return r.object(path, n, members{
			"command": func(path string, n ast.Node) error {
				c := &Order{}
				a.Command = c
				return r.object(path, n, members{
					"device": r.text(&c.Device), "href": r.text(&c.Href), "method": r.text(&c.Method),
					"set": r.value(&c.Set),
					"keep": func(path string, n ast.Node) error {
						c.Keep = new(Duration)
						return r.duration(c.Keep)(path, n)
					},
				})
			},
			"message": func(path string, n ast.Node) error {
				a.Message = &Message{}
				if _, plain := n.(ast.ScalarNode); plain { // message: good morning
					return r.text(&a.Message.Text)(path, n)
				}
				return r.object(path, n, members{"text": r.text(&a.Message.Text)})
			},
			"webhook": func(path string, n ast.Node) error {
				a.Webhook = &Notice{}
				if _, plain := n.(ast.ScalarNode); plain { // webhook: pager
					return r.text(&a.Webhook.Name)(path, n)
				}
				return r.object(path, n, members{"name": r.text(&a.Webhook.Name)})
			},
		})
	}
}

func (r *reader) limits(l *Limits) take {
	return func(path string, n ast.Node) error {
		return r.object(path, n, members{
			"per_hour": func(path string, n ast.Node) error {
				var f float64
				if err := r.number(&f)(path, n); err != nil {
					return err
				}
				if l.PerHour = int(f); float64(l.PerHour) != f {
					return r.fail(path, n, "is no whole number")
				}
				return nil
			},
			"cool_down": r.duration(&l.CoolDown),
		})
	}
}

// text reads a scalar as it is written.
func (r *reader) text(s *string) take {
	return func(path string, n ast.Node) error {
		r.places[path] = n.GetToken()
		switch n := n.(type) {
		case *ast.LiteralNode:
			*s = strings.TrimRight(n.Value.Value, "\n")
		case *ast.StringNode:
			*s = n.Value
		case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
			*s = n.GetToken().Value
		case *ast.TagNode:
			return r.fail(path, n, "begins with !, which YAML has for something else: put it in quotes")
		default:
			return r.fail(path, n, "is no text")
		}
		return nil
	}
}

func (r *reader) texts(list *[]string) take {
	return r.list(func(path string, n ast.Node) error {
		var s string
		err := r.text(&s)(path, n)
		*list = append(*list, s)
		return err
	})
}

func (r *reader) truth(b *bool) take {
	return func(path string, n ast.Node) error {
		v, ok := n.(*ast.BoolNode)
		if !ok {
			return r.fail(path, n, "is neither true nor false")
		}
		*b = v.Value
		return nil
	}
}

func (r *reader) number(f *float64) take {
	return func(path string, n ast.Node) error {
		v, err := r.any(path, n)
		if err != nil {
			return err
		}
		switch v := v.(type) {
		case int64:
			*f = float64(v)
		case uint64:
			*f = float64(v)
		case float64:
			*f = v
		default:
			return r.fail(path, n, "is no number")
		}
		return nil
	}
}

func (r *reader) duration(d *Duration) take {
	return func(path string, n ast.Node) error {
		var s string
		err := r.text(&s)(path, n)
		if err == nil {
			if *d, err = ParseDuration(s); err != nil {
				err = r.fail(path, n, "%v", err)
			}
		}
		return err
	}
}

// value reads anything as JSON.
func (r *reader) value(j *json.RawMessage) take {
	return func(path string, n ast.Node) error {
		v, err := r.any(path, n)
		if err != nil {
			return err
		}
		if *j, err = json.Marshal(v); err != nil {
			return r.fail(path, n, "cannot be JSON")
		}
		return nil
	}
}

// any reads a node as JSON has it.
func (r *reader) any(path string, n ast.Node) (any, error) {
	if strings.Count(path, ".") > maxNested {
		return nil, r.fail("", n, "nested deeper than %d", maxNested)
	}
	switch n := n.(type) {
	case *ast.NullNode:
		return nil, nil
	case *ast.BoolNode:
		return n.Value, nil
	case *ast.IntegerNode:
		return n.Value, nil // int64 or uint64
	case *ast.FloatNode:
		if math.IsInf(n.Value, 0) || math.IsNaN(n.Value) {
			return nil, r.fail(path, n, "is no number")
		}
		return n.Value, nil
	case *ast.StringNode, *ast.LiteralNode:
		var s string
		err := r.text(&s)(path, n)
		return s, err
	case *ast.SequenceNode:
		list := make([]any, len(n.Values))
		for i, v := range n.Values {
			var err error
			if list[i], err = r.any(join(path, strconv.Itoa(i)), v); err != nil {
				return nil, err
			}
		}
		return list, nil
	case *ast.MappingNode, *ast.MappingValueNode:
		return r.anyObject(path, n)
	}
	return nil, r.fail(path, n, "is not what a rule takes: no anchors, aliases, tags or merges")
}

func (r *reader) anyObject(path string, n ast.Node) (any, error) {
	pairs, err := r.pairs(path, n)
	if err != nil {
		return nil, err
	}
	object := map[string]any{}
	for _, p := range pairs {
		var key string
		if err := r.text(&key)(path, p.Key); err != nil {
			return nil, err
		}
		if _, twice := object[key]; twice {
			return nil, r.fail(join(path, key), p.Key, "for the second time")
		}
		if object[key], err = r.any(join(path, key), p.Value); err != nil {
			return nil, err
		}
	}
	return object, nil
}

// YAML writes d as Parse reads it.
func (d *Document) YAML() ([]byte, error) {
	b, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	return yaml.JSONToYAML(b)
}
