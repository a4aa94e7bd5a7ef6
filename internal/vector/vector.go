// Package vector holds golden messages of CoAP, as bytes and as what they mean.
// Any test may replay them: the codec's, and that of a server which a device is
// to find in order.
//
//	testdata/*.txt ── Parse ──▶ Vector  {Wire ◀─ must be the same ─▶ Message}
//	               └─────────▶ Refusal {Wire ── must give ──▶ Off, Answer, Why}
//
// A file is a list of entries. A line that is not indented begins one with its
// name, its transport (tcp, udp or ws) and a note. Indented lines follow: first
// the bytes in hexadecimal, spaced as one likes, "78*11" being eleven times the
// byte 78; then, from the first field that is not hexadecimal, their meaning.
//
//	O17 tcp  cloud to device 2.04 to O16, no payload
//	  01 44 03
//	  2.04 token=03
//
// The meaning of a message is its code and then token=HEX, NUMBER=VALUE for each
// option and payload=VALUE, where a value is hexadecimal or a quoted Go string.
// In front of a datagram's code stand its type (con, non, ack, rst) and id=HEX.
//
//	bad-token tcp  token length 9
//	  09 45 000000000000000000
//	  refuse off=0 why="token length 9"
//
// Bytes to be refused have as meaning "refuse", the offset off of the offending
// byte, a part of the reason why, and answer=CODE if only this message and not
// the peer is to be refused. The meaning "short" says that more bytes must come.
package vector

import (
	"embed"
	"fmt"
	"io/fs"
)

//go:embed testdata/*.txt
var files embed.FS

// Vector is a message in both its forms.
type Vector struct {
	Name      string // "O1": unique among all
	Transport string // "tcp", "udp" or "ws"
	Note      string // what the message is
	Wire      []byte
	Message   Message
}

// Message is what the bytes mean.
type Message struct {
	Type    uint8  // udp only: 0 CON, 1 NON, 2 ACK, 3 RST; 1 on other transports
	ID      uint16 // udp only
	Code    uint8
	Token   []byte
	Options []Option
	Payload []byte
}

// Option is one option of a message.
type Option struct {
	Number uint16
	Value  []byte
}

// Refusal is bytes that are no message.
type Refusal struct {
	Name, Transport, Note string
	Wire                  []byte

	Short  bool   // not wrong yet: more bytes must come
	Off    int    // the offending byte
	Answer uint8  // with which this message is to be refused; 0: the peer is
	Why    string // part of the reason
}

// All returns the messages of all files. The caller owns them.
func All() []Vector {
	vectors, _ := load()
	return vectors
}

// Refusals returns the refusals of all files. The caller owns them.
func Refusals() []Refusal {
	_, refusals := load()
	return refusals
}

// Get returns the message called name. It panics if there is none.
func Get(name string) Vector {
	for _, v := range All() {
		if v.Name == name {
			return v
		}
	}
	panic("vector: no " + name)
}

// load panics when a file is malformed: they are part of this program.
func load() (vectors []Vector, refusals []Refusal) {
	names, err := fs.Glob(files, "testdata/*.txt")
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			panic(err)
		}
		v, r, err := Parse(string(text))
		if err != nil {
			panic(fmt.Sprintf("vector: %s: %v", name, err))
		}
		vectors, refusals = append(vectors, v...), append(refusals, r...)
	}
	return vectors, refusals
}
