package rae_test

import (
	"encoding/xml"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
	"github.com/farreach/farreach/xmpp/jid"
)

// However what comes is cut, it is the same documents; each has a form of its
// own that says the same, and that encoding/xml takes.
func FuzzDecoder(f *testing.F) {
	for _, e := range examples(f) {
		f.Add(e.wire, 7)
	}
	f.Add(open+"</rest>"+open+"</rest><x/>", 30)
	f.Add("\ufeff<?xml version='1.0'?><!---->"+open+"<![CDATA[]]></rest>", 2)
	f.Fuzz(func(t *testing.T, wire string, size int) {
		want := events(wire)
		var blocks []string
		for s := wire; s != ""; {
			n := len(s)
			if size > 0 {
				n = min(size, n)
			}
			blocks, s = append(blocks, s[:n]), s[n:]
		}
		if got := events(blocks...); got != want {
			t.Fatalf("blocks of %d: %q\nin one: %q", size, got, want)
		}
		var dec rae.Decoder
		var doc rae.Document
		dec.Feed([]byte(wire))
		for {
			err := dec.Next(&doc)
			if _, ok := errors.AsType[*oic.StatusError](err); ok {
				continue
			}
			if err != nil {
				return // garbage has no form
			}
			sameForm(t, &doc)
		}
	})
}

func sameForm(t *testing.T, doc *rae.Document) {
	strict, err := doc.Append(nil, 1<<20)
	if err != nil {
		return // not ASCII, or not UTF-8
	}
	again := decode(t, string(strict))
	if describe(again) != describe(doc) && !strings.Contains(string(doc.Body), "\uFFFE") {
		t.Fatalf("%q came back as %q", describe(doc), describe(again))
	}
	tokens := xml.NewDecoder(strings.NewReader(string(strict)))
	for {
		if _, err := tokens.Token(); err == io.EOF {
			return
		} else if err != nil {
			t.Fatalf("encoding/xml: %v: %q", err, strict)
		}
	}
}

// What is a call or an answer is the same one after it has travelled.
func FuzzCRUDN(f *testing.F) {
	for _, e := range examples(f) {
		f.Add([]byte(e.wire), uint8(0))
		f.Add([]byte(e.wire), uint8(1))
	}
	f.Fuzz(func(t *testing.T, wire []byte, op uint8) {
		var dec rae.Decoder
		var doc rae.Document
		dec.Feed(wire)
		if dec.Next(&doc) != nil {
			return
		}
		if doc.IsAnswer() {
			sameAnswer(t, &doc, oic.Op(op%5))
			return
		}
		call, err := rae.ParseCall(&doc)
		if err != nil {
			return
		}
		// One OCF-Version holds for both, as the sender has it.
		if !call.Container && (call.Format == oic.OCF || call.Accept == oic.OCF) && call.Format != call.Accept && call.Format != oic.NoFormat {
			return
		}
		d, err := call.Document()
		if err != nil {
			t.Fatalf("%+v: %v", call, err)
		}
		strict, err := d.Append(nil, 1<<20)
		if err != nil {
			return // longer when written with percents, or tags parted by more
		}
		again, err := rae.ParseCall(decode(t, string(strict)))
		if err != nil || again.Href != call.Href || again.Op != call.Op || again.Device != call.Device ||
			!reflect.DeepEqual(again.Meta, call.Meta) || again.Observe != call.Observe || again.Accept != call.Accept {
			t.Fatalf("%+v came back as %+v, %v", call, again, err)
		}
	})
}

func sameAnswer(t *testing.T, doc *rae.Document, op oic.Op) {
	a, err := rae.ParseAnswer(doc, op, oic.NoFormat)
	if err != nil {
		return
	}
	d, err := a.Document(op)
	if err != nil {
		t.Fatalf("%+v: %v", a, err)
	}
	strict, err := d.Append(nil, 1<<20)
	if err != nil {
		return
	}
	again, err := rae.ParseAnswer(decode(t, string(strict)), op, oic.NoFormat)
	if err != nil {
		t.Fatalf("%s: %v", strict, err)
	}
	if a.Refusal != nil && (again.Refusal == nil || again.Refusal.Status != a.Refusal.Status) ||
		a.Response != nil && (again.Response == nil || again.Response.Status != a.Response.Status && a.Response.Status.Class() != 2) ||
		!reflect.DeepEqual(again.Meta, a.Meta) || again.Sequence != a.Sequence || again.ContentLocation != a.ContentLocation {
		t.Fatalf("%+v came back as %+v: %s", a, again, strict)
	}
}

// A name that is read is written as it was, but for the case of a UUID and for
// zeros in front of a version, and is the resource part of an address.
func FuzzName(f *testing.F) {
	f.Add("OIC/1.0/oic.d.light/" + di)
	f.Add("OIC/1.0/Client/" + strings.ToUpper(clientID))
	f.Add("OIC/01.00/a/b c")
	account, err := jid.Parse("ann@home.example")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, resource string) {
		n, ok := rae.ParseName(resource)
		if !ok {
			return
		}
		if again, ok := rae.ParseName(n.String()); !ok || again != n {
			t.Fatalf("%q: %v came back as %v", resource, n, again)
		}
		if j, err := account.WithResource(resource); err == nil && j.Resource() == resource {
			if full, err := n.JID(account); err != nil || full.Resource() != n.String() {
				t.Fatalf("%q: %v, %v", resource, full, err)
			}
		}
	})
}

// Sniff decides, by no more than it needs, and never changes its mind.
func FuzzSniff(f *testing.F) {
	f.Add([]byte(open), 1)
	f.Add([]byte("PHJlc3QgeG1sbnM9"), 5)
	f.Add([]byte("\x44\x01\x1f\x2a\x5d\x1f\x00\xa7\xb1\x61"), 4)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		whole := rae.Sniff(b)
		if whole == rae.Unknown && len(strings.TrimSpace(string(b))) > 7 {
			t.Fatalf("%q is still unknown", b)
		}
		if cut = min(max(cut, 0), len(b)); cut < len(b) {
			first := rae.Sniff(b[:cut])
			if (first == rae.Documents || first == rae.Doubly) && whole != first {
				t.Fatalf("%q: %v, of which %d bytes are %v", b, whole, cut, first)
			}
		}
	})
}
