package rae

import (
	"bytes"

	"github.com/farreach/farreach/oic"
)

// Decoder takes documents out of what one peer sends on one session, however
// that is cut into blocks: a block may hold several documents, and a document
// may take several blocks. The zero Decoder is ready; it is for one goroutine
// at a time.
//
//	Feed(block) ─▶ tokens, each cut once ─▶ elements by expanded name ─▶ Next(&doc)
//
// It has a scanner of its own because that of XMPP streams refuses comments,
// which a document may have, and the XML declaration of any but the
// first item. It takes the XML that package stream does otherwise: names in
// ASCII, every prefix declared, UTF-8, and the five entities of XML; document
// types and processing instructions end the session (RA-076).
type Decoder struct {
	Max    int  // bytes of one document; 0: 262,144
	Doubly bool // what comes is base64 of documents: see Sniff (D2)

	buf   []byte // from where the next document begins
	held  []byte // what of buf is ours, kept from one block to the next
	own   bool   // buf is part of held
	outer doubly
	err   error

	scan  scanner
	build builder
}

// Feed takes the next block. It must not change until Next has returned
// ErrShort.
func (d *Decoder) Feed(block []byte) {
	if d.err != nil {
		return
	}
	if d.Doubly {
		var err error
		if block, err = d.outer.decode(block); err != nil {
			d.err = err
			return
		}
	}
	if len(d.buf) == 0 {
		d.buf, d.own = block, false
		return
	}
	d.keep()
	d.held = append(d.held, block...)
	d.buf = d.held
}

// keep makes buf the whole of held.
func (d *Decoder) keep() {
	if d.own && len(d.buf) == len(d.held) {
		return
	}
	d.held = append(d.held[:0], d.buf...) // may be a part of itself
	d.buf, d.own = d.held, true
}

// Next fills in doc, whose slices hold until the next call of Next or Feed.
//
// The error is ErrShort if no document is complete: Feed more; 30 seconds are
// enough for a peer to do so. A *oic.StatusError says that a document has come
// that means nothing; doc is what could be understood of it, so that it can be
// answered, and the next one may be asked for. A *FormatError is final: the
// session is to be closed.
func (d *Decoder) Next(doc *Document) error {
	if d.err != nil {
		return d.err
	}
	d.skip()
	limit := d.Max
	if limit <= 0 {
		limit = maxDocument
	}
	n, err := d.parse(d.buf[:min(len(d.buf), limit)])
	if err == ErrShort && len(d.buf) >= limit {
		err = &FormatError{"document is too long", "RA-076"}
	}
	switch {
	case err == ErrShort:
		d.rest()
		return err
	case err != nil:
		d.err = err
		d.buf, d.held = nil, nil
		return err
	}
	refused := d.build.finish(d.buf[:n], doc)
	d.buf = d.buf[n:]
	d.scan = scanner{}
	d.build.reset()
	if refused != nil {
		return refused
	}
	return nil
}

// Pending reports whether a document has begun and not ended.
func (d *Decoder) Pending() bool { return len(d.buf) > 0 }

// rest keeps what of buf is not a complete document.
func (d *Decoder) rest() {
	if len(d.buf) > 0 {
		d.keep()
		return
	}
	d.buf, d.own = nil, false
	if cap(d.held) > 4096 {
		d.held = nil
	}
}

// skip passes over white space in front of a document.
func (d *Decoder) skip() {
	if d.scan.off == 0 {
		d.buf = d.buf[spaces(d.buf, 0):]
	}
}

const blanks = " \t\r\n"

// parse goes on with b, which begins with a document, and returns its length
// when it is complete.
func (d *Decoder) parse(b []byte) (int, error) {
	for {
		tok, err := d.scan.next(b)
		if err != nil {
			return 0, err
		}
		if err := d.build.token(b, tok); err != nil {
			return 0, err
		}
		if d.build.ended {
			return d.scan.off, nil
		}
	}
}

// builder makes a Document of tokens. It keeps offsets into the document, whose
// bytes may move while it grows, and into scratch for what was escaped.
type builder struct {
	open    []element
	attrs   [maxAttributes]attribute // of the start tag that is being read
	bound   []binding
	scratch []byte
	ended   bool

	method, url, body field
	media             Media
	headers           []headerField
	name              field // of the header that is open
	text              field // of the element that is open and wanted
	why               string
}

