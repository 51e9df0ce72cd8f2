package progress

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/internal/kafka"
)

// Replicas are what has the same flow on the same target, by its name alone. So it is written down
// whose records the flow carries, and by which settings lanes come about: "flow/source" is the id of
// the source cluster, and each replica writes a "flow/lanes/<settings>" now and then while it runs.
// They are in partition 0, as pauses are.
const (
	flowPrefix     = "flow/"
	sourceKey      = flowPrefix + "source"
	settingsPrefix = flowPrefix + "lanes/"
)

type identityWire struct {
	Version int       `json:"version"`
	At      time.Time `json:"at"`
	Cluster string    `json:"cluster_id,omitempty"`
}

// identity is what was read of that.
type identity struct {
	source   string
	settings map[string]time.Time // when each was last written
}

// take takes one record; false if it is about something else.
func (i *identity) take(r *kgo.Record) bool {
	key := string(r.Key)
	if !strings.HasPrefix(key, flowPrefix) {
		return false
	}
	var w identityWire
	if r.Value != nil && json.Unmarshal(r.Value, &w) != nil {
		return true // of a later version
	}
	if of, ok := strings.CutPrefix(key, settingsPrefix); ok {
		delete(i.settings, of)
		if r.Value != nil {
			i.settings[of] = w.At
		}
	} else if key == sourceKey {
		i.source = w.Cluster
	}
	return true
}

// Source is the id of the cluster whose records the flow carries, as last read; "" if nobody has said.
func (p *Pauses) Source() string { return p.flow.source }

// Settings are those by which replicas have lanes, as last read, and when one last said so.
func (p *Pauses) Settings() map[string]time.Time { return p.flow.settings }

// SetSource writes down whose records the flow carries.
func (s *Store) SetSource(ctx context.Context, cluster string) error {
	return s.identify(ctx, sourceKey, &identityWire{Version: Version, At: stamp(), Cluster: cluster})
}

// SetSettings writes down that a replica with these settings runs, or that one has stopped.
func (s *Store) SetSettings(ctx context.Context, settings string, runs bool) error {
	if !runs {
		return s.identify(ctx, settingsPrefix+settings, nil)
	}
	return s.identify(ctx, settingsPrefix+settings, &identityWire{Version: Version, At: stamp()})
}

func stamp() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

func (s *Store) identify(ctx context.Context, key string, w *identityWire) error {
	r := &kgo.Record{Topic: s.topic, Partition: pauseSlot, Key: []byte(key)}
	if w != nil {
		v, err := json.Marshal(w)
		if err != nil {
			return err
		}
		r.Value = v
	}
	_, err := s.write(ctx, []*kgo.Record{r})
	return err
}

// ClusterID asks a cluster for its id; "" where it has none.
func ClusterID(ctx context.Context, cl *kafka.Cluster) (string, error) {
	meta, err := cl.Admin().BrokerMetadata(ctx)
	if err != nil {
		return "", fmt.Errorf("the id of cluster %q: %w", cl.Alias(), kafka.Explain(cl.Alias(), err))
	}
	return meta.Cluster, nil
}
