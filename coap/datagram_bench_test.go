package coap_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/farreach/farreach/coap"
)

// given is a PacketConn that delivers one datagram as often as it is read, each
// time with another Message ID.
type given struct {
	wire []byte
	left int
	from netip.AddrPort
}

func (g *given) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	if g.left == 0 {
		return 0, netip.AddrPort{}, net.ErrClosed
	}
	g.left--
	g.wire[2], g.wire[3] = byte(g.left>>8), byte(g.left)
	return copy(b, g.wire), g.from, nil
}

func (g *given) WriteToUDPAddrPort(b []byte, _ netip.AddrPort) (int, error) { return len(b), nil }
func (g *given) LocalAddr() net.Addr                                        { return &net.UDPAddr{} }
func (g *given) Close() error                                               { return nil }

// BenchmarkServeDatagrams is a Confirmable GET and its answer without the
// kernel: parsed, remembered, served and written.
func BenchmarkServeDatagrams(b *testing.B) {
	wire, err := datagram(coap.Confirmable, 0, coap.GET, "token", "/a/light").Append(coap.UDP, nil)
	if err != nil {
		b.Fatal(err)
	}
	answer := &coap.Message{Code: coap.Content, Payload: []byte("on")}
	g := &given{wire: wire, left: b.N, from: netip.MustParseAddrPort("10.0.0.1:5683")}
	e := coap.NewEndpoint(g, coap.EndpointConfig{Log: quiet, Handler: coap.HandlerFunc(func(x *coap.Exchange) { x.Reply(answer) })})
	b.ReportAllocs()
	b.ResetTimer()
	e.Run(b.Context())
}
