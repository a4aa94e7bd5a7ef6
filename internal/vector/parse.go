package vector

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Parse reads a file of vectors. The error names the line of the entry.
func Parse(text string) ([]Vector, []Refusal, error) {
	var (
		vectors  []Vector
		refusals []Refusal
		lines    = strings.Split(text, "\n")
	)
	for i := 0; i < len(lines); {
		head, at := lines[i], i+1
		i++
		if strings.TrimSpace(head) == "" || head[0] == '#' {
			continue
		}
		var body strings.Builder
		for ; i < len(lines) && strings.HasPrefix(lines[i], " "); i++ {
			body.WriteString(lines[i] + "\n")
		}
		v, r, err := parseEntry(head, body.String())
		switch {
		case err != nil:
			return nil, nil, fmt.Errorf("line %d: %w", at, err)
		case r != nil:
			refusals = append(refusals, *r)
		default:
			vectors = append(vectors, *v)
		}
	}
	return vectors, refusals, nil
}

// parseEntry reads one entry: a Vector or a Refusal.
func parseEntry(head, body string) (*Vector, *Refusal, error) {
	name, rest, _ := strings.Cut(head, " ")
	transport, note, _ := strings.Cut(rest, " ")
	note = strings.TrimSpace(note)
	if transport != "tcp" && transport != "udp" && transport != "ws" {
		return nil, nil, fmt.Errorf("%s: transport %q is none of tcp, udp, ws", name, transport)
	}
	fields, err := split(body)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	var wire []byte
	for len(fields) > 0 {
		b, err := parseHex(fields[0])
		if err != nil {
			break
		}
		wire, fields = append(wire, b...), fields[1:]
	}
	if len(fields) == 0 {
		return nil, nil, fmt.Errorf("%s: bytes without a meaning", name)
	}
	if fields[0] == "short" || fields[0] == "refuse" {
		r := Refusal{Name: name, Transport: transport, Note: note, Wire: wire, Short: fields[0] == "short"}
		if err := r.parse(fields[1:]); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
		return nil, &r, nil
	}
	v := Vector{Name: name, Transport: transport, Note: note, Wire: wire, Message: Message{Type: 1}}
	if err := v.Message.parse(fields); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return &v, nil, nil
}

func (r *Refusal) parse(fields []string) (err error) {
	for _, field := range fields {
		key, value, _ := strings.Cut(field, "=")
		switch key {
		case "off":
			r.Off, err = strconv.Atoi(value)
		case "answer":
			r.Answer, err = parseCode(value)
		case "why":
			r.Why, err = strconv.Unquote(value)
		default:
			err = fmt.Errorf("field %q", field)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var types = map[string]uint8{"con": 0, "non": 1, "ack": 2, "rst": 3}

func (m *Message) parse(fields []string) error {
	for _, field := range fields {
		key, value, pair := strings.Cut(field, "=")
		if !pair {
			if t, ok := types[field]; ok {
				m.Type = t
				continue
			}
			code, err := parseCode(field)
			if err != nil {
				return err
			}
			m.Code = code
			continue
		}
		if err := m.parsePair(key, value); err != nil {
			return fmt.Errorf("field %q: %w", field, err)
		}
	}
	return nil
}

func (m *Message) parsePair(key, value string) error {
	if key == "id" {
		id, err := strconv.ParseUint(value, 16, 16)
		m.ID = uint16(id)
		return err
	}
	b, err := parseValue(value)
	if err != nil {
		return err
	}
	switch key {
	case "token":
		m.Token = b
	case "payload":
		m.Payload = b
	default:
		n, err := strconv.ParseUint(key, 10, 16)
		if err != nil {
			return err
		}
		m.Options = append(m.Options, Option{Number: uint16(n), Value: b})
	}
	return nil
}

var codes = map[string]uint8{
	"Empty": 0, "GET": 1, "POST": 2, "PUT": 3, "DELETE": 4, "FETCH": 5, "PATCH": 6, "iPATCH": 7,
	"CSM": 7<<5 | 1, "Ping": 7<<5 | 2, "Pong": 7<<5 | 3, "Release": 7<<5 | 4, "Abort": 7<<5 | 5,
}

// parseCode reads a name, or class and detail with a dot between.
func parseCode(s string) (uint8, error) {
	if c, ok := codes[s]; ok {
		return c, nil
	}
	class, detail, dotted := strings.Cut(s, ".")
	c, err1 := strconv.ParseUint(class, 10, 3)
	d, err2 := strconv.ParseUint(detail, 10, 5)
	if !dotted || len(detail) != 2 || err1 != nil || err2 != nil {
		return 0, fmt.Errorf("%q is no code", s)
	}
	return uint8(c<<5 | d), nil
}

// parseValue reads a quoted string or hexadecimal.
func parseValue(s string) ([]byte, error) {
	if strings.HasPrefix(s, `"`) {
		text, err := strconv.Unquote(s)
		return []byte(text), err
	}
	return parseHex(s)
}

// parseHex reads hexadecimal, "a1b2" or "a1b2*3" for three times the same.
func parseHex(s string) ([]byte, error) {
	digits, count, repeated := strings.Cut(s, "*")
	b, err := hex.DecodeString(digits)
	if err != nil || !repeated {
		return b, err
	}
	n, err := strconv.ParseUint(count, 10, 20)
	return bytes.Repeat(b, int(n)), err
}

// split cuts s at white space that is not in a quoted string.
func split(s string) (fields []string, err error) {
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		end := 0
		for end < len(s) && !strings.ContainsRune(" \n", rune(s[end])) {
			if s[end] != '"' {
				end++
				continue
			}
			quoted, err := strconv.QuotedPrefix(s[end:])
			if err != nil {
				return nil, fmt.Errorf("%.20s: %w", s[end:], err)
			}
			end += len(quoted)
		}
		fields, s = append(fields, s[:end]), s[end:]
	}
	return fields, nil
}
