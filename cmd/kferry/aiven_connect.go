package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/aiven"
)

type connectOptions struct {
	config, user string
	write        bool
}

func newAivenConnectCommand() *cobra.Command {
	var o connectOptions
	cmd := &cobra.Command{
		Use:   "connect",
		Short: "Let kferry connect to the Kafka service: a user, its rights, address and certificates",
		Long: `Make a user of the Kafka service with the least rights that the flows with engine:
kferry need, and those to watch flows with engine: aiven, and write beside the configuration what it takes to connect as that
user: the certificate authority, and a password or a certificate with its key, in
files that only their owner can read. The entry for clusters is printed, or with
--write put into the configuration.

With SASL on in the service's user_config (kafka_authentication_methods: { sasl:
true }) the user has a password, else a certificate. Run it again after a flow was
added, and the rights are.

Exit codes: 0; 1 unexpected, or the service does not run yet; 2 wrong use; 3
configuration invalid; 4 Aiven refuses for good.`,
		Example: `  kferry aiven connect -c kferry.yaml --write`,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, c, err := aivenOf(cmd, o.config)
			if err != nil {
				return err
			}
			got, err := c.Connect(cmd.Context(), cfg, o.user, func(line string) { fmt.Fprintln(cmd.ErrOrStderr(), oneLine(line)) })
			if err != nil {
				return err
			}
			return o.keep(cmd.OutOrStdout(), cfg.Aiven.Cluster, got)
		},
	}
	configFlag(cmd, &o.config)
	cmd.Flags().StringVar(&o.user, "user", "kferry", "`name` of the service's user")
	cmd.Flags().BoolVar(&o.write, "write", false, "put the entry into the configuration (blank lines and indents may change)")
	return cmd
}

// keep writes the files of a connection and prints, or puts in its place, the entry that names them.
func (o connectOptions) keep(w io.Writer, alias string, got *aiven.Connection) error {
	cluster, err := writeLogin(filepath.Dir(o.config), alias, alias, got)
	if err != nil {
		return err
	}
	old := []byte("clusters: { " + alias + ": {} }\n")
	if o.write {
		if old, err = os.ReadFile(o.config); err != nil {
			return err
		}
	}
	filled, err := config.SetConnection(old, cluster)
	if err != nil {
		return fmt.Errorf("%s %w", o.config, err)
	}
	if !o.write {
		_, err := w.Write(filled)
		return err
	}
	if err := replaceFile(o.config, filled); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "cluster %s is filled in\n", alias)
	return err
}

// writeLogin writes what it takes to connect into files of a folder, whose names begin with name, and gives the entry that
// names them. The certificate authority goes by the alias of the cluster alone.
func writeLogin(dir, alias, name string, got *aiven.Connection) (config.Cluster, error) {
	cluster := config.Cluster{Alias: alias, BootstrapServers: got.Servers, SASL: config.SASL{Mechanism: got.Mechanism, Username: got.Username}}
	for _, f := range []struct {
		file    string
		content string
		key     *string
	}{
		{alias + "-ca.pem", got.CA, &cluster.TLS.CAFile},
		{name + "-password.txt", got.Password.Reveal(), &cluster.SASL.PasswordFile},
		{name + "-cert.pem", got.Cert, &cluster.TLS.CertFile},
		{name + "-key.pem", got.Key.Reveal(), &cluster.TLS.KeyFile},
	} {
		if f.content == "" {
			continue
		}
		*f.key = f.file
		if err := writePrivate(filepath.Join(dir, f.file), f.content); err != nil {
			return cluster, err
		}
	}
	return cluster, nil
}

// writePrivate writes a file that only its owner can read, also if it was there with other rights.
func writePrivate(path, content string) error {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.WriteFile(path, []byte(content), 0o600)
}

// replaceFile puts new content into the place of a file at once, with its rights.
func replaceFile(path string, content []byte) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	beside := path + ".new"
	if err := os.WriteFile(beside, content, info.Mode().Perm()); err != nil {
		return err
	}
	return os.Rename(beside, path)
}
