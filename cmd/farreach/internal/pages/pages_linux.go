package pages

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// GiveBack gives back the pages of the program's own file that cannot be written
// to. It does nothing on other systems than Linux.
func GiveBack() error {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return err
	}
	defer maps.Close()
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		line := lines.Text() // 00400000-01451000 r-xp 00000000 fe:00 10256854   /usr/bin/farreach
		if !strings.HasSuffix(line, " "+self) {
			continue
		}
		var from, to uintptr
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil {
			return fmt.Errorf("memory map: %w", err)
		}
		if strings.Contains(mode, "w") {
			continue
		}
		if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, from, to-from, syscall.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("pages %x to %x: %w", from, to, errno)
		}
	}
	return lines.Err()
}
