package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/farreach/farreach/cmd/farreach/internal/settings"
)

type configDoc struct {
	Schema   string             `json:"schema"`
	Settings []settings.Setting `json:"settings"`
}

func (a *app) configCmd() *cobra.Command {
	server := pflag.NewFlagSet("", pflag.ContinueOnError) // the settings
	server.AddFlagSet(a.upCmd().Flags())
	server.AddFlagSet(a.cloudCmd().Flags())
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show the settings of a server, and where each comes from",
		Long: `Shows with which settings a server would start here, with the same flags,
environment and file, and where each comes from. What it writes is a file for
--config, in which the defaults stand as comments. A file with something in it
that no server takes is refused, with exit status 3.`,
		Example: `  farreach config
  farreach config --config /etc/farreach.yaml
  farreach config >farreach.yaml`,
		GroupID: groupOperate,
		Args:    takes(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.showConfig(server) },
	}
	cmd.Flags().AddFlagSet(server)
	return cmd
}

func (a *app) showConfig(flags *pflag.FlagSet) error {
	all := settings.All(flags)
	if a.json {
		return a.screen().Doc(configDoc{"farreach.config/v1", all})
	}
	text, err := configYAML(all)
	if err != nil {
		return err
	}
	_, err = io.WriteString(a.out, text)
	return err
}

// configYAML is a file of these settings, with their origins in a column.
func configYAML(all []settings.Setting) (string, error) {
	lines, widest := make([]string, len(all)), 0
	for i, s := range all {
		value, err := yaml.Marshal(plain(s.Value))
		if err != nil {
			return "", fmt.Errorf("%s: %w", s.Key, err)
		}
		lines[i] = s.Key + ": " + strings.TrimSpace(string(value))
		if s.From == "default" {
			lines[i] = "# " + lines[i]
		}
		widest = max(widest, len(lines[i]))
	}
	var b strings.Builder
	for i, s := range all {
		fmt.Fprintf(&b, "%-*s  # %s\n", widest, lines[i], s.From)
	}
	return b.String(), nil
}

// plain is a value as YAML is to write it: a boolean without quotes.
func plain(value string) any {
	switch value {
	case "true":
		return true
	case "false":
		return false
	}
	return value
}
