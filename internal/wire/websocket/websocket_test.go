package websocket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/farreach/farreach/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lines is a framing: what ends with a newline on a stream is a message. An
// empty line is none.
type lines struct{}

var errText = errors.New("text")

func (lines) Unframe(m Message) error {
	m.B = append(m.B, '\n')
	if m.Text {
		return errText
	}
	return nil
}

func (lines) Frame(_, b []byte) (message []byte, n int, err error) {
	n = bytes.IndexByte(b, '\n') + 1
	if n > 1 {
		message = b[:n-1]
	}
	return message, n, nil
}

func protocol(limit int) Protocol {
	return Protocol{Name: "lines", Spec: "this test", Limit: limit, Unfinished: time.Minute, New: func() Framing { return lines{} }}
}

// pair returns the two ends of a WebSocket.
func pair(t *testing.T, limit int) (client, server *Conn) {
	t.Helper()
	h := httptest.NewUnstartedServer(nil)
	l := NewListener(h.Listener.Addr(), protocol(limit))
	h.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { l.Take(w, r, nil) })
	h.Start()
	client, err := Dial(t.Context(), "ws://"+l.Addr().String()+"/x", protocol(limit), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server = nc.(*Conn)
	t.Cleanup(func() {
		l.Close()
		client.Close()
		server.Close()
		h.Close()
	})
	return client, server
}

// A WebSocket is a net.Conn and a wire.Link: what is written in pieces comes in
// messages.
func TestStream(t *testing.T) {
	client, server := pair(t, 100)
	if wire.New(client) != wire.Link(client) || client.LocalAddr().String() != server.RemoteAddr().String() {
		t.Errorf("%v, %v", client.LocalAddr(), server.RemoteAddr())
	}
	for _, piece := range []string{"on", "e\n\ntwo\nth", "ree\n"} {
		if _, err := io.WriteString(client, piece); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"one\n", "two\n"} {
		b, err := server.Next()
		if err != nil || string(b.B) != want {
			t.Fatalf("Next = %q, %v", b.B, err)
		}
		b.Free()
	}
	got := make([]byte, 6)
	if _, err := io.ReadFull(server, got); err != nil || string(got) != "three\n" {
		t.Errorf("Read %q, %v", got, err)
	}
	if client.out != nil {
		t.Errorf("%q is kept", client.out)
	}
}

// Threats rule 6: a message is refused that is longer than the limit of its
// moment.
func TestLimit(t *testing.T) {
	client, server := pair(t, 4)
	server.SetLimit(5)
	io.WriteString(client, "12345\n123456\n")
	if b, err := server.Next(); err != nil || string(b.B) != "12345\n" {
		t.Errorf("Next = %v, %v", b, err)
	}
	if _, err := server.Next(); err != errLong {
		t.Errorf("Next = %v", err)
	}
}

// What the framing refuses ends the connection with its error.
func TestUnframeFails(t *testing.T) {
	client, server := pair(t, 4)
	client.kind = websocket.MessageText
	io.WriteString(client, "a\n")
	if _, err := server.Next(); err != errText {
		t.Errorf("Next = %v", err)
	}
}

// A deadline ends a Next that is under way, and can be moved.
func TestDeadline(t *testing.T) {
	client, server := pair(t, 100)
	server.SetReadDeadline(time.Now().Add(time.Hour))
	failed := make(chan error, 1)
	go func() {
		_, err := server.Next()
		failed <- err
	}()
	server.SetReadDeadline(time.Now().Add(time.Millisecond))
	if err := <-failed; err != os.ErrDeadlineExceeded {
		t.Errorf("Next = %v", err)
	}
	server.SetDeadline(time.Unix(1, 0))
	if _, err := server.Next(); err != os.ErrDeadlineExceeded {
		t.Errorf("Next = %v", err)
	}
	server.SetReadDeadline(time.Time{}) // and nothing is lost
	io.WriteString(client, "a\n")
	if b, err := server.Next(); err != nil || string(b.B) != "a\n" {
		t.Errorf("Next = %v, %v", b, err)
	}
}

func TestDeadlineMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		d := deadline{passed: make(chan struct{})}
		for _, s := range []time.Duration{3, 1, 5, 2} {
			d.set(start.Add(s * time.Second))
		}
		<-d.wait()
		d.set(start)
		if <-d.wait(); time.Since(start) != 2*time.Second {
			t.Errorf("passed after %v", time.Since(start))
		}
		d.set(start.Add(10 * time.Second))
		<-d.wait()
		d.set(time.Time{})
		if isClosed(d.wait()) || time.Since(start) != 10*time.Second {
			t.Errorf("passed after %v", time.Since(start))
		}
	})
}

// An end in good order is io.EOF for the other side; it confirms that although
// nobody reads any more.
func TestClose(t *testing.T) {
	client, server := pair(t, 100)
	io.WriteString(client, "last\n")
	ended := make(chan error, 1)
	go func() { ended <- client.CloseWrite() }()
	if b, err := server.Next(); err != nil || string(b.B) != "last\n" {
		t.Errorf("Next = %v, %v", b, err)
	}
	if _, err := server.Next(); err != io.EOF {
		t.Errorf("Next = %v", err)
	}
	if err := <-ended; err != io.EOF {
		t.Errorf("CloseWrite = %v", err)
	}
	client.Close()
	if _, err := client.Next(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Next = %v", err)
	}
}

// Close wakes who waits, and a peer that vanishes is no orderly end.
func TestCloseWakes(t *testing.T) {
	client, server := pair(t, 100)
	failed := make(chan error, 2)
	for _, c := range []*Conn{client, server} {
		go func() {
			_, err := c.Next()
			failed <- err
		}()
	}
	client.Close()
	for range 2 {
		if err := <-failed; err == nil {
			t.Error("Next = nil")
		}
	}
}

// Dial names what a server does wrong, and follows nobody.
func TestDialRefuses(t *testing.T) {
	for want, h := range map[string]http.HandlerFunc{
		"200 OK": func(http.ResponseWriter, *http.Request) {},
		"302 Found": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		},
		`"lines"`: func(w http.ResponseWriter, r *http.Request) {
			if ws, err := websocket.Accept(w, r, nil); err == nil {
				ws.CloseRead(context.Background())
			}
		},
	} {
		s := httptest.NewServer(h)
		if _, err := Dial(t.Context(), s.URL, protocol(9), nil, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		s.CloseClientConnections()
		s.Close()
	}
	refused := errors.New("no network")
	dial := func(context.Context, string, string) (net.Conn, error) { return nil, refused }
	if _, err := Dial(t.Context(), "ws://x.example/", protocol(9), nil, dial); !errors.Is(err, refused) || strings.Contains(err.Error(), "example") {
		t.Error(err)
	}
}
