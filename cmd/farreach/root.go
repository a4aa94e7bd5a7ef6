package main

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/farreach/farreach/cmd/farreach/internal/screen"
	"github.com/farreach/farreach/cmd/farreach/internal/settings"
)

// The groups of the help, in its order.
const (
	groupStart    = "start"
	groupReach    = "reach"
	groupFleet    = "fleet"
	groupAutomate = "automate"
	groupOperate  = "operate"
)

func (a *app) rootCmd() *cobra.Command {
	cobra.EnableCommandSorting = false // what one needs first comes first
	root := &cobra.Command{
		Use:   "farreach",
		Short: "Reach and automate your OIC devices from anywhere",
		Long: `Farreach reaches and automates OIC devices from anywhere.

Start a server and a simulated home on this machine, and command a lamp:

  farreach up --demo
  farreach set lamp/a/light value=true`,
		Args:          a.noSuchCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return a.applySettings(cmd)
		},
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetFlagErrorFunc(badFlag)
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddGroup(
		&cobra.Group{ID: groupStart, Title: "Start:"},
		&cobra.Group{ID: groupReach, Title: "Reach:"},
		&cobra.Group{ID: groupFleet, Title: "Fleet:"},
		&cobra.Group{ID: groupAutomate, Title: "Automate:"},
		&cobra.Group{ID: groupOperate, Title: "Operate:"})
	root.SetHelpCommand(helpCmd())
	flags := root.PersistentFlags()
	flags.BoolVar(&a.json, "json", false, "write JSON documents")
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "log more")
	flags.StringVar(&a.profile, "profile", defaultProfile, "server to talk to: a `name` or file that farreach up wrote")
	flags.StringVar(&a.profileDir, "profile-dir", "", "`directory` of the profiles (default the user's configuration directory)")
	if err := root.RegisterFlagCompletionFunc("profile", a.completeProfile); err != nil {
		panic(err) // a misspelled flag name
	}
	root.AddCommand(
		a.upCmd(), a.cloudCmd(), a.xmppdCmd(), a.deviceCmd(), a.proxyCmd(), a.pairCmd(), a.openCmd(),
		a.discoverCmd(), a.getCmd(), a.putCmd(), a.postCmd(), a.setCmd(), a.deleteCmd(), a.observeCmd(), a.pingCmd(), a.raCmd(),
		a.devicesCmd(), a.eventsCmd(), a.commandsCmd(), a.whyCmd(),
		a.ruleCmd(), a.webhookCmd(), a.tokenCmd(), a.accountCmd(),
		a.statusCmd(), a.doctorCmd(), a.benchCmd(), a.backupCmd(), a.auditCmd(), a.configCmd(), a.completionCmd(), a.versionCmd(),
		a.manCmd())
	return root
}

// helpCmd is the help of a command, and an error for what is none.
func helpCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Explain a command",
		GroupID: groupOperate,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var names []string
			if about, _, err := cmd.Root().Find(args); err == nil {
				for _, sub := range about.Commands() {
					if sub.IsAvailableCommand() {
						names = append(names, sub.Name())
					}
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return misuse("farreach --help", "no command %q", strings.Join(args, " "))
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// applySettings gives the flags that were left out their values from the environment and,
// for a command with --config, from the file.
func (a *app) applySettings(cmd *cobra.Command) error {
	var entries []settings.Entry
	if f := cmd.Flags().Lookup("config"); f != nil {
		file := f.Value.String()
		if file == "" {
			file, _ = a.lookup("FARREACH_CONFIG")
		}
		var err error
		if file != "" {
			entries, err = settings.ReadFile(file)
		}
		if err != nil {
			return err
		}
		a.config = configFile{cmd.Name(), file, entries}
	}
	if err := settings.Apply(cmd.Flags(), a.lookup, entries); err != nil {
		return err
	}
	if a.profileDir == "" {
		a.profileDir = a.defaultProfileDir()
	}
	if f := cmd.Flags().Lookup("timeout"); f != nil {
		if d, err := time.ParseDuration(f.Value.String()); err == nil && d <= 0 {
			return misuse("--timeout 10s", "--timeout %s: no time at all", d)
		}
	}
	return nil
}

// defaultProfile is the one that farreach up writes.
const defaultProfile = "home"

func (a *app) defaultProfileDir() string {
	return filepath.Join(settings.ConfigDir(a.lookup), "profiles")
}

// server is the profile that the command goes by.
func (a *app) server() (*settings.Server, error) {
	return settings.LoadProfile(a.profileDir, a.profile)
}

func (a *app) screen() *screen.Screen {
	return &screen.Screen{Out: a.out, Terminal: a.terminal && !a.json, JSON: a.json}
}

// log is for talk, on standard error: from least on, or all of it with -v.
func (a *app) log(least slog.Level) *slog.Logger {
	if a.verbose {
		least = slog.LevelDebug
	}
	return slog.New(newPaced(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: least})))
}

// noSuchCommand refuses what is left when no subcommand was found.
func (a *app) noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var known []string
	for _, c := range cmd.Commands() {
		known = append(known, c.Name())
	}
	try := cmd.CommandPath() + " --help"
	if near := settings.Nearest(args[0], known); near != "" {
		try = cmd.CommandPath() + " " + near
	}
	return misuse(try, "unknown command %q", args[0])
}

// badFlag says which flag was meant.
func badFlag(cmd *cobra.Command, err error) error {
	if errors.Is(err, pflag.ErrHelp) {
		return err
	}
	e, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		return misuse(cmd.CommandPath()+" --help", "%w", err)
	}
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	if near := settings.Nearest(e.GetSpecifiedName(), known); near != "" {
		return misuse("--"+near, "%w", err)
	}
	return misuse(cmd.CommandPath()+" --help", "%w", err)
}

// takes refuses another number of arguments than the names of what there
// should be; the last may end in "..." for any number from then on.
func takes(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		least, most := len(names), len(names)
		if n := len(names); n > 0 && strings.HasSuffix(names[n-1], "...") {
			least, most = n-1, len(args)
		}
		switch {
		case len(args) < least:
			return misuse(firstExample(cmd), "missing %s", names[len(args)])
		case len(args) > most:
			return misuse(cmd.CommandPath()+" --help", "%q is too much", args[most])
		}
		return nil
	}
}

func firstExample(cmd *cobra.Command) string {
	lines := strings.Split(cmd.Example, "\n")
	if i := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "farreach ") }); i >= 0 {
		example, _, _ := strings.Cut(lines[i], "  #")
		return strings.TrimSpace(example)
	}
	return cmd.CommandPath() + " --help"
}

// parent makes a command that only has subcommands. Without one it does what its ls
// does, if it has one that needs no argument.
func (a *app) parent(cmd *cobra.Command, subs ...*cobra.Command) *cobra.Command {
	cmd.Args = a.noSuchCommand
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return misuse(firstExample(cmd), "missing subcommand")
	}
	cmd.AddCommand(subs...)
	for _, ls := range subs {
		if ls.Name() == "ls" && ls.Args(ls, nil) == nil {
			cmd.RunE = ls.RunE
			cmd.Flags().AddFlagSet(ls.Flags())
		}
	}
	return cmd
}

// say is talk: a line for a person, on standard error.
func (a *app) say(format string, args ...any) {
	fmt.Fprintf(a.err, format+"\n", args...)
}
