package datagen

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kferry/kferry/internal/kafka"
)

const (
	settle    = 30 * time.Second       // for a new topic to have all its leaders
	pollTopic = 100 * time.Millisecond // between two looks
)

// topicInfo is what a raw producer must know of a topic.
type topicInfo struct {
	name    string
	id      kadm.TopicID
	leaders []int32 // broker by partition
}

// openTopic finds the topic, and creates it before when o asks for that and it is missing.
func openTopic(ctx context.Context, c *kafka.Cluster, o Options) (topicInfo, error) {
	t, err := describe(ctx, c, o.Topic)
	if !errors.Is(err, kerr.UnknownTopicOrPartition) {
		return t, err
	}
	if !o.CreateTopic {
		return t, fmt.Errorf("cluster %s has no topic %q: create it first, or ask for it (--create-topic)", c.Alias(), o.Topic)
	}
	if err := create(ctx, c, o); err != nil {
		return t, err
	}
	ctx, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	for {
		t, err = describe(ctx, c, o.Topic)
		if err == nil {
			return t, nil
		}
		sleep(ctx, pollTopic)
		if ctx.Err() != nil {
			return t, fmt.Errorf("topic %q was created but has no leaders: %w", o.Topic, err)
		}
	}
}

func create(ctx context.Context, c *kafka.Cluster, o Options) error {
	partitions, factor := o.Partitions, o.ReplicationFactor
	if partitions == 0 {
		partitions = -1 // on the wire, -1 is the broker's default
	}
	if factor == 0 {
		factor = -1
	}
	_, err := c.Admin().CreateTopic(ctx, partitions, factor, o.TopicConfigs, o.Topic)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("create topic %q: %w", o.Topic, kafka.Explain(c.Alias(), err))
	}
	return nil
}

// describe asks for the leaders of a topic. It fails while any partition has none.
func describe(ctx context.Context, c *kafka.Cluster, topic string) (topicInfo, error) {
	meta, err := c.Admin().Metadata(ctx, topic)
	if err != nil {
		return topicInfo{}, fmt.Errorf("topic %q: %w", topic, kafka.Explain(c.Alias(), err))
	}
	d, ok := meta.Topics[topic]
	if !ok {
		return topicInfo{}, kerr.UnknownTopicOrPartition
	}
	if d.Err != nil {
		return topicInfo{}, fmt.Errorf("topic %q: %w", topic, d.Err)
	}
	t := topicInfo{name: topic, id: d.ID, leaders: make([]int32, len(d.Partitions))}
	for i := range t.leaders {
		p, ok := d.Partitions[int32(i)]
		if !ok || p.Leader < 0 {
			return topicInfo{}, fmt.Errorf("topic %q: partition %d has no leader", topic, i)
		}
		t.leaders[i] = p.Leader
	}
	if len(t.leaders) == 0 {
		return topicInfo{}, fmt.Errorf("topic %q: no partitions", topic)
	}
	return t, nil
}
