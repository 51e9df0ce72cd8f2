package mm2

import "github.com/kferry/kferry/offsets"

// OffsetSync says where one source record is on the target. Its topic is
// Names.OffsetSyncs, its partition 0.
//
//	key    topic STRING, partition INT32
//	value  upstream INT64, downstream INT64
type OffsetSync struct {
	Topic      string // its name on the source
	Partition  int32
	Upstream   offsets.Source // the record's offset on the source
	Downstream offsets.Target // the same record's on the target
}

// Encode gives the record's key and value. A topic of more than 32767 bytes is an error.
func (s OffsetSync) Encode() (key, value []byte, err error) {
	var k, v writer
	k.string("topic", s.Topic)
	k.int32(s.Partition)
	v.int64(int64(s.Upstream))
	v.int64(int64(s.Downstream))
	return encode("offset sync", k, v)
}

// DecodeOffsetSync reads a record of an offset syncs topic.
func DecodeOffsetSync(key, value []byte) (OffsetSync, error) {
	k, v, done := decode("offset sync", key, value)
	s := OffsetSync{
		Topic: k.string("topic"), Partition: k.int32("partition"),
		Upstream: offsets.Source(v.int64("upstream offset")), Downstream: offsets.Target(v.int64("downstream offset")),
	}
	if err := done(); err != nil {
		return OffsetSync{}, err
	}
	return s, nil
}

// version stands in front of a checkpoint's and a heartbeat's value.
const version = 0

// Checkpoint says where a group goes on, on either side. Its topic is
// Names.Checkpoints, its partition 0, its time when the group was read.
//
//	key    group STRING, topic STRING, partition INT32
//	value  version INT16 = 0, upstream INT64, downstream INT64, metadata STRING
type Checkpoint struct {
	Group      string
	Topic      string // its name on the target
	Partition  int32
	Upstream   offsets.Source // what the group reads next on the source
	Downstream offsets.Target // what it reads next on the target
	Metadata   string         // of the group's commit on the source; mostly empty
}

// Encode gives the record's key and value. A string of more than 32767 bytes is an error.
func (c Checkpoint) Encode() (key, value []byte, err error) {
	var k, v writer
	k.string("group", c.Group)
	k.string("topic", c.Topic)
	k.int32(c.Partition)
	v.int16(version)
	v.int64(int64(c.Upstream))
	v.int64(int64(c.Downstream))
	v.string("metadata", c.Metadata)
	return encode("checkpoint", k, v)
}

// DecodeCheckpoint reads a record of a checkpoints topic.
func DecodeCheckpoint(key, value []byte) (Checkpoint, error) {
	k, v, done := decode("checkpoint", key, value)
	v.int16("version")
	c := Checkpoint{
		Group: k.string("group"), Topic: k.string("topic"), Partition: k.int32("partition"),
		Upstream: offsets.Source(v.int64("upstream offset")), Downstream: offsets.Target(v.int64("downstream offset")),
		Metadata: v.string("metadata"),
	}
	if err := done(); err != nil {
		return Checkpoint{}, err
	}
	return c, nil
}

// Heartbeat says that the flow Source->Target lived at a time. Its topic is
// Names.Heartbeats, its partition 0, its time the same as Millis.
//
//	key    source STRING, target STRING
//	value  version INT16 = 0, time INT64
type Heartbeat struct {
	Source, Target string // aliases
	Millis         int64  // since 1970
}

// Encode gives the record's key and value. An alias of more than 32767 bytes is an error.
func (h Heartbeat) Encode() (key, value []byte, err error) {
	var k, v writer
	k.string("source alias", h.Source)
	k.string("target alias", h.Target)
	v.int16(version)
	v.int64(h.Millis)
	return encode("heartbeat", k, v)
}

// DecodeHeartbeat reads a record of a heartbeats topic.
func DecodeHeartbeat(key, value []byte) (Heartbeat, error) {
	k, v, done := decode("heartbeat", key, value)
	v.int16("version")
	h := Heartbeat{Source: k.string("source alias"), Target: k.string("target alias"), Millis: v.int64("time")}
	if err := done(); err != nil {
		return Heartbeat{}, err
	}
	return h, nil
}
