package main

import (
	"github.com/spf13/cobra"

	"github.com/farreach/farreach/oic"
)

func (a *app) setCmd() *cobra.Command {
	return a.requestCmd(&cobra.Command{
		Use:   "set TARGET KEY=VALUE...",
		Short: "Change properties, the short way",
		Long:  bodyHelp,
		Example: `  farreach set lamp/a/light value=true
  farreach set thermostat/a/thermostat target=21.5`,
		Args: takes("a target such as lamp/a/light", "a property such as value=true", "more of them..."),
	}, oic.Update)
}
