package listen

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// stateListen is TCP_LISTEN in /proc/net/tcp (Linux, include/net/tcp_states.h).
const stateListen = "0A"

// holder names the program that listens on the port of addr: its name and
// pid, or "" where the system does not tell, as for another user's programs.
// proc is "/proc".
func holder(proc, addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return ""
	}
	n, err := net.LookupPort("tcp", port)
	if err != nil {
		return ""
	}
	suffix := fmt.Sprintf(":%04X", n)
	for _, table := range []string{"net/tcp", "net/tcp6"} {
		if inode := listenerInode(filepath.Join(proc, table), suffix); inode != "" {
			return ownerOf(proc, "socket:["+inode+"]")
		}
	}
	return ""
}

// listenerInode returns the inode of the listening socket whose local address
// ends in suffix.
func listenerInode(table, suffix string) string {
	f, err := os.Open(table)
	if err != nil {
		return ""
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// sl local rem st tx:rx tr:when retrnsmt uid timeout inode
		col := strings.Fields(lines.Text())
		if len(col) > 9 && strings.HasSuffix(col[1], suffix) && col[3] == stateListen {
			return col[9]
		}
	}
	return ""
}

// ownerOf returns the process that has an open file which links to socket.
func ownerOf(proc, socket string) string {
	files, err := filepath.Glob(filepath.Join(proc, "[0-9]*", "fd", "*"))
	if err != nil {
		return ""
	}
	for _, file := range files {
		if target, err := os.Readlink(file); err != nil || target != socket {
			continue
		}
		dir := filepath.Dir(filepath.Dir(file))
		name, err := os.ReadFile(filepath.Join(dir, "comm"))
		if err != nil {
			return "pid " + filepath.Base(dir)
		}
		return fmt.Sprintf("%s (pid %s)", strings.TrimSpace(string(name)), filepath.Base(dir))
	}
	return ""
}

// PID returns the process that listens on the port of addr, 0 where the system
// does not tell.
func PID(addr string) (pid int) {
	_, rest, ok := strings.Cut(holder("/proc", addr), "pid ")
	if !ok {
		return 0
	}
	fmt.Sscan(strings.TrimSuffix(rest, ")"), &pid) // ours: it is a number
	return pid
}
