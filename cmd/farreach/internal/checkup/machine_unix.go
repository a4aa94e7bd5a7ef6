//go:build linux || darwin

package checkup

import "syscall"

// space is what a disk has free for others than root, and in all, in bytes.
func space(dir string) (free, all uint64, err error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return 0, 0, err
	}
	size := uint64(fs.Bsize)
	return uint64(fs.Bavail) * size, uint64(fs.Blocks) * size, nil
}

// fileLimit is how many files a process of this user may open at once. The Go
// runtime has raised the soft limit to the hard one, as it does for the server.
func fileLimit() uint64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return uint64(limit.Cur)
}
