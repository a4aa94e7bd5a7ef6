package main

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// retention is what is kept of events.
type retention struct {
	age  time.Duration // 0: as the cloud has it
	size int64         // bytes; 0: as the disk has it
}

func (cfg serverConfig) retention() (keep retention, err error) {
	var ok bool
	if keep.age, ok = parseAge(cfg.keepAge); !ok {
		return keep, fail(exitConfig, "--retention-age 90d", "retention-age %q: not a time such as 12h or 90d", cfg.keepAge)
	}
	if keep.size, ok = parseSize(cfg.keepSize); !ok {
		return keep, fail(exitConfig, "--retention-size 20GB", "retention-size %q: not a size such as 500MB or 20GB", cfg.keepSize)
	}
	return keep, nil
}

// parseAge reads a duration, in days, too: "90d".
func parseAge(s string) (time.Duration, bool) {
	if s == "" {
		return 0, true
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		age := n * 24 * float64(time.Hour)
		return time.Duration(age), err == nil && age > 0 && age < math.MaxInt64
	}
	age, err := time.ParseDuration(s)
	return age, err == nil && age > 0
}

// sizes are the units of sizes, in bytes. As with disks, a kilobyte has 1,000.
var sizes = []struct {
	unit  string
	bytes int64
}{{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}, {"", 1}}

// parseSize reads a number of bytes, with a unit or without: "20GB".
func parseSize(s string) (int64, bool) {
	if s == "" {
		return 0, true
	}
	for _, u := range sizes {
		number, ok := strings.CutSuffix(strings.ToUpper(s), u.unit)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		return n * u.bytes, err == nil && n > 0 && n <= math.MaxInt64/u.bytes
	}
	return 0, false
}
