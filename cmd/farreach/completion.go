package main

import (
	"io"

	"github.com/spf13/cobra"
)

func (a *app) completionCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Write the completion script of a shell",
		Long: `Writes a script that makes a shell complete commands, flags, and the names of
your devices and their resources.`,
		Example: `  source <(farreach completion bash)
  farreach completion zsh > "${fpath[1]}/_farreach"
  farreach completion fish > ~/.config/fish/completions/farreach.fish`,
		GroupID:   groupOperate,
		Args:      takes("the name of a shell: bash, zsh or fish"),
		ValidArgs: []string{"bash", "zsh", "fish"},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch args[0] {
			case "bash":
				if _, err := io.WriteString(a.out, bashWords); err != nil {
					return err
				}
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

// bashWords is what cobra's script needs of the package bash-completion, for a bash
// without it: the words up to the cursor, which blanks separate.
const bashWords = `if ! declare -F _init_completion >/dev/null && ! declare -F _get_comp_words_by_ref >/dev/null; then
    _get_comp_words_by_ref()
    {
        local line=${COMP_LINE:0:COMP_POINT}
        read -ra words <<<"$line"
        [[ $line == *[[:blank:]] ]] && words+=("")
        cword=$((${#words[@]} - 1))
        cur=${words[cword]}
        prev=${words[cword > 0 ? cword - 1 : 0]}
    }
fi

`
