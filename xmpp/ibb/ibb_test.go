package ibb

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stanza"
)

const (
	lampAddr  = "ann@home.example/OIC/1.0/oic.d.light/0685b960-736f-46f7-bec0-9e6cbd61adc1"
	phoneAddr = "ann@home.example/OIC/1.0/Client/3d2c5a10-52a7-4e0f-9c1b-6b2f0a9e7b55"
)

// pair opens a session from a phone to a lamp, and returns both ends.
func pair(t *testing.T, form Form, cfg Config) (phone, lamp *side, near, far *Conn) {
	t.Helper()
	var w world
	served := make(chan *Conn, 1)
	over := make(chan struct{})
	var first sync.Once
	cfg.Serve = func(c *Conn) {
		first.Do(func() { served <- c })
		<-over
	}
	lamp = w.join(t, lampAddr, cfg)
	phone = w.join(t, phoneAddr, Config{Block: cfg.Block, Idle: -1})
	t.Cleanup(func() { close(over) })
	near, err := phone.Open(t.Context(), phone, lamp.j, form)
	if err != nil {
		t.Fatal(err)
	}
	return phone, lamp, near, <-served
}

// overEachForm runs a test in both forms, with fake time.
func overEachForm(t *testing.T, test func(t *testing.T, form Form)) {
	for _, form := range []Form{IQ, Message} {
		t.Run(string(form), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, form) })
		})
	}
}

// TestBothDirections: RA-071, RA-072. What goes in comes out, both ways at once
// over one session.
func TestBothDirections(t *testing.T) {
	overEachForm(t, func(t *testing.T, form Form) {
		_, lamp, near, far := pair(t, form, Config{})
		data := make([]byte, 250_000)
		rand.Read(data)
		copies := make(chan error, 2)
		for _, c := range []*Conn{near, far} {
			go func() {
				_, err := c.Write(data)
				copies <- err
			}()
		}
		for _, c := range []*Conn{near, far} {
			got := make([]byte, len(data))
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, data) {
				t.Errorf("read: %v", err)
			}
		}
		if err := errors.Join(<-copies, <-copies); err != nil {
			t.Error(err)
		}
		near.Close()
		if n, err := far.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("after the end: %d, %v", n, err)
		}
		synctest.Wait()
		lamp.empty(t)
	})
}

// TestWire: what stands on the wire (IBB rules 2 and 5).
func TestWire(t *testing.T) {
	overEachForm(t, func(t *testing.T, form Form) {
		_, lamp, near, far := pair(t, form, Config{})
		near.Write([]byte("<rest/>"))
		far.Read(make([]byte, 100))
		near.Write([]byte("x"))
		far.Read(make([]byte, 100))
		near.Close()
		synctest.Wait()
		const id, sid, to = `[0-9a-f]{32}`, `([0-9a-f]{32})`, `to='` + lampAddr + `'`
		data := map[Form][]string{
			IQ: {
				`<iq type='set' id='` + id + `' ` + to + `><data xmlns='http://jabber.org/protocol/ibb' sid='` + sid + `' seq='0'>PHJlc3QvPg==</data></iq>`,
				`<iq type='result' id='` + id + `' to='` + phoneAddr + `'/>`,
				`<iq type='set' id='` + id + `' ` + to + `><data xmlns='http://jabber.org/protocol/ibb' sid='` + sid + `' seq='1'>eA==</data></iq>`,
				`<iq type='result' id='` + id + `' to='` + phoneAddr + `'/>`,
			},
			Message: {
				`<message id='` + id + `-0' ` + to + `><data xmlns='http://jabber.org/protocol/ibb' sid='` + sid + `' seq='0'>PHJlc3QvPg==</data><no-store xmlns='urn:xmpp:hints'/></message>`,
				`<message id='` + id + `-1' ` + to + `><data xmlns='http://jabber.org/protocol/ibb' sid='` + sid + `' seq='1'>eA==</data><no-store xmlns='urn:xmpp:hints'/></message>`,
			},
		}[form]
		want := slices.Concat([]string{
			`<iq type='set' id='` + id + `' ` + to + `><open xmlns='http://jabber.org/protocol/ibb' sid='` + sid + `' block-size='65535' stanza='` + string(form) + `'/></iq>`,
			`<iq type='result' id='` + id + `' to='` + phoneAddr + `'/>`,
		}, data, []string{
			`<iq type='set' id='` + id + `' ` + to + `><close xmlns='http://jabber.org/protocol/ibb' sid='` + sid + `'/></iq>`,
			`<iq type='result' id='` + id + `' to='` + phoneAddr + `'/>`,
		})
		got := lamp.w.sent()
		if len(got) != len(want) {
			t.Fatalf("sent %q", got)
		}
		for i := range want {
			if !regexp.MustCompile("^" + want[i] + "$").MatchString(got[i]) {
				t.Errorf("\n got %s\nwant %s", got[i], want[i])
			}
		}
	})
}

