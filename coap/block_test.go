package coap_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/coap"
)

// The block option, byte by byte (RFC 7959, section 2.2; the examples are those
// of its section 3).
func TestBlockOption(t *testing.T) {
	for _, v := range []struct {
		wire string
		text string
		b    coap.Block
	}{
		{"", "0/0/16", coap.Block{}},
		{"0a", "0/1/64", coap.Block{More: true, SZX: 2}},
		{"1a", "1/1/64", coap.Block{Num: 1, More: true, SZX: 2}},
		{"22", "2/0/64", coap.Block{Num: 2, SZX: 2}},
		{"0b", "0/1/128", coap.Block{More: true, SZX: 3}},
		{"0e", "0/1/1024", coap.Block{More: true, SZX: 6}},
		{"0f", "0/1/BERT", coap.Block{More: true, SZX: coap.BERT}},
		{"0116", "17/0/1024", coap.Block{Num: 17, SZX: 6}},
		{"fffff0", "1048575/0/16", coap.Block{Num: 1<<20 - 1}},
	} {
		var m coap.Message
		m.AddBlock(coap.Block1, v.b)
		if got := m.Options[0].Value; !bytes.Equal(got, unhex(v.wire)) {
			t.Errorf("%v is %x on the wire, want %s", v.b, got, v.wire)
		}
		b, has, err := m.Options.Block(coap.Block1)
		if b != v.b || !has || err != nil || b.String() != v.text {
			t.Errorf("%s came back as %v, %v, %v, want %s", v.wire, b, has, err, v.text)
		}
		if _, has, _ := m.Options.Block(coap.Block2); has {
			t.Error("Block2 found where there is none")
		}
	}
	for name, values := range map[string][]string{"4 bytes": {"00000000"}, "two": {"0a", "1a"}} {
		var m coap.Message
		for _, v := range values {
			m.Add(coap.Block2, unhex(v))
		}
		_, has, err := m.Options.Block(coap.Block2)
		if bad, ok := errors.AsType[*coap.FormatError](err); !has || !ok || bad.Answer != coap.BadOption {
			t.Errorf("%s: %v, %v, want a FormatError with 4.02", name, has, err)
		}
	}
}

// library keeps what is put under a path, and counts what it did.
type library struct {
	mu    sync.Mutex
	books map[string][]byte
	asked int
}

func (l *library) Serve(x *coap.Exchange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	req := x.Request()
	path := req.Options.Path()
	for _, o := range req.Options {
		if o.Number == coap.Block1 || o.Number == coap.Block2 || o.Number == coap.Size1 {
			x.Reply(&coap.Message{Code: coap.BadOption, Payload: []byte("the handler sees blocks")})
			return
		}
	}
	switch req.Code {
	case coap.PUT:
		l.books[path] = bytes.Clone(req.Payload)
		x.Reply(&coap.Message{Code: coap.Changed})
	case coap.POST: // turned round
		b := bytes.Clone(req.Payload)
		for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
			b[i], b[j] = b[j], b[i]
		}
		x.Go(func(context.Context) { x.Reply(&coap.Message{Code: coap.Changed, Payload: b}) })
	default:
		b, ok := l.books[path]
		if n, err := strconv.Atoi(strings.TrimPrefix(path, "/size/")); err == nil {
			b, ok = letters(n), true
		}
		if !ok {
			x.Reply(&coap.Message{Code: coap.NotFound})
			return
		}
		m := &coap.Message{Code: coap.Content, Payload: b}
		m.AddUint(coap.ContentFormat, 60)
		if err := x.Reply(m); errors.Is(err, coap.ErrTooLarge) {
			x.Reply(&coap.Message{Code: coap.InternalServerError})
		}
	}
}

// letters is a body of n bytes of which no two parts are alike.
func letters(n int) []byte {
	b := make([]byte, 0, n+16)
	for i := 0; len(b) < n; i++ {
		b = fmt.Appendf(b, "%d,", i)
	}
	return b[:n]
}

func newLibrary() *library { return &library{books: make(map[string][]byte)} }

// blockEnds is ends for peers that take blocks, with messages as long as said.
func blockEnds(t testing.TB, wire string, h coap.Handler, message int) (client, server *coap.Conn) {
	t.Helper()
	client, server = ends(t, wire, coap.Config{Handler: h, MaxMessage: message, BlockWise: true})
	for _, c := range []*coap.Conn{client, server} {
		if _, err := c.Ping(t.Context()); err != nil { // the CSM has arrived
			t.Fatal(err)
		}
	}
	return client, server
}

