package coap

import (
	"bytes"
	"fmt"
	"slices"
	"time"
)

// A body too long for one message travels in blocks (RFC 7959), each a request
// and a response of its own:
//
//	Do ──▶ upload ──▶ do do do … ──▶ blocks.accept ──▶ Handler sees all of it
//	Do ◀── fetch ◀── do do do … ◀── blocks.finish ◀── Handler answers at once
//
// The files block*.go know no transport: they are given the function that does
// one exchange, and the terms on which the peer takes blocks. On a stream that
// is only a peer whose CSM says so (RFC 8323, section 5.3.2), and its blocks
// may be as large as its messages (BERT, section 6).

// Bounds of block-wise transfers, ours.
const (
	MaxBlockBody = 1 << 20          // the longest body put together from blocks, bytes
	maxTransfers = 4                // of one peer at once: bodies that arrive, and bodies being fetched
	transferLife = 60 * time.Second // of one transfer, from its first block on
)

// Block is the value of a Block1 or Block2 option (RFC 7959, section 2.2).
type Block struct {
	Num  uint32 // which block, in units of its size; less than 2^20
	More bool   // it is not the last
	SZX  uint8  // its size: 16 bytes shifted left by SZX, or BERT
}

// SZX values.
const (
	maxSZX uint8 = 6 // 1,024 bytes

	// BERT is the SZX of blocks of any multiple of 1,024 bytes, on streams only
	// (RFC 8323, section 6).
	BERT uint8 = 7
)

// maxBlockNum is the highest block number (RFC 7959, section 2.2).
const maxBlockNum = 1<<20 - 1

const specBlock = "RFC 7959, section 2.2"

// Size is the unit in which Num counts, bytes: the length of every block but
// the last, or what divides it with BERT.
func (b Block) Size() int { return 16 << min(b.SZX, maxSZX) }

// Offset is where in the body the block begins, bytes.
func (b Block) Offset() int { return int(b.Num) * b.Size() }

func (b Block) String() string {
	more := 0
	if b.More {
		more = 1
	}
	if b.SZX == BERT {
		return fmt.Sprintf("%d/%d/BERT", b.Num, more)
	}
	return fmt.Sprintf("%d/%d/%d", b.Num, more, b.Size())
}

// at is the block of the same size at a byte of the body.
func (b Block) at(offset int, more bool) Block {
	return Block{Num: uint32(offset / b.Size()), More: more, SZX: b.SZX}
}

// Block reads the option n, Block1 or Block2. has tells whether there is one.
// The error is a *FormatError whose Answer is 4.02 if the option is longer than
// 3 bytes or there are two of them, which is as good as not being understood.
func (os Options) Block(n Number) (b Block, has bool, err error) {
	for i, o := range os {
		if o.Number != n {
			continue
		}
		v, ok := o.Uint(3)
		if !ok || has {
			return Block{}, true, &FormatError{Off: i, Spec: specBlock, Answer: BadOption,
				Why: fmt.Sprintf("option %d is not one block", n)}
		}
		b, has = Block{Num: v >> 4, More: v&8 != 0, SZX: uint8(v & 7)}, true
	}
	return b, has, nil
}

// AddBlock adds b as option n, Block1 or Block2.
func (m *Message) AddBlock(n Number, b Block) {
	v := b.Num<<4 | uint32(b.SZX&7)
	if b.More {
		v |= 8
	}
	m.AddUint(n, v)
}

// check finds what is wrong with a block that carries payload bytes: its size
// must be one that may be used, and match. most is the largest SZX.
func (b Block) check(payload int, most uint8) *FormatError {
	wrong := func(code Code, why string) *FormatError {
		return &FormatError{Spec: specBlock, Answer: code, Why: why}
	}
	switch {
	case b.SZX > most:
		return wrong(BadRequest, "block size 7 is reserved")
	case payload == 0 && (b.More || b.Num > 0):
		return wrong(RequestEntityIncomplete, "block without a payload")
	case b.SZX == BERT && b.More && payload%b.Size() != 0:
		return wrong(BadRequest, "block is not a multiple of 1024 bytes")
	case b.SZX == BERT:
		return nil
	case payload > b.Size() || b.More && payload != b.Size():
		return wrong(BadRequest, fmt.Sprintf("block of %d bytes with %d", b.Size(), payload))
	}
	return nil
}

