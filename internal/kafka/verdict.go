package kafka

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Verdict is what a lane does about the error code of one partition.
type Verdict int

const (
	// Keep is done, the batch is stored (produce) or the data is good (fetch).
	Keep Verdict = iota
	// Retry sends the same bytes to the same broker, later.
	Retry
	// Rehome refreshes the metadata, then sends the same bytes to the leader it names.
	Rehome
	// Resume means that what is buffered no longer fits. Drop it, ask for the position
	// anew (produce: what the target holds; fetch: the log's bounds), go on there.
	Resume
	// Refuse means that the broker will never take this batch as it is.
	Refuse
	// Stop means that nothing changes until a person acts.
	Stop
)

var verdictNames = [...]string{"keep", "retry", "rehome", "resume", "refuse", "stop"}

func (v Verdict) String() string {
	if v < 0 || int(v) >= len(verdictNames) {
		return fmt.Sprintf("verdict %d", int(v))
	}
	return verdictNames[v]
}

// ruling is the verdict on a group of codes that mean the same to a lane.
type ruling struct {
	verdict Verdict
	reason  string
	codes   []*kerr.Error
}

// bothWays are the rulings that produce and fetch share.
var bothWays = []ruling{
	{Retry, "the broker failed in a way it has no code for; its log tells", []*kerr.Error{kerr.UnknownServerError}},
	{Retry, "over a quota", []*kerr.Error{kerr.ThrottlingQuotaExceeded}},

	{Rehome, "another broker leads the partition", []*kerr.Error{
		kerr.NotLeaderForPartition, kerr.FencedLeaderEpoch, kerr.UnknownLeaderEpoch,
	}},
	{Rehome, "a leader is being elected", []*kerr.Error{
		kerr.LeaderNotAvailable, kerr.PreferredLeaderNotAvailable, kerr.EligibleLeadersNotAvailable, kerr.NewLeaderElected,
	}},
	{Rehome, "the broker or its replica is going away or not ready", []*kerr.Error{
		kerr.ReplicaNotAvailable, kerr.BrokerNotAvailable, kerr.ListenerNotFound,
	}},
	{Rehome, "the leader's disk failed; another replica takes over", []*kerr.Error{kerr.KafkaStorageError, kerr.LogDirNotFound}},
	{Rehome, "the broker lost a connection before it had an answer", []*kerr.Error{kerr.NetworkException}},
	{Rehome, "the broker does not host the partition: moved, deleted, or not known to it yet", []*kerr.Error{kerr.UnknownTopicOrPartition}},
	{Rehome, "the topic was deleted or created anew", []*kerr.Error{kerr.UnknownTopicID, kerr.InconsistentTopicID}},
	{Rehome, "the metadata is out of date", []*kerr.Error{kerr.RebootstrapRequired, kerr.StaleBrokerEpoch, kerr.BrokerIDNotRegistered}},

	{Stop, "the login is no longer accepted", []*kerr.Error{
		kerr.SaslAuthenticationFailed, kerr.IllegalSaslState, kerr.UnsupportedSaslMechanism, kerr.SecurityDisabled,
	}},
	{Stop, "the cluster accepts no topic of this name", []*kerr.Error{kerr.InvalidTopicException}},
	{Stop, "the broker does not understand the request: it is too old, or this is a bug in kferry", []*kerr.Error{
		kerr.InvalidRequest, kerr.UnsupportedVersion,
	}},
}

