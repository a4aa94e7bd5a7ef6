package main

import (
	"github.com/spf13/cobra"

	"github.com/farreach/farreach/oic"
)

func (a *app) putCmd() *cobra.Command {
	return a.requestCmd(&cobra.Command{
		Use:   "put TARGET BODY...",
		Short: "Replace a representation as a whole",
		Long:  bodyHelp,
		Example: `  farreach put lamp/a/light value=true dimming=40
  farreach put lamp/a/light @light.json`,
		Args: takes("a target such as lamp/a/light", "a body such as value=true", "more of it..."),
	}, oic.Replace)
}