// blockTerms is what a peer takes.
type blockTerms struct {
	message int   // the longest message, header included, bytes
	whole   int   // the longest payload that is not cut unless that is asked for, bytes
	szx     uint8 // the largest SZX: maxSZX or BERT
	body    int   // the longest body that we take from it, bytes

	forget bool // nothing may be kept for it

	by fetcher // who fetches
}

// blockOptions is what the options of a block and its header take at most,
// bytes: ETag, Block1, Block2, Size1, Size2, Request-Tag and the marker.
const blockOptions = maxHeader + MaxToken + 9 + 2*5 + 2*6 + 11 + 1

// room is how much payload m may have beside its options, bytes.
func (t blockTerms) room(m *Message) int {
	head := *m
	head.Payload = nil
	body, err := head.bodyLen()
	if err != nil || body > t.message {
		return 0 // sending it fails, and tells why
	}
	return t.message - body - blockOptions
}

// fits reports whether m may go out in one piece.
func (t blockTerms) fits(m *Message) bool {
	return len(m.Payload) <= t.whole && len(m.Payload) <= t.room(m)
}

// piece is the largest block of m's payload that the peer takes, of the size
// szx or a smaller one: its SZX and how many bytes it carries.
func (t blockTerms) piece(m *Message, szx uint8) (uint8, int, error) {
	room := t.room(m)
	szx = min(szx, t.szx)
	if szx == BERT {
		if n := room &^ 1023; n > 0 {
			return BERT, n, nil
		}
		szx = maxSZX
	}
	for ; ; szx-- {
		if 16<<szx <= room {
			return szx, 16 << szx, nil
		}
		if szx == 0 {
			return 0, 0, fmt.Errorf("%w: its options leave no room for a block", ErrTooLarge)
		}
	}
}

// derive returns a copy of m without the options that drop names. Values and
// payload are shared; the list of options is not.
func (m *Message) derive(drop func(Number) bool) *Message {
	d := &Message{Type: m.Type, ID: m.ID, Code: m.Code, Token: m.Token, Payload: m.Payload, Options: make(Options, 0, len(m.Options)+4)}
	for _, o := range m.Options {
		if !drop(o.Number) {
			d.Options = append(d.Options, o)
		}
	}
	return d
}

// Which options belong to a block and not to the whole.
func ofBlocks(n Number) bool {
	return n == Block1 || n == Block2 || n == Size1 || n == Size2
}

// keyOf is what two requests of one transfer have in common, which is all but
// what belongs to the block, the observation or the proof of the sender's
// address (RFC 7959, sections 2.5 and 2.4; RFC 9175, section 3.3).
func keyOf(req *Message) []byte {
	key := make([]byte, 1, 64)
	key[0] = byte(req.Code)
	for _, o := range req.Options {
		if ofBlocks(o.Number) || o.Number == Observe || o.Number == ETag || o.Number == Echo {
			continue
		}
		key = append(key, byte(o.Number>>8), byte(o.Number), byte(len(o.Value)>>8), byte(len(o.Value)))
		key = append(key, o.Value...)
	}
	return key
}

// sameETag reports whether two responses name the same representation.
func sameETag(a, b *Message) bool {
	x, okX := a.Options.Get(ETag)
	y, okY := b.Options.Get(ETag)
	return okX == okY && (!okX || bytes.Equal(x.Value, y.Value))
}

// without removes from m the options that drop names, in place.
func (m *Message) without(drop func(Number) bool) {
	m.Options = slices.DeleteFunc(m.Options, func(o Option) bool { return drop(o.Number) })
}
