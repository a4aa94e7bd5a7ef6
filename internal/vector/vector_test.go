package vector

import (
	"reflect"
	"strconv"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	const text = `
# A comment.
a udp  a datagram
  41 02 12 34 aa 61*3
  b1 78 ff 00
  ack id=1234 2.05 token=aa 1=61*3 11="x \" y" 12=
  payload="\xa4z"

b tcp
  09
  refuse off=3 answer=4.02 why="token length"
c ws  nothing yet
  short
`
	vectors, refusals, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if want := []Vector{{
		Name: "a", Transport: "udp", Note: "a datagram",
		Wire: []byte("\x41\x02\x12\x34\xaaaaa\xb1x\xff\x00"),
		Message: Message{Type: 2, ID: 0x1234, Code: 0x45, Token: []byte{0xaa}, Payload: []byte("\xa4z"),
			Options: []Option{{1, []byte("aaa")}, {11, []byte(`x " y`)}, {12, []byte{}}}},
	}}; !reflect.DeepEqual(vectors, want) {
		t.Errorf("vectors = %+v\n   want %+v", vectors, want)
	}
	if want := []Refusal{
		{Name: "b", Transport: "tcp", Wire: []byte{9}, Off: 3, Answer: 0x82, Why: "token length"},
		{Name: "c", Transport: "ws", Note: "nothing yet", Short: true},
	}; !reflect.DeepEqual(refusals, want) {
		t.Errorf("refusals = %+v\n    want %+v", refusals, want)
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"a sctp\n  00 00\n  Empty", "line 1: a: transport"},
		{"\na tcp\n  00 00", "line 2: a: bytes without a meaning"},
		{"a tcp\n  00 zz", `"zz" is no code`},
		{"a tcp\n  00 2.5", `"2.5" is no code`},
		{"a tcp\n  00 GET token=zz", `"token=zz"`},
		{"a tcp\n  00 GET x=00", `"x=00"`},
		{"a tcp\n  00 GET 70000=00", `"70000=00"`},
		{"a tcp\n  00 GET payload=\"x", "invalid syntax"},
		{"a tcp\n  00 refuse because", `field "because"`},
	} {
		_, _, err := Parse(c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Parse(%q) = %v, want %s", c.text, err, c.want)
		}
	}
}

// The files hold every vector of which other tests rely on the name.
func TestFiles(t *testing.T) {
	names := map[string]bool{}
	for _, v := range All() {
		if names[v.Name] {
			t.Errorf("two vectors %s", v.Name)
		}
		names[v.Name] = true
	}
	for _, r := range Refusals() {
		if names[r.Name] {
			t.Errorf("two vectors %s", r.Name)
		}
		names[r.Name] = true
	}
	for series, n := range map[string]int{"S": 12, "O": 21, "C": 7, "W": 2, "U": 1} {
		for i := range n {
			if name := series + strconv.Itoa(i+1); !names[name] {
				t.Errorf("no vector %s", name)
			}
		}
	}
	if got := Get("O17").Wire; string(got) != "\x01\x44\x03" {
		t.Errorf("O17 = %x", got)
	}
}