func put(path string, body []byte) *coap.Message {
	m := &coap.Message{Code: coap.PUT, Payload: body}
	m.SetPath(path)
	return m
}

// Bodies of any length go both ways over every wire, in blocks of 1,024 bytes
// and in larger ones (CI-011).
func TestBlockwiseBodies(t *testing.T) {
	for _, wire := range everyWire {
		for _, message := range []int{1152, 4096, 300_000} {
			t.Run(fmt.Sprintf("%s/%d", wire, message), func(t *testing.T) {
				client, server := blockEnds(t, wire, newLibrary(), message)
				for _, c := range []*coap.Conn{client, server} {
					for _, n := range []int{1, 1023, 1024, 1025, 2048, 5000, 70_000, coap.MaxBlockBody} {
						roundTrip(t, c, n)
					}
				}
			})
		}
	}
}

// roundTrip puts n bytes, gets them, and has them turned round.
func roundTrip(t *testing.T, c *coap.Conn, n int) {
	t.Helper()
	body := letters(n)
	if m, err := c.Do(t.Context(), put("/book", body)); err != nil || m.Code != coap.Changed || m.Options.Has(coap.Block1) {
		t.Fatalf("PUT of %d bytes: %v, %v %.80q", n, m, err, m.Payload)
	}
	m, err := c.Do(t.Context(), get("/book"))
	if err != nil || !bytes.Equal(m.Payload, body) {
		t.Fatalf("GET of %d bytes: %v, %v", n, m, err)
	}
	if f, _ := m.Options.Uint(coap.ContentFormat); f != 60 || m.Options.Has(coap.Block2) || m.Options.Has(coap.Size2) {
		t.Errorf("GET of %d bytes: options %v", n, m.Options)
	}
	post := &coap.Message{Code: coap.POST, Payload: body}
	if m, err = c.Do(t.Context(), post); err != nil || m.Code != coap.Changed || len(m.Payload) != n || m.Payload[0] != body[n-1] {
		t.Fatalf("POST of %d bytes: %v, %v", n, m, err)
	}
}

// Rule 7: a peer whose CSM does not allow blocks never sees one, and its own
// Block options are the handler's business.
func TestRule7NoBlocksUnlessAnnounced(t *testing.T) {
	for _, ours := range []bool{false, true} {
		t.Run(fmt.Sprint(ours), func(t *testing.T) {
			p := servePeer(t, "tcp", coap.Config{Handler: newLibrary(), BlockWise: ours})
			if csm := p.expect(coap.CSM); csm.Options.Has(coap.CSMBlockWiseTransfer) != ours {
				t.Errorf("CSM announces blocks: %v, want %v", !ours, ours)
			}
			m := &coap.Message{Code: coap.CSM, Token: coap.TokenFrom(1)}
			m.AddUint(coap.CSMMaxMessageSize, 1152)
			p.tell(m)
			p.tell(request(2, "/size/5000"))
			p.expect(coap.InternalServerError)
			b := request(3, "/size/5000")
			b.AddBlock(coap.Block2, coap.Block{SZX: 2})
			p.tell(b)
			p.expect(coap.BadOption)
			if _, err := p.conn.Do(t.Context(), put("/", letters(5000))); !errors.Is(err, coap.ErrTooLarge) {
				t.Errorf("Do = %v, want ErrTooLarge", err)
			}
		})
	}
}