// TestBlocks: RA-075. One Write is one Read, if it fits into a block.
func TestBlocks(t *testing.T) {
	overEachForm(t, func(t *testing.T, form Form) {
		_, _, near, far := pair(t, form, Config{Block: 4000})
		go func() {
			near.Write([]byte("one"))
			near.Write([]byte("two"))
			near.Write(make([]byte, near.Block()+1))
		}()
		b := make([]byte, 5000)
		var sizes []int
		for range 4 {
			n, err := far.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			sizes = append(sizes, n)
		}
		if want := []int{3, 3, near.Block(), 1}; !slices.Equal(sizes, want) {
			t.Errorf("read %v, want %v", sizes, want)
		}
		n, _ := near.Write(nil)
		go near.Write([]byte("abc"))
		if m, _ := far.Read(b[:2]); n != 0 || m != 2 {
			t.Errorf("%d, %d", n, m)
		}
		if m, _ := far.Read(b); m != 1 {
			t.Errorf("the rest of a block is %d bytes", m)
		}
	})
}

// TestHalving: IBB rule 6. A peer that wants smaller blocks gets halves, each
// time with a fresh sid, down to 2,048 bytes; without a limit of the server the
// first is 6,144.
func TestHalving(t *testing.T) {
	for _, tt := range []struct {
		limit, takes int
		offers       string
	}{
		{262_144, 65_535, "65535"},
		{262_144, 20_000, "65535 32767 16383"},
		{262_144, 2047, "65535 32767 16383 8191 4095 2047"},
		{262_144, 1000, "65535 32767 16383 8191 4095 2047 refused"},
		{0, 65_535, "6144"},
		{0, 4000, "6144 3072"},
		{65_536, 65_535, "48660"},
		{10_000, 65_535, "7008"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var w world
			lamp := w.join(t, lampAddr, Config{Block: tt.takes, Serve: func(c *Conn) { <-c.Done() }})
			phone := w.join(t, phoneAddr, Config{})
			phone.limit = tt.limit
			c, err := phone.Open(t.Context(), phone, lamp.j, Message)
			var offers, sids []string
			for _, raw := range w.sent() {
				if m := regexp.MustCompile(`sid='(.*)' block-size='(\d+)'`).FindStringSubmatch(raw); m != nil {
					sids, offers = append(sids, m[1]), append(offers, m[2])
				}
			}
			if err != nil {
				offers = append(offers, "refused")
			} else {
				c.Close()
			}
			slices.Sort(sids)
			if got := strings.Join(offers, " "); got != tt.offers || len(slices.Compact(sids)) != len(sids) {
				t.Errorf("limit %d, the peer takes %d: offered %s, want %s (%v)", tt.limit, tt.takes, got, tt.offers, sids)
			}
		})
	}
}

// ask sends an iq as a peer that is not us would, and returns the condition of
// the refusal, "" for a result.
func ask(t *testing.T, from *side, to jid.JID, format string, args ...any) string {
	t.Helper()
	payload, err := stanza.Parse(fmt.Appendf(nil, format, args...), "jabber:client")
	if err != nil {
		t.Fatal(err)
	}
	_, err = from.Ask(t.Context(), stanza.IQ{To: to, Payload: &payload})
	if refusal, ok := errors.AsType[*stanza.Error](err); ok {
		return refusal.Type + " " + refusal.Condition
	} else if err != nil {
		t.Fatal(err)
	}
	return ""
}

const openXML = `<open xmlns='http://jabber.org/protocol/ibb' sid='%s' block-size='%s' stanza='%s'/>`

func TestOpenRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		phone, lamp, _, _ := pair(t, IQ, Config{Block: 8192})
		for _, tt := range []struct{ sid, block, form, want string }{
			{"s1", "65536", "iq", "cancel not-acceptable"}, // RA-073
			{"s1", "8193", "iq", "modify resource-constraint"},
			{"s1", "0", "iq", "modify bad-request"},
			{"s1", "-1", "iq", "modify bad-request"},
			{"s1", "x", "iq", "modify bad-request"},
			{"s1", "", "iq", "modify bad-request"},
			{"s1", "99999999999999999999", "iq", "modify bad-request"},
			{"s1", "4096", "presence", "modify bad-request"},
			{"", "4096", "iq", "modify bad-request"},
			{strings.Repeat("s", 129), "4096", "iq", "modify bad-request"},
			{"s1", "4096", "", ""}, // iq, as the schema says
			{"s1", "4096", "message", "cancel not-acceptable"},
			{"s", "1", "message", ""}, // IBB rule 2: a prefix of another is another
		} {
			if got := ask(t, phone, lamp.j, openXML, tt.sid, tt.block, tt.form); got != tt.want {
				t.Errorf("open %.10q %q %q: %q, want %q", tt.sid, tt.block, tt.form, got, tt.want)
			}
		}
	})
}

// TestStrangers: IBB rule 6. Who may not open a session hears what one hears
// of somebody that knows no bytestreams, whatever they try.
func TestStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, lamp, _, far := pair(t, Message, Config{})
		stranger := lamp.w.join(t, "eve@home.example/x", Config{})
		for _, payload := range []string{
			fmt.Sprintf(openXML, "s1", "4096", "iq"),
			fmt.Sprintf(`<data xmlns='%s' sid='%s' seq='0'/>`, NS, far.sid),
			fmt.Sprintf(`<close xmlns='%s' sid='%s'/>`, NS, far.sid),
		} {
			if got := ask(t, stranger, lamp.j, "%s", payload); got != "cancel service-unavailable" {
				t.Errorf("%s: %s", payload, got)
			}
		}
		lamp.w.sent()
		stranger.SendRaw(t.Context(), oneBlock(lamp.j, far.sid, 0, []byte("x")))
		synctest.Wait()
		if got := lamp.w.sent(); len(got) != 1 {
			t.Errorf("a stranger's message is answered: %q", got)
		}
		deaf := lamp.w.join(t, "ann@home.example/deaf", Config{})
		if _, err := stranger.Open(t.Context(), stranger, deaf.j, IQ); !refused(err) {
			t.Errorf("who serves nobody: %v", err)
		}
		select {
		case <-far.Done():
			t.Error("a stranger ended a session")
		default:
		}
	})
}

// TestLimits: IBB rule 6. Four sessions with a peer, 256 in all.
func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		lamp := w.join(t, lampAddr, Config{Serve: func(c *Conn) { <-c.Done() }})
		opened := 0
		for i := range 65 {
			phone := w.join(t, fmt.Sprintf("ann@home.example/phone%d", i), Config{PerPeer: 100})
			for range 5 {
				_, err := phone.Open(t.Context(), phone, lamp.j, Message)
				if err == nil {
					opened++
				} else if bad, _ := errors.AsType[*stanza.Error](err); bad == nil || bad.Condition != stanza.NotAcceptable {
					t.Fatal(err)
				}
			}
			if want := min(256, 4*(i+1)); opened != want {
				t.Fatalf("after %d peers: %d sessions, want %d", i+1, opened, want)
			}
		}
		if _, err := lamp.Open(t.Context(), lamp, lamp.j, IQ); err != ErrTooMany {
			t.Errorf("one more from our side: %v", err)
		}
	})
}

