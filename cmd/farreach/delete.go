package main

import (
	"github.com/spf13/cobra"

	"github.com/farreach/farreach/oic"
)

func (a *app) deleteCmd() *cobra.Command {
	return a.requestCmd(&cobra.Command{
		Use:     "delete TARGET",
		Short:   "Remove a resource",
		Example: `  farreach delete lamp/a/scene/7`,
		Args:    takes("a target such as lamp/a/scene/7"),
	}, oic.Delete)
}
