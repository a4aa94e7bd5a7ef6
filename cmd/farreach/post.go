package main

import (
	"github.com/spf13/cobra"

	"github.com/farreach/farreach/oic"
)

func (a *app) postCmd() *cobra.Command {
	return a.requestCmd(&cobra.Command{
		Use:   "post TARGET [BODY...]",
		Short: "Change properties of a resource",
		Long:  bodyHelp,
		Example: `  farreach post lamp/a/light value=true
  farreach post lamp/a/light '{"value":true,"dimming":40}'
  echo '{"value":false}' | farreach post lamp/a/light -`,
		Args: takes("a target such as lamp/a/light", "a body such as value=true..."),
	}, oic.Update)
}