// TestSequence: IBB rule 3. It wraps from 65535 to 0; a gap or a repetition ends the
// session.
func TestSequence(t *testing.T) {
	overEachForm(t, func(t *testing.T, form Form) {
		_, lamp, near, far := pair(t, form, Config{})
		near.next = 65_534
		lamp.Endpoint.mu.Lock()
		far.want = 65_534
		lamp.Endpoint.mu.Unlock()
		go func() {
			for _, s := range []string{"a", "b", "c", "d"} {
				near.Write([]byte(s))
			}
		}()
		got := make([]byte, 4)
		_, err := io.ReadFull(far, got)
		synctest.Wait()
		if err != nil || string(got) != "abcd" || near.next != 2 {
			t.Errorf("%q, %v, next %d", got, err, near.next)
		}
	})
	for name, seq := range map[string]uint16{"gap": 2, "repeated": 0} {
		t.Run(name, func(t *testing.T) {
			overEachForm(t, func(t *testing.T, form Form) {
				_, _, near, far := pair(t, form, Config{})
				near.Write([]byte("kept"))
				near.next = seq
				near.Write([]byte("lost"))
				synctest.Wait()
				b := make([]byte, 10)
				if n, err := far.Read(b); string(b[:n]) != "kept" || err != nil {
					t.Errorf("read %q, %v", b[:n], err)
				}
				if _, err := far.Read(b); err != ErrBroken {
					t.Errorf("the reader: %v", err)
				}
				_, err := near.Write([]byte("x"))
				refusal, _ := errors.AsType[*stanza.Error](err)
				if refusal == nil || refusal.Condition != stanza.UnexpectedRequest {
					t.Errorf("the writer: %v", err)
				}
			})
		})
	}
}

// TestBroken: RA-078. Strict base64, a block no longer than agreed, a seq that
// is one.
func TestBroken(t *testing.T) {
	long := strings.Repeat("AAAA", 1366) // 4,098 bytes
	for _, data := range []string{
		`sid='%s' seq='0'>YQ`, `sid='%s' seq='0'>YQ=`, `sid='%s' seq='0'>YR==`, `sid='%s' seq='0'>Y===`, `sid='%s' seq='0'>YQ==YQ==`,
		"sid='%s' seq='0'>YW\nFh", "sid='%s' seq='0'>YWFh\n", `sid='%s' seq='0'> YWFh`, `sid='%s' seq='0'>YW_h`, `sid='%s' seq='0'>YW-h`, `sid='%s' seq='0'>Y=Fh`,
		`sid='%s' seq='0'>` + long, `sid='%s' seq='65536'>YQ==`, `sid='%s' seq='-1'>YQ==`, `sid='%s' seq=''>YQ==`, `sid='%s'>YQ==`, `sid='%s' seq='0x0'>YQ==`,
	} {
		overEachForm(t, func(t *testing.T, form Form) {
			phone, lamp, near, far := pair(t, form, Config{Block: 4096})
			payload := fmt.Sprintf("<data xmlns='%s' "+data+"</data>", NS, near.sid)
			if form == IQ {
				if got := ask(t, phone, lamp.j, "%s", payload); got != "cancel bad-request" {
					t.Errorf("%s: %q", payload, got)
				}
			} else {
				phone.SendRaw(t.Context(), fmt.Appendf(nil, "<message id='%s-0' to='%s'>%s</message>", near.sid, lamp.j, payload))
			}
			synctest.Wait()
			if n, err := far.Read(make([]byte, 10)); n != 0 || err != ErrBroken {
				t.Errorf("%s: read %d bytes, %v", payload, n, err)
			}
			if _, err := near.Write([]byte("x")); err == nil {
				t.Errorf("%s: the sender may go on", payload)
			}
		})
	}
}

// TestUnknown: IBB rule 4. A block for no session is answered: in the iq form
// always, in the message form once a second, never an error, never ourselves.
func TestUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		lamp := w.join(t, lampAddr, Config{Serve: func(*Conn) {}})
		phone := w.join(t, phoneAddr, Config{})
		for range 3 {
			if got := ask(t, phone, lamp.j, `<data xmlns='%s' sid='x' seq='0'>YQ==</data>`, NS); got != "cancel item-not-found" {
				t.Error(got)
			}
		}
		if got := ask(t, phone, lamp.j, `<close xmlns='%s' sid='x'/>`, NS); got != "cancel item-not-found" {
			t.Error(got)
		}
		w.sent()
		answers := func() (n int) {
			synctest.Wait()
			for _, raw := range w.sent() {
				if strings.Contains(raw, "item-not-found") {
					n++
				}
			}
			return n
		}
		for range 10 {
			phone.SendRaw(t.Context(), oneBlock(lamp.j, "x", 0, []byte("a")))
			lamp.SendRaw(t.Context(), oneBlock(lamp.j, "x", 0, []byte("a")))
			phone.SendRaw(t.Context(), fmt.Appendf(nil, `<message type='error' to='%s'><data xmlns='%s' sid='x' seq='0'>YQ==</data></message>`, lamp.j, NS))
		}
		if n := answers(); n != 1 {
			t.Errorf("%d answers in the first second", n)
		}
		time.Sleep(time.Second)
		phone.SendRaw(t.Context(), oneBlock(lamp.j, "x", 0, []byte("a")))
		if n := answers(); n != 1 {
			t.Errorf("%d answers in the next second", n)
		}
		for i := range 3000 { // what is remembered of peers is bounded
			j, _ := jid.Parse(fmt.Sprintf("ann@home.example/%d", i))
			lamp.mayTell(j)
		}
		if n := len(lamp.told); n > 1024 {
			t.Errorf("%d peers are remembered", n)
		}
	})
}

