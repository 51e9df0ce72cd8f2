package aiven

import (
	"context"
	"fmt"
	"time"

	"github.com/aiven/go-client-codegen/handler/kafkamirrormaker"
	"github.com/aiven/go-client-codegen/handler/service"
)

// Replication is a replication flow of a MirrorMaker 2 service as Aiven has it, whoever made it.
type Replication struct {
	Source, Target  string // aliases
	Enabled         bool
	Progress        *float64 // of all topics, 0 to 1; nil = Aiven does not say
	Identity        bool     // topics keep their names
	Topics, Exclude []string // Java's regular expressions
}

// Replications asks once for the flows of a service. An error says that nothing is known about them; whoever gets one
// asks again later, after its RetryAfter at least.
func (c *Client) Replications(ctx context.Context, name string) ([]Replication, error) {
	ctx = context.WithValue(ctx, patientKey{}, true)
	s, err := c.services.ServiceGet(ctx, c.Project, name)
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, c.about(err, "service "+name)
	}
	if s.State == service.ServiceStateTypePoweroff {
		return nil, nil // it carries none then
	}
	flows, err := c.mirrors.ServiceKafkaMirrorMakerGetReplicationFlows(ctx, c.Project, name)
	if err != nil {
		return nil, c.about(err, "flows of "+name)
	}
	out := make([]Replication, 0, len(flows))
	for i := range flows {
		out = append(out, replicationOf(&flows[i]))
	}
	return out, nil
}

func replicationOf(f *kafkamirrormaker.ReplicationFlowOut) Replication {
	r := Replication{
		Source: f.SourceCluster, Target: f.TargetCluster, Enabled: f.Enabled, Progress: f.ReplicationProgress,
		Identity: f.ReplicationPolicyClass == kafkamirrormaker.ReplicationPolicyClassTypeIdentity, Topics: f.Topics,
	}
	if len(r.Topics) == 0 {
		r.Topics = []string{".*"}
	}
	if excluded, ok := fields(f)["topics.blacklist"].([]any); ok {
		for _, one := range excluded {
			if text, ok := one.(string); ok {
				r.Exclude = append(r.Exclude, text)
			}
		}
	}
	return r
}

// Disable has a service's MirrorMaker 2 stop carrying a flow, and waits until Aiven shows it so, steadily; one that is
// not there is not carried either. What it has carried stays, and so does the flow. That its tasks have ended only
// Kafka tells.
func (c *Client) Disable(ctx context.Context, name, source, target string, within time.Duration) error {
	about := fmt.Sprintf("flow %s -> %s", source, target)
	until, again := c.clock.Now().Add(within), time.Time{}
	off := false
	for hits := 0; ; {
		enabled, err := c.enabled(ctx, name, source, target)
		now := c.clock.Now()
		switch {
		case err != nil:
			return c.about(err, about)
		case !enabled:
			if hits++; hits == steady {
				return nil
			}
		case now.After(until):
			return fmt.Errorf("%s: Aiven does not show that it is disabled, and %v are over (--timeout): %s", about, within, goesOn)
		case now.After(again):
			hits, again = 0, now.Add(patience)
			_, err := c.mirrors.ServiceKafkaMirrorMakerPatchReplicationFlow(ctx, c.Project, name, source, target,
				&kafkamirrormaker.ServiceKafkaMirrorMakerPatchReplicationFlowIn{Enabled: &off})
			if err != nil && !isUnclear(err) && !isNotFound(err) {
				return c.about(err, about)
			}
		default:
			hits = 0
		}
		if err := c.clock.Sleep(ctx, poll); err != nil {
			return err
		}
	}
}

// enabled tells whether a service carries a flow.
func (c *Client) enabled(ctx context.Context, name, source, target string) (bool, error) {
	flows, err := c.mirrors.ServiceKafkaMirrorMakerGetReplicationFlows(ctx, c.Project, name)
	if isNotFound(err) {
		return false, nil
	}
	for i := range flows {
		if f := &flows[i]; f.SourceCluster == source && f.TargetCluster == target {
			return f.Enabled, err
		}
	}
	return false, err
}
