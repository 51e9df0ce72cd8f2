package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// compacting has a broker compact a topic minutes after it is written. It never
// compacts the segment that it writes to, and begins another one, by its defaults,
// after 7 days or 1 GiB: who reads a topic that is written every second would get
// each record of those days. A segment must hold the largest batch.
var compacting = []struct {
	key  string
	most float64 // of the key's value
}{
	{"segment.ms", 5 * 60 * 1000},
	{"segment.bytes", 16 << 20},
	{"min.cleanable.dirty.ratio", 0.1},
}

func compactingValue(v float64) *string {
	return kadm.StringPtr(strconv.FormatFloat(v, 'f', -1, 64))
}

// MakeCompacted makes a compacted topic, unless it is there; replication 0 leaves
// the factor to the cluster. The error is the broker's own.
func (c *Cluster) MakeCompacted(ctx context.Context, topic string, partitions int32, replication int16) (made bool, err error) {
	policy := map[string]*string{"cleanup.policy": kadm.StringPtr("compact")}
	with := map[string]*string{"cleanup.policy": policy["cleanup.policy"]}
	for _, s := range compacting {
		with[s.key] = compactingValue(s.most)
	}
	_, err = c.admin.CreateTopic(ctx, partitions, cmp.Or(replication, -1), with, topic)
	if errors.Is(err, kerr.InvalidConfig) || errors.Is(err, kerr.PolicyViolation) {
		// The host wants other segments than these: slow to read, and right.
		_, err = c.admin.CreateTopic(ctx, partitions, cmp.Or(replication, -1), policy, topic)
	}
	if errors.Is(err, kerr.TopicAlreadyExists) {
		return false, nil
	}
	return err == nil, err
}

// KeepCompacted has a topic that is there compacted as soon as those of
// MakeCompacted, as far as nobody has said for the topic how it is to be.
func (c *Cluster) KeepCompacted(ctx context.Context, topic string) error {
	described, err := c.admin.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return fmt.Errorf("settings of topic %q: %w", topic, Explain(c.Alias(), err))
	}
	set := map[string]kadm.Config{}
	for _, d := range described {
		if d.Err != nil {
			return fmt.Errorf("settings of topic %q: %w", topic, Explain(c.Alias(), d.Err))
		}
		for _, s := range d.Configs {
			set[s.Key] = s
		}
	}
	var alters []kadm.AlterConfig
	for _, s := range compacting {
		is := set[s.key]
		now, err := strconv.ParseFloat(is.MaybeValue(), 64)
		if is.Source != kmsg.ConfigSourceDynamicTopicConfig && err == nil && now > s.most {
			alters = append(alters, kadm.AlterConfig{Name: s.key, Value: compactingValue(s.most)})
		}
	}
	if len(alters) == 0 {
		return nil
	}
	rs, err := c.admin.AlterTopicConfigs(ctx, alters, topic)
	for _, r := range rs {
		err = cmp.Or(err, r.Err)
	}
	if err != nil {
		return fmt.Errorf("settings of topic %q: %w", topic, Explain(c.Alias(), err))
	}
	return nil
}

// Ends asks where the partitions of a topic end. It waits, five seconds at most,
// for one that was made a moment ago to have leaders.
func (c *Cluster) Ends(ctx context.Context, topic string) (kadm.ListedOffsets, error) {
	for try := 0; ; try++ {
		ends, err := c.admin.ListEndOffsets(ctx, topic)
		if err == nil {
			err = ends.Error()
		}
		if err == nil || try == 50 || !kerr.IsRetriable(err) {
			return ends, err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
