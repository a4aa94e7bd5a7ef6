package cloudlink_test

import (
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/farreach/farreach/cloudlink"
)

// BenchmarkCommand is a person's command through the cloud to a device and the
// answer back, beside the same bytes through a relay that only copies them:
// what the cloud costs over what the network costs.
func BenchmarkCommand(b *testing.B) {
	relay := relayMedian(b, 2000)
	c := newCloud()
	uri := "coap+tcp://" + serve(b, cloudlink.ServerConfig{Backend: c}, nil)
	run(b, cloudlink.Config{Servers: []string{uri}}).registered(b)
	lamp := person(b, c, cloudlink.ServerInfo{URI: uri}).Device(device1)
	var took []time.Duration
	b.ReportAllocs()
	for on := false; b.Loop(); on = !on {
		start := time.Now()
		if _, err := light(b.Context(), lamp, &on); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	median := middle(took)
	b.ReportMetric(float64(median.Nanoseconds()), "ns/median")
	b.ReportMetric(float64(median)/float64(relay), "x-relay")
}

// relayMedian is the round trip of a message of a command's size through a
// relay of bare TCP connections.
func relayMedian(b *testing.B, n int) time.Duration {
	device := echo(b, nil)
	relay := echo(b, func() net.Conn {
		nc, err := net.Dial("tcp", device)
		if err != nil {
			b.Fatal(err)
		}
		return nc
	})
	nc, err := net.Dial("tcp", relay)
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	msg := make([]byte, 90)
	took := make([]time.Duration, n)
	for i := range took {
		start := time.Now()
		if _, err := nc.Write(msg); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(nc, msg); err != nil {
			b.Fatal(err)
		}
		took[i] = time.Since(start)
	}
	return middle(took)
}

// echo accepts one connection and sends back what it reads, by way of onward
// if that is not nil.
func echo(b *testing.B, onward func() net.Conn) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ended := make(chan struct{})
	b.Cleanup(func() { <-ended })
	go func() {
		defer close(ended)
		defer ln.Close()
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		if onward == nil {
			io.Copy(nc, nc)
			return
		}
		to := onward()
		back := make(chan struct{})
		go func() { io.Copy(nc, to); close(back) }()
		io.Copy(to, nc)
		to.(*net.TCPConn).CloseWrite()
		<-back
		to.Close()
	}()
	return ln.Addr().String()
}

func middle(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[len(d)/2]
}
