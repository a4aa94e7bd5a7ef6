//go:build !(linux || darwin)

package checkup

func space(string) (free, all uint64, err error) { return 0, 0, nil }

func fileLimit() uint64 { return 0 }