// TestBad37Blockwise goes through the accidents of row 37: what is wrong gets
// 4.08, 4.13 or 4.00, and the connection goes on.
func TestBad37Blockwise(t *testing.T) {
	type block struct {
		num  uint32
		more bool
		szx  uint8
		n    int // bytes of payload
	}
	const k = 1024
	for _, v := range []struct {
		name   string
		blocks []block
		codes  []coap.Code
	}{
		{"in order", []block{{0, true, 6, k}, {1, true, 6, k}, {2, false, 6, 1}}, []coap.Code{coap.Continue, coap.Continue, coap.Changed}},
		{"all in one", []block{{0, false, 6, 5}}, []coap.Code{coap.Changed}},
		{"first block missing", []block{{1, true, 6, k}}, []coap.Code{coap.RequestEntityIncomplete}},
		{"only the last", []block{{3, false, 6, 7}}, []coap.Code{coap.RequestEntityIncomplete}},
		{"one left out", []block{{0, true, 6, k}, {2, true, 6, k}, {1, true, 6, k}},
			[]coap.Code{coap.Continue, coap.RequestEntityIncomplete, coap.RequestEntityIncomplete}},
		{"one twice", []block{{0, true, 6, k}, {1, true, 6, k}, {1, true, 6, k}, {2, false, 6, 1}},
			[]coap.Code{coap.Continue, coap.Continue, coap.Continue, coap.Changed}},
		{"begun again", []block{{0, true, 6, k}, {1, true, 6, k}, {0, true, 6, k}, {1, false, 6, 1}},
			[]coap.Code{coap.Continue, coap.Continue, coap.Continue, coap.Changed}},
		{"smaller blocks", []block{{0, true, 6, k}, {32, true, 1, 32}, {33, false, 1, 3}},
			[]coap.Code{coap.Continue, coap.Continue, coap.Changed}},
		{"changed size, not at the end", []block{{0, true, 6, k}, {3, true, 5, 512}}, []coap.Code{coap.Continue, coap.RequestEntityIncomplete}},
		{"no payload", []block{{0, true, 6, 0}}, []coap.Code{coap.RequestEntityIncomplete}},
		{"no payload in the middle", []block{{0, true, 6, k}, {1, true, 6, 0}, {1, false, 6, 1}},
			[]coap.Code{coap.Continue, coap.RequestEntityIncomplete, coap.Changed}},
		{"no payload at the end", []block{{0, true, 6, k}, {1, false, 6, 0}}, []coap.Code{coap.Continue, coap.RequestEntityIncomplete}},
		{"short block", []block{{0, true, 6, 1000}}, []coap.Code{coap.BadRequest}},
		{"long block", []block{{0, true, 5, k}}, []coap.Code{coap.BadRequest}},
		{"BERT not by the thousand", []block{{0, true, 7, 1500}}, []coap.Code{coap.BadRequest}},
		{"BERT", []block{{0, true, 7, 3 * k}, {3, true, 7, k}, {4, false, 7, 5 * k / 2}},
			[]coap.Code{coap.Continue, coap.Continue, coap.Changed}},
		{"far beyond the limit", []block{{1<<20 - 1, false, 6, 1}}, []coap.Code{coap.RequestEntityTooLarge}},
	} {
		t.Run(v.name, func(t *testing.T) {
			l := newLibrary()
			p := blockPeer(t, l)
			body := letters(16 * k)
			for i, b := range v.blocks {
				block := coap.Block{Num: b.num, More: b.more, SZX: b.szx}
				at := min(block.Offset(), 8*k)
				m := put("/book", body[at:at+b.n])
				m.Token = coap.TokenFrom(uint64(i + 10))
				m.AddBlock(coap.Block1, block)
				p.tell(m)
				got := p.expect(v.codes[i])
				if echo, has, _ := got.Options.Block(coap.Block1); got.Code.Class() == 2 && (!has || echo != block) {
					t.Errorf("%v confirmed as %v", block, echo)
				}
			}
			last := v.blocks[len(v.blocks)-1]
			if v.codes[len(v.codes)-1] == coap.Changed {
				n := coap.Block{Num: last.num, SZX: last.szx}.Offset() + last.n
				if got := l.books["/book"]; !bytes.Equal(got, body[:n]) {
					t.Errorf("%d bytes were put together, want %d", len(got), n)
				}
			}
			p.tell(request(99, "/size/3")) // it goes on
			p.expect(coap.Content)
		})
	}
}

// blockPeer is the peer of a server that takes blocks, and takes blocks too.
func blockPeer(t testing.TB, h coap.Handler) *peer {
	p := servePeer(t, "pipe", coap.Config{Handler: h, BlockWise: true})
	p.expect(coap.CSM)
	m := &coap.Message{Code: coap.CSM, Token: coap.TokenFrom(1)}
	m.AddUint(coap.CSMMaxMessageSize, 1<<20)
	m.Add(coap.CSMBlockWiseTransfer, nil)
	p.tell(m)
	return p
}

