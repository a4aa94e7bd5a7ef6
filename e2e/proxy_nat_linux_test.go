package e2e_test

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// house is a home whose devices know nothing but their local network, a
// proxy beside them, a server far away, and a phone behind another NAT:
//
//	lamp 192.168.1.3 ─┬─ proxy 192.168.1.2 ── NAT ──┬── server ── NAT ── phone
//	door 192.168.1.4 ─┘                             ┘
type house struct {
	t      *testing.T
	net    *internet
	server *child
	proxy  *proc
	dir    string // of the proxy
	policy string // file
}

// newHouse starts all of it but the devices.
func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, net: newInternet(t), dir: t.TempDir()}
	h.net.site("house", 2)
	h.net.site("phone", 3)
	h.server = newChild(t, "--xmpp-devices=false", "--listen", serverAddress, "--domain", "home.example")
	h.server.wrap = h.net.in("server")
	h.server.start()
	h.policy = filepath.Join(h.dir, "policy.json")
	return h
}

// start runs our program at a host until it is stopped, or the test ends.
func (h *house) start(host, dir string, args ...string) *proc {
	h.t.Helper()
	args = append(append(h.net.in(host), "farreach"), args...)
	return startProc(h.t, exec.Command(args[0], args[1:]...), "HOME="+dir)
}

// startProxy starts the proxy, which knows the server by its address file.
func (h *house) startProxy(args ...string) {
	h.t.Helper()
	h.proxy = h.start("house", h.dir, append([]string{"proxy", "--profile", filepath.Join(h.server.home, "addr.json"),
		"--state", filepath.Join(h.dir, "proxy.json"), "--check", "1s"}, args...)...)
	h.proxy.says(h.t, " proxy: on XMPP")
}

// phone is a person far away, who reaches devices in one way only.
func (h *house) phone(by string) *path {
	p := personOf(h.t, h.server, by)
	p.before = h.net.in("phone")
	return p
}

// addresses are the JIDs of lamp and proxy, and their di's in the cloud.
func (h *house) addresses() string {
	h.t.Helper()
	xmpp, cloud := h.phone("xmpp"), h.phone("cloud")
	list := []string{xmpp.sees("porch", "reachable").URI, xmpp.sees("proxy", "reachable").URI}
	cloud.sees("porch", "reachable")
	cloud.sees("proxy", "reachable")
	for row := range strings.Lines(cloud.does(0, "devices")) {
		list = append(list, strings.Join(strings.SplitN(row, "\t", 4)[:3], " "))
	}
	return strings.Join(list, "\n") + "\n"
}

// TestProxyBehindNATs: what knows nothing but CoAP on its local network is found
// there by multicast, and read, commanded and watched from behind another NAT, by
// XMPP and by the cloud (RA-008, RA-009, RA-020, RA-025). When the proxy is killed
// they are not known to be anything, because of that, and after its restart they
// have the addresses that they had. Unplugged, a device is not reachable after three
// checks.
func TestProxyBehindNATs(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.net.local("house", "lamp", 3)
	h.start("lamp", t.TempDir(), "device", "--type", "lamp", "--name", "porch", "--lan")
	h.startProxy("--allow", "all")
	h.proxy.says(t, " porch: on XMPP, registered at ")
	for _, by := range []string{"xmpp", "cloud"} {
		phone := h.phone(by)
		phone.sees("porch", "reachable")
		const lamp = "porch/a/light"
		phone.prints(`{"value":false,"dimming":100}`, "get", lamp)
		watch := phone.begin("observe", lamp)
		watch.says(t, `"value":false`)
		phone.does(0, "post", lamp, "value=true")
		watch.says(t, `"value":true`)
		phone.does(0, "post", lamp, "value=false")
		watch.says(t, `"value":false,`)
		watch.stop()
	}

	// Killed, the proxy says nothing to anybody; who has watched, or has looked
	// before, or asks the cloud, learns why nobody knows how the lamp is.
	watches := map[string]*proc{}
	for _, by := range []string{"xmpp", "cloud"} {
		watches[by] = h.phone(by).begin("discover", "--remote", "--watch")
		watches[by].says(t, "\tnew\tporch\t")
	}
	before := h.addresses()
	once := h.phone("xmpp") // looks now, and later again
	once.sees("porch", "reachable")
	h.proxy.stop()
	for by, watch := range watches {
		watch.says(t, "\toic.d.light\t"+by+" (unknown, its gateway is gone")
		watch.stop()
	}
	once.sees("porch", "unknown")
	once.refused(8, "its gateway is gone", "get", "porch/a/light")
	if out := h.phone("cloud").does(0, "devices"); !regexp.MustCompile(`(?m)^porch\t.*\tunknown\t.*\tits gateway proxy is gone$`).MatchString(out) {
		t.Errorf("the devices are\n%s", out)
	}
	h.startProxy("--allow", "all")
	h.proxy.says(t, " porch: on XMPP, registered at ")
	if after := h.addresses(); before != after {
		t.Errorf("after a restart of the proxy there are\n%swhere there were\n%s", after, before)
	}

	h.net.unplug("house", 3)
	start := time.Now()
	h.proxy.says(t, " porch: does not answer on the local network")
	took := time.Since(start)
	t.Logf("missed three times %v after it was unplugged", took.Round(10*time.Millisecond))
	if most := 3*2*time.Second + busy; took > most { // a second of silence, and one for the answer
		t.Errorf("that should not take longer than %v", most)
	}
	h.phone("cloud").sees("porch", "offline")
}
