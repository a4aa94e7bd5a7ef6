package main

import (
	"github.com/spf13/cobra"

	build "github.com/farreach/farreach/internal/version"
)

type versionDoc struct {
	Schema string `json:"schema"`
	build.Info
}

func (a *app) versionCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Say which farreach this is",
		Example: "  farreach version --json",
		GroupID: groupOperate,
		Args:    takes(),
		RunE: func(*cobra.Command, []string) error {
			info := build.Get(version)
			if a.json {
				return a.screen().Doc(versionDoc{"farreach.version/v1", info})
			}
			return a.screen().Line("farreach", info.Version, info.Go, info.System)
		},
	}
}
