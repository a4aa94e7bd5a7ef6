package coap_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/vector"
)

// FuzzStream feeds any bytes, cut anywhere, to a connection. Whatever they are,
// nothing panics, nothing is left running, no answer is longer than the request
// and a fixed amount, and the cuts make no difference to what comes back.
func FuzzStream(f *testing.F) {
	for _, v := range vector.All() {
		if v.Transport == "tcp" && len(v.Wire) < 1000 {
			f.Add(v.Wire, []byte{1, 3})
			f.Add(append(unhex("50e1 24 ffffffff"), v.Wire...), []byte{2})
		}
	}
	for _, v := range vector.Refusals() {
		if v.Transport == "tcp" {
			f.Add(append(unhex("0801 1122334455667788"), v.Wire...), []byte{6, 1, 1})
		}
	}
	f.Add(unhex("18e2 0000000000000001 20 18e4 0000000000000002 40 41010761617a"), []byte{4})
	f.Fuzz(func(t *testing.T, in, cuts []byte) {
		if len(in) > 4096 {
			in = in[:4096]
		}
		whole, whyWhole := feed(t, in, nil)
		cut, whyCut := feed(t, in, cuts)
		if strings.HasPrefix(whyCut, "coap: released") && len(cut) <= len(whole) {
			whole, whyWhole = whole[:len(cut)], whyCut // what comes behind a Release may find nobody
		}
		if !slices.Equal(whole, cut) || whyWhole != whyCut {
			t.Errorf("in one: %q, %s\ncut:    %q, %s", whole, whyWhole, cut, whyCut)
		}
	})
}

// feed sends in to a connection, in pieces as long as the bytes of cuts say,
// and returns what came back, and why it ended.
func feed(t *testing.T, in, cuts []byte) (out []string, why string) {
	synctest.Test(t, func(t *testing.T) {
		far, near := net.Pipe()
		ended := make(chan error, 1)
		c := coap.Server(near, coap.Config{Handler: echo, MaxMessage: 2000, Log: slog.New(slog.DiscardHandler)})
		go func() { ended <- c.Run(t.Context()) }()
		var got bytes.Buffer
		taken := make(chan struct{})
		go func() {
			io.Copy(&got, far)
			close(taken)
		}()
		synctest.Wait() // for our CSM to be out
		for i := 0; len(in) > 0; i++ {
			n := len(in)
			if len(cuts) > 0 {
				n = min(n, 1+int(cuts[i%len(cuts)]))
			}
			if _, err := far.Write(in[:n]); err != nil {
				break
			}
			in = in[n:]
			synctest.Wait()
		}
		synctest.Wait()
		far.Close()
		<-taken
		why = fmt.Sprint(<-ended)
		out = texts(t, got.Bytes())
	})
	return out, why
}

// texts are the messages in b. The tokens of our own signals are left out, for
// they begin anywhere.
func texts(t *testing.T, b []byte) (s []string) {
	for len(b) > 0 {
		var m coap.Message
		n, err := m.Parse(coap.TCP, b, 1<<20)
		if err != nil {
			t.Fatalf("we wrote % x: %v", b, err)
		}
		if b = b[n:]; m.Code.IsSignal() && m.Code != coap.Pong {
			if m.Token.Len() != 8 {
				t.Errorf("signal %v", &m)
			}
			m.Token = coap.Token{}
		}
		s = append(s, fmt.Sprintf("%v %v %q", &m, m.Options, m.Payload))
	}
	return s
}
