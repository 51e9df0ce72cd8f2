package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/aiven"
)

type configOptions struct{ path string }

func newConfigCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check or show a configuration without connecting",
		Long: `Check or show a configuration without connecting to any cluster.

A setting comes from, the last one wins: the default; the file; the environment;
a flag. docs/config.reference.yaml explains every key.

In the file, ${NAME} stands for an environment variable (and $${ for the two
characters themselves). The environment variable of a key is KFERRY_ and the key
path in upper case, with _ for every other character:

  KFERRY_HTTP_LISTEN                      http.listen
  KFERRY_CLUSTERS_AIVEN_SASL_PASSWORD     clusters.aiven.sasl.password
  KFERRY_FLOWS_OLD_NEW_TOPICS             topics of the flow named old-new

Lists are separated by commas. A KFERRY_ variable that sets nothing is an error,
but for KFERRY_REQUIRE_KAFKA, KFERRY_REQUIRE_BROWSER, KFERRY_REQUIRE_MONITORING,
KFERRY_KAFKA_CACHE, KFERRY_TEST_... and those that Kubernetes sets for services.

A file whose name ends in .properties is one for a dedicated MirrorMaker 2, read
by its rules; docs/from-mm2.md tells what its keys come to.`,
	}
	cmd.AddCommand(newConfigCheckCommand(), newConfigShowCommand(), newConfigConvertCommand())
	return cmd
}

func newConfigCheckCommand() *cobra.Command {
	var o configOptions
	cmd := &cobra.Command{
		Use:   "check [FILE...]",
		Short: "Tell everything that is wrong with a configuration",
		Long: `Tell everything that is wrong with a configuration, all at once, or list its
clusters and flows. Without FILE it checks the one that -c names. The files it
names (certificates, passwords) are read; no cluster is asked, nor is Aiven. For an
mm2.properties it also lists the keys that are not simply used.

Exit codes: 0 valid; 2 wrong use; 3 configuration invalid.`,
		Example: `  kferry config check -c kferry.yaml
  kferry config check staging.yaml production.yaml
  kferry config check mm2.properties`,
		RunE: func(cmd *cobra.Command, files []string) error {
			if len(files) == 0 {
				files = []string{o.path}
			}
			return runConfigCheck(cmd.OutOrStdout(), files, loadOptions(cmd))
		},
	}
	configFlag(cmd, &o.path)
	return cmd
}

// runConfigCheck prints a summary of each valid file; the error has the
// problems of all others.
func runConfigCheck(w io.Writer, files []string, o config.LoadOptions) error {
	var failed []error
	for _, file := range files {
		cfg, err := config.Load(file, o)
		if err == nil && cfg.Aiven.Project != "" {
			_, err = aiven.WantOf(cfg)
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		if _, err := io.WriteString(w, configSummary(file, cfg)); err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}

// links says how many connections records take to each broker.
func links(cl config.Cluster) string {
	if cl.Connections == 0 {
		return "connections per broker by the round trip"
	}
	return plural(cl.Connections, "connection") + " per broker"
}

// configSummary has a line for the file and one for each cluster, flow and note.
func configSummary(file string, c *config.Config) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: ok, %s, %s\n", file, plural(len(c.Clusters), "cluster"), plural(len(c.Flows), "flow"))
	for _, alias := range slices.Sorted(maps.Keys(c.Clusters)) {
		cl := c.Clusters[alias]
		if len(cl.BootstrapServers) == 0 {
			fmt.Fprintf(&b, "  cluster %s: no address yet, kferry aiven connect fills it in\n", alias)
			continue
		}
		fmt.Fprintf(&b, "  cluster %s: %s, %s, %s\n", alias, strings.Join(cl.BootstrapServers, " "), security(cl), links(cl))
	}
	for _, f := range c.Flows {
		fmt.Fprintf(&b, "  flow %s: %s -> %s, topics %s%s, policy %s, start %s%s\n", f.Name, f.Source, f.Target,
			strings.Join(f.Topics, " "), exceptFor(f.TopicsExclude), f.Policy, f.Start, byAiven(f))
	}
	for _, n := range c.Notes {
		if n.Fate != config.Used {
			fmt.Fprintf(&b, "  %s\n", n)
		}
	}
	b.WriteString(memoryAdvice(c.Flows))
	return b.String()
}

// memoryAdvice is for flows that begin with records of the past: brokers forget who wrote them.
func memoryAdvice(flows []config.Flow) string {
	var targets []string
	for _, f := range flows {
		if f.Engine != config.EngineAiven && f.Start.Kind != config.StartLatest && !slices.Contains(targets, f.Target) {
			targets = append(targets, f.Target)
		}
	}
	if len(targets) == 0 {
		return ""
	}
	return fmt.Sprintf("  advice: producer.id.expiration.ms above the age of the oldest record, on the brokers of %s, "+
		"lets them refuse late copies of old records\n", strings.Join(targets, " and "))
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func byAiven(f config.Flow) string {
	if f.Engine == config.EngineAiven {
		return ", carried by Aiven's MirrorMaker 2"
	}
	return ""
}

func exceptFor(patterns []string) string {
	if len(patterns) == 0 {
		return ""
	}
	return " except " + strings.Join(patterns, " ")
}

// security says how a cluster is reached, without any secret.
func security(c config.Cluster) string {
	s := "plaintext"
	switch {
	case c.TLS.Enabled && c.TLS.InsecureSkipVerify:
		s = "TLS (server not verified)"
	case c.TLS.Enabled:
		s = "TLS"
	}
	if c.TLS.Enabled && c.TLS.CertFile != "" {
		s += " with a client certificate"
	}
	if c.SASL.Mechanism != "" {
		s += ", " + c.SASL.Mechanism + " as " + c.SASL.Username
	}
	return s
}

func newConfigShowCommand() *cobra.Command {
	var o configOptions
	cmd := &cobra.Command{
		Use:   "show [FILE]",
		Short: "Print the configuration in force, secrets redacted",
		Long: `Print the configuration in force as YAML: defaults, file, environment and flags
put together. Passwords are shown as [redacted], wherever they came from.

Exit codes: 0; 2 wrong use; 3 configuration invalid.`,
		Example: "  KFERRY_LOG_LEVEL=debug kferry config show -c kferry.yaml",
		Args:    configArgument,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runConfigShow(cmd.OutOrStdout(), configFile(args, o.path), loadOptions(cmd))
		},
	}
	configFlag(cmd, &o.path)
	return cmd
}

func runConfigShow(w io.Writer, file string, o config.LoadOptions) error {
	cfg, err := config.Load(file, o)
	if err != nil {
		return err
	}
	text, err := cfg.Redacted()
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

func newConfigConvertCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "convert FILE",
		Short: "Print the configuration of a MirrorMaker 2 as one of kferry",
		Long: `Print an mm2.properties, the file of a dedicated MirrorMaker 2, as YAML that means
the same to kferry. Comments at its top tell the keys that are not simply used.

No secret is printed. A password that a config provider gave stays a ${NAME} or
a password_file; for one that was in the file a variable is put, to be set before
the YAML is used. Put the YAML into the same folder: file names are relative to it.

Exit codes: 0; 2 wrong use; 3 configuration invalid.`,
		Example: "  kferry config convert mm2.properties > kferry.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := config.Convert(args[0], loadOptions(cmd))
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
}
