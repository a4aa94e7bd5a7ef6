package systemd

import (
	"time"

	"golang.org/x/sys/unix"
)

// monotonic is the clock by which systemd knows which reload is meant.
func monotonic() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // has no way to fail
	return time.Duration(ts.Nano())
}
