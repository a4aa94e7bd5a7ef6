// Package version says which farreach this is.
package version

import (
	"cmp"
	"runtime"
	"runtime/debug"
)

// Info is what is known of a build.
type Info struct {
	Version string `json:"version"`          // a tag, or "devel"
	Commit  string `json:"commit,omitempty"` // the revision it was built from
	Go      string `json:"go"`
	System  string `json:"system"` // "linux/amd64"
}

// Get returns what the linker and the Go toolchain wrote into this program.
// linked is the version given to the linker; "" means that of the module.
func Get(linked string) Info {
	info := Info{Version: linked, Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		info.Version = cmp.Or(info.Version, "devel")
		return info
	}
	if build.Main.Version != "(devel)" {
		info.Version = cmp.Or(info.Version, build.Main.Version)
	}
	info.Version = cmp.Or(info.Version, "devel")
	for _, s := range build.Settings {
		if s.Key == "vcs.revision" {
			info.Commit = s.Value
		}
	}
	return info
}
