package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/aiven"
)

func newAivenExportCommand() *cobra.Command {
	var path, format string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write what apply would make as Terraform, or as avn commands",
		Long: `Write the services, endpoints, integrations and flows of the configuration for
people who keep such things in code: as resources of Terraform's provider
aiven/aiven, or as a shell script of avn commands, which needs jq. Aiven is not
asked. Secrets are not written: in Terraform they are variables, in the script
variables of the environment.

Exit codes: 0; 2 wrong use; 3 configuration invalid.`,
		Example: `  kferry aiven export -c kferry.yaml > main.tf
  kferry aiven export --format avn > make.sh`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(path, loadOptions(cmd))
			if err != nil {
				return err
			}
			w, err := aiven.WantOf(cfg)
			if err != nil {
				return err
			}
			switch format {
			case "terraform":
				return w.Terraform(cmd.OutOrStdout(), cfg)
			case "avn":
				return w.Avn(cmd.OutOrStdout(), cfg)
			default:
				return usageError{fmt.Errorf("--format %q: it must be terraform or avn", format)}
			}
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().StringVar(&format, "format", "terraform", "terraform or avn")
	return cmd
}
