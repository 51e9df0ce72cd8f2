package progress

import (
	"context"
	"fmt"

	"github.com/kferry/kferry/internal/kafka"
)

// Remake makes the progress topic again, which was deleted, with as many slots as it had.
func (s *Store) Remake(ctx context.Context, replication int16) error {
	if _, err := s.cl.MakeCompacted(ctx, s.topic, int32(s.slots), replication); err != nil {
		return fmt.Errorf("the progress topic %q on the target %q was deleted and cannot be made again: %w: allow our user to, or make it by hand with cleanup.policy=compact and %d partitions",
			s.topic, s.cl.Alias(), kafka.Explain(s.cl.Alias(), err), s.slots)
	}
	_, err := s.cl.Ends(ctx, s.topic) // once it has leaders
	return err
}

// Remade takes in that the topic was made anew: what is known of where lanes are still holds, and
// nothing of what the topic has.
func (s *Store) Remade() {
	s.cl.Client().PurgeTopicsFromProducing(s.topic) // kgo would go on with the id of the one that is gone
	s.mu.Lock()
	defer s.mu.Unlock()
	for slot := range s.ends {
		s.ends[slot] = 0
	}
}