type headerField struct{ name, value field }

// field is a text: a part of the document, or of scratch.
type field struct {
	off, n  int
	scratch bool
}

func (x *builder) of(b []byte, f field) []byte {
	if f.scratch {
		b = x.scratch
	}
	return b[f.off : f.off+f.n]
}

func (x *builder) reset() {
	x.open, x.bound, x.headers, x.scratch = x.open[:0], x.bound[:0], x.headers[:0], x.scratch[:0]
	if cap(x.scratch) > 4096 {
		x.scratch = nil // doc has it
	}
	x.method, x.url, x.body, x.name, x.text = field{}, field{}, field{}, field{}, field{}
	x.ended, x.media, x.why = false, NoBody, ""
}

// refuse notes the first reason why the document means nothing.
func (x *builder) refuse(why string) {
	if x.why == "" {
		x.why = why
	}
}

// token takes one token of the document b.
func (x *builder) token(b []byte, t token) error {
	raw := b[t.off:t.end]
	switch t.kind {
	case comment:
		return checkComment(raw)
	case declaration:
		if t.off > 0 && !(t.off == 3 && b[0] == bom[0]) {
			return &FormatError{"processing instruction", "RA-076"}
		}
		return checkDeclaration(raw)
	case mark:
		return nil
	case startTag:
		return x.start(b, t)
	case endTag:
		return x.end(b, t)
	}
	return x.chars(b, t)
}

// chars takes text or a CDATA section.
func (x *builder) chars(b []byte, t token) error {
	raw, cdata := b[t.off:t.end], t.kind == cdata
	if cdata {
		t.off, t.end = t.off+len(cdataOpen), t.end-len(cdataClose)
		raw = b[t.off:t.end]
	}
	plain, err := checkText(raw, cdata)
	if err != nil {
		return err
	}
	depth := len(x.open)
	if depth == 0 {
		if cdata || spaces(raw, 0) < len(raw) {
			return &FormatError{"text outside a document", "XML 1.0, section 2.1"}
		}
		return nil
	}
	switch x.open[depth-1].kind {
	case isURL, isHeader, isJSON, isData:
		x.collect(b, t.off, raw, plain, cdata)
	}
	return nil
}

// collect adds raw, which stands at off, to the text of the element.
func (x *builder) collect(b []byte, off int, raw []byte, plain, cdata bool) {
	if x.text.n == 0 && plain {
		x.text = field{off: off, n: len(raw)}
		return
	}
	if !x.text.scratch {
		at := len(x.scratch)
		x.scratch = append(x.scratch, x.of(b, x.text)...)
		x.text = field{at, x.text.n, true}
	}
	x.scratch = appendText(x.scratch, raw, cdata)
	x.text.n = len(x.scratch) - x.text.off
}

// trim is f without white space around it.
func (x *builder) trim(b []byte, f field) field {
	s := x.of(b, f)
	for f.n > 0 && isBlank(s[f.n-1]) {
		f.n--
	}
	left := spaces(s[:f.n], 0)
	return field{f.off + left, f.n - left, f.scratch}
}

// finish makes doc of the document b, which is complete.
func (x *builder) finish(b []byte, doc *Document) *oic.StatusError {
	*doc = Document{Headers: doc.Headers[:0]}
	doc.Method = method(x.of(b, x.method))
	doc.URL = x.of(b, x.url)
	for _, h := range x.headers {
		doc.Headers = append(doc.Headers, Header{x.of(b, h.name), x.of(b, h.value)})
	}
	if x.why == "" && doc.Method == "" {
		x.why = "no url with a method"
	}
	switch {
	case x.why != "" || x.body.n == 0:
	case x.media == JSON:
		doc.Media, doc.Body = JSON, x.of(b, x.body)
	case x.media == Binary:
		var err error
		if doc.Body, err = unwrap(x.of(b, x.body)); err != nil {
			x.why = "body is no base64"
		} else if len(doc.Body) > 0 {
			doc.Media = Binary
		}
	}
	if x.why != "" {
		return oic.Errorf(oic.BadRequest, "%s (RA-076)", x.why)
	}
	return nil
}

// method is b in upper case (D5). The five allocate nothing.
func method(b []byte) string {
	for _, m := range [...]string{Result, Get, Post, Put, Delete} {
		if equalFold(b, m) {
			return m
		}
	}
	return string(bytes.ToUpper(b))
}
