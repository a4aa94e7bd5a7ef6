package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// internet is a network of its own with one address for a server, and sites
// that reach it, each through a router of its own that masquerades them:
//
//	host 192.168.1.2 ── lan, router, wan 203.0.113.n ──┬── 203.0.113.1 server
//	host 192.168.1.2 ── lan, router, wan 203.0.113.m ──┘
//
// All hosts have the same address, and no router lets anybody in. At a lan there
// may be more hosts, which the router does not let out.
type internet struct {
	t    *testing.T
	name string
}

const serverAddress = "203.0.113.1"

// internets counts those that were made.
var internets atomic.Int32

// newInternet makes the network, or skips the test.
func newInternet(t *testing.T) *internet {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	i := &internet{t, fmt.Sprintf("fi%d-%d", os.Getpid()%100_000, internets.Add(1))}
	foreign(t, "ip")
	nft := foreign(t, "nft", "/usr/sbin/nft")
	if out, err := i.add("server"); err != nil {
		t.Skipf("ip netns add: %v: %s", err, out)
	}
	if out, err := exec.Command("ip", "netns", "exec", i.ns("server"), nft, "add", "table", "ip", "t").CombinedOutput(); err != nil {
		t.Skipf("nft: %v: %s", err, out)
	}
	i.ip("server", "link set lo up", "link add net type bridge", "addr add "+serverAddress+"/24 dev net", "link set net up")
	return i
}

func (i *internet) ns(name string) string { return i.name + "-" + name }

// in is what stands in front of a command that runs there.
func (i *internet) in(name string) []string { return []string{"ip", "netns", "exec", i.ns(name)} }

func (i *internet) add(name string) ([]byte, error) {
	out, err := exec.Command("ip", "netns", "add", i.ns(name)).CombinedOutput()
	if err == nil {
		i.t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", i.ns(name)).Run() })
	}
	return out, err
}

// ip runs commands of ip in a network.
func (i *internet) ip(name string, commands ...string) {
	i.t.Helper()
	i.input(strings.Join(commands, "\n"), "ip", "-n", i.ns(name), "-batch", "-")
}

func (i *internet) input(stdin string, args ...string) {
	i.t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(stdin + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		i.t.Fatalf("%s: %v: %s\n%s", strings.Join(args, " "), err, out, stdin)
	}
}

// masquerade is what a router does: it hides its site, and lets nobody in.
const masquerade = `echo 1 >/proc/sys/net/ipv4/ip_forward
PATH=$PATH:/usr/sbin nft -f - <<'END'
table ip site {
	chain out { type nat hook postrouting priority 100; oifname "wan" masquerade; }
	chain in { type filter hook forward priority 0; iifname "wan" ct state new drop; }
}
END`

// site adds a site with a host, whose public address ends with n.
func (i *internet) site(host string, n int) {
	i.t.Helper()
	router, number := host+"r", strconv.Itoa(n)
	for _, name := range []string{router, host} {
		if out, err := i.add(name); err != nil {
			i.t.Fatalf("ip netns add: %v: %s", err, out)
		}
	}
	i.ip("server", "link add to"+number+" type veth peer name wan netns "+i.ns(router), "link set to"+number+" master net up")
	i.ip(router, "link set lo up", "addr add 203.0.113."+number+"/24 dev wan", "link set wan up",
		"link add lan type bridge", "addr add 192.168.1.1/24 dev lan", "link set lan up")
	i.plug(router, host, 2)
	i.ip(host, "route add default via 192.168.1.1")
	i.input(masquerade, append(i.in(router), "sh", "-e")...)
}

// local adds a host to the site of another, with an address that ends with n. It
// has no way out.
func (i *internet) local(site, host string, n int) {
	i.t.Helper()
	if out, err := i.add(host); err != nil {
		i.t.Fatalf("ip netns add: %v: %s", err, out)
	}
	i.plug(site+"r", host, n)
}

// plug connects a host to the lan of a router.
func (i *internet) plug(router, host string, n int) {
	port := "p" + strconv.Itoa(n)
	i.ip(router, "link add "+port+" type veth peer name eth0 netns "+i.ns(host), "link set "+port+" master lan", "link set "+port+" up")
	i.ip(host, "link set lo up", "addr add 192.168.1."+strconv.Itoa(n)+"/24 dev eth0", "link set eth0 up")
}

// unplug takes a host off its lan, without a word to anybody.
func (i *internet) unplug(site string, n int) { i.ip(site+"r", "link set p"+strconv.Itoa(n)+" down") }

// cut takes the line of a site away, without a word to anybody.
func (i *internet) cut(host string) { i.ip(host+"r", "link set wan down") }

// TestBehindNATs: a device and a client in two networks, each behind a NAT of
// its own, have nothing but an XMPP account. The client finds the device, drives
// it, sees what it reports, and sees it go within the ping time when its line is
// cut (RA-005, RA-020, RA-066, RA-083).
func TestBehindNATs(t *testing.T) {
	t.Parallel()
	net := newInternet(t)
	net.site("hut", 2)
	net.site("town", 3)
	const ping = time.Second
	c := newChild(t, "--listen", serverAddress, "--domain", "home.example", "--xmpp-ping", ping.String())
	c.command, c.wrap = "xmppd", net.in("server")
	c.start()
	where := c.where()
	env := append(os.Environ(), "FARREACH_XMPP=home@home.example", "FARREACH_XMPP_ADDR="+where.XMPP,
		"FARREACH_PASSWORD_FILE="+where.PasswordFile, "FARREACH_CA_FILE="+where.CAFile)
	start := func(site, home string, args ...string) *proc {
		args = append(append(net.in(site), "farreach"), args...)
		return startProc(t, exec.Command(args[0], args[1:]...), append(env, "HOME="+home)...)
	}
	person := t.TempDir()
	command := func(args ...string) string {
		t.Helper()
		args = append(append(net.in("town"), "farreach"), args...)
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
		cmd.Env = append(env, "HOME="+person)
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("%s: %v", strings.Join(args, " "), err)
		}
		return string(out)
	}
	lamp := start("hut", t.TempDir(), "device", "--type", "lamp", "--name", "stove")
	lamp.says(t, "on XMPP")

	if out := command("discover", "--remote"); !strings.HasPrefix(out, "stove\t") || !strings.HasSuffix(out, "\toic.d.light\txmpp (reachable)\n") {
		t.Errorf("found: %s", out)
	}
	if out := command("get", "stove/a/light"); !strings.Contains(out, `"value":false`) {
		t.Errorf("it is: %s", out)
	}
	watch := start("town", person, "discover", "--remote", "--watch")
	observe := start("town", person, "observe", "stove/a/light")
	observe.says(t, `"value":false`)
	watch.says(t, "\tnew\tstove\t")
	command("set", "stove/a/light", "value=true")
	observe.says(t, `"value":true`)
	if out := command("get", "stove/a/light"); !strings.Contains(out, `"value":true`) {
		t.Errorf("it is: %s", out)
	}

	net.cut("hut")
	silent := time.Now()
	// The silence before the server asks, its patience, and how long it keeps the
	// session for a device that comes back; then discover looks each second.
	within(t, ping+20*time.Second+busy, func() bool { return strings.Contains(watch.out.String(), "\txmpp (offline") })
	t.Logf("offline %v after its line was cut", time.Since(silent).Round(100*time.Millisecond))
	observe.says(t, "is not reached by XMPP, home@home.example any more")
}
