package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/device/sim"
	"github.com/farreach/farreach/lan"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
)

// lanLoad is a local network with lamps, each with a socket of its own. What is
// sent to the address of the group all of them hear.
type lanLoad struct {
	group    *net.UDPConn
	lamps    []*lan.Socket
	ears     []ear
	to, from atomic.Int64 // packets
	watchers atomic.Int64
}

// lanID is the di of a lamp.
func lanID(i int) string { return fmt.Sprintf("0685b960-736f-46f7-bec0-%012x", i) }

// lanIndex is which lamp has a di.
func lanIndex(di string) int {
	n, _ := strconv.ParseInt(di[strings.LastIndexByte(di, '-')+1:], 16, 32)
	return int(n)
}

// serveLAN is the process of the devices, of which it is told first how many. It
// writes the address of the group.
func serveLAN(ctx context.Context, questions *bufio.Scanner, out io.Writer) error {
	if !questions.Scan() {
		return io.ErrUnexpectedEOF
	}
	n, err := strconv.Atoi(questions.Text())
	if err != nil {
		return err
	}
	l := new(lanLoad)
	if l.group, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
		return err
	}
	for i := range n {
		if err := l.plug(i); err != nil {
			return err
		}
	}
	go l.hear() // ends with the process, as the lamps do
	fmt.Fprintln(out, l.group.LocalAddr())
	for questions.Scan() {
		fmt.Fprintln(out, l.answer(questions.Text()))
	}
	return nil
}

func (l *lanLoad) answer(question string) int64 {
	what, number, _ := strings.Cut(question, " ")
	switch what {
	case askTo:
		return l.to.Load()
	case askFrom:
		return l.from.Load()
	case askWatchers:
		return l.watchers.Load()
	case askPort:
		if i, err := strconv.Atoi(number); err == nil && i < len(l.lamps) {
			return int64(l.lamps[i].LocalAddr().(*net.UDPAddr).Port)
		}
	}
	return answer(what)
}

// plug adds a lamp.
func (l *lanLoad) plug(i int) error {
	quiet := slog.New(slog.DiscardHandler)
	s, err := sim.New("lamp", device.Config{ID: lanID(i), Name: fmt.Sprintf("lamp %d", i), Log: quiet})
	if err != nil {
		return err
	}
	pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	ear := ear{make(chan heard, 16), pc.LocalAddr()}
	l.ears = append(l.ears, ear)
	lamp := watched{s.Host(), &l.watchers}
	l.lamps = append(l.lamps, lan.Run(counted{pc, l}, coap.EndpointConfig{
		Groups: []*coap.GroupConn{coap.NewGroupConn(ear)}, Log: quiet,
		Accept: func(*coap.Peer) coap.Handler {
			asks := new(oiccoap.Server)
			return coap.HandlerFunc(func(x *coap.Exchange) { asks.Serve(x, lamp, oic.Identity{}) })
		},
	}))
	return nil
}

// hear passes on to all lamps what is said to the group.
func (l *lanLoad) hear() {
	buf := make([]byte, 2048)
	for {
		n, from, err := l.group.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		l.to.Add(1)
		said := heard{string(buf[:n]), from}
		for _, e := range l.ears {
			select {
			case e.said <- said:
			default: // lost, as datagrams are
			}
		}
	}
}

// ear is where one lamp hears the group.
type ear struct {
	said chan heard
	at   net.Addr
}

type heard struct {
	text string
	from netip.AddrPort
}

// ReadFromUDPAddrPort waits until something is said to the group.
func (e ear) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	h := <-e.said
	return copy(b, h.text), h.from, nil
}

func (e ear) WriteToUDPAddrPort([]byte, netip.AddrPort) (int, error) { return 0, net.ErrClosed }
func (e ear) LocalAddr() net.Addr                                    { return e.at }
func (e ear) Close() error                                           { return nil }

// counted counts the packets of a lamp.
type counted struct {
	*net.UDPConn
	l *lanLoad
}

func (c counted) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	n, from, err := c.UDPConn.ReadFromUDPAddrPort(b)
	if err == nil {
		c.l.to.Add(1)
	}
	return n, from, err
}

func (c counted) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	c.l.from.Add(1)
	return c.UDPConn.WriteToUDPAddrPort(b, to)
}

// watched counts the observations of a lamp.
type watched struct {
	oic.Observer
	n *atomic.Int64
}

// Observe implements oic.Observer.
func (w watched) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	w.n.Add(1)
	defer w.n.Add(-1)
	return w.Observer.Observe(ctx, req, each)
}
