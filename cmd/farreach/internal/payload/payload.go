// Package payload makes the body of a request out of what a person typed
// behind the target:
//
//	value=true dimming=40            ──▶ {"value":true,"dimming":40}   ──┐
//	'{"value":true}'                 ──▶ JSON ───────────────────────────┼──▶ CBOR
//	@body.json, -                    ──▶ JSON of a file, standard input ─┘
//	@body.cbor                       ──▶ those bytes
//
// Everything becomes CBOR, because that is what devices speak.
package payload

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Max is the longest body taken, in bytes: what goes through a cloud in blocks.
const Max = 1 << 20

// Parse returns the body that args stand for, as JSON, or as CBOR when it
// came from a file whose name ends in .cbor. No args make no body: nil, and
// raw is false.
func Parse(args []string, stdin io.Reader) (body []byte, raw bool, err error) {
	switch {
	case len(args) == 0:
		return nil, false, nil
	case len(args) == 1 && args[0] == "-":
		body, err = readAll(stdin)
		return checked(body, "standard input", err)
	case len(args) == 1 && strings.HasPrefix(args[0], "@"):
		return parseFile(args[0][1:])
	case len(args) == 1 && looksLikeJSON(args[0]):
		return checked([]byte(args[0]), "the body", nil)
	}
	body, err = Pairs(args)
	return body, false, err
}

// Pairs makes a JSON object out of key=value arguments, in their order. A value that
// is JSON (true, 40, 21.5, null, [1,2], "quoted") is taken as such, any other as
// text: name=kitchen and name="kitchen" are the same, while value="40" is text.
// A dot in a key reaches into objects: a.b=1 is {"a":{"b":1}}.
func Pairs(args []string) ([]byte, error) {
	var root object
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("%q is neither key=value nor JSON", arg)
		}
		if err := root.set(strings.Split(key, "."), scalar(value)); err != nil {
			return nil, fmt.Errorf("%s: %w", arg, err)
		}
	}
	return root.append(nil), nil
}

// scalar returns the JSON for the text of one value.
func scalar(text string) []byte {
	if text != "" && json.Valid([]byte(text)) {
		var compact bytes.Buffer
		if err := json.Compact(&compact, []byte(text)); err == nil {
			return compact.Bytes()
		}
	}
	quoted, err := json.Marshal(text)
	if err != nil {
		return []byte("null") // a string always marshals
	}
	return quoted
}

func looksLikeJSON(arg string) bool {
	return json.Valid([]byte(arg)) || strings.HasPrefix(arg, "{") || strings.HasPrefix(arg, "[")
}

func parseFile(name string) (body []byte, raw bool, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	body, err = readAll(f)
	if strings.HasSuffix(name, ".cbor") {
		return body, true, err
	}
	return checked(body, name, err)
}

func readAll(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, Max+1))
	if err == nil && len(b) > Max {
		err = fmt.Errorf("body longer than %d bytes", Max)
	}
	return b, err
}

// checked says where a body that should be JSON is not.
func checked(b []byte, from string, err error) ([]byte, bool, error) {
	if err != nil {
		return nil, false, err
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		if at, ok := errors.AsType[*json.SyntaxError](err); ok {
			return nil, false, fmt.Errorf("%s is not JSON: %w (byte %d)", from, err, at.Offset)
		}
		return nil, false, fmt.Errorf("%s is not JSON: %w", from, err)
	}
	return b, false, nil
}
