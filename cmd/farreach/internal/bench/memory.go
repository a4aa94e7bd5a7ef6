package bench

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// parts is the resident memory of a process, bytes.
type parts struct {
	all  int64
	file int64 // of all: parts of files, such as the program's own; 0: not known here
}

// residentParts is resident, and how much of it is files.
func residentParts(pid int) (m parts, err error) {
	if m.all, err = resident(pid); err == nil {
		m.file, _ = statusOf(pid, "RssFile:") // only Linux tells
	}
	return m, err
}

// statusOf is one line of what Linux tells of a process, bytes.
func statusOf(pid int, name string) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return kibibytes(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
		}
	}
	return 0, fmt.Errorf("no %s of process %d", name, pid)
}

// resident is the resident memory of a process, bytes.
func resident(pid int) (int64, error) {
	if n, err := statusOf(pid, "VmRSS:"); err == nil {
		return n, nil
	}
	out, err := exec.Command("ps", "-o", "rss=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return 0, fmt.Errorf("resident memory: %w", err)
	}
	return kibibytes(string(bytes.TrimSpace(out)))
}

func kibibytes(text string) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("resident memory: %w", err)
	}
	return n << 10, nil
}

// processorTimeOf is what another process has used; 0: not known here.
func processorTimeOf(pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // the name may hold blanks
	var ticks int64
	for i, field := range strings.Fields(rest) {
		if i == 11 || i == 12 { // utime, stime
			n, _ := strconv.ParseInt(field, 10, 64)
			ticks += n
		}
	}
	return time.Duration(ticks) * (time.Second / ticksPerSecond)
}

// ticksPerSecond is the unit of /proc/PID/stat, the same on all Linux ports of Go.
const ticksPerSecond = 100
