package main

import (
	"github.com/spf13/cobra"
)

func (a *app) completionCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Write the completion script of a shell",
		Long: `Writes a script that makes a shell complete commands, flags, and the names of
your devices and their resources. That of bash needs the package bash-completion.`,
		Example: `  source <(farreach completion bash)
  farreach completion zsh > "${fpath[1]}/_farreach"
  farreach completion fish > ~/.config/fish/completions/farreach.fish`,
		GroupID:   groupOperate,
		Args:      takes("the name of a shell: bash, zsh or fish"),
		ValidArgs: []string{"bash", "zsh", "fish"},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch args[0] {
			case "bash":
				return cmd.Root().GenBashCompletionV2(a.out, true)
			case "zsh":
				return cmd.Root().GenZshCompletion(a.out)
			case "fish":
				return cmd.Root().GenFishCompletion(a.out, true)
			}
			return misuse("bash, zsh or fish", "no completion for %q", args[0])
		},
	}
}
