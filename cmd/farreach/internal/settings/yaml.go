package settings

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxFile is the longest configuration read, in bytes.
const maxFile = 1 << 20

// Entry is one key of a configuration file.
type Entry struct {
	Key, Value string
	Where      string // file:line:column of what an error should point at
}

// ReadFile reads a configuration file: one YAML document, a flat list of keys
// with a plain value each. The error is an *Error that says where.
func ReadFile(name string) ([]Entry, error) {
	b, err := readBounded(name)
	if err != nil {
		return nil, err
	}
	return parseYAML(name, b)
}

func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, &Error{Where: name, Why: cause(err).Error()}
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, &Error{Where: name, Why: cause(err).Error()}
	}
	if len(b) > maxFile {
		return nil, &Error{Where: name, Why: fmt.Sprintf("longer than %d bytes", maxFile)}
	}
	return b, nil
}

// cause takes the path away from an error of the file system, because the
// message begins with it.
func cause(err error) error {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return e.Err
	}
	return err
}

func parseYAML(name string, b []byte) ([]Entry, error) {
	short := filepath.Base(name)
	doc, err := parser.ParseBytes(b, 0)
	if err != nil {
		return nil, syntaxError(short, err)
	}
	var entries []Entry
	for i, d := range doc.Docs {
		if d.Body == nil || d.Body.Type() == ast.CommentType || d.Body.Type() == ast.NullType {
			continue
		}
		if i > 0 {
			return nil, &Error{Where: at(short, d.Body.GetToken()), Why: "a second document"}
		}
		pairs, err := pairsOf(short, d.Body)
		if err != nil {
			return nil, err
		}
		if entries, err = entriesOf(short, pairs); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

func pairsOf(file string, body ast.Node) ([]*ast.MappingValueNode, error) {
	switch n := body.(type) {
	case *ast.MappingNode:
		return n.Values, nil
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, nil
	}
	return nil, &Error{Where: at(file, body.GetToken()), Why: `not a list of "key: value" lines`}
}

func entriesOf(file string, pairs []*ast.MappingValueNode) (entries []Entry, err error) {
	seen := map[string]bool{}
	for _, p := range pairs {
		where := at(file, p.Key.GetToken())
		key := p.Key.GetToken().Value
		if seen[key] {
			return nil, &Error{Where: where, Why: fmt.Sprintf("key %q for the second time", key)}
		}
		seen[key] = true
		value, ok := p.Value.(ast.ScalarNode)
		if !ok || p.Value.Type() == ast.NullType {
			return nil, &Error{Where: where, Why: fmt.Sprintf("key %q needs one plain value", key)}
		}
		entries = append(entries, Entry{Key: key, Value: fmt.Sprint(value.GetValue()), Where: where})
	}
	return entries, nil
}

func syntaxError(file string, err error) error {
	if e, ok := errors.AsType[yaml.Error](err); ok {
		return &Error{Where: at(file, e.GetToken()), Why: e.GetMessage()}
	}
	return &Error{Where: file, Why: err.Error()}
}

func at(file string, tk *token.Token) string {
	if tk == nil || tk.Position == nil {
		return file
	}
	return fmt.Sprintf("%s:%d:%d", file, tk.Position.Line, tk.Position.Column)
}
