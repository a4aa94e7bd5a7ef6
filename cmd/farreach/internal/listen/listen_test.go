package listen

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

func port(t *testing.T, ln net.Listener) int {
	t.Helper()
	return ln.Addr().(*net.TCPAddr).Port
}

func TestAuto(t *testing.T) {
	set, err := Open(t.Context(), Config{Offset: Offset{Auto: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	if set.Offset < autoLeast || set.Secure {
		t.Errorf("%+v", set)
	}
	for ln, base := range map[net.Listener]int{set.HTTP: portHTTP, set.CoAP: portCoAP, set.CoAPS: portCoAPS} {
		if got := port(t, ln); got != base+set.Offset || !ln.Addr().(*net.TCPAddr).IP.IsLoopback() {
			t.Errorf("%s, want port %d on the loopback address", ln.Addr(), base+set.Offset)
		}
	}
}

// A server that picked its ports gets the same again, or others if they are
// taken now.
func TestAutoAgain(t *testing.T) {
	first, err := Open(t.Context(), Config{Offset: Offset{Auto: true}})
	if err != nil {
		t.Fatal(err)
	}
	again := Config{Offset: Offset{N: first.Offset, Auto: true}}
	second, err := Open(t.Context(), again)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if second.Offset == first.Offset {
		t.Error("two servers on the same ports")
	}
	first.Close()
	third, err := Open(t.Context(), again)
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	if third.Offset != first.Offset {
		t.Errorf("offset %d, want %d again", third.Offset, first.Offset)
	}
}

func TestTaken(t *testing.T) {
	set, err := Open(t.Context(), Config{Offset: Offset{Auto: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	set.HTTP.Close()
	_, err = Open(t.Context(), Config{Offset: Offset{N: set.Offset}})
	taken, ok := errors.AsType[*TakenError](err)
	if !ok || taken.Addr != set.CoAPS.Addr().String() {
		t.Fatalf("err = %v", err)
	}
	if want := "(pid " + strconv.Itoa(os.Getpid()) + ")"; runtime.GOOS == "linux" && !strings.Contains(err.Error(), want) {
		t.Errorf("%q does not name the holder %s", err, want)
	}
	// All or none: the port that was free is free again.
	ln, err := net.Listen("tcp", set.HTTP.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
}

func TestListenAddress(t *testing.T) {
	set, err := Open(t.Context(), Config{Host: "0.0.0.0", Offset: Offset{Auto: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	if set.CoAP != nil || !set.Secure || port(t, set.HTTP) != portHTTPS+set.Offset {
		t.Errorf("plain CoAP or plain HTTP towards the network: %+v", set)
	}
	port := strconv.Itoa(portCoAPS + set.Offset)
	for host, want := range map[string]string{"0.0.0.0": "127.0.0.1:" + port, "::": "127.0.0.1:" + port} {
		if got := Dialable(set.CoAPS, host); got != want {
			t.Errorf("dial %s, want %s", got, want)
		}
	}
	if got, _, _ := net.SplitHostPort(Outward(set.CoAPS, "0.0.0.0")); net.ParseIP(got) == nil || net.ParseIP(got).IsUnspecified() {
		t.Errorf("others dial %s", got)
	}
	if Dialable(set.CoAP, "0.0.0.0") != "" || Outward(set.CoAP, "0.0.0.0") != "" {
		t.Error("a listener that is off has an address")
	}
}

// What a server is called by is what its certificate says.
func TestListenName(t *testing.T) {
	set, err := Open(t.Context(), Config{Host: "localhost", Offset: Offset{Auto: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	want := "localhost:" + strconv.Itoa(portCoAPS+set.Offset)
	if got, out := Dialable(set.CoAPS, "localhost"), Outward(set.CoAPS, "localhost"); got != want || out != want {
		t.Errorf("dial %s and %s, want %s", got, out, want)
	}
}

func TestParseHost(t *testing.T) {
	for s, want := range map[string]string{"": "", "192.0.2.7": "192.0.2.7", "hub.example.org": "hub.example.org", "2001:db8::7": "2001:db8::7", "[2001:db8::7]": "2001:db8::7"} {
		if got, err := ParseHost(s); got != want || err != nil {
			t.Errorf("%s: %q, %v", s, got, err)
		}
	}
	for _, s := range []string{"192.0.2.7:9000", "hub.example.org:443", "[::1]:443"} {
		if _, err := ParseHost(s); err == nil {
			t.Errorf("%s was taken", s)
		}
	}
}

func TestParseOffset(t *testing.T) {
	for s, want := range map[string]Offset{"0": {}, "100": {N: 100}, "57092": {N: 57092}, "auto": {Auto: true}} {
		if got, err := ParseOffset(s); got != want || err != nil {
			t.Errorf("%s: %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "-1", "57093", "x", "Auto", "1.5"} {
		if _, err := ParseOffset(s); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
}

func TestHosts(t *testing.T) {
	for _, host := range []string{"192.0.2.7", "hub.example.org"} {
		if got := Hosts(host); len(got) != 1 || got[0] != host {
			t.Errorf("%s: %v", host, got)
		}
	}
	if got := strings.Join(Hosts("0.0.0.0"), " "); !strings.Contains(got, "127.0.0.1") {
		t.Errorf("all addresses: %s", got)
	}
}

func TestHolderOfOthers(t *testing.T) {
	proc := t.TempDir()
	table := "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n" +
		"   0: 0100007F:1633 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 11 1\n" +
		"   1: 0100007F:1633 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1\n"
	for name, content := range map[string]string{"net/tcp": table, "17/comm": "coap-server\n", "18/comm": "other\n"} {
		file := filepath.Join(proc, name)
		if err := os.MkdirAll(filepath.Join(filepath.Dir(file), "fd"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{"18/fd/3": "socket:[11]", "17/fd/4": "socket:[4242]"} {
		if err := os.Symlink(target, filepath.Join(proc, link)); err != nil {
			t.Fatal(err)
		}
	}
	for addr, want := range map[string]string{"127.0.0.1:5683": "coap-server (pid 17)", "127.0.0.1:5684": "", "nonsense": ""} {
		if got := holder(proc, addr); got != want {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
}
