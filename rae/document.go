package rae

import (
	"errors"
	"fmt"
	"strings"
)

// The methods (RA-081). A document with the method Result is an answer; with
// any other it is a request (D4).
const (
	Get    = "GET"
	Post   = "POST"
	Put    = "PUT"
	Delete = "DELETE"
	Result = "RESPONSE"
)

// The names of headers that mean something here. Names are compared without
// case, and others are ignored (RA-080).
const (
	hAccept          = "Accept"
	hContentType     = "Content-Type"
	hContentEncoding = "Content-Encoding" // what the specification's example calls it
	hObserve         = "Observe"
	hETag            = "ETag"
	hIfMatch         = "If-Match"
	hIfNoneMatch     = "If-None-Match"
	hLocation        = "Location"
	hContentLocation = "Content-Location"
	hCacheControl    = "Cache-Control"
	hVersion         = "OCF-Version"
	hToken           = "OIC-Token"       // our extension
	hMaxMessage      = "OIC-Max-Message" // our extension
	hError           = "OIC-Error"       // our extension
)

// Document is one <rest/>: a request or an answer as it travels.
type Document struct {
	Method  string // in upper case
	URL     []byte // of a request; of an answer the status line (RA-082)
	Headers []Header
	Media   Media
	Body    []byte // JSON as it stands, or the octets of a container; nil: no body

	text []byte // of headers that were added
}

// Header is one header. Its value has no blanks around it.
type Header struct{ Name, Value []byte }

// Media says what the Body of a Document travels in.
type Media uint8

// What a body travels in.
const (
	NoBody Media = iota
	JSON         // <json/>, XEP-0335
	Binary       // <data/>: octets in base64, of the type that Content-Type names
)

// Header is the value of the first header called name; ok tells "" from none.
func (d *Document) Header(name string) (value string, ok bool) {
	b := d.value(name)
	return string(b), b != nil
}

// value is Header as it stands there; nil: none.
func (d *Document) value(name string) []byte {
	for i := range d.Headers {
		switch h := &d.Headers[i]; {
		case !equalFold(h.Name, name):
		case h.Value == nil:
			return []byte{}
		default:
			return h.Value
		}
	}
	return nil
}

// IsAnswer reports whether d is an answer.
func (d *Document) IsAnswer() bool { return d.Method == Result }

// Token is the OIC-Token of d, "" if it has none or one that is none: 2 to 16
// hexadecimal digits.
func (d *Document) Token() string {
	v := d.value(hToken)
	if len(v) < 2 || len(v) > 16 {
		return ""
	}
	for _, c := range v {
		if !isHex(c) {
			return ""
		}
	}
	return strings.ToLower(string(v))
}

// add adds a header. All have one piece of memory, as long as they fit.
func (d *Document) add(name, value string) {
	if d.Headers == nil {
		d.Headers = make([]Header, 0, 8)
		d.text = make([]byte, 0, 256)
	}
	from := len(d.text)
	d.text = append(append(d.text, name...), value...)
	behind := from + len(name)
	d.Headers = append(d.Headers, Header{d.text[from:behind:behind], d.text[behind:len(d.text):len(d.text)]})
}

// ErrShort says that no document is complete: feed more.
var ErrShort = errors.New("rae: document is not complete")

// FormatError says that what came can be no document, nor can anything behind
// it be: the session is to be closed.
type FormatError struct {
	Why  string
	Spec string // what says so
}

func (e *FormatError) Error() string { return "rae: " + e.Why + " (" + e.Spec + ")" }

// SizeError says that a document does not fit. Size is exact, or less than
// that if the document was not made at all because even its parts do not fit.
type SizeError struct{ Size, Max int }

func (e *SizeError) Error() string {
	return fmt.Sprintf("rae: the document has %d bytes, more than the %d that fit", e.Size, e.Max)
}

func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range b {
		c, want := b[i], s[i]
		if c != want && !(isLetter(c) && c|0x20 == want|0x20) {
			return false
		}
	}
	return true
}
