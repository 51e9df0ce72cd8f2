package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is stamped by the linker: -X main.version=v1.2.3. Without a stamp the build's own record speaks.
var version string

// build says what this binary was made from.
type build struct {
	version  string // v1.2.3, or "dev"
	revision string // commit; "" = unknown
	dirty    bool   // the tree had changes on top of revision
}

func buildVersion() build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = new(debug.BuildInfo)
	}
	return describeBuild(version, info)
}

// describeBuild prefers the stamp over the version of the main module, which `go install` knows and a checkout does not.
func describeBuild(stamp string, info *debug.BuildInfo) build {
	b := build{version: stamp}
	if b.version == "" && info.Main.Version != "(devel)" {
		b.version = info.Main.Version
	}
	if b.version == "" {
		b.version = "dev"
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.revision = s.Value
		case "vcs.modified":
			b.dirty = s.Value == "true"
		}
	}
	return b
}

func (b build) String() string {
	s := "kferry " + b.version
	if b.revision != "" {
		s += " commit " + b.revision[:min(12, len(b.revision))]
		if b.dirty {
			s += "+changes"
		}
	}
	return fmt.Sprintf("%s %s %s/%s", s, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print version, commit and Go version on one line",
		Long: `Print version, commit, Go version and platform on one line.

Exit codes: 0; 2 with arguments.`,
		Example: "  kferry version",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), buildVersion())
			return err
		},
	}
}
