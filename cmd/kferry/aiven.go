package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/aiven"
)

// errTodo is what a plan ends with that has something to do.
var errTodo = errors.New("there is something to do")

type aivenOptions struct {
	config     string
	json       bool
	dryRun     bool
	adopt      bool
	yes        bool
	deleteData bool
	timeout    time.Duration
}

func newAivenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "aiven",
		Short: "Make at Aiven what the configuration says, and see how it is",
		Long: `Make at Aiven what the section aiven of the configuration says: a Kafka service, a
MirrorMaker 2 service, the outside clusters that it reads, and a replication flow
for each flow with engine: aiven. Bring topics, rights and schemas there, too.
docs/tutorial-cloudkarafka-to-aiven.md goes the whole way, step by step:

  plan, apply            the services, and the flows that Aiven carries
  connect                lets kferry itself in, for the flows that it carries
  topics, acls, schemas  what moves besides records
  status                 how all of it is
  destroy                takes away what is no longer needed

The token is that of aiven.token, aiven.token_file or the variable AIVEN_TOKEN.
Nothing is kept on this machine: each command asks Aiven what there is. So any of
them may be interrupted anywhere, and run again.`,
	}
	cmd.AddCommand(newAivenPlanCommand(), newAivenApplyCommand(), newAivenStatusCommand(), newAivenDestroyCommand(), newAivenExportCommand(), newAivenConnectCommand(),
		newAivenTopicsCommand(), newAivenACLsCommand(), newAivenSchemasCommand(), newAivenHandoverCommand())
	return cmd
}

func newAivenPlanCommand() *cobra.Command {
	var o aivenOptions
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what apply would do, and what that costs in restarts",
		Long: `Show, for each service, endpoint, integration and flow, whether it would be made,
changed or kept, every field that differs, and what restarts by that. Nothing is
changed. "drift" is a difference that somebody made since the last apply; "left"
is something that the configuration does not mention, which stays as it is;
"blocked" is for a person to decide, and why.

Exit codes: 0 nothing to do; 7 something to do; 1 unexpected, or blocked; 2 wrong
use; 3 configuration invalid; 4 Aiven refuses for good, such as an expired token.`,
		Example: `  kferry aiven plan -c kferry.yaml
  kferry aiven plan --json | jq '.steps[] | select(.action != "keep")'`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.with(cmd, func(ctx context.Context, c *aiven.Client, w *aiven.Want) error {
				return o.plan(ctx, cmd.OutOrStdout(), c, w)
			})
		},
	}
	o.flags(cmd)
	o.adoptFlag(cmd)
	return cmd
}

