package kafka

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// MakeCompacted makes a compacted topic, unless it is there; replication 0 leaves
// the factor to the cluster. The error is the broker's own.
func (c *Cluster) MakeCompacted(ctx context.Context, topic string, partitions int32, replication int16) (made bool, err error) {
	_, err = c.admin.CreateTopic(ctx, partitions, cmp.Or(replication, -1), map[string]*string{"cleanup.policy": kadm.StringPtr("compact")}, topic)
	if errors.Is(err, kerr.TopicAlreadyExists) {
		return false, nil
	}
	return err == nil, err
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
