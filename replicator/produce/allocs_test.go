package produce

import (
	"fmt"
	"hash/crc32"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/lane"
)

// requests returns what makes a request with one batch of each lane, encodes it and takes an answer to it.
func requests(t testing.TB, lanes int) func() {
	p := New(Options{Produced: func(time.Duration, error) {}, Failed: func(*lane.Lane, kafka.Verdict, error) {}})
	var all []*lane.Lane
	for n := range int32(lanes) {
		l := lane.New(lane.ID{Topic: "source", Partition: n}, topic)
		l.Start(lane.Plan{}, 0, nil)
		p.Add(Target{Lane: l, Limit: 1 << 20})
		all = append(all, l)
	}
	bytes := plainBatch(large)
	var wire []byte
	at := offsets.Source(0)
	resp := answerTo(lanes)
	return func() {
		for _, l := range all {
			gen, from, _, _, _ := l.Fetch()
			if !l.Put(gen, []lane.Item{{Bytes: bytes, First: from, Next: from + 1, Records: 1}}, from+1, 0, 0, 0) {
				t.Fatal("not taken")
			}
		}
		serve := p.ready
		p.ready = nil
		req, r := p.build(serve)
		if r == nil || len(r.parts) != lanes {
			t.Fatal("not all lanes are in the request")
		}
		wire = req.AppendTo(wire[:0])
		p.sent = append(p.sent, r)
		for i := range resp.Topics[0].Partitions {
			resp.Topics[0].Partitions[i].BaseOffset = int64(at)
		}
		at++
		p.answered(r, resp, nil)
	}
}

// plainBatch is one record of so many bytes, ready to be stamped.
func plainBatch(size int) []byte {
	r := kmsg.Record{Value: make([]byte, size)}
	r.Length = int32(len(r.AppendTo(nil)) - 1)
	b := kmsg.RecordBatch{
		Magic: 2, FirstTimestamp: 1, MaxTimestamp: 1, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: 1, Records: r.AppendTo(nil),
	}
	b.Length = int32(len(b.AppendTo(nil)) - 12)
	b.CRC = int32(crc32.Checksum(b.AppendTo(nil)[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b.AppendTo(nil)
}

func answerTo(lanes int) *kmsg.ProduceResponse {
	resp := kmsg.NewPtrProduceResponse()
	rt := kmsg.NewProduceResponseTopic()
	rt.Topic = topic
	for n := range int32(lanes) {
		rp := kmsg.NewProduceResponseTopicPartition()
		rp.Partition = n
		rt.Partitions = append(rt.Partitions, rp)
	}
	resp.Topics = append(resp.Topics, rt)
	return resp
}

// What a request allocates may fall, and then the number here with it; it may not rise.
func TestAllocs(t *testing.T) {
	if testing.Short() {
		t.Skip("-short goes with the race detector, under which maps allocate more")
	}
	for lanes, most := range map[int]float64{1: 10, 20: 74} {
		if n := testing.AllocsPerRun(100, requests(t, lanes)); n > most {
			t.Errorf("%v allocations for a request with batches of %d lanes, at most %v are recorded", n, lanes, most)
		}
	}
}

func BenchmarkRequest(b *testing.B) {
	for _, lanes := range []int{1, 20} {
		b.Run(fmt.Sprintf("lanes=%d", lanes), func(b *testing.B) {
			run := requests(b, lanes)
			b.ReportAllocs()
			for b.Loop() {
				run()
			}
		})
	}
}