func newAivenApplyCommand() *cobra.Command {
	var o aivenOptions
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Do what plan shows, and wait until everything runs",
		Long: `Make or change what plan shows, in order, and wait until the services run. Making a
service takes some minutes, and Aiven bills it from then on. It may be interrupted
at any time, by whatever: run it again and it goes on, and makes nothing twice.

What kferry did not make it does not touch, unless --adopt says so; no service is
ever moved out of its VPC.

Exit codes: 0 all is as the configuration says; 1 unexpected, blocked, or the time
is over; 2 wrong use; 3 configuration invalid; 4 Aiven refuses for good; 7 there
is something to do (--dry-run).`,
		Example: `  kferry aiven apply -c kferry.yaml
  kferry aiven apply --dry-run
  kferry aiven apply --timeout 1h --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.with(cmd, func(ctx context.Context, c *aiven.Client, w *aiven.Want) error {
				if o.dryRun {
					return o.plan(ctx, cmd.OutOrStdout(), c, w)
				}
				return o.apply(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr(), c, w)
			})
		},
	}
	o.flags(cmd)
	o.adoptFlag(cmd)
	o.writeFlags(cmd)
	return cmd
}

func newAivenStatusCommand() *cobra.Command {
	var o aivenOptions
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say how the services, their clusters and the flows are",
		Long: `Say how the services at Aiven are, whether its MirrorMaker 2 can use each cluster
and if not, why, in plain words, and how far each flow is.

Exit codes: 0 all well; 6 something is not as it should be; 1 unexpected; 2 wrong
use; 3 configuration invalid; 4 Aiven refuses for good.`,
		Example: `  kferry aiven status -c kferry.yaml
  kferry aiven status --json | jq .problems`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.with(cmd, func(ctx context.Context, c *aiven.Client, w *aiven.Want) error {
				return o.status(ctx, cmd.OutOrStdout(), c, w)
			})
		},
	}
	o.flags(cmd)
	return cmd
}

func newAivenDestroyCommand() *cobra.Command {
	var o aivenOptions
	cmd := &cobra.Command{
		Use:   "destroy",
		Short: "Take away what kferry made at Aiven",
		Long: `List what would go, ask, and take it away: the MirrorMaker 2 service with its flows
and integrations, and the endpoints. The Kafka service and its records stay, unless
--delete-data says otherwise. What kferry did not make stays, and so does what is
protected against termination.

Exit codes: 0 done, or nothing to do; 1 unexpected, or the answer was no; 2 wrong
use; 3 configuration invalid; 4 Aiven refuses for good; 7 something would go
(--dry-run).`,
		Example: `  kferry aiven destroy --dry-run
  kferry aiven destroy --yes`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.with(cmd, func(ctx context.Context, c *aiven.Client, w *aiven.Want) error {
				return o.destroy(ctx, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr(), c, w)
			})
		},
	}
	o.flags(cmd)
	o.writeFlags(cmd)
	cmd.Flags().BoolVar(&o.yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&o.deleteData, "delete-data", false, "take away the Kafka service as well, with all its records")
	return cmd
}

func (o *aivenOptions) flags(cmd *cobra.Command) {
	configFlag(cmd, &o.config)
	cmd.Flags().BoolVar(&o.json, "json", false, "print JSON, as docs/aiven.md describes it")
}

func (o *aivenOptions) adoptFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.adopt, "adopt", false, "take over services of these names that kferry did not make")
}

func (o *aivenOptions) writeFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "show what would be done, and do nothing")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 30*time.Minute, "how long it may take")
}

// aivenOf reads the configuration at path, and makes a client of Aiven from it.
func aivenOf(cmd *cobra.Command, path string) (*config.Config, *aiven.Client, error) {
	cfg, err := config.Load(path, loadOptions(cmd))
	if err != nil {
		return nil, nil, err
	}
	c, err := aiven.NewClient(cfg, buildVersion().version, processOf(cmd).clock)
	if err != nil {
		return nil, nil, err
	}
	c.Waiting = func(cause error) {
		fmt.Fprintf(cmd.ErrOrStderr(), "trying again for about a minute: %v\n", cause)
	}
	return cfg, c, nil
}

// with reads the configuration and hands it to what a command does.
func (o *aivenOptions) with(cmd *cobra.Command, do func(context.Context, *aiven.Client, *aiven.Want) error) error {
	cfg, c, err := aivenOf(cmd, o.config)
	if err != nil {
		return err
	}
	w, err := aiven.WantOf(cfg)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	if err := do(ctx, c, w); err == nil || ctx.Err() == nil {
		return err
	}
	return fmt.Errorf("interrupted (%w): what is done stays done, run it again and it goes on from there", context.Cause(ctx))
}

func (o *aivenOptions) plan(ctx context.Context, w io.Writer, c *aiven.Client, want *aiven.Want) error {
	plan, err := c.Plan(ctx, want, o.adopt)
	if err != nil {
		return err
	}
	if err := o.writePlan(w, plan); err != nil {
		return err
	}
	if err := plan.Blocked(); err != nil {
		return err
	}
	if n := plan.Todo(); n > 0 {
		return fmt.Errorf("%w: %s", errTodo, plural(n, "step"))
	}
	return nil
}

var signs = map[aiven.Action]string{aiven.Create: "+", aiven.Change: "~", aiven.Drift: "~", aiven.Adopt: "~", aiven.Keep: "=", aiven.Left: " ", aiven.Differs: "!", aiven.Blocked: "!"}

func (o *aivenOptions) writePlan(w io.Writer, plan *aiven.Plan) error {
	if o.json {
		return writeJSON(w, plan)
	}
	var b strings.Builder
	for _, s := range plan.Steps {
		fmt.Fprintf(&b, "%s %-7s %s\n", signs[s.Action], s.Action, oneLine(s.String()))
		for _, f := range s.Fields {
			if f.From == "" {
				fmt.Fprintf(&b, "            %s: %s\n", oneLine(f.Name), oneLine(f.To))
			} else {
				fmt.Fprintf(&b, "            %s: %s -> %s\n", oneLine(f.Name), oneLine(f.From), oneLine(f.To))
			}
		}
		if s.Cost != "" {
			fmt.Fprintf(&b, "          costs: %s\n", s.Cost)
		}
		if s.Reason != "" {
			fmt.Fprintf(&b, "          %s\n", oneLine(s.Reason))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (o *aivenOptions) apply(ctx context.Context, stdout, stderr io.Writer, c *aiven.Client, want *aiven.Want) error {
	run := aiven.Apply{Client: c, Want: want, Adopt: o.adopt, Timeout: o.timeout,
		Tell: func(line string) { fmt.Fprintln(stderr, oneLine(line)) }}
	began, err := run.Run(ctx)
	if err != nil {
		return err
	}
	if o.json {
		return writeJSON(stdout, began)
	}
	st, err := c.Status(ctx, want)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "done: %s\n", plural(began.Todo(), "step"))
	for _, p := range st.Problems {
		fmt.Fprintf(stdout, "but: %s\n", oneLine(p))
	}
	return nil
}

func (o *aivenOptions) status(ctx context.Context, w io.Writer, c *aiven.Client, want *aiven.Want) error {
	st, err := c.Status(ctx, want)
	if err != nil {
		return err
	}
	if o.json {
		err = writeJSON(w, st)
	} else {
		err = writeAivenStatus(w, st)
	}
	if err == nil && !st.Healthy {
		err = fmt.Errorf("%w: %s", errUnhealthy, plural(len(st.Problems), "problem"))
	}
	return err
}

func writeAivenStatus(w io.Writer, st *aiven.Status) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SERVICE\tTYPE\tPLAN\tCLOUD\tSTATE")
	for _, s := range st.Services {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", oneLine(s.Name), s.Type, s.Plan, s.Cloud, s.State)
	}
	if len(st.Integrations) > 0 {
		fmt.Fprintln(t, "\nCLUSTER\tSTATE\tAIVEN SAYS")
		for _, i := range st.Integrations {
			fmt.Fprintf(t, "%s\t%s\t%s\n", oneLine(i.Alias), i.State, oneLine(strings.Join(append([]string{i.Says}, i.Errors...), "; ")))
		}
	}
	if len(st.Flows) > 0 {
		fmt.Fprintln(t, "\nFLOW\tSTATE\tPROGRESS")
		for _, f := range st.Flows {
			progress := "-"
			if f.Progress != nil {
				progress = fmt.Sprintf("%.0f%%", *f.Progress*100)
			}
			fmt.Fprintf(t, "%s -> %s\t%s\t%s\n", oneLine(f.Source), oneLine(f.Target), f.State, progress)
		}
	}
	for i, p := range st.Problems {
		if i == 0 {
			fmt.Fprintln(t)
		}
		fmt.Fprintf(t, "problem: %s\n", oneLine(p))
	}
	return t.Flush()
}

func (o *aivenOptions) destroy(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer, c *aiven.Client, want *aiven.Want) error {
	d := aiven.Destroy{Client: c, Want: want, DeleteData: o.deleteData, Timeout: o.timeout, Tell: func(line string) { fmt.Fprintln(stderr, oneLine(line)) }}
	doomed, err := d.List(ctx)
	if err != nil {
		return err
	}
	going := 0
	for _, one := range doomed {
		if one.Stays == "" {
			going++
		}
	}
	if o.json {
		err = writeJSON(stdout, map[string]any{"resources": doomed})
	} else {
		err = writeDoomed(stdout, doomed)
	}
	if err != nil {
		return err
	}
	switch {
	case going == 0:
		return nil
	case o.dryRun:
		return fmt.Errorf("%w: %s would go", errTodo, plural(going, "resource"))
	case !o.yes:
		if !agreed(stdin, stderr, fmt.Sprintf("Delete %s in project %s?", plural(going, "resource"), c.Project)) {
			return errors.New("nothing was deleted: the answer was not yes")
		}
	}
	return d.Run(ctx)
}

// agreed asks a question, and tells whether the answer was yes.
func agreed(stdin io.Reader, stderr io.Writer, question string) bool {
	fmt.Fprintf(stderr, "%s Type yes: ", question)
	answer, _ := bufio.NewReader(stdin).ReadString('\n')
	return strings.TrimSpace(answer) == "yes"
}

func writeDoomed(w io.Writer, doomed []aiven.Doomed) error {
	var b strings.Builder
	for _, one := range doomed {
		if one.Stays == "" {
			fmt.Fprintf(&b, "- delete  %s %s\n", one.Kind, oneLine(one.Name))
		} else {
			fmt.Fprintf(&b, "= stays   %s %s: %s\n", one.Kind, oneLine(one.Name), oneLine(one.Stays))
		}
	}
	if len(doomed) == 0 {
		b.WriteString("there is nothing\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
