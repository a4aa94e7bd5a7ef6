package main

import (
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	build "github.com/farreach/farreach/internal/version"
)

// manCmd is for those who package the program.
func (a *app) manCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "man DIR",
		Short:   "Write the manual pages of all commands into a directory",
		Example: "  farreach man /usr/local/share/man/man1",
		Hidden:  true,
		Args:    takes("a directory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			return doc.GenManTree(root, &doc.GenManHeader{
				Title: "FARREACH", Section: "1", Source: "farreach " + build.Get(version).Version, Manual: "Farreach", Date: a.buildDate(),
			}, args[0])
		},
	}
}

// buildDate is now, or what the makers of a reproducible package say.
func (a *app) buildDate() *time.Time {
	now := time.Now()
	if text, ok := a.lookup("SOURCE_DATE_EPOCH"); ok {
		if s, err := strconv.ParseInt(text, 10, 64); err == nil {
			now = time.Unix(s, 0).UTC()
		}
	}
	return &now
}
