// Package screen writes what a command has found, in the form that fits who
// reads it:
//
//	a person at a terminal   aligned columns under a heading, times as "4 s ago"
//	a pipe                   fields parted by tabs, no heading, times as RFC 3339
//	--json                   one document, or one per line of a stream
//
// Names and values come from devices, so nothing that a terminal would obey is
// ever passed on.
package screen

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"
)

// Screen is the standard output of a command.
type Screen struct {
	Out      io.Writer
	Terminal bool // Out is read by a person
	JSON     bool // --json
}

// Table writes rows with the given heading. A cell is text, or a time.Time.
func (s *Screen) Table(head []string, rows [][]any) error {
	if !s.Terminal {
		var b strings.Builder
		for _, row := range rows {
			s.line(&b, row)
		}
		_, err := io.WriteString(s.Out, b.String())
		return err
	}
	w := tabwriter.NewWriter(s.Out, 0, 0, 3, ' ', 0)
	var b strings.Builder
	b.WriteString(strings.ToUpper(strings.Join(head, "\t")) + "\n")
	for _, row := range rows {
		s.line(&b, row)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	return w.Flush()
}

// Line writes one row of a stream, whose columns cannot be known in advance.
func (s *Screen) Line(row ...any) error {
	var b strings.Builder
	if s.Terminal {
		for i, cell := range row {
			if i > 0 {
				b.WriteString("   ")
			}
			b.WriteString(s.cell(cell))
		}
		b.WriteByte('\n')
	} else {
		s.line(&b, row)
	}
	_, err := io.WriteString(s.Out, b.String())
	return err
}

func (s *Screen) line(b *strings.Builder, row []any) {
	for i, cell := range row {
		if i > 0 {
			b.WriteByte('\t')
		}
		b.WriteString(s.cell(cell))
	}
	b.WriteByte('\n')
}

func (s *Screen) cell(v any) string {
	switch v := v.(type) {
	case time.Time:
		switch {
		case v.IsZero():
			return "-"
		case s.Terminal:
			return Age(time.Since(v))
		}
		return v.UTC().Format(time.RFC3339Nano)
	case json.RawMessage:
		return Printable(string(v))
	}
	text := Printable(fmt.Sprint(v))
	if text == "" {
		return "-" // an empty cell would shift the columns of a reader that splits at blanks
	}
	return text
}

// Doc writes v as one JSON document on one line; v has a field "schema".
func (s *Screen) Doc(v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	return s.write(b.Bytes())
}

// Value writes JSON: indented for a person, compact for a pipe. Bytes that are
// not JSON are written as they are into a pipe, and with their controls shown on a
// terminal.
func (s *Screen) Value(v []byte) error {
	var b bytes.Buffer
	form := json.Compact
	if s.Terminal {
		form = func(dst *bytes.Buffer, src []byte) error { return json.Indent(dst, src, "", "  ") }
	}
	if err := form(&b, v); err != nil {
		b.Reset()
		b.Write(v)
		if !s.Terminal {
			_, err := s.Out.Write(b.Bytes())
			return err
		}
	}
	b.WriteByte('\n')
	return s.write(b.Bytes())
}

func (s *Screen) write(b []byte) error {
	if s.Terminal {
		b = []byte(escape(string(b), '\n'))
	}
	_, err := s.Out.Write(b)
	return err
}

// Age is how long ago something was, in one unit: "4 s ago".
func Age(d time.Duration) string {
	switch {
	case d < time.Second:
		return "now"
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", d/time.Hour)
	}
	return fmt.Sprintf("%d d ago", d/(24*time.Hour))
}

// Printable returns text with everything escaped that is not for the eye:
// control characters, tabs and line ends, bytes that are not UTF-8, and the
// marks that reverse the direction of text.
func Printable(text string) string { return escape(text, -1) }

func escape(text string, keep rune) string {
	if strings.IndexFunc(text, func(r rune) bool { return r != keep && obeyed(r) }) < 0 {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case r != keep && obeyed(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteString(text[i : i+n])
		}
		i += n
	}
	return b.String()
}

// obeyed reports whether a terminal acts on r instead of showing it.
func obeyed(r rune) bool {
	return unicode.IsControl(r) || r == utf8.RuneError || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}
