package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/aiven"
	"github.com/kferry/kferry/internal/migrate/toaiven"
)

// aivenMove is a command that brings to the Kafka service what a source has besides records.
type aivenMove struct {
	aivenOptions
	grants []string
	newIDs bool
}

// moving is what such a command works with.
type moving struct {
	*aivenMove
	cfg  *config.Config
	c    *aiven.Client
	out  io.Writer
	tell func(line string)
}

const moveCodes = `
What is there already is kept; run it again at any time. --dry-run only shows.

Exit codes: 0 all is there; 6 something is there and differs; 7 there is something
to do (--dry-run); 1 unexpected, or blocked; 2 wrong use; 3 configuration invalid;
4 Aiven or the source refuses for good.`

func newAivenTopicsCommand() *cobra.Command {
	var o aivenMove
	cmd := &cobra.Command{
		Use:   "topics",
		Short: "Make the flows' topics at the Kafka service, with the source's settings",
		Long: `Make the topics of the flows at the Kafka service, through Aiven's API, with the
partitions and settings that they have at the source. Flows do that themselves; this
is for when Kafka's own way is closed to the user, for topics that are to be there
before their flow is, and to compare. A topic that is there is not changed.
` + moveCodes,
		Example: `  kferry aiven topics --dry-run
  kferry aiven topics`,
	}
	o.command(cmd, bringTopics)
	return cmd
}

func newAivenACLsCommand() *cobra.Command {
	var o aivenMove
	cmd := &cobra.Command{
		Use:   "acls",
		Short: "Give users at the Kafka service the rights that they have at the source",
		Long: `Read the source's ACLs, and give the same rights at the Kafka service: for topics that
a flow carries, and what the same users may do with groups and transactional ids.
Users that are missing are made. Aiven chooses their passwords, and each is written
into a file beside the configuration that only its owner can read:
ALIAS-USER-password.txt, or a certificate with its key for a service without SASL.

Many hosts tell nobody their ACLs. Then --grant says what to give, in Aiven's own
permissions: admin, read, readwrite or write, on topics with * and ? in the name; all
consumer groups come with it. With --grant the source is not asked.
` + moveCodes,
		Example: `  kferry aiven acls --dry-run
  kferry aiven acls
  kferry aiven acls --grant 'shop=write:pizza-*' --grant 'kitchen=read:pizza-orders'`,
	}
	o.command(cmd, bringACLs)
	cmd.Flags().StringArrayVar(&o.grants, "grant", nil, "`USER=PERMISSION:TOPICS` to give instead of what the source has; may be repeated")
	return cmd
}

func newAivenSchemasCommand() *cobra.Command {
	var o aivenMove
	cmd := &cobra.Command{
		Use:   "schemas",
		Short: "Register the schemas of the source's registry at the Kafka service",
		Long: `Read the registry that schema_registry names at the flows' sources, and register its
subjects at the Kafka service, version by version, with the levels of compatibility
that subjects have of their own.

Records name their schema by its id, and Aiven gives ids itself. So schemas go in the
order of their ids, and one that would get another id is not registered, unless
--new-ids says that nobody reads by them. docs/aiven.md has the way to keep any ids.
` + moveCodes,
		Example: `  kferry aiven schemas --dry-run
  kferry aiven schemas`,
	}
	o.command(cmd, bringSchemas)
	cmd.Flags().BoolVar(&o.newIDs, "new-ids", false, "register also what gets another id than it has at the source")
	return cmd
}

func (o *aivenMove) command(cmd *cobra.Command, run func(context.Context, *moving) error) {
	o.flags(cmd)
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "show what would be done, and do nothing")
	cmd.Args = noArguments
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, c, err := aivenOf(cmd, o.config)
		if err != nil {
			return err
		}
		return run(cmd.Context(), &moving{o, cfg, c, cmd.OutOrStdout(), func(line string) { fmt.Fprintln(cmd.ErrOrStderr(), oneLine(line)) }})
	}
}

// bring shows a plan and does it, unless it is only to be shown.
func (m *moving) bring(ctx context.Context, plan *aiven.Plan) error {
	if err := m.writePlan(m.out, plan); err != nil {
		return err
	}
	if err := plan.Blocked(); err != nil {
		return err
	}
	if n := plan.Todo(); m.dryRun && n > 0 {
		return fmt.Errorf("%w: %s", errTodo, plural(n, "step"))
	}
	if err := plan.Do(ctx, m.tell); err != nil {
		return err
	}
	if n := plan.Differ(); n > 0 {
		return fmt.Errorf("%w: %s there and not as at the source", errUnhealthy, plural(n, "thing"))
	}
	return nil
}

func bringTopics(ctx context.Context, m *moving) error {
	topics, notes, err := toaiven.Topics(ctx, m.cfg)
	if err != nil {
		return err
	}
	for _, n := range notes {
		m.tell(n)
	}
	plan, err := m.c.PlanTopics(ctx, m.cfg.Aiven.Kafka.Name, topics)
	if err != nil {
		return err
	}
	return m.bring(ctx, plan)
}

func bringACLs(ctx context.Context, m *moving) error {
	rights, grants, err := m.rights(ctx)
	if err != nil {
		return err
	}
	plan, err := m.c.PlanRights(ctx, m.cfg.Aiven.Kafka.Name, rights, grants)
	if err != nil {
		return err
	}
	if err := m.bring(ctx, plan); err != nil || m.dryRun {
		return err
	}
	for _, user := range toaiven.Users(rights, grants) {
		got, err := m.c.Login(ctx, m.cfg.Aiven.Kafka.Name, user, m.tell)
		if err != nil {
			return err
		}
		if _, err := writeLogin(filepath.Dir(m.config), m.cfg.Aiven.Cluster, m.cfg.Aiven.Cluster+"-"+user, got); err != nil {
			return err
		}
	}
	return nil
}

// rights are those of --grant, or else those of the sources.
func (m *moving) rights(ctx context.Context) (rights []aiven.Right, grants []aiven.Grant, err error) {
	for _, text := range m.grants {
		g, err := aiven.ParseGrant(text)
		if err != nil {
			return nil, nil, usageError{fmt.Errorf("--grant: %w", err)}
		}
		grants = append(grants, g)
	}
	if len(grants) > 0 {
		return nil, grants, nil
	}
	rights, left, err := toaiven.Rights(ctx, m.cfg)
	for _, line := range left {
		m.tell("left out: " + line)
	}
	return rights, nil, err
}

func bringSchemas(ctx context.Context, m *moving) error {
	subjects, err := toaiven.Schemas(ctx, m.cfg)
	if err != nil {
		return err
	}
	plan, err := m.c.PlanSchemas(ctx, m.cfg.Aiven.Kafka.Name, subjects, m.newIDs)
	if err != nil {
		return err
	}
	return m.bring(ctx, plan)
}