// TestBackPressure: in the iq form Write waits for the reader, and nothing is
// lost; what is held is bounded.
func TestBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, lamp, near, far := pair(t, IQ, Config{Block: 1000, Buffer: 10_000})
		const total = 500_000
		wrote := make(chan error, 1)
		go func() {
			_, err := near.Write(make([]byte, total))
			wrote <- err
			near.Close()
		}()
		synctest.Wait()
		lamp.Endpoint.mu.Lock()
		held := lamp.held
		lamp.Endpoint.mu.Unlock()
		if held < 9000 || held > 11_100 {
			t.Errorf("%d bytes are held", held)
		}
		select {
		case err := <-wrote:
			t.Fatalf("Write did not wait: %v", err)
		default:
		}
		n, err := io.Copy(io.Discard, far)
		if n != total || err != nil || <-wrote != nil {
			t.Errorf("read %d, %v", n, err)
		}
		lamp.empty(t)
	})
}

// TestOverrun: in the message form a reader that falls behind loses the session,
// and all sessions together hold a bounded number of bytes (3.3).
func TestOverrun(t *testing.T) {
	for name, cfg := range map[string]Config{"one session": {Block: 1000, Buffer: 10_000}, "all sessions": {Block: 1000, Memory: 10_000}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, lamp, near, far := pair(t, Message, cfg)
				var err error
				for err == nil {
					_, err = near.Write(make([]byte, 1000))
					synctest.Wait()
				}
				n, err := io.Copy(io.Discard, far)
				if err != ErrOverrun || n < 8000 || n > 11_000 {
					t.Errorf("read %d bytes, then %v", n, err)
				}
				far.Close()
				lamp.empty(t)
			})
		})
	}
	t.Run("many small", func(t *testing.T) { // what a block costs besides its bytes counts
		synctest.Test(t, func(t *testing.T) {
			_, _, near, far := pair(t, Message, Config{Buffer: 100_000, Block: 1000})
			n := 0
			for ; n < 10_000; n++ {
				if _, err := near.Write([]byte("x")); err != nil {
					break
				}
				synctest.Wait()
			}
			if n > 1700 {
				t.Errorf("%d blocks of one byte are held", n)
			}
			far.Close()
		})
	})
}

// TestIdle: IBB rule 7. After 300 s without a block either way.
func TestIdle(t *testing.T) {
	overEachForm(t, func(t *testing.T, form Form) {
		_, _, near, far := pair(t, form, Config{})
		start := time.Now()
		for range 3 {
			time.Sleep(200 * time.Second)
			near.Write([]byte("x"))
			far.Read(make([]byte, 1))
		}
		<-far.Done()
		if took := time.Since(start); took != 900*time.Second {
			t.Errorf("over after %v", took)
		}
		if _, err := far.Read(make([]byte, 1)); err != ErrIdle {
			t.Errorf("reader: %v", err)
		}
		if _, err := near.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("peer: %v", err)
		}
	})
}

