package groups

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kferry/kferry/internal/kafka"
)

// sourceFailed is the verdict on a group whose offsets could not be read.
func sourceFailed(cluster, group string, err error) (Verdict, string) {
	switch {
	case kafka.Denied(err):
		return Denied, fmt.Sprintf("grant Describe (before Kafka 1.0: Read) on group %q of cluster %q to our user", group, cluster)
	case errors.Is(err, kerr.InvalidGroupID):
		return Gone, "" // a name that the cluster does not take is nobody's
	}
	return Failed, err.Error()
}

// refusal is the verdict on a partition that was not committed.
func refusal(cluster, group, topic string, err error) (Verdict, string) {
	switch {
	case errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.IllegalGeneration), errors.Is(err, kerr.RebalanceInProgress),
		errors.Is(err, kerr.StaleMemberEpoch), errors.Is(err, kerr.FencedMemberEpoch), errors.Is(err, kerr.FencedInstanceID):
		return Active, ""
	case errors.Is(err, kerr.GroupAuthorizationFailed):
		return Denied, fmt.Sprintf("grant Read on group %q of cluster %q to our user", group, cluster)
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return Denied, fmt.Sprintf("grant Read on topic %q of cluster %q to our user", topic, cluster)
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.UnknownTopicID):
		return Refused, "it does not have the topic or the partition"
	case errors.Is(err, kerr.OffsetMetadataTooLarge):
		return Refused, "the metadata of the source's commit is too long for it; raise offset.metadata.max.bytes on its brokers"
	case errors.Is(err, kerr.InvalidCommitOffsetSize):
		return Refused, "the offsets of the group are larger than a batch of __consumer_offsets; raise max.message.bytes on it"
	case errors.Is(err, kerr.GroupIDNotFound):
		return Refused, fmt.Sprintf("%q is a group of another kind there; give it another name with group_names", group)
	case errors.Is(err, kerr.InvalidGroupID):
		return Refused, fmt.Sprintf("it does not take %q as the name of a group; give it another with group_names", group)
	}
	return Failed, err.Error()
}
