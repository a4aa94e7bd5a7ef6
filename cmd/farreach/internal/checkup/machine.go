package checkup

import (
	"context"
	"os"
	"path/filepath"
)

// dataDir is the server's data directory, if it is on this machine: the one
// that holds the profile's token.
func (s Subject) dataDir() string {
	dir := s.Server.Data
	if dir == "" && s.Server.TokenFile != "" {
		dir = filepath.Dir(s.Server.TokenFile)
	}
	if info, err := os.Stat(filepath.Join(dir, "store")); dir == "" || err != nil || !info.IsDir() {
		return ""
	}
	return dir
}

// Of a disk, less than this much free space is a worry.
const (
	fewBytes  = 1 << 30
	noBytes   = 100 << 20
	fewPermil = 100
)

func (s Subject) disk(context.Context) Result {
	dir := s.dataDir()
	if dir == "" {
		return skip("the store is not on this machine")
	}
	free, all, err := space(dir)
	if err != nil || all == 0 {
		return skip("this system does not tell")
	}
	const fix = "free some space, or keep events for a shorter time"
	permil := free / max(all/1000, 1)
	switch {
	case free < noBytes:
		return failed(fix, "%d MB free: what cannot be stored is refused", free>>20)
	case free < fewBytes, permil < fewPermil && free < 10*fewBytes:
		return warn(fix, "%d MB free, %d %%", free>>20, permil/10)
	}
	return ok("%d GB free, %d %%", free>>30, permil/10)
}

// fewFiles is the limit from which on it matters how many devices come: each
// is one connection.
const fewFiles = 4096

func openFiles(context.Context) Result {
	limit := fileLimit()
	switch {
	case limit == 0:
		return skip("this system does not tell")
	case limit < fewFiles:
		return warn("ulimit -n 65536, before the server is started", "at most %d, and each device takes one", limit)
	}
	return ok("at most %d, of which each device takes one", limit)
}
