// Package progress stores how far each lane is, on the target, in a compacted
// topic named kferry.<flow>.progress. docs/progress.md is its format for
// readers other than kferry.
package progress

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/lane"
)

// Version is written into every record. A record of a later version is not read:
// its fields may mean something else.
const Version = 1

// Record is the stored progress of one lane.
type Record struct {
	Lane               lane.ID
	Position           lane.Position
	TargetTopic        string
	SourceID, TargetID [16]byte // topic ids; zero where a cluster has none
	At                 time.Time
	// Offsets is the lane's offset map as last stored; set by Load alone.
	Offsets *Offsets
	// Err tells that the lane's record cannot be read, and why; nothing but Lane is
	// known then. The lane must not go on, or begin: it has records on the target.
	Err error
}

// versionError means that a later kferry wrote a record.
type versionError struct {
	key     string
	version int
}

func (e *versionError) Error() string {
	return fmt.Sprintf("progress record %q has version %d, this kferry knows up to %d: run a later kferry", e.key, e.version, Version)
}

// Offsets is a stored offset map (offsets.Map). Its record tells where the lane
// was when the map was taken, which may be a while before its progress: a map
// can be large, and little is lost when the newest end of it has to be read back.
type Offsets struct {
	Record
	Map []byte
}

// wire is the JSON form, field for field what docs/progress.md says.
type wire struct {
	Version  int       `json:"version"`
	At       time.Time `json:"at"`
	Source   place     `json:"source"`
	Target   place     `json:"target"`
	Producer producer  `json:"producer"`
	Map      []byte    `json:"map,omitempty"` // of an offset map only
}

type place struct {
	Topic     string `json:"topic"`
	TopicID   string `json:"topic_id,omitempty"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Epoch     *int32 `json:"leader_epoch,omitempty"`
}

type producer struct {
	ID       int64 `json:"id"`
	Epoch    int16 `json:"epoch"`
	Sequence int32 `json:"sequence"`
}

// What the keys begin with.
const (
	lanePrefix  = "lane/"
	claimPrefix = "claim/"
	mapPrefix   = "offsets/"
)

// Key is the record key of a lane: "lane/<topic>/<partition>". Topic names hold
// no slash.
func Key(id lane.ID) string { return lanePrefix + id.Topic + "/" + strconv.Itoa(int(id.Partition)) }

// claimKey is the key of a claim to begin a lane: see Store.Claim.
func claimKey(id lane.ID) string { return claimPrefix + strings.TrimPrefix(Key(id), lanePrefix) }

// mapKey is the key of the lane's offset map.
func mapKey(id lane.ID) string { return mapPrefix + strings.TrimPrefix(Key(id), lanePrefix) }

func parseKey(key string) (lane.ID, bool) {
	parts := strings.Split(key, "/")
	if len(parts) != 3 || parts[0] != "lane" {
		return lane.ID{}, false
	}
	n, err := strconv.ParseInt(parts[2], 10, 32)
	id := lane.ID{Topic: parts[1], Partition: int32(n)}
	return id, err == nil && n >= 0 && Key(id) == key // not "+1" or "01": one lane has one key
}

func (r Record) encode() ([]byte, error) { return json.Marshal(r.wire()) }

func (o Offsets) encode() ([]byte, error) {
	w := o.wire()
	w.Map = o.Map
	return json.Marshal(w)
}

func (r Record) wire() wire {
	return wire{
		Version:  Version,
		At:       r.At.UTC().Truncate(time.Millisecond),
		Source:   place{r.Lane.Topic, hexID(r.SourceID), r.Lane.Partition, int64(r.Position.Source), epoch(r.Position.Leader)},
		Target:   place{r.TargetTopic, hexID(r.TargetID), r.Lane.Partition, int64(r.Position.Target), nil},
		Producer: producer{r.Position.Producer, r.Position.Epoch, r.Position.Sequence},
	}
}

func decode(key string, value []byte) (Record, error) {
	var w wire
	return w.decode(key, value)
}

// decodeOffsets reads an offset map back; key is the lane's.
func decodeOffsets(key string, value []byte) (Offsets, error) {
	var w wire
	r, err := w.decode(key, value)
	return Offsets{r, w.Map}, err
}

// decode reads a record back. Its key must name the same lane as its value:
// a position applied to another lane would lose records.
func (w *wire) decode(key string, value []byte) (Record, error) {
	id, ok := parseKey(key)
	if !ok {
		return Record{}, fmt.Errorf("progress record with key %q: want lane/<topic>/<partition>", key)
	}
	bad := json.Unmarshal(value, w)
	switch {
	case w.Version > Version: // its fields may be of other types, too
		return Record{}, &versionError{key, w.Version}
	case bad != nil:
		return Record{}, fmt.Errorf("progress record %q: %w", key, bad)
	case w.Version < 1:
		return Record{}, fmt.Errorf("progress record %q has version %d, and there is none below 1", key, w.Version)
	case w.Source.Topic != id.Topic || w.Source.Partition != id.Partition:
		return Record{}, fmt.Errorf("progress record %q is about %s/%d", key, w.Source.Topic, w.Source.Partition)
	case w.Source.Offset < 0 || w.Target.Offset < 0 || w.Producer.Sequence < 0 || w.Producer.Epoch < 0 || w.Producer.ID < 0:
		return Record{}, fmt.Errorf("progress record %q has a negative number: %s", key, value)
	}
	r := Record{
		Lane: id, TargetTopic: w.Target.Topic, At: w.At,
		Position: lane.Position{
			Source: offsets.Source(w.Source.Offset), Target: offsets.Target(w.Target.Offset),
			Producer: w.Producer.ID, Epoch: w.Producer.Epoch, Sequence: w.Producer.Sequence,
		},
	}
	if e := w.Source.Epoch; e != nil {
		r.Position.Leader = lane.LeaderOf(*e)
	}
	var err error
	if r.SourceID, err = parseID(w.Source.TopicID); err == nil {
		r.TargetID, err = parseID(w.Target.TopicID)
	}
	if err != nil {
		return Record{}, fmt.Errorf("progress record %q: %w", key, err)
	}
	return r, nil
}

func epoch(l lane.Leader) *int32 {
	if l == 0 {
		return nil
	}
	e := l.Epoch()
	return &e
}

func hexID(id [16]byte) string {
	if id == ([16]byte{}) {
		return ""
	}
	return hex.EncodeToString(id[:])
}

func parseID(s string) (id [16]byte, err error) {
	if s == "" {
		return id, nil
	}
	if n, err := hex.Decode(id[:], []byte(s[:min(len(s), 32)])); err != nil || n != len(id) || len(s) != 32 {
		return id, fmt.Errorf("topic id %q is not 32 hexadecimal digits", s)
	}
	return id, nil
}