// TestDeath: IBB rule 7. What ends a session, and what both ends hear of it.
func TestDeath(t *testing.T) {
	type ends = func(phone, lamp *side, near, far *Conn)
	for _, tt := range []struct {
		name      string
		end       ends
		near, far error // of Read
		write     error // of near.Write
	}{
		{"closed here", func(_, _ *side, near, _ *Conn) { near.Close() }, net.ErrClosed, io.EOF, net.ErrClosed},
		{"closed there", func(_, _ *side, _, far *Conn) { far.Close() }, io.EOF, net.ErrClosed, io.ErrClosedPipe},
		{"endpoint closed", func(_, lamp *side, _, _ *Conn) { go lamp.Close() }, io.EOF, net.ErrClosed, io.ErrClosedPipe},
		{"peer unavailable", func(phone, lamp *side, _, _ *Conn) {
			phone.presence(phone, &stanza.Presence{From: lamp.j, Type: "unavailable"})
		}, ErrGone, nil, ErrGone},
		{"account unavailable", func(phone, lamp *side, _, _ *Conn) {
			phone.presence(phone, &stanza.Presence{From: lamp.j.Bare(), Type: "unavailable"})
		}, ErrGone, nil, ErrGone},
		{"presence error", func(phone, lamp *side, _, _ *Conn) {
			phone.presence(phone, &stanza.Presence{From: lamp.j, Type: "error"})
		}, ErrGone, nil, ErrGone},
		{"available", func(phone, lamp *side, _, _ *Conn) { phone.presence(phone, &stanza.Presence{From: lamp.j}) }, nil, nil, nil},
		{"another unavailable", func(phone, _ *side, _, _ *Conn) {
			phone.presence(phone, &stanza.Presence{From: phone.j, Type: "unavailable"})
		}, nil, nil, nil},
		{"own stream", func(phone, _ *side, _, _ *Conn) { close(phone.done) }, ErrGone, nil, ErrGone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			overEachForm(t, func(t *testing.T, form Form) {
				phone, lamp, near, far := pair(t, form, Config{})
				go near.Write([]byte("x"))
				far.Read(make([]byte, 1))
				synctest.Wait()
				tt.end(phone, lamp, near, far)
				synctest.Wait()
				for c, want := range map[*Conn]error{near: tt.near, far: tt.far} {
					c.SetReadDeadline(time.Now().Add(time.Second))
					if want == nil {
						want = os.ErrDeadlineExceeded
					}
					if _, err := c.Read(make([]byte, 1)); err != want {
						t.Errorf("%s reads %v, want %v", c.LocalAddr(), err, want)
					}
				}
				if _, err := near.Write([]byte("y")); err != tt.write {
					t.Errorf("write: %v, want %v", err, tt.write)
				}
			})
		})
	}
}

// TestLastWords: what came before the peer closed the session can be read, also
// if that ends a Write of ours.
func TestLastWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, near, far := pair(t, IQ, Config{})
		failed := make(chan error)
		go func() {
			_, err := near.Write(make([]byte, 4<<20)) // more than waits for who does not read
			failed <- err
		}()
		synctest.Wait()
		if _, err := far.Write([]byte("farewell")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		near.end(errClosedByPeer, false) // and the block that is under way is not answered
		if err := <-failed; err != io.ErrClosedPipe {
			t.Errorf("write: %v", err)
		}
		if got, err := io.ReadAll(near); string(got) != "farewell" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
	})
}

// TestBounce: IBB rule 7. An error for one of our messages ends the session
// that it was for, also if it says nothing but its id.
func TestBounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		phone, lamp, near, _ := pair(t, Message, Config{})
		other, err := phone.Open(t.Context(), phone, lamp.j, Message)
		if err != nil {
			t.Fatal(err)
		}
		bounce := stanza.Message{From: lamp.j, ID: other.sid + "-0", Type: "error", Err: stanza.NewError(stanza.ServiceUnavailable, "")}
		stranger := bounce
		stranger.From = lamp.j.Bare()
		if phone.bounced(phone, &stranger) {
			t.Error("an error from somebody else is taken")
		}
		if !phone.bounced(phone, &bounce) {
			t.Error("the error is not taken")
		}
		_, err = other.Write([]byte("x"))
		if refusal, _ := errors.AsType[*stanza.Error](err); refusal == nil || refusal.Condition != stanza.ServiceUnavailable {
			t.Error(err)
		}
		if _, err := near.Write([]byte("x")); err != nil {
			t.Errorf("the other session: %v", err)
		}
		for _, id := range []string{"", "x", "-", near.sid} {
			if phone.bounced(phone, &stanza.Message{From: lamp.j, ID: id, Type: "error"}) {
				t.Errorf("id %q is taken", id)
			}
		}
		lamp.w.mu.Lock()
		delete(lamp.w.sides, lamp.j) // gone without a word: the server answers
		lamp.w.mu.Unlock()
		near.Write([]byte("x"))
		synctest.Wait()
		if _, err := near.Write([]byte("x")); !refused(err) {
			t.Errorf("after the peer has gone: %v", err)
		}
	})
}

