package kafkatest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// NewClient returns a client of the cluster as user, by SCRAM-SHA-512 where the
// cluster has SASL. User "" brings no SASL: opts can then choose another
// mechanism, or the client stays unknown. opts come last. The caller closes it.
func (c *Cluster) NewClient(user string, opts ...kgo.Opt) (*kgo.Client, error) {
	base := []kgo.Opt{kgo.SeedBrokers(c.Bootstrap()...)}
	if c.opts.Security != Plaintext && user != "" {
		password, err := c.password(user)
		if err != nil {
			return nil, err
		}
		base = append(base, kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha512Mechanism()))
	}
	if c.opts.Security == SASLSSL {
		conf, err := c.tlsConfig()
		if err != nil {
			return nil, err
		}
		base = append(base, kgo.DialTLSConfig(conf))
	}
	cl, err := kgo.NewClient(append(base, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("kafkatest: client: %w", err)
	}
	return cl, nil
}

func (c *Cluster) password(user string) (string, error) {
	password, ok := c.opts.Users[user]
	if !ok {
		return "", fmt.Errorf("kafkatest: the cluster has no user %q, only %q", user, slices.Sorted(maps.Keys(c.opts.Users)))
	}
	return password, nil
}

func (c *Cluster) tlsConfig() (*tls.Config, error) {
	ca, err := os.ReadFile(c.CAFile())
	if err != nil {
		return nil, fmt.Errorf("kafkatest: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("kafkatest: no certificate in %s", c.CAFile())
	}
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, nil
}

// Client is NewClient for a test; it is closed when the test ends.
func (c *Cluster) Client(t testing.TB, user string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := c.NewClient(user, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// Admin is an admin client as AdminUser; it is closed when the test ends.
func (c *Cluster) Admin(t testing.TB) *kadm.Client {
	t.Helper()
	return kadm.NewClient(c.Client(t, AdminUser))
}

// CreateTopic creates a topic with a replica on every broker and returns when
// every running broker knows a leader for each partition.
func (c *Cluster) CreateTopic(t testing.TB, name string, partitions int32, configs map[string]string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	values := make(map[string]*string, len(configs))
	for k, v := range configs {
		values[k] = kadm.StringPtr(v)
	}
	if _, err := c.Admin(t).CreateTopic(ctx, partitions, -1, values, name); err != nil {
		t.Fatalf("create topic %q: %v", name, err)
	}
	req := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = kmsg.StringPtr(name)
	req.Topics = append(req.Topics, topic)
	err := c.poll(ctx, c.running(), req, func(r kmsg.Response) error {
		return led(r.(*kmsg.MetadataResponse), int(partitions))
	})
	if err != nil {
		t.Fatalf("create topic %q: %v", name, err)
	}
}

// led wants the one topic of r to have as many partitions, each with a leader.
func led(r *kmsg.MetadataResponse, partitions int) error {
	if len(r.Topics) != 1 {
		return fmt.Errorf("%d topics in the answer", len(r.Topics))
	}
	topic := r.Topics[0]
	if err := kerr.ErrorForCode(topic.ErrorCode); err != nil {
		return err
	}
	if len(topic.Partitions) != partitions {
		return fmt.Errorf("%d of %d partitions", len(topic.Partitions), partitions)
	}
	for _, p := range topic.Partitions {
		if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
			return fmt.Errorf("partition %d: %w", p.Partition, err)
		}
	}
	return nil
}

// Allow lets user do, from everywhere, what acls names in resources and
// operations, and returns when every running broker has learned it:
//
//	c.Allow(t, "alice", kadm.NewACLs().Topics("orders").Operations(kadm.OpRead))
//
// Names are literal unless acls sets another pattern.
func (c *Cluster) Allow(t testing.TB, user string, acls *kadm.ACLBuilder) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	acls.Allow("User:" + user).AllowHosts("*")
	if acls.ValidateCreate() != nil {
		acls.ResourcePatternType(kadm.ACLPatternLiteral)
	}
	results, err := c.Admin(t).CreateACLs(ctx, acls)
	if err != nil {
		t.Fatalf("allow %q: %v", user, err)
	}
	if len(results) == 0 {
		t.Fatalf("allow %q: the builder names no resource or no operation", user)
	}
	for _, r := range results {
		if r.Err == nil {
			r.Err = c.learned(ctx, r)
		}
		if r.Err != nil {
			t.Fatalf("allow %q %v on %v %q: %v", user, r.Operation, r.Type, r.Name, r.Err)
		}
	}
}

// Disallow takes back what Allow gave with the same acls. Brokers learn of it one after the other.
func (c *Cluster) Disallow(t testing.TB, user string, acls *kadm.ACLBuilder) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	acls.Allow("User:" + user).AllowHosts("*")
	if acls.ValidateDelete() != nil {
		acls.ResourcePatternType(kadm.ACLPatternLiteral)
	}
	results, err := c.Admin(t).DeleteACLs(ctx, acls)
	if err != nil {
		t.Fatalf("disallow %q: %v", user, err)
	}
	for _, r := range results {
		if r.Err != nil || len(r.Deleted) == 0 {
			t.Fatalf("disallow %q %v on %v: %d ACLs, %v", user, r.Operation, r.Type, len(r.Deleted), r.Err)
		}
	}
}