var produceRulings = index(bothWays, []ruling{
	{Keep, "stored before; the broker no longer knows at which offset", []*kerr.Error{kerr.DuplicateSequenceNumber}},

	{Retry, "the replicas did not confirm in time; it may be stored, the sequence number will tell", []*kerr.Error{kerr.RequestTimedOut}},
	{Retry, "fewer replicas in sync than min.insync.replicas; not stored", []*kerr.Error{kerr.NotEnoughReplicas}},
	{Retry, "stored by the leader, but by fewer replicas than min.insync.replicas", []*kerr.Error{kerr.NotEnoughReplicasAfterAppend}},
	{Retry, "the broker is still busy with the producer's state", []*kerr.Error{kerr.CoordinatorLoadInProgress, kerr.ConcurrentTransactions}},

	{Resume, "the target expects another sequence number", []*kerr.Error{kerr.OutOfOrderSequenceNumber}},
	{Resume, "the target has forgotten the producer id", []*kerr.Error{kerr.UnknownProducerID}},
	{Resume, "the target knows a newer epoch of the producer id", []*kerr.Error{
		kerr.InvalidProducerEpoch, kerr.ProducerFenced, kerr.InvalidProducerIDMapping,
	}},
	{Resume, "the checksum is wrong: damaged on the way, to be fetched again", []*kerr.Error{kerr.CorruptMessage}},

	{Refuse, "the batch is larger than the target topic takes: raise max.message.bytes on it", []*kerr.Error{kerr.MessageTooLarge}},
	{Refuse, "the batch is larger than a segment of the target topic: raise segment.bytes on it", []*kerr.Error{kerr.RecordListTooLarge}},
	{Refuse, "a timestamp is too far from the broker's clock: raise message.timestamp.before.max.ms (for records from the past) or " +
		"message.timestamp.after.max.ms (from the future) on the target topic", []*kerr.Error{kerr.InvalidTimestamp}},
	{Refuse, "a record failed the target's validation, such as one with a null key where the target topic has cleanup.policy=compact: " +
		"set cleanup.policy=delete on it, or have the source's producers set a key", []*kerr.Error{kerr.InvalidRecord}},
	{Refuse, "the target does not support the batch's codec: upgrade it, or have the source's producers use another", []*kerr.Error{kerr.UnsupportedCompressionType}},
	{Refuse, "the target stores an older message format: remove message.format.version from the target topic", []*kerr.Error{kerr.UnsupportedForMessageFormat}},
	{Refuse, "a policy of the target forbids the batch: ask those who run it which one, and to except the target topic", []*kerr.Error{kerr.PolicyViolation}},

	{Stop, "not allowed to write to the topic: grant Write on it", []*kerr.Error{kerr.TopicAuthorizationFailed}},
	{Stop, "not allowed to write idempotently: grant IdempotentWrite on the cluster, or, from Kafka 2.8 on, Write on the topic", []*kerr.Error{kerr.ClusterAuthorizationFailed}},
	{Stop, "not allowed to use the transactional id", []*kerr.Error{kerr.TransactionalIDAuthorizationFailed}},
	{Stop, "the broker takes the batch for a transactional one: this is a bug in kferry", []*kerr.Error{kerr.InvalidTxnState, kerr.TransactionAbortable}},
	{Stop, "the broker does not accept acks=all: this is a bug in kferry", []*kerr.Error{kerr.InvalidRequiredAcks}},
})

var fetchRulings = index(bothWays, []ruling{
	{Retry, "the fetch session ended; begin a new one", []*kerr.Error{
		kerr.FetchSessionIDNotFound, kerr.InvalidFetchSessionEpoch, kerr.FetchSessionTopicIDError,
	}},
	{Retry, "the new leader does not know its high watermark yet", []*kerr.Error{kerr.OffsetNotAvailable}},
	{Retry, "the broker took too long", []*kerr.Error{kerr.RequestTimedOut}},
	{Retry, "the broker found a damaged batch on its disk", []*kerr.Error{kerr.CorruptMessage}},

	{Resume, "the position is outside the log: removed by retention, or the log was cut or created anew", []*kerr.Error{kerr.OffsetOutOfRange}},
	{Resume, "the position has moved to tiered storage, of which only replicas are told", []*kerr.Error{kerr.OffsetMovedToTieredStorage}},

	{Stop, "not allowed to read the topic: grant Read on it", []*kerr.Error{kerr.TopicAuthorizationFailed}},
	{Stop, "not allowed to fetch: the cluster takes us for a replica, this is a bug in kferry", []*kerr.Error{kerr.ClusterAuthorizationFailed}},
	{Stop, "the broker will not send this codec to a client of our version", []*kerr.Error{kerr.UnsupportedCompressionType}},
	{Stop, "the topic's message format does not support the request", []*kerr.Error{kerr.UnsupportedForMessageFormat}},
	{Stop, "the broker does not accept the fetch size: this is a bug in kferry", []*kerr.Error{kerr.InvalidFetchSize}},
})

// index sorts rulings by code. A code with two rulings is a bug.
func index(tables ...[]ruling) map[int16]ruling {
	m := make(map[int16]ruling)
	for _, t := range tables {
		for _, r := range t {
			for _, c := range r.codes {
				if _, twice := m[c.Code]; twice {
					panic("kafka: two verdicts on " + c.Message)
				}
				m[c.Code] = r
			}
		}
	}
	return m
}

// ProduceVerdict says what to do about a partition's error code in a produce
// response, and why. A code it does not know is Stop: guessing could lose
// records or write them twice.
func ProduceVerdict(code int16) (Verdict, string) { return verdict(produceRulings, code, "stored") }

// FetchVerdict says what to do about an error code in a fetch response, the
// response's own or a partition's, and why. A code it does not know is Stop.
func FetchVerdict(code int16) (Verdict, string) { return verdict(fetchRulings, code, "data") }

func verdict(rulings map[int16]ruling, code int16, good string) (Verdict, string) {
	if code == 0 {
		return Keep, good
	}
	if r, ok := rulings[code]; ok {
		return r.verdict, r.reason
	}
	if err := kerr.TypedErrorForCode(code); err.Code == code {
		return Stop, fmt.Sprintf("%s (%d) is no answer to this request", err.Message, code)
	}
	return Stop, fmt.Sprintf("unknown error code %d", code)
}