// half sends the first block of a body.
func (p *peer) half(path string, size uint32) *coap.Message {
	m := put(path, letters(1024))
	m.Token = coap.TokenFrom(7)
	m.AddBlock(coap.Block1, coap.Block{More: true, SZX: 6})
	if size > 0 {
		m.AddUint(coap.Size1, size)
	}
	p.tell(m)
	return p.next()
}

// Many uploads that never end: the fifth is refused, until the life of the
// others is over.
func TestBad37HalfUploads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := blockPeer(t, newLibrary())
		for i := range 4 {
			if m := p.half(fmt.Sprint("/", i), 0); m.Code != coap.Continue {
				t.Fatalf("upload %d: %v", i, m)
			}
		}
		if m := p.half("/5", 0); m.Code != coap.RequestEntityTooLarge {
			t.Fatalf("fifth upload: %v, want 4.13", m)
		}
		for range 6 { // alive meanwhile
			time.Sleep(10 * time.Second)
			p.tell(request(8, "/size/3"))
			p.expect(coap.Content)
		}
		if m := p.half("/5", 0); m.Code != coap.Continue {
			t.Fatalf("after a minute: %v", m)
		}
		late := put("/1", letters(3))
		late.Token = coap.TokenFrom(9)
		late.AddBlock(coap.Block1, coap.Block{Num: 1, SZX: 6})
		p.tell(late)
		p.expect(coap.RequestEntityIncomplete)
	})
}

// A body that is announced, or grows, beyond the limit is refused with the
// limit.
func TestBad37BodyTooLong(t *testing.T) {
	p := blockPeer(t, newLibrary())
	m := p.half("/book", coap.MaxBlockBody+1)
	if size, _ := m.Options.Uint(coap.Size1); m.Code != coap.RequestEntityTooLarge || size != coap.MaxBlockBody {
		t.Errorf("announced: %v, Size1 %d", m, size)
	}
	for at := 0; ; at += 128 << 10 {
		m := put("/book", letters(128<<10))
		m.Token = coap.TokenFrom(7)
		m.AddBlock(coap.Block1, coap.Block{Num: uint32(at / 1024), More: true, SZX: coap.BERT})
		p.tell(m)
		if at == coap.MaxBlockBody {
			break
		}
		p.expect(coap.Continue)
	}
	p.expect(coap.RequestEntityTooLarge)
}

// A stranger's body may be as long as its messages, not longer.
func TestStrangersBodyIsShort(t *testing.T) {
	known := make(chan *coap.Conn, 1)
	addr, _ := serving(t, func(nc net.Conn) *coap.Conn {
		c := coap.Server(nc, coap.Config{Handler: newLibrary(), MaxMessage: 16384, BlockWise: true})
		known <- c
		return c
	})
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c := run(t, coap.Client(nc, coap.Config{BlockWise: true}))
	m, err := c.Do(t.Context(), put("/book", letters(20000)))
	if err != nil || m.Code != coap.RequestEntityTooLarge {
		t.Errorf("a stranger's: %v, %v", m, err)
	}
	(<-known).Vouch()
	m, err = c.Do(t.Context(), put("/book", letters(20000)))
	if err != nil || m.Code != coap.Changed {
		t.Errorf("an acquaintance's: %v, %v", m, err)
	}
}

