package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/aiven"
)

// process is what main was given by the operating system, and what tests replace. Commands find it in their context.
type process struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string // NAME=value
	clock          aiven.Clock
	openDaemon     func(*config.Config, *slog.Logger, prometheus.Registerer) (daemon, error)
}

type processKey struct{}

// processOf finds the process that runs cmd. It panics for a command that execute did not start.
func processOf(cmd *cobra.Command) *process {
	return cmd.Context().Value(processKey{}).(*process)
}

// execute runs one command line and returns the exit code. Errors go to stderr, one line each.
func (p *process) execute(ctx context.Context, args []string) int {
	root := newRootCommand(p)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(context.WithValue(ctx, processKey{}, p))
	if err == nil {
		return exitOK
	}
	code := exitCode(err)
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(p.stderr, "kferry: %s\n", strings.TrimRight(line, "\n"))
	}
	if code == exitUsage {
		fmt.Fprintf(p.stderr, "Run '%s --help' for its use.\n", cmd.CommandPath())
	}
	return code
}

func newRootCommand(p *process) *cobra.Command {
	root := &cobra.Command{
		Use:   "kferry",
		Short: "Carry topics from one Kafka cluster to another, whole batches, exactly once",
		Long: `kferry carries topics from one Kafka cluster to another, from outside both.

Record batches move whole: keys, headers, timestamps, codec and order stay as
they are, and the target gets each record exactly once, whatever is killed when.
Nothing is ever written to the source.

New here?  "kferry demo" shows it at work without any cluster of yours,
"kferry run --help" shows the shortest configuration.`,
		Version:       buildVersion().String(),
		SilenceErrors: true, // execute prints them
		SilenceUsage:  true,
	}
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.PersistentFlags().String("log-level", "info", "debug, info, warn or error (overrides log.level of the configuration)")
	root.PersistentFlags().String("log-format", "auto", "text, json or auto: text on a terminal (overrides log.format)")
	root.AddCommand(
		newRunCommand(),
		newLanesCommand(),
		newStatusCommand(),
		newTopCommand(),
		newEventsCommand(),
		newTraceCommand(),
		newHealthCommand(),
		newOffsetsCommand(),
		newPauseCommand(),
		newResumeCommand(),
		newConfigCommand(),
		newAivenCommand(),
		newDatagenCommand(),
		newDemoCommand(),
		newVersionCommand(),
		newExitCodesTopic(),
	)
	root.InitDefaultCompletionCmd() // takes root's output as it is now
	root.SetHelpCommand(newHelpCommand())
	for _, c := range root.Commands() {
		refuseUnknown(c)
	}
	wrapArgs(root)
	return root
}

// newHelpCommand is cobra's, but for a topic that does not exist it fails.
func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND or TOPIC]",
		Short: "Help about a command or a topic",
		Long: `Print the help of a command, or of a topic such as exit-codes.

Exit codes: 0; 2 for a command that does not exist.`,
		Example: "  kferry help run\n  kferry help exit-codes",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usageError{fmt.Errorf("there is no help about %q", strings.Join(args, " "))}
			}
			about.InitDefaultHelpFlag() // so that it is listed
			return about.Help()
		},
	}
}

// refuseUnknown makes a command that only groups others refuse a word that is none of them; cobra would
// print the help and succeed.
func refuseUnknown(c *cobra.Command) {
	if c.Runnable() || !c.HasSubCommands() {
		return
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usageError{fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())}
		}
		return cmd.Help()
	}
}

// wrapArgs marks what cobra finds wrong with arguments as wrong use, for the exit code.
func wrapArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usageError{err}
			}
			return nil
		}
	}
	if check := c.RunE; check != nil {
		// From here on an error that is not marked is no matter of use; before, cobra's own are (unknown command).
		c.RunE = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return started{err}
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		wrapArgs(sub)
	}
}

// started marks an error of a command that was found and began to work.
type started struct{ error }

func (s started) Unwrap() error { return s.error }

// loadOptions are the layers above a configuration file: the environment, and the flags that were given.
func loadOptions(cmd *cobra.Command) config.LoadOptions {
	over := map[string]string{}
	for flag, key := range map[string]string{"log-level": "log.level", "log-format": "log.format"} {
		if f := cmd.Flag(flag); f != nil && f.Changed {
			over[key] = f.Value.String()
		}
	}
	return config.LoadOptions{Environ: processOf(cmd).environ, Overrides: over}
}

// configFlag adds the flag that names the configuration file.
func configFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVarP(path, "config", "c", "kferry.yaml", "configuration `file`")
	// It fails for a flag that does not exist only.
	if err := cmd.MarkFlagFilename("config", "yaml", "yml", "properties"); err != nil {
		panic(err)
	}
}

// configArgument allows the configuration file as the one argument, in the place of the flag.
func configArgument(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) > 1:
		return fmt.Errorf("%q takes one configuration file, but was given %q too", cmd.CommandPath(), args[1])
	case len(args) == 1 && cmd.Flags().Changed("config"):
		return fmt.Errorf("%q and the flag -c both name a configuration file: keep one", args[0])
	}
	return nil
}

// configFile is the file that the argument names, or else the flag.
func configFile(args []string, flag string) string {
	if len(args) > 0 {
		return args[0]
	}
	return flag
}

// lookup finds a variable in an environment.
func lookup(environ []string, name string) (value string, ok bool) {
	for _, e := range environ {
		if k, v, found := strings.Cut(e, "="); found && k == name {
			value, ok = v, true // the last one wins, as in a shell
		}
	}
	return value, ok
}

// noArguments is cobra.NoArgs with a message that fits a command without subcommands.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%q takes no arguments, but was given %q", cmd.CommandPath(), args[0])
	}
	return nil
}
