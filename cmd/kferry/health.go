package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

const (
	// A probe that takes longer is killed by most supervisors.
	healthTimeout = 3 * time.Second
	healthMost    = 4 << 10 // bytes of an answer
)

type healthOptions struct {
	asked
	live bool
}

func newHealthCommand() *cobra.Command {
	var o healthOptions
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask whether a running kferry is ready, for probes",
		Long: `Ask the kferry that runs beside whether it is ready: whether every flow has read
its progress and its topics, and every lane that can run was started. A cluster
that goes away later does not change that: "kferry status" tells how all is.
With --live it asks only whether the process answers at all.

It asks the address of http.listen in the configuration, or --url, which needs
no configuration, and waits 3 s at most. The image of a container has it as its
health check.

Exit codes: 0 ready, or alive with --live; 1 it is not, or no kferry answers
there; 2 wrong use; 3 configuration invalid.`,
		Example: `  kferry health -c kferry.yaml
  kferry health --url http://127.0.0.1:9464
  kferry health --live --url http://127.0.0.1:9464`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.find(cmd); err != nil {
				return err
			}
			return o.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	o.flags(cmd)
	cmd.Flags().BoolVar(&o.live, "live", false, "ask only whether the process answers")
	return cmd
}

func (o healthOptions) run(ctx context.Context, w io.Writer) error {
	path := "/readyz"
	if o.live {
		path = "/healthz"
	}
	var failed []error
	for _, base := range o.urls {
		text, err := probe(ctx, base, path)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", base, err))
			continue
		}
		fmt.Fprintf(w, "%s: %s\n", base, text)
	}
	return errors.Join(failed...)
}

// probe asks one daemon. Its error is what it answers if that is no.
func probe(ctx context.Context, base, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	resp, err := get(ctx, base, path, nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(resp.Body, healthMost))
	if err != nil {
		return "", err
	}
	text := oneLine(string(b))
	switch resp.StatusCode {
	case http.StatusOK:
		return text, nil
	case http.StatusServiceUnavailable:
		return "", errors.New(text)
	}
	return "", fmt.Errorf("it answers %q: it is no kferry", resp.Status)
}
