package lan_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/coap/coaptest"
	"github.com/farreach/farreach/lan"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
)

// TestNamespaces shows devices found by real packets, over IPv4 alone and over
// IPv6 alone, on an interface that comes later, and gone with one that goes:
//
//	watcher eth0 ── hub ──┬── four, 10.9.0.2, without IPv6
//	                      └── six, a link-local address of IPv6 alone
//	        eth1 ── far ───── late, 10.9.1.2, without IPv6
func TestNamespaces(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	t.Parallel()
	n := newSpaces(t)
	n.wire("watcher", "eth0", "hub", "10.9.0.1/24")
	n.wire("four", "eth0", "hub", "10.9.0.2/24")
	n.wire("six", "eth0", "hub", "")
	n.wire("late", "eth0", "far", "10.9.1.2/24")
	for _, name := range []string{"four", "late"} {
		n.sh(name, "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6")
	}
	for i, name := range []string{"four", "six", "late"} {
		if got := n.helper(name, "lamp", name, idOf(i)).line(); got != "ready" {
			t.Fatalf("%s is %s", name, got)
		}
	}
	w := n.helper("watcher", "watch")
	w.sees("four 10.9.0.2", "six fe80::%eth0")
	n.wire("watcher", "eth1", "far", "10.9.1.1/24")
	w.sees("four 10.9.0.2", "late 10.9.1.2", "six fe80::%eth0")
	n.ip("watcher", "link set eth0 down")
	w.sees("late 10.9.1.2")
	n.ip("watcher", "link set eth0 up")
	w.sees("four 10.9.0.2", "late 10.9.1.2", "six fe80::%eth0")
}

// spaces are network namespaces, which end with the test.
type spaces struct {
	t     *testing.T
	name  string
	made  map[string]bool
	wires int
}

// newSpaces skips the test where there cannot be any.
func newSpaces(t *testing.T) *spaces {
	t.Helper()
	n := &spaces{t, fmt.Sprintf("fl%d", os.Getpid()%100_000), map[string]bool{}, 0}
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	if out, err := exec.Command("ip", "netns", "add", n.name+"-try").CombinedOutput(); err != nil {
		t.Skipf("ip netns add: %v: %s", err, out)
	}
	exec.Command("ip", "netns", "del", n.name+"-try").Run() // one more, empty, does no harm
	return n
}

func (n *spaces) run(args ...string) {
	n.t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		n.t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
}

func (n *spaces) space(name string) string {
	n.t.Helper()
	ns := n.name + "-" + name
	if !n.made[name] {
		n.made[name] = true
		n.run("ip", "netns", "add", ns)
		n.t.Cleanup(func() { exec.Command("ip", "netns", "del", ns).Run() })
		n.sh(name, "echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad") // an address is good at once
		n.ip(name, "link set lo up")
	}
	return ns
}

// ip runs one command of ip in a namespace.
func (n *spaces) ip(name, command string) {
	n.t.Helper()
	n.run(append([]string{"ip", "-n", n.space(name)}, strings.Fields(command)...)...)
}

func (n *spaces) sh(name, command string) {
	n.t.Helper()
	n.run("ip", "netns", "exec", n.space(name), "sh", "-ec", command)
}

// wire connects an interface of a host to a bridge.
func (n *spaces) wire(host, eth, bridge, address string) {
	n.t.Helper()
	if !n.made[bridge] {
		n.ip(bridge, "link add name hub0 type bridge")
		n.ip(bridge, "link set hub0 up")
	}
	n.wires++
	port := fmt.Sprint("p", n.wires)
	n.ip(bridge, "link add "+port+" type veth peer name "+eth+" netns "+n.space(host))
	n.ip(bridge, "link set "+port+" master hub0")
	n.ip(bridge, "link set "+port+" up")
	if address != "" {
		n.ip(host, "addr add "+address+" dev "+eth)
	}
	n.ip(host, "link set "+eth+" up")
}

// helper is this program in a namespace.
type helper struct {
	t     *testing.T
	lines chan string
	here  []string // devices, of one that watches
}

func (n *spaces) helper(space string, args ...string) *helper {
	n.t.Helper()
	cmd := exec.Command("ip", "netns", "exec", n.space(space), os.Args[0], "-test.run=^TestHelper$", "-test.v=false")
	cmd.Env = append(os.Environ(), "LAN_HELPER="+strings.Join(args, " "))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	h := &helper{t: n.t, lines: make(chan string, 64)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			h.lines <- lines.Text()
		}
	}()
	n.t.Cleanup(func() {
		in.Close()
		<-read
		cmd.Wait() // how it ends does not matter
	})
	return h
}

func (h *helper) line() string {
	h.t.Helper()
	select {
	case l := <-h.lines:
		return l
	case <-time.After(time.Minute):
		h.t.Fatal("nothing happened")
	}
	return ""
}

// sees waits until these devices are here, in the order of their names, and no
// others. One that is slow to answer may go and come again meanwhile.
func (h *helper) sees(want ...string) {
	h.t.Helper()
	for !slices.Equal(h.here, want) {
		l := h.line()
		h.here = slices.DeleteFunc(h.here, func(d string) bool { return d == l[1:] })
		if l[0] == '+' {
			h.here = append(h.here, l[1:])
			slices.Sort(h.here)
		}
	}
}

// TestHelper is a process of another test.
func TestHelper(t *testing.T) {
	what := strings.Fields(os.Getenv("LAN_HELPER"))
	if len(what) == 0 {
		t.Skip("for other tests")
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if what[0] == "watch" {
		_ = lan.Watch(ctx, lan.Config{Check: time.Second, Log: coaptest.Quiet}, func(c lan.Change) {
			at := c.Device.Address.Addr()
			text := at.String()
			if at.Is6() {
				text = "fe80::%" + at.Zone() // the rest is different each time
			}
			if c.Kind != lan.Changed {
				fmt.Println(map[lan.Kind]string{lan.Appeared: "+", lan.Gone: "-"}[c.Kind]+c.Device.Name, text)
			}
		})
		return
	}
	pc, err := net.ListenUDP("udp", nil)
	if err != nil {
		t.Fatal(err)
	}
	lamp := simulated(t, "lamp", what[2], what[1])
	var groups []*coap.GroupConn
	for _, g := range coap.AllCoAPNodes() {
		conns, err := coap.ListenGroups([]netip.AddrPort{g}...)
		if err == nil { // a host may lack one of the families
			groups = append(groups, conns...)
		}
	}
	e := coap.NewEndpoint(pc, coap.EndpointConfig{Groups: groups, Log: coaptest.Quiet, Accept: func(*coap.Peer) coap.Handler {
		asks := new(oiccoap.Server)
		return coap.HandlerFunc(func(x *coap.Exchange) { asks.Serve(x, lamp, oic.Identity{}) })
	}})
	fmt.Println("ready")
	_ = e.Run(ctx)
}
