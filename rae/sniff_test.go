package rae_test

import (
	"encoding/base64"
	"os"
	"strings"
	"testing"

	"github.com/farreach/farreach/rae"
)

// D2, D20: what a peer sends is known by its first block.
func TestSniff(t *testing.T) {
	for _, c := range []struct {
		name, block string
		want        rae.Form
	}{
		{"document", open, rae.Documents},
		{"one byte of it", "<", rae.Documents},
		{"white space in front", "\r\n\t <rest", rae.Documents},
		{"mark in front", "\ufeff \n<rest", rae.Documents},
		{"doubly", "PHJlc3QgeG1sbnM9", rae.Doubly},
		{"begin of doubly, which CoAP could be", "PHJl", rae.Unknown},
		{"nothing", "", rae.Unknown},
		{"white space", " \n", rae.Unknown},
		{"half a mark", "\xef\xbb", rae.Unknown},
		{"CoAP that begins with P", "\x50\x01\x00\x01", rae.RawCoAP},
		{"CoAP cut short", "\x44\x01\x1f\x2a\x5d", rae.Refused},
		{"CoAP with a bad option", "\x40\x01\x00\x01\xf0", rae.Refused},
		{"CoAP version 2", "\x80\x01\x00\x01", rae.Refused},
		{"text", "hello world", rae.Refused},
		{"zeros", "\x00\x00\x00\x00", rae.Refused},
	} {
		if got := rae.Sniff([]byte(c.block)); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// E-06, E-11: blocks as they stand in stanzas.
func TestSniffBlocks(t *testing.T) {
	b, err := os.ReadFile("testdata/blocks.txt")
	if err != nil {
		t.Fatal(err)
	}
	forms := map[string]rae.Form{"documents": rae.Documents, "doubly": rae.Doubly, "raw-coap": rae.RawCoAP, "refused": rae.Refused}
	for _, line := range strings.Split(strings.TrimSpace(string(b)), "\n")[1:] {
		fields := strings.Fields(line)
		block, err := base64.StdEncoding.DecodeString(fields[1])
		if got := rae.Sniff(block); err != nil || got != forms[fields[0]] {
			t.Errorf("%s: %v, %v", line, got, err)
		}
	}
}

// D2: each document in a base64 of its own, cut anywhere, in lines.
func TestDoubly(t *testing.T) {
	var want, wire strings.Builder
	for _, e := range examples(t) {
		want.WriteString(events(e.wire))
		s := base64.StdEncoding.EncodeToString([]byte(e.wire))
		wire.WriteString(s[:40] + "\r\n" + s[40:])
	}
	for _, size := range []int{1, 3, 76, 4096, wire.Len()} {
		var got strings.Builder
		dec := rae.Decoder{Doubly: true}
		var doc rae.Document
		for s := wire.String(); s != ""; {
			n := min(size, len(s))
			dec.Feed([]byte(s[:n]))
			for s = s[n:]; ; got.WriteString(describe(&doc)) {
				if err := dec.Next(&doc); err == rae.ErrShort {
					break
				} else if err != nil {
					t.Fatal(err)
				}
			}
		}
		if got.String() != want.String() {
			t.Errorf("blocks of %d: %s", size, got.String())
		}
	}
	for _, broken := range []string{"PHJl!", "=PHJ", "PHJlc3Q===="} {
		dec := rae.Decoder{Doubly: true}
		dec.Feed([]byte(broken + "AAAA"))
		if err := dec.Next(new(rae.Document)); err == nil || err == rae.ErrShort {
			t.Errorf("%s: %v", broken, err)
		}
	}
}
