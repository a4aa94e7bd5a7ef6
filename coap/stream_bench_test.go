package coap_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/farreach/farreach/coap"
)

// The benchmarks run the server in a process of its own, on one core, so that
// its processor time can be told from that of the load. Beside it runs a
// server that does nothing but write back the same bytes: what it needs is the
// price of the sockets, or of crypto/tls, alone. The figure to look at is
// GET/core-s, requests per second of the server's processor time; x-echo is
// that of ours divided by that of the other one.

// lightGET and lightContent are 18 bytes long each.
var (
	lightGET     = frame(&coap.Message{Code: coap.GET, Token: coap.TokenFrom(7)}, "/a/light", "")
	lightContent = []byte("true")
)

func frame(m *coap.Message, path, payload string) []byte {
	m.SetPath(path)
	m.Payload = []byte(payload)
	b, err := m.Append(coap.TCP, nil)
	if err != nil {
		panic(err)
	}
	return b
}

// lamp answers every GET with the same representation, and allocates nothing.
func lamp() coap.Handler {
	resp := &coap.Message{Code: coap.Content, Payload: lightContent}
	resp.AddUint(coap.ContentFormat, 10000)
	return coap.HandlerFunc(func(x *coap.Exchange) { x.Reply(resp) })
}

func BenchmarkServer(b *testing.B) {
	for _, wire := range []string{"plain", "tls"} {
		for _, inflight := range []int{16, 1} {
			b.Run(fmt.Sprintf("%s/%d-in-flight", wire, inflight), func(b *testing.B) {
				bare := benchServer(b, wire+"-echo", inflight)
				ours := benchServer(b, wire, inflight)
				b.ReportMetric(ours.perCore, "GET/core-s")
				b.ReportMetric(ours.perSecond, "GET/s")
				b.ReportMetric(ours.perCore/bare.perCore, "x-echo")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

type rate struct{ perCore, perSecond float64 }

// benchServer sends b.N requests over 64 connections to a server process.
func benchServer(b *testing.B, kind string, inflight int) rate {
	const conns = 64
	s := startChild(b, kind)
	defer s.stop(b)
	batch := bytes.Repeat(lightGET, inflight)
	rounds := max(b.N/(conns*inflight), 1)
	cs := make([]net.Conn, conns)
	for i := range cs {
		cs[i] = s.dial(b, strings.HasPrefix(kind, "tls"), !strings.HasSuffix(kind, "-echo"))
		defer cs[i].Close()
	}
	cpu := s.cpu(b)
	start := time.Now()
	var wg sync.WaitGroup
	for _, nc := range cs {
		wg.Go(func() {
			in := make([]byte, len(batch))
			for range rounds {
				if _, err := nc.Write(batch); err != nil {
					b.Error(err)
					return
				}
				if _, err := io.ReadFull(nc, in); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	n := float64(rounds * conns * inflight)
	return rate{n / (s.cpu(b) - cpu).Seconds(), n / time.Since(start).Seconds()}
}

// child is a server process.
type child struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Scanner
	addr    string
	dialled int
}

const childEnv = "FARREACH_COAP_BENCH"

func startChild(b *testing.B, kind string) *child {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+kind)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	c := &child{cmd: cmd, in: in, out: bufio.NewScanner(out)}
	c.addr = c.line(b)
	return c
}

func (c *child) line(b *testing.B) string {
	if !c.out.Scan() {
		b.Fatal("server process ended")
	}
	return c.out.Text()
}

// cpu is the processor time that the server has used.
func (c *child) cpu(b *testing.B) time.Duration {
	return time.Duration(c.ask(b, "cpu"))
}

// memory is what the server's heap and stacks take after a collection.
func (c *child) memory(b *testing.B) int64 { return c.ask(b, "memory") }

func (c *child) ask(b *testing.B, what string) int64 {
	fmt.Fprintln(c.in, what)
	n, err := strconv.ParseInt(c.line(b), 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

func (c *child) stop(b *testing.B) {
	c.in.Close()
	if err := c.cmd.Wait(); err != nil {
		b.Error(err)
	}
}

// dial connects; a CoAP client then exchanges CSMs.
func (c *child) dial(b *testing.B, secure, speaksCoAP bool) net.Conn {
	c.dialled++
	from := &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+c.dialled/500))} // Serve bounds the strangers from one address
	nc, err := (&net.Dialer{LocalAddr: from}).Dial("tcp", c.addr)
	if err != nil {
		b.Fatal(err)
	}
	if secure {
		nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{coap.ALPN}})
	}
	if speaksCoAP {
		nc.Write(frame(&coap.Message{Code: coap.CSM, Token: coap.TokenFrom(1)}, "", ""))
		if _, err := io.ReadFull(nc, make([]byte, 14)); err != nil {
			b.Fatal(err)
		}
	}
	return nc
}

// benchChild is the server process: the kind of server is in the environment.
// It prints its address, and then what it is asked for.
func benchChild(kind string) {
	runtime.GOMAXPROCS(1)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	cfg := coap.Config{Handler: lamp()}
	if strings.HasPrefix(kind, "tls") {
		cfg.TLS = serverTLS()
	}
	if strings.HasSuffix(kind, "-echo") {
		go serveEcho(ln, cfg.TLS)
	} else {
		go coap.Serve(context.Background(), ln, func(nc net.Conn) *coap.Conn { return coap.Server(nc, cfg) })
	}
	fmt.Println(ln.Addr())
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		switch in.Text() {
		case "cpu":
			var u syscall.Rusage
			syscall.Getrusage(syscall.RUSAGE_SELF, &u)
			fmt.Println(u.Utime.Nano() + u.Stime.Nano())
		case "memory":
			for range 4 { // pools and stacks shrink with each collection
				runtime.GC()
			}
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			fmt.Println(m.HeapAlloc + m.StackInuse)
		}
	}
}

// BenchmarkIdle opens 1,000 connections, lets each ask once, and reports what
// an idle one costs the server, in bytes.
func BenchmarkIdle(b *testing.B) {
	const conns = 1000
	for _, kind := range []string{"plain", "tls"} {
		b.Run(kind, func(b *testing.B) {
			s := startChild(b, kind)
			defer s.stop(b)
			once := s.dial(b, kind == "tls", true)
			defer once.Close()
			before := s.memory(b)
			for range conns {
				nc := s.dial(b, kind == "tls", true)
				defer nc.Close()
				nc.Write(lightGET)
				if _, err := io.ReadFull(nc, make([]byte, len(lightGET))); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(s.memory(b)-before)/conns, "B/conn")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// A request that is answered at once allocates nothing, nor does the reading
// and writing of it.
func TestServingDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget")
	}
	p := servePeer(t, "tcp", coap.Config{Handler: lamp()})
	p.expect(coap.CSM)
	p.sendCSM()
	batch := bytes.Repeat(lightGET, 16)
	in := make([]byte, len(batch))
	n := testing.AllocsPerRun(2000, func() {
		p.nc.Write(batch)
		io.ReadFull(p.nc, in)
	})
	if n > 0.5 { // a collection empties the pools now and then
		t.Errorf("%v allocations for 16 requests", n)
	}
}

// serveEcho is the bare server.
func serveEcho(ln net.Listener, cfg *tls.Config) {
	for {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		if cfg != nil {
			nc = tls.Server(nc, cfg)
		}
		go func() {
			b := make([]byte, 16<<10)
			for {
				n, err := nc.Read(b)
				if err != nil {
					return
				}
				if _, err := nc.Write(b[:n]); err != nil {
					return
				}
			}
		}()
	}
}

// BenchmarkDo is the whole way there and back between two Conns of one process.
func BenchmarkDo(b *testing.B) {
	for _, wire := range []string{"tcp", "tls", "ws"} {
		b.Run(wire, func(b *testing.B) {
			client, _ := ends(b, wire, coap.Config{Handler: lamp()})
			req := get("/a/light")
			b.ReportAllocs()
			for b.Loop() {
				if _, err := client.Do(b.Context(), req); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(wire+"/parallel", func(b *testing.B) {
			client, _ := ends(b, wire, coap.Config{Handler: lamp()})
			b.ReportAllocs()
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				req := get("/a/light")
				for pb.Next() {
					if _, err := client.Do(b.Context(), req); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
