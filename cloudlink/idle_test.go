package cloudlink_test

import (
	"fmt"
	"net"
	"runtime"
	"testing"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
)

// BenchmarkIdleSession signs 1,000 devices in, each from a socket that says no
// more than that, and reports what an idle one costs the server: bytes and
// goroutines.
func BenchmarkIdleSession(b *testing.B) {
	const devices = 1000
	for b.Loop() {
		c := newCloud()
		addr := serve(b, cloudlink.ServerConfig{Backend: c, KeepAlive: -1}, nil)
		before, goroutines := resident(b), runtime.NumGoroutine()
		for i := range devices {
			idleDevice(b, c, addr, i)
		}
		b.ReportMetric(float64(resident(b)-before)/devices, "B/session")
		b.ReportMetric(float64(runtime.NumGoroutine()-goroutines)/devices, "goroutines/session")
	}
}

// idleDevice opens a connection and signs a device in, without a goroutine.
func idleDevice(b *testing.B, c *cloud, addr string, i int) {
	b.Helper()
	id := fmt.Sprintf("00000000-cafe-4bad-8000-%012d", i)
	c.mu.Lock()
	c.devices[id] = &cloudDevice{}
	grant := c.grant(id)
	c.mu.Unlock()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { nc.Close() })
	body, err := oic.Encode(oic.OCF, map[string]any{
		"di": id, "uid": account, "accesstoken": grant.Access.Reveal(), "login": true,
	})
	if err != nil {
		b.Fatal(err)
	}
	m := &coap.Message{Code: coap.POST, Token: coap.TokenFrom(1), Payload: body}
	m.SetPath("/oic/sec/session")
	m.AddUint(coap.ContentFormat, 10000)
	wire, err := m.Append(coap.TCP, nil)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := nc.Write(wire); err != nil {
		b.Fatal(err)
	}
	var got []byte
	for buf := make([]byte, 512); ; {
		n, err := nc.Read(buf)
		if err != nil {
			b.Fatal(err)
		}
		got = append(got, buf[:n]...)
		var answer coap.Message
		for n, err = answer.Parse(coap.TCP, got, 1<<20); err == nil; n, err = answer.Parse(coap.TCP, got, 1<<20) {
			if answer.Token == m.Token {
				if answer.Code != coap.Changed {
					b.Fatalf("sign-in: %v", answer.Code)
				}
				return
			}
			got = got[n:]
		}
	}
}

// resident is the heap and the stacks in use, in bytes.
func resident(b *testing.B) int {
	b.Helper()
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}
