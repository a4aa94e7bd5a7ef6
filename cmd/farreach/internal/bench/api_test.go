package bench

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func TestAnswered(t *testing.T) {
	const good = "HTTP/1.1 200 OK\r\nContent-Type: x\r\nContent-Length: 3\r\n\r\nabc"
	in := bufio.NewReader(strings.NewReader(good + good))
	for range 2 {
		if err := answered(in); err != nil {
			t.Fatal(err)
		}
	}
	if err := answered(in); err != io.EOF {
		t.Errorf("after the last: %v", err)
	}
	for _, bad := range []string{
		"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
	} {
		if err := answered(bufio.NewReader(strings.NewReader(bad))); err == nil {
			t.Errorf("%q is taken for an answer", bad)
		}
	}
}

// TestAskHTTP: the bare server is asked by all connections, and every answer
// counts.
func TestAskHTTP(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go bareHTTP(ln)
	defer ln.Close()
	got, err := askHTTP(t.Context(), ln.Addr().String(), 2, 50*time.Millisecond, [][]byte{[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")})
	if err != nil || got.count == 0 || len(got.each) != got.count || got.perSecond() <= 0 || got.quantile(0.5) > got.quantile(0.99) {
		t.Errorf("%d answers in %v, %v", got.count, got.took, err)
	}
}
