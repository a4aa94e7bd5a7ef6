package bench

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/farreach/farreach/coap"
)

// The kinds of server that Serve knows. Each is also there with TLS.
const (
	kindEcho = "echo" // writes back what it reads
	kindCoAP = "coap" // answers each request with the state of a lamp
	kindIdle = "idle" // the same, for many connections at once
	kindXMPP = "xmpp" // an XMPP server whose accounts are all names with one password
	overTLS  = "-tls"

	kindRelay = "relay" // joins each connection to the next

	kindLAN     = "lan"     // devices of a local network; it is told how many
	kindProxy   = "proxy"   // shows them; it is told where
	kindHistory = "history" // a cloud with devices that have reported; it is told where its data is

	// These are no servers: they are told how to get into one.
	kindRemote         = "remote-"
	kindRemoteDevice   = "remote-device"   // a lamp that is reached over XMPP
	kindRemoteClient   = "remote-client"   // asks lamps, and observes them
	kindRemoteAnswerer = "remote-answerer" // a lamp, and an echo
	kindRemoteAsker    = "remote-asker"    // asks both
)

// The questions that Serve answers.
const (
	askCPU    = "cpu"    // processor time used so far, ns
	askHeap   = "heap"   // live heap and stacks, bytes
	askMemory = "memory" // resident memory once all that is free has gone back, bytes

	// Of devices of a local network.
	askTo       = "to"       // packets that they got, those to the group counted once
	askFrom     = "from"     // packets that they sent
	askPort     = "port"     // and the number of a device: where it answers
	askWatchers = "watchers" // observations of all of them

	// Of a proxy, with a number: how long it took until so many were
	askFound = "found" // found, ns
	askShown = "shown" // registered, and reached over XMPP, ns

	// Of a client.
	askDevices = "devices" // reads each device once: how many there are
	askObserve = "observe" // begins observations: how many
)

// Serve is the server process: one server of that kind on one processor. It
// writes its address, and then an answer to each question in in, line by line,
// and ends with in.
func Serve(ctx context.Context, kind string, in io.Reader, out io.Writer) error {
	runtime.GOMAXPROCS(1)
	questions := bufio.NewScanner(in)
	if strings.HasPrefix(kind, kindRemote) {
		return serveRemote(ctx, kind, questions, out)
	}
	switch kind {
	case kindLAN:
		return serveLAN(ctx, questions, out)
	case kindProxy:
		return serveProxy(ctx, questions, out)
	case kindHistory:
		return serveHistory(ctx, questions, out)
	}
	kind, secure := strings.CutSuffix(kind, overTLS)
	var cfg *tls.Config
	if secure {
		var err error
		if cfg, err = selfSigned(); err != nil {
			return err
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer ln.Close()
	switch kind {
	case kindEcho:
		go echo(ln, cfg)
	case kindXMPP:
		if err := serveXMPP(ctx, ln, cfg); err != nil {
			return err
		}
	case kindHTTP:
		go bareHTTP(ln)
	case kindRelay:
		go relayPairs(ln, cfg)
	case kindCoAP, kindIdle:
		cfg := coap.Config{Handler: lamp(kind == kindIdle), TLS: cfg, Log: slog.New(slog.DiscardHandler)}
		go coap.Serve(ctx, ln, func(nc net.Conn) *coap.Conn { return coap.Server(nc, cfg) })
	default:
		return fmt.Errorf("no kind of server %q", kind)
	}
	fmt.Fprintln(out, ln.Addr())
	for questions.Scan() {
		fmt.Fprintln(out, answer(questions.Text()))
	}
	return nil // the connections end with the process
}

func answer(what string) int64 {
	switch what {
	case askCPU:
		return processorTime().Nanoseconds()
	case askHeap:
		settle()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc + m.StackInuse)
	case askMemory:
		settle()
		n, _ := resident(os.Getpid())
		return n
	}
	return 0
}

// settle gives back all that is free: pools and stacks shrink with each
// collection.
func settle() {
	for range 3 {
		runtime.GC()
	}
	debug.FreeOSMemory()
}

// lamp answers every request with the same representation. Who asks is vouched
// for if many are to come: of strangers only some may stay.
func lamp(vouch bool) coap.Handler {
	resp := &coap.Message{Code: coap.Content, Payload: []byte("true")}
	resp.AddUint(coap.ContentFormat, 10000)
	return coap.HandlerFunc(func(x *coap.Exchange) {
		if vouch {
			x.Conn().Vouch()
		}
		x.Reply(resp) // fails when the connection is gone; then nobody waits for it
	})
}

// echo is the bare server: one goroutine and one buffer per connection.
func echo(ln net.Listener, cfg *tls.Config) {
	for {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		if cfg != nil {
			nc = tls.Server(nc, cfg)
		}
		go func() {
			defer nc.Close()
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

// selfSigned is a server's side of TLS, with a certificate for this run.
func selfSigned() (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		NextProtos:   []string{coap.ALPN},
	}, nil
}
