package coap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
)

// FuzzBlockOption: what is read from an option is what was written, and a block
// is at its offset.
func FuzzBlockOption(f *testing.F) {
	for _, seed := range [][]byte{nil, {0x0a}, {0x1a}, {0x0f}, {0x01, 0x16}, {0xff, 0xff, 0xf0}, {0, 0, 0, 0}} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		os := Options{{Number: Block1, Value: value}}
		b, has, err := os.Block(Block1)
		if !has || (err == nil) != (len(value) <= 3) {
			t.Fatalf("%x: %v, %v, %v", value, b, has, err)
		}
		if err != nil {
			return
		}
		var m Message
		m.AddBlock(Block1, b)
		if again, _, err := m.Options.Block(Block1); again != b || err != nil {
			t.Fatalf("%x is %v, and came back as %v, %v", value, b, again, err)
		}
		if b.Num > maxBlockNum || b.at(b.Offset(), b.More) != b {
			t.Fatalf("%v is at %d", b, b.Offset())
		}
	})
}

// FuzzBlocks throws requests with any Block options at the assembler. It never
// holds more than it may, accounts for each byte, hands on only what is whole,
// and forgets everything at the end.
func FuzzBlocks(f *testing.F) {
	f.Add([]byte{0x0e, 0, 0, 64, 0x1e, 0, 0, 64, 0x26, 0, 0, 1}) // in order
	f.Add([]byte{0x16, 0, 0, 64})                                // the first is missing
	f.Add([]byte{0x0f, 1, 0, 128, 0x4f, 1, 0, 128, 0x86, 1, 0, 3})
	f.Add([]byte{0x0e, 1, 1, 64, 0x0e, 2, 2, 64, 0x0e, 3, 3, 64, 0x0e, 4, 4, 64, 0x0e, 5, 5, 64})
	f.Fuzz(func(t *testing.T, script []byte) {
		held := 0
		b := &blocks{reserve: func(n int) error {
			if held += n; held > 100_000 {
				held -= n
				return ErrOverloaded
			}
			return nil
		}}
		terms := blockTerms{message: 1400, whole: 1024, szx: maxSZX, body: 50_000}
		data := bytes.Repeat([]byte("0123456789abcdef"), 300)
		for ; len(script) >= 4; script = script[4:] {
			req := &Message{Code: PUT + Code(script[2]>>6), Payload: data[:16*int(script[3])]}
			req.SetPath(fmt.Sprint("/", script[1]&7))
			n := Block1
			if script[2]&1 != 0 {
				n = Block2
			}
			req.Add(n, []byte{script[1] >> 3, script[0]})
			if terms.szx = maxSZX; script[2]&2 != 0 {
				terms.szx = BERT
			}
			sent := len(req.Payload)
			p, answer := b.accept(req, terms)
			switch {
			case (p == nil) == (answer == nil):
				t.Fatal("neither handed on nor answered, or both")
			case answer != nil && answer.Code.Class() == 2 && answer.Code != Continue && !answer.Options.Has(Block2):
				t.Fatalf("answered %v without the handler", answer)
			case p != nil && (blockwise(req) || len(req.Payload) > terms.body || len(req.Payload) < sent):
				t.Fatalf("handed on %v of %d bytes", req, len(req.Payload))
			}
			if p != nil {
				m, err := b.finish(req, p, &Message{Code: Content, Payload: data[:2000]}, terms)
				if err != nil || len(m.Payload) > 1400 {
					t.Fatalf("finish = %v, %v", m, err)
				}
			}
			total := 0
			for _, tr := range b.list {
				total += tr.size()
			}
			if len(b.list) > maxTransfers || total != held {
				t.Fatalf("%d transfers of %d bytes, %d accounted for", len(b.list), total, held)
			}
		}
		b.close()
		if held != 0 || b.list != nil {
			t.Fatalf("%d bytes are left", held)
		}
	})
}

// FuzzBlockDo: between our client and our server a body of any length arrives
// whole, in both directions, whatever each takes at most; and a server that
// answers anything is never believed beyond the limit.
func FuzzBlockDo(f *testing.F) {
	f.Add(uint32(5000), uint16(1472), uint16(1152), uint8(6), []byte(nil))
	f.Add(uint32(70000), uint16(9000), uint16(200), uint8(7), []byte{0x0e})
	f.Add(uint32(3), uint16(60000), uint16(100), uint8(0), []byte{0x1e, 0xff})
	f.Fuzz(func(t *testing.T, size uint32, up, down uint16, szx uint8, lies []byte) {
		body := bytes.Repeat([]byte("farreach"), int(size%80_000)/8+1)
		termsOf := func(message uint16) blockTerms {
			return blockTerms{message: int(message), whole: int(message), szx: maxSZX + szx&1, body: 80_008, by: new(fetches)}
		}
		b := &blocks{}
		defer b.close()
		do := func(_ context.Context, req *Message) (*Message, error) {
			req = req.Clone()
			var p *part
			if blockwise(req) {
				var answer *Message
				if p, answer = b.accept(req, termsOf(down)); answer != nil {
					return lie(answer, &lies), nil
				}
			}
			m, err := b.finish(req, p, &Message{Code: Changed, Payload: req.Payload}, termsOf(down))
			if err != nil {
				return &Message{Code: InternalServerError}, nil
			}
			return lie(m.Clone(), &lies), nil
		}
		honest := len(lies) == 0
		m, err := blockDo(t.Context(), &Message{Code: POST, Payload: body}, termsOf(up), do)
		switch {
		case err == nil && len(m.Payload) > 80_008+65536:
			t.Fatalf("believed %d bytes", len(m.Payload))
		case !honest:
		case err != nil && !errors.Is(err, ErrTooLarge):
			t.Fatal(err)
		case err == nil && m.Code == Changed && !bytes.Equal(m.Payload, body):
			t.Fatalf("%d bytes came back as %d", len(body), len(m.Payload))
		}
	})
}

// lie puts the next lie in place of a Block option of m.
func lie(m *Message, lies *[]byte) *Message {
	if len(*lies) == 0 {
		return m
	}
	for i, o := range m.Options {
		if o.Number == Block1 || o.Number == Block2 {
			m.Options[i].Value = (*lies)[:1]
			*lies = (*lies)[1:]
			break
		}
	}
	return m
}

func BenchmarkBlockwise(b *testing.B) {
	for _, size := range []int{16 << 10, MaxBlockBody} {
		body := make([]byte, size)
		for _, terms := range []blockTerms{datagramTerms, {message: 65536, whole: 65536, szx: BERT, body: MaxBlockBody}} {
			terms.by = new(fetches)
			b.Run(fmt.Sprintf("%dK/szx%d", size>>10, terms.szx), func(b *testing.B) {
				s := &blocks{}
				defer s.close()
				resp := &Message{Code: Content, Payload: body}
				do := func(_ context.Context, req *Message) (*Message, error) {
					if !blockwise(req) {
						return s.finish(req, nil, resp, terms)
					}
					p, answer := s.accept(req, terms)
					if answer != nil {
						return answer, nil
					}
					return s.finish(req, p, resp, terms)
				}
				b.ReportAllocs()
				b.SetBytes(int64(size))
				for b.Loop() {
					if m, err := blockDo(b.Context(), &Message{Code: GET}, terms, do); err != nil || len(m.Payload) != size {
						b.Fatal(m, err)
					}
				}
			})
		}
	}
}
