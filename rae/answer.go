package rae

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/farreach/farreach/oic"
)

// Answer is what comes back: a Response, or else a Refusal.
type Answer struct {
	Response *oic.Response
	Refusal  *oic.StatusError

	Meta

	// Observed says that this is part of an observation, and Sequence which, of
	// 24 bits. An answer to Register without it is the only one.
	Observed bool
	Sequence uint32

	ContentLocation string        // path of the resource, in every notification
	MaxAge          time.Duration // how long a Response is fresh; 0: not said; less: not at all

	// Word is why, for programs: that of OIC-Error if it is not the one that
	// stands for the status. Small letters, digits and dashes.
	Word string
}

// TooLarge is the answer in the place of one that does not fit (Word
// "too-large").
func TooLarge(m Meta) *Answer {
	return &Answer{Refusal: oic.Errorf(oic.Internal, "the answer is too large for this session"), Word: "too-large", Meta: m}
}

// Refuse is err as an Answer: itself if it is a *oic.StatusError, else with the
// status and diagnostic of oic.StatusOf.
func Refuse(err error, m Meta) *Answer {
	refusal, ok := errors.AsType[*oic.StatusError](err)
	if !ok {
		status, diag := oic.StatusOf(err)
		refusal = &oic.StatusError{Status: status, Diag: diag}
	}
	return &Answer{Refusal: refusal, Meta: m}
}

// Document is a as it travels; op is what was asked. The statuses 2.02, 2.04 and
// 2.05 must be those that fit op. The error is a *oic.StatusError, 5.02, for a
// body that JSON has no room for.
func (a *Answer) Document(op oic.Op) (*Document, error) {
	d := &Document{Method: Result}
	status, format, body := a.content(op)
	if err := d.setBody(format, body, a.Container); err != nil {
		_, diag := oic.StatusOf(err)
		return nil, oic.Errorf(oic.BadGateway, "the body cannot be passed on: %s", diag)
	}
	l := lineOf(status, d.Media != NoBody)
	d.URL = []byte(l.String())
	if format == oic.OCF {
		d.add(hVersion, version1)
	}
	if a.Observed {
		d.add(hObserve, strconv.FormatUint(uint64(a.Sequence&(1<<24-1)), 10))
	}
	if a.Response != nil && a.Response.Location != "" {
		d.add(hLocation, a.Response.Location)
	}
	if a.ContentLocation != "" {
		d.add(hContentLocation, a.ContentLocation)
	}
	if a.Refusal != nil && a.Refusal.Retry > 0 {
		d.addMaxAge(a.Refusal.Retry)
	} else if a.Refusal == nil && a.MaxAge != 0 {
		d.addMaxAge(a.MaxAge)
	}
	d.addMeta(&a.Meta)
	if a.Refusal != nil {
		d.addReason(l, a.Word, a.Refusal.Diag)
	}
	return d, nil
}

func (a *Answer) content(op oic.Op) (oic.Status, oic.ContentFormat, []byte) {
	if r := a.Refusal; r != nil {
		return r.Status, r.Format, r.Body
	}
	r := a.Response
	if r.Status == 0 {
		return success(op), r.Format, r.Body
	}
	return r.Status, r.Format, r.Body
}

// addReason adds OIC-Error: a word, and the diagnostic unless it is the word.
func (d *Document) addReason(l line, word, diag string) {
	diag = ascii(diag)
	switch {
	case l.word == "bad-option", l.word == "no-proxying": // else the status is lost
		word = l.word
	case word == "" && diag == "":
		return
	case word == "":
		word = l.word
	}
	if diag != "" && (diag != word || word == l.word) {
		word += " " + diag
	}
	d.add(hError, word)
}

// maxDiagnostic is how much of a diagnostic is passed on, bytes.
const maxDiagnostic = 512

// ascii is s as the value of a header can hold it.
func ascii(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r < ' ', r == 0x7f:
			return ' '
		case r > '~':
			return '?'
		}
		return r
	}, s)
	return strings.TrimSpace(s[:min(len(s), maxDiagnostic)])
}

// ParseAnswer reads the answer to op, and keeps nothing of d. A body in JSON
// becomes one in want, OCF or CBOR; NoFormat is what the answer says it is.
//
// The error is a *oic.StatusError, 5.02, for an answer that makes no sense.
func ParseAnswer(d *Document, op oic.Op, want oic.ContentFormat) (*Answer, error) {
	if !d.IsAnswer() {
		return nil, oic.Errorf(oic.BadGateway, "%.64q is no answer", d.Method)
	}
	a := &Answer{Meta: d.meta()}
	word, diag := d.reason()
	status, err := parseStatus(string(d.URL), op, word)
	if err != nil {
		return nil, err
	}
	if !want.IsCBOR() {
		want = d.native()
	}
	format, body, err := d.body(want)
	if err != nil {
		_, diag := oic.StatusOf(err)
		return nil, oic.Errorf(oic.BadGateway, "the body of the answer: %s", diag)
	}
	a.Container = d.Media == Binary
	a.readHeaders(d)
	if status.Class() == 2 {
		a.Response = &oic.Response{Status: status, Format: format, Body: body}
		if v, ok := d.Header(hLocation); ok {
			_, a.Response.Location, _ = parseURL(v) // what is no path is none
		}
		a.MaxAge = freshness(d)
		return a, nil
	}
	a.Refusal = &oic.StatusError{Status: status, Diag: diag, Format: format, Body: body}
	if age, ok := d.maxAge(); ok && (status == oic.TooMany || status == oic.Unavailable) {
		a.Refusal.Retry = age
	}
	if word != lineOf(status, false).word {
		a.Word = word
	}
	return a, nil
}

// freshness is maxAge as an Answer has it.
func freshness(d *Document) time.Duration {
	age, ok := d.maxAge()
	if ok && age == 0 {
		return -1
	}
	return age
}

func (a *Answer) readHeaders(d *Document) {
	if v, ok := d.Header(hObserve); ok {
		if n, ok := number(v, 1<<24-1); ok {
			a.Observed, a.Sequence = true, uint32(n)
		}
	}
	if v, ok := d.Header(hContentLocation); ok {
		_, a.ContentLocation, _ = parseURL(v)
	}
}

// reason reads OIC-Error. A word alone is the diagnostic too, unless it is one
// that stands for a status.
func (d *Document) reason() (word, diag string) {
	v, _ := d.Header(hError)
	word, diag, _ = strings.Cut(v, " ")
	for i := range len(word) {
		if c := word[i]; !isDigit(c) && c != '-' && (c < 'a' || c > 'z') {
			return "", v // no word: somebody's text
		}
	}
	if diag != "" || word == "" {
		return word, strings.TrimSpace(diag)
	}
	for _, l := range lines {
		if l.word == word {
			return word, ""
		}
	}
	return word, word
}
