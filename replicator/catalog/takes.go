package catalog

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/internal/kafka"
)

// takes is what a target topic's settings say about the batches that it takes.
type takes struct {
	limit    int // bytes of the largest one
	foretold bool
	ahead    time.Duration
}

// takesOf reads what a topic takes off its settings. A broker refuses what is above
// max.message.bytes, and also what is above segment.bytes.
func takesOf(target map[string]setting) takes {
	t := takes{limit: defaultMaxMessage, foretold: byHeader(target)}
	for _, key := range []string{maxMessage, "segment.bytes"} {
		n, err := strconv.Atoi(target[key].Value)
		switch {
		case err != nil:
			t.foretold = false
		case key == maxMessage:
			t.limit = n
		default:
			t.limit = min(t.limit, n)
		}
	}
	before, after := int64(math.MaxInt64), int64(math.MaxInt64)
	if target[timestampType].Value != logAppendTime {
		before, after = drift(target, "before"), drift(target, "after")
	}
	if t.foretold = t.foretold && before == math.MaxInt64; t.foretold {
		t.ahead = milliseconds(after)
	}
	return t
}

// byHeader tells that nothing decides whether a topic takes a batch that only its
// records show: no key is needed, nothing is compressed again, which could make a
// batch too large, and no schema is asked for (Confluent's and Redpanda's brokers can).
func byHeader(target map[string]setting) bool {
	policy := target["cleanup.policy"].Value
	if policy == "" || strings.Contains(policy, "compact") || target["compression.type"].Value != "producer" {
		return false
	}
	for key, s := range target {
		if strings.Contains(key, ".schema.") && strings.HasSuffix(key, ".validation") && s.Value == "true" {
			return false
		}
	}
	for _, old := range []string{"0.8", "0.9", "0.10"} { // of brokers before 4.0: they refuse all of ours
		if strings.HasPrefix(target["message.format.version"].Value, old) {
			return false
		}
	}
	return true
}

const (
	timestampType = "message.timestamp.type"
	logAppendTime = "LogAppendTime"
)

// drift is how many milliseconds a record's timestamp may be before or after the
// broker's clock; math.MaxInt64: any number. Brokers before 3.6 have one setting for
// both, those before 4.0 have all three.
func drift(target map[string]setting, side string) int64 {
	least := int64(math.MaxInt64)
	for _, which := range []string{side, "difference"} {
		if ms, err := strconv.ParseInt(target["message.timestamp."+which+".max.ms"].Value, 10, 64); err == nil {
			least = min(least, ms)
		}
	}
	return least
}

// milliseconds is ms as a duration, the longest there is where it is longer.
func milliseconds(ms int64) time.Duration {
	if ms > math.MaxInt64/int64(time.Millisecond) {
		return math.MaxInt64
	}
	return time.Duration(ms) * time.Millisecond
}

const (
	// expiryEvery is between two looks at how long the target remembers producers.
	expiryEvery = 10 * time.Minute
	// defaultExpiry is how long Kafka remembers a producer, if nobody says otherwise.
	defaultExpiry = 24 * time.Hour
)

// expiries are the settings that say how long a broker remembers a producer, in
// milliseconds. The second one did before Kafka 3.4 had the first; its default is a week.
var expiries = []string{"producer.id.expiration.ms", "transactional.id.expiration.ms"}

// readExpiry asks a broker that leads target partitions how long it remembers
// producers. What was learned before holds where it does not answer.
func (c *Catalog) readExpiry(ctx context.Context, targets kadm.TopicDetails) {
	now := time.Now()
	broker := firstLeader(targets)
	if broker < 0 || now.Before(c.expiryDue) {
		return
	}
	c.expiryDue = now.Add(expiryEvery)
	req := kmsg.NewPtrDescribeConfigsRequest()
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceTypeBroker, strconv.Itoa(int(broker)), expiries
	req.Resources = append(req.Resources, r)
	resp, err := req.RequestWith(ctx, c.o.Target.Client().Broker(int(broker)))
	if err != nil || len(resp.Resources) != 1 {
		return
	}
	if err := kerr.ErrorForCode(resp.Resources[0].ErrorCode); err != nil {
		if kafka.Denied(err) && !c.expirySaid {
			c.expirySaid = true
			c.event("", fmt.Sprintf("our user may not read how long the brokers of %q remember producers: a day, Kafka's default, is assumed; "+
				"if producer.id.expiration.ms is less there, grant DescribeConfigs on the cluster", c.o.Target.Alias()), nil)
		}
		return
	}
	if d := expiryOf(settingsOf(resp.Version, resp.Resources[0].Configs)); d != c.expiry {
		c.expiry, c.changed = d, true
	}
}

// expiryOf is never above the default where only the older setting is told: the
// broker may be one that does not tell the one that counts.
func expiryOf(broker map[string]setting) time.Duration {
	for i, key := range expiries {
		ms, err := strconv.ParseInt(broker[key].Value, 10, 64)
		if err != nil || ms < 0 {
			continue
		}
		if i > 0 {
			return min(milliseconds(ms), defaultExpiry)
		}
		return milliseconds(ms)
	}
	return defaultExpiry
}

// firstLeader is the broker with the lowest id of those that lead; -1: none does.
func firstLeader(targets kadm.TopicDetails) int32 {
	first := int32(-1)
	for _, t := range targets {
		for _, p := range t.Partitions {
			if p.Leader >= 0 && (first < 0 || p.Leader < first) {
				first = p.Leader
			}
		}
	}
	return first
}
