package pages

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// TestGiveBack: less of the program's file is resident afterwards, and the program
// goes on.
func TestGiveBack(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("Linux alone tells")
	}
	before := ofFiles(t)
	if err := GiveBack(); err != nil {
		t.Fatal(err)
	}
	if after := ofFiles(t); after >= before {
		t.Errorf("%d KiB of files are resident, before %d", after, before)
	}
}

// ofFiles is how much of files is resident, KiB.
func ofFiles(t *testing.T) int {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "RssFile:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
