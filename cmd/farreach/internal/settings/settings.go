// Package settings finds out what the user wants, before anything starts:
//
//	flags ── over ── FARREACH_… ── over ── farreach.yaml ── over ── defaults
//
// and keeps what passes from a server to the commands that talk to it: the
// address file that scripts wait for, and the profile that a client command
// takes when it is given no flag.
//
// A setting has one name everywhere: --port-offset, FARREACH_PORT_OFFSET and
// port_offset are the same.
package settings

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Error is a setting that cannot be used.
type Error struct {
	Where string // "farreach.yaml:3:1" or "FARREACH_DATA"
	Why   string
	Try   string // what to do instead; may be empty
}

func (e *Error) Error() string {
	msg := e.Where + ": " + e.Why
	if e.Try != "" {
		msg += "; " + e.Try
	}
	return msg
}

// notSettings are flags that only make sense on a command line.
var notSettings = []string{"config", "help"}

// Apply gives every flag that was not on the command line the value of its
// environment variable, or else of the file. lookup is os.LookupEnv or a
// stand-in; file may be nil.
//
// The error is an *Error: a value that the flag does not take, or a key of the file
// that no flag has.
func Apply(flags *pflag.FlagSet, lookup func(string) (string, bool), file []Entry) error {
	for _, e := range file {
		if flags.Lookup(flagName(e.Key)) == nil || slices.Contains(notSettings, flagName(e.Key)) {
			return unknownKey(e, flags)
		}
	}
	var first error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed || first != nil || slices.Contains(notSettings, f.Name) {
			return
		}
		name := envName(f.Name)
		if value, ok := lookup(name); ok && value != "" {
			first = set(flags, f.Name, value, name)
			return
		}
		for _, e := range file {
			if flagName(e.Key) == f.Name {
				first = set(flags, f.Name, e.Value, e.Where)
			}
		}
	})
	return first
}

// origin is the annotation of a flag that says where its value comes from.
const origin = "farreach.origin"

// Setting is a setting as it is in force.
type Setting struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	From  string `json:"from"` // "command line", "FARREACH_DATA", "farreach.yaml:3:1", "default"
}

// All are the settings that flags has after Apply, in the order of their names.
func All(flags *pflag.FlagSet) (all []Setting) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || slices.Contains(notSettings, f.Name) {
			return
		}
		s := Setting{Key: keyName(f.Name), Value: f.Value.String(), From: "default"}
		if f.Changed {
			s.From = "command line"
		}
		if where := f.Annotations[origin]; len(where) > 0 {
			s.From = where[0]
		}
		all = append(all, s)
	})
	return all
}

// Changed are the keys that differ between two readings of a file.
func Changed(before, after []Entry) (keys []string) {
	value := func(list []Entry, key string) (string, bool) {
		i := slices.IndexFunc(list, func(e Entry) bool { return e.Key == key })
		if i < 0 {
			return "", false
		}
		return list[i].Value, true
	}
	for _, e := range slices.Concat(before, after) {
		was, had := value(before, e.Key)
		is, has := value(after, e.Key)
		if (was != is || had != has) && !slices.Contains(keys, e.Key) {
			keys = append(keys, e.Key)
		}
	}
	return keys
}

func set(flags *pflag.FlagSet, name, value, where string) error {
	if err := flags.Set(name, value); err != nil {
		reason := err
		if e, ok := err.(*pflag.InvalidValueError); ok && e.Unwrap() != nil {
			reason = e.Unwrap()
		}
		return &Error{Where: where, Why: fmt.Sprintf("%q cannot be used for %s: %v", value, name, reason)}
	}
	return flags.SetAnnotation(name, origin, []string{where})
}

func unknownKey(e Entry, flags *pflag.FlagSet) error {
	var known []string
	flags.VisitAll(func(f *pflag.Flag) {
		if !slices.Contains(notSettings, f.Name) && !f.Hidden {
			known = append(known, keyName(f.Name))
		}
	})
	bad := &Error{Where: e.Where, Why: fmt.Sprintf("unknown key %q", e.Key)}
	if near := Nearest(e.Key, known); near != "" {
		bad.Try = fmt.Sprintf("did you mean %s?", near)
	}
	return bad
}

func flagName(key string) string { return strings.ReplaceAll(key, "_", "-") }
func keyName(flag string) string { return strings.ReplaceAll(flag, "-", "_") }
func envName(flag string) string { return "FARREACH_" + strings.ToUpper(keyName(flag)) }

// Nearest returns the one of known that word was most likely meant to be, or
// "" if none is near: at most a third of its letters wrong, or it begins so.
func Nearest(word string, known []string) string {
	best, nearest := len(word)/3+2, ""
	for _, k := range known {
		d := distance(word, k)
		if strings.HasPrefix(k, word) && word != "" {
			d = min(d, 1)
		}
		if d < best {
			best, nearest = d, k
		}
	}
	return nearest
}

// distance is the number of letters to insert, remove or change (Levenshtein)
// in order to get from a to b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