func TestDeadlines(t *testing.T) {
	overEachForm(t, func(t *testing.T, form Form) {
		_, _, near, far := pair(t, form, Config{Block: 1000, Buffer: 3000})
		start := time.Now()
		far.SetReadDeadline(start.Add(time.Minute))
		if _, err := far.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		if _, err := far.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("again: %v", err)
		}
		far.SetDeadline(time.Time{})
		near.Write([]byte("x"))
		if n, err := far.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("without a deadline: %v", err)
		}
		near.SetWriteDeadline(time.Now().Add(-1))
		if _, err := near.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write too late: %v", err)
		}
		near.SetWriteDeadline(time.Now().Add(time.Second))
		if form == Message {
			return // nothing waits
		}
		n, err := near.Write(make([]byte, 10_000))
		if !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 || n%1000 != 0 {
			t.Errorf("wrote %d, %v", n, err)
		}
		if _, err := near.Write([]byte("x")); err == nil {
			t.Error("the session goes on although a block is lost")
		}
	})
}

// TestBad05Rounds: nothing is left after many sessions.
func TestBad05Rounds(t *testing.T) {
	overEachForm(t, func(t *testing.T, form Form) {
		var w world
		lamp := w.join(t, lampAddr, Config{Serve: func(c *Conn) { <-c.Done() }})
		phone := w.join(t, phoneAddr, Config{})
		for i := range 2000 {
			c, err := phone.Open(t.Context(), phone, lamp.j, form)
			if err != nil {
				t.Fatal(err)
			}
			c.Write([]byte("unread"))
			if i%3 == 0 {
				phone.presence(phone, &stanza.Presence{From: lamp.j, Type: "unavailable"})
				lamp.presence(lamp, &stanza.Presence{From: phone.j, Type: "unavailable"})
			}
			c.Close()
			synctest.Wait()
			lamp.w.sent()
		}
		lamp.empty(t)
		phone.empty(t)
		close(lamp.done)
		synctest.Wait()
		lamp.Endpoint.mu.Lock()
		defer lamp.Endpoint.mu.Unlock()
		if len(lamp.watched) != 0 {
			t.Error("a session that is over is still watched")
		}
	})
}

// TestNetConn: an *xmpp.Session carries an Endpoint, and a Conn is a net.Conn.
func TestNetConn(t *testing.T) {
	var _ Session = (*xmpp.Session)(nil)
	synctest.Test(t, func(t *testing.T) {
		_, _, near, far := pair(t, IQ, Config{})
		var c net.Conn = near
		if c.RemoteAddr().String() != lampAddr || c.LocalAddr().String() != phoneAddr || c.RemoteAddr().Network() != "xmpp" || far.RemoteAddr().String() != phoneAddr {
			t.Errorf("%v, %v", c.RemoteAddr(), c.LocalAddr())
		}
		New(Config{}).Handle(new(xmpp.Handlers))
	})
}

// TrySend sends a block that needs no waiting, and nothing else.
func TestTrySend(t *testing.T) {
	var w world
	got := make(chan string, 10)
	serve := func(c *Conn) {
		b := make([]byte, 10_000)
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			got <- string(b[:n])
		}
	}
	a, b := w.join(t, "ann@home.example/a", Config{}), w.join(t, "ann@home.example/b", Config{Serve: serve, Block: 4096})
	for form, want := range map[Form]bool{Message: true, IQ: false} {
		c, err := a.Open(t.Context(), a, b.j, form)
		if err != nil {
			t.Fatal(err)
		}
		if c.TrySend([]byte("one")) != want || want && <-got != "one" {
			t.Errorf("%s: a block is not sent", form)
		}
		if c.TrySend(make([]byte, c.Block()+1)) {
			t.Errorf("%s: more than a block is sent", form)
		}
		c.writing <- struct{}{}
		if c.TrySend([]byte("two")) {
			t.Errorf("%s: sent while somebody else writes", form)
		}
		<-c.writing
		c.Close()
		if c.TrySend([]byte("three")) {
			t.Errorf("%s: sent over a session that is over", form)
		}
	}
}

// oneBlock is a block in a message.
func oneBlock(to jid.JID, sid string, seq uint16, block []byte) []byte {
	f := newFrame(to, sid)
	return f.append(nil, seq, block)
}
