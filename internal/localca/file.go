package localca

import (
	"fmt"
	"os"
	"runtime"
)

// readPrivate reads a file with a key in it and refuses it when other users
// may read it too: they may have done so already.
func readPrivate(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("%s: other users can read this key (mode %04o); make it 0600 if you are sure that nobody has", name, mode)
	}
	return os.ReadFile(name)
}
