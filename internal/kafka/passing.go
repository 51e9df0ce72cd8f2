package kafka

import (
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Passing tells a failure that time mends, such as a quota that is used up, a
// controller that moves or a connection that broke, from one that stays until a
// person changes something.
func Passing(err error) bool {
	var code *kerr.Error
	switch {
	case err == nil || TooOld(err):
		return false
	case errors.As(err, &code):
		v, known := bothWaysIndex[code.Code]
		return code.Retriable || known && (v.verdict == Retry || v.verdict == Rehome)
	}
	var e *Error
	return !errors.As(Explain("", err), &e) || !e.Fatal
}

var bothWaysIndex = index(bothWays)

// TooOld tells that a broker does not know a request, or not in a version that has
// what is asked for. kgo finds that out by itself, and keeps its errors to itself.
func TooOld(err error) bool {
	if err == nil {
		return false
	}
	return errors.Is(err, kerr.UnsupportedVersion) || strings.Contains(err.Error(), "broker is too old") || strings.Contains(err.Error(), "request key is unknown")
}

// Needs puts in words that a cluster is too old for something, which it takes Kafka of
// a version or a newer one for. Other errors are explained as ever.
func Needs(alias, what, version string, err error) error {
	if !TooOld(err) {
		return Explain(alias, err)
	}
	return &Error{
		Cluster: alias, Op: "request", Err: err, Fatal: true,
		Cause: what + " needs Kafka " + version + " or a newer one", Remedy: "upgrade the brokers, or take another cluster",
	}
}

// Unmade says why a topic could not be made, or not have more partitions, and what to
// do. what was tried reads like "create topic X on the target Y"; byHand is how a
// person would make it, such as "with 3 partitions".
func Unmade(alias, what, byHand string, err error) error {
	hint := "make it by hand " + byHand + ", or mend the cause"
	switch {
	case Passing(err):
		return fmt.Errorf("cannot %s at the moment, trying on: %w", what, Explain(alias, err))
	case Denied(err):
		hint = "allow our user to (Create for a new topic, Alter to add partitions), or make it by hand " + byHand
	case errors.Is(err, kerr.InvalidReplicationFactor):
		hint = "set the flow's replication_factor to what the target can hold; before Kafka 2.4 there is no default"
	}
	return fmt.Errorf("cannot %s: %w: %s", what, err, hint)
}
