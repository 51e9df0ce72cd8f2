package progress

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/replicator/lane"
)

// content is what some stretch of the topic says, as bytes: by key the last value,
// nil if that is a tombstone, and of a claim the first. A lane has thousands of
// records between two compactions, of which only one is worth decoding.
type content struct {
	values  map[string][]byte
	records int // that were read
}

func newContent() *content { return &content{values: map[string][]byte{}} }

// read takes in what log has in [from, to).
func (c *content) read(ctx context.Context, log kafka.Log, from, to int64) error {
	return log.Walk(ctx, from, to, func(got kmsg.FetchResponseTopicPartition, at int64) (int64, error) {
		if len(got.RecordBatches) == 0 && got.HighWatermark >= to {
			return to, nil // all that was there is compacted away
		}
		rs, next, err := log.Records(got, at)
		for _, r := range rs {
			if r.Offset < to {
				c.keep(r)
			}
		}
		return next, err
	})
}

// keep takes one record.
func (c *content) keep(r *kgo.Record) {
	c.records++
	if r.Value != nil && strings.HasPrefix(string(r.Key), claimPrefix) && c.values[string(r.Key)] != nil {
		return
	}
	c.values[string(r.Key)] = r.Value
}

// join takes in what another slot says. A key is in two slots only where the topic
// was given more partitions since: then home tells which one counts.
func (c *content) join(o *content, home func(key string) bool) {
	c.records += o.records
	for key, value := range o.values {
		if _, ok := c.values[key]; !ok || home(key) {
			c.values[key] = value
		}
	}
}

// told is what a content says of lanes.
type told struct {
	lanes  map[lane.ID]Record   // the last record of each
	claims map[lane.ID]Record   // the first claim of each
	maps   map[lane.ID]*Offsets // the last of each
	passed []string             // keys that say nothing to us
}

// tell decodes c. What is about a lane and cannot be read concerns that lane alone:
// see Record.Err. Without its offset map a lane goes on all the same. A key that is
// not known may be of a later version, whose replicas and this one carry side by side.
func (c *content) tell() told {
	t := told{map[lane.ID]Record{}, map[lane.ID]Record{}, map[lane.ID]*Offsets{}, nil}
	for key, value := range c.values {
		if value == nil {
			continue
		}
		kind, of, _ := strings.Cut(key, "/")
		id, ok := parseKey(lanePrefix + of)
		switch kind += "/"; {
		case kind == pausePrefix, kind == flowPrefix: // not about a lane: see Pauses
		case kind == lanePrefix && ok:
			t.lanes[id] = decodeOrErr(id, value)
		case kind == claimPrefix && ok:
			t.claims[id] = decodeOrErr(id, value)
		case kind == mapPrefix && ok:
			if o, err := decodeOffsets(Key(id), value); err == nil {
				t.maps[id] = &o
			} else {
				t.passed = append(t.passed, key)
			}
		default:
			t.passed = append(t.passed, key)
		}
	}
	return t
}

// decodeOrErr never leaves a lane out: one that is absent begins anew.
func decodeOrErr(id lane.ID, value []byte) Record {
	r, err := decode(Key(id), value)
	switch {
	case err == nil:
		return r
	case !errors.As(err, new(*versionError)):
		err = fmt.Errorf(`%w: write it as it was, or start the lane over: see "To forget a lane" in docs/progress.md`, err)
	}
	return Record{Lane: id, Err: err}
}

// begun are the lanes that have a place to go on from: their last record with
// their offset map, or else the claim that came first.
func (t told) begun() map[lane.ID]Record {
	out := map[lane.ID]Record{}
	maps.Copy(out, t.claims)
	for id, r := range t.lanes {
		out[id] = r.with(t.maps[id])
	}
	return out
}

// with gives r its offset map. One that was taken after r tells the later position
// as well: it ends there, and what it says is not to be learned again, for records
// that it knows would count twice.
//
// A map that is not of this record is left out: one of another topic, also of one
// by the same name, and one that was taken later under another count of sequences.
// That is of before the lane was forgotten, or went back on its source.
func (r Record) with(o *Offsets) Record {
	switch {
	case o == nil || r.Err != nil:
		return r
	case o.SourceID != r.SourceID || o.TargetTopic != r.TargetTopic || o.TargetID != r.TargetID:
		return r
	case o.Position.Source <= r.Position.Source:
	case o.Position.Producer != r.Position.Producer || o.Position.Epoch != r.Position.Epoch:
		return r
	default:
		r.Position = o.Position
	}
	r.Offsets = o
	return r
}