// The blocks of an answer: each can be asked for, in smaller sizes too; the
// handler is asked once for those that follow each other, and again for one
// that is not kept.
func TestBlock2(t *testing.T) {
	l := newLibrary()
	p := blockPeer(t, l)
	body := letters(3000)
	ask := func(num uint32, szx uint8) *coap.Message {
		m := request(uint64(num)+100, "/size/3000")
		m.AddBlock(coap.Block2, coap.Block{Num: num, SZX: szx})
		p.tell(m)
		return p.next()
	}
	var tag []byte
	for _, v := range []struct {
		num    uint32
		szx    uint8
		want   coap.Block
		offset int
		asked  int
	}{
		{0, 6, coap.Block{More: true, SZX: 6}, 0, 1},
		{1, 6, coap.Block{Num: 1, More: true, SZX: 6}, 1024, 1},
		{4, 5, coap.Block{Num: 4, More: true, SZX: 5}, 2048, 1},
		{5, 5, coap.Block{Num: 5, SZX: 5}, 2560, 1}, // the last: not kept any more
		{2, 6, coap.Block{Num: 2, SZX: 6}, 2048, 2},
		{0, coap.BERT, coap.Block{SZX: coap.BERT}, 0, 3},
	} {
		m := ask(v.num, v.szx)
		got, _, _ := m.Options.Block(coap.Block2)
		size := got.Size()
		if got.SZX == coap.BERT {
			size = len(body)
		}
		if m.Code != coap.Content || got != v.want || !bytes.Equal(m.Payload, body[v.offset:min(v.offset+size, len(body))]) {
			t.Errorf("asked for %d/%d: %v %v", v.num, v.szx, m, got)
		}
		e, _ := m.Options.Get(coap.ETag)
		if tag == nil {
			tag = e.Value
		}
		if len(e.Value) != 8 || !bytes.Equal(e.Value, tag) {
			t.Errorf("asked for %d/%d: ETag %x, first %x", v.num, v.szx, e.Value, tag)
		}
		if size, has := m.Options.Uint(coap.Size2); has != (got.Num == 0 && got.More) || has && size != 3000 {
			t.Errorf("asked for %d/%d: Size2 %d", v.num, v.szx, size)
		}
		if l.asked != v.asked {
			t.Errorf("asked for %d/%d: the handler was asked %d times, want %d", v.num, v.szx, l.asked, v.asked)
		}
	}
	if m := ask(3, 6); m.Code != coap.BadRequest {
		t.Errorf("block behind the end: %v", m)
	}
	post := &coap.Message{Code: coap.POST, Token: coap.TokenFrom(5)}
	post.AddBlock(coap.Block2, coap.Block{Num: 1, SZX: 6})
	p.tell(post)
	p.expect(coap.RequestEntityIncomplete)
}

// What one request said of blocks is not held against the next one of the same
// read.
func TestBlocksOfOneRead(t *testing.T) {
	p := blockPeer(t, newLibrary())
	up := put("/book", letters(10))
	up.Token = coap.TokenFrom(1)
	up.AddBlock(coap.Block1, coap.Block{SZX: 6})
	b, err := up.Append(coap.TCP, nil)
	if err == nil {
		b, err = request(2, "/book").Append(coap.TCP, b)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.write(b)
	if m := p.expect(coap.Changed); !m.Options.Has(coap.Block1) {
		t.Errorf("%v without Block1", m)
	}
	if m := p.expect(coap.Content); m.Options.Has(coap.Block1) || len(m.Payload) != 10 {
		t.Errorf("%v with Block1", m)
	}
}

// A peer whose every notification and every answer is only the first block of
// something long is asked for the rest of four of them at a time: what it sends
// of the others is not put together meanwhile.
func TestBad37ManyFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := servePeer(t, "pipe", coap.Config{BlockWise: true, KeepAlive: -1})
		p.expect(coap.CSM)
		m := &coap.Message{Code: coap.CSM, Token: coap.TokenFrom(1)}
		m.Add(coap.CSMBlockWiseTransfer, nil)
		p.tell(m)
		synctest.Wait()
		const observed = 20
		heard := make(chan bool, observed)
		first := coap.Block{More: true, SZX: 6}
		for range observed {
			if _, err := p.conn.Observe(get("/long"), func(*coap.Message, error) { heard <- true }); err != nil {
				t.Fatal(err)
			}
		}
		var observing []*coap.Message
		for range observed {
			observing = append(observing, p.expect(coap.GET))
		}
		for _, m := range observing {
			m := &coap.Message{Code: coap.Content, Token: m.Token, Payload: make([]byte, first.Size())}
			m.AddUint(coap.Observe, 1)
			m.AddBlock(coap.Block2, first)
			p.tell(m)
		}
		var asked []*coap.Message
		for range 4 {
			asked = append(asked, p.expect(coap.GET))
		}
		if m, err := p.read(); err == nil {
			t.Fatalf("a fifth is fetched: %v", m)
		}
		for n := range observed {
			block, _, _ := asked[n].Options.Block(coap.Block2)
			m := &coap.Message{Code: coap.Content, Token: asked[n].Token, Payload: []byte("end")}
			m.AddBlock(coap.Block2, coap.Block{Num: block.Num, SZX: block.SZX})
			p.tell(m)
			if <-heard; len(asked) < observed {
				asked = append(asked, p.expect(coap.GET))
			}
		}
	})
}
