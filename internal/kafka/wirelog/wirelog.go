// Package wirelog records for tests what requests a client wrote, so that they
// can prove that nothing is ever changed on a source cluster.
package wirelog

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Log is a kgo.Hook; the zero value is ready. Give it to all clients of a
// cluster by kafka.Options.Hooks. Safe for concurrent use.
type Log struct {
	mu   sync.Mutex
	keys map[kmsg.Key]int // requests written, by kind
}

var _ kgo.HookBrokerWrite = (*Log)(nil)

// OnBrokerWrite is kgo's call for every request, failed writes included.
func (l *Log) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.keys == nil {
		l.keys = make(map[kmsg.Key]int)
	}
	l.keys[kmsg.Key(key)]++
}

// Count says how many requests of that kind were written.
func (l *Log) Count(key kmsg.Key) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.keys[key]
}

// Writes names the kinds of requests written that could change a cluster,
// sorted; empty for a client that only reads.
func (l *Log) Writes() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var names []string
	for k := range maps.Keys(l.keys) {
		if !reads[k] {
			names = append(names, k.Name())
		}
	}
	slices.Sort(names)
	return names
}

// reads are the kinds that leave a cluster as it is. A kind that is not listed
// counts as a write. (A Metadata request can create topics, but only if asked
// to by a flag that kgo leaves off.)
var reads = map[kmsg.Key]bool{
	kmsg.Fetch:                        true,
	kmsg.ListOffsets:                  true,
	kmsg.Metadata:                     true,
	kmsg.OffsetFetch:                  true,
	kmsg.FindCoordinator:              true,
	kmsg.DescribeGroups:               true,
	kmsg.ListGroups:                   true,
	kmsg.SASLHandshake:                true,
	kmsg.ApiVersions:                  true,
	kmsg.OffsetForLeaderEpoch:         true,
	kmsg.DescribeACLs:                 true,
	kmsg.DescribeConfigs:              true,
	kmsg.SASLAuthenticate:             true,
	kmsg.DescribeCluster:              true,
	kmsg.DescribeProducers:            true,
	kmsg.DescribeTransactions:         true,
	kmsg.ListTransactions:             true,
	kmsg.DescribeTopicPartitions:      true,
	kmsg.DescribeUserSCRAMCredentials: true,
	kmsg.DescribeClientQuotas:         true,
}