// learned waits until every running broker lists the ACL.
func (c *Cluster) learned(ctx context.Context, acl kadm.CreateACLsResult) error {
	req := kmsg.NewPtrDescribeACLsRequest()
	req.ResourceType = acl.Type
	req.ResourceName = kmsg.StringPtr(acl.Name)
	req.ResourcePatternType = acl.Pattern
	req.Principal = kmsg.StringPtr(acl.Principal)
	req.Host = kmsg.StringPtr(acl.Host)
	req.Operation = acl.Operation
	req.PermissionType = acl.Permission
	return c.poll(ctx, c.running(), req, func(r kmsg.Response) error {
		resp := r.(*kmsg.DescribeACLsResponse)
		if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
			return err
		}
		if len(resp.Resources) == 0 {
			return errors.New("not listed")
		}
		return nil
	})
}

// running are the brokers that are neither killed nor frozen.
func (c *Cluster) running() []*node {
	var out []*node
	for _, n := range c.nodes {
		if n.up() && !n.isFrozen() {
			out = append(out, n)
		}
	}
	return out
}

// settle waits until each of nodes answers, lists every running broker and
// knows a controller.
func (c *Cluster) settle(ctx context.Context, nodes []*node) error {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{} // none; nil would be all
	return c.poll(ctx, nodes, req, func(r kmsg.Response) error {
		resp := r.(*kmsg.MetadataResponse)
		if resp.ControllerID < 0 {
			return errors.New("no controller")
		}
		for _, n := range c.running() {
			if !slices.ContainsFunc(resp.Brokers, func(b kmsg.MetadataResponseBroker) bool { return int(b.NodeID) == n.id }) {
				return fmt.Errorf("does not list broker %d", n.id)
			}
		}
		return nil
	})
}

// poll asks each of nodes until good accepts its answer.
func (c *Cluster) poll(ctx context.Context, nodes []*node, req kmsg.Request, good func(kmsg.Response) error) error {
	for _, n := range nodes {
		if err := c.pollOne(ctx, n, req, good); err != nil {
			return err
		}
	}
	return nil
}

const (
	pollEvery = 50 * time.Millisecond
	pollLimit = 5 * time.Second // for one try
)

func (c *Cluster) pollOne(ctx context.Context, n *node, req kmsg.Request, good func(kmsg.Response) error) error {
	cl, err := c.NewClient(AdminUser, kgo.SeedBrokers(n.client.addr()))
	if err != nil {
		return err
	}
	defer cl.Close()
	return n.until(ctx, func(ctx context.Context) error {
		resp, err := cl.SeedBrokers()[0].Request(ctx, req)
		if err != nil {
			return err
		}
		return good(resp)
	})
}

// until tries something with n until it succeeds, for as long as n runs.
func (n *node) until(ctx context.Context, try func(context.Context) error) error {
	n.mu.Lock()
	proc := n.proc
	n.mu.Unlock()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		tryCtx, cancel := context.WithTimeout(ctx, pollLimit)
		err := try(tryCtx)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-proc.done:
			return fmt.Errorf("kafkatest: %s ended: %w\n%s", n.name, proc.ended(), n.logTail())
		case <-ctx.Done():
			return fmt.Errorf("kafkatest: %s is not ready: %w (last: %w)\n%s", n.name, context.Cause(ctx), err, n.logTail())
		}
	}
}
