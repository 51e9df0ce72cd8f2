package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

var errTooOld = errors.New("broker is too old; the broker has already indicated it will not know how to handle the request")

func TestPassing(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{kerr.ThrottlingQuotaExceeded, true},
		{kerr.RequestTimedOut, true},
		{kerr.NotController, true},
		{kerr.CoordinatorLoadInProgress, true},
		{kerr.NotCoordinator, true},
		{kerr.UnknownServerError, true},
		{kerr.BrokerNotAvailable, true},
		{fmt.Errorf("%w (slowly)", kerr.ThrottlingQuotaExceeded), true},
		{io.EOF, true},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, true},
		{context.DeadlineExceeded, true},
		{context.Canceled, true},
		{errors.New("unable to dial"), true},

		{kerr.TopicAuthorizationFailed, false},
		{kerr.PolicyViolation, false},
		{kerr.InvalidReplicationFactor, false},
		{kerr.InvalidPartitions, false},
		{kerr.SaslAuthenticationFailed, false},
		{kerr.UnsupportedVersion, false},
		{errTooOld, false},
		{errors.New("request key is unknown"), false},
		{Explain("east", kerr.SaslAuthenticationFailed), false},
		{Explain("east", io.EOF), true},
		{Needs("east", "this", "2.3", errTooOld), false},
	} {
		if got := Passing(c.err); got != c.want {
			t.Errorf("%v: %t", c.err, got)
		}
	}
}

func TestNeeds(t *testing.T) {
	got := Needs("east", "a producer id", "0.11", errTooOld)
	if s := got.Error(); !strings.HasPrefix(s, `cluster "east": request: a producer id needs Kafka 0.11 or a newer one; upgrade the brokers`) || !errors.Is(got, errTooOld) {
		t.Error(s)
	}
	if got := Needs("east", "a producer id", "0.11", io.EOF); strings.Contains(got.Error(), "0.11") {
		t.Error(got)
	}
	if Needs("east", "a producer id", "0.11", nil) != nil {
		t.Error("an error of none")
	}
}

func TestUnmade(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{kerr.ThrottlingQuotaExceeded, `cannot create topic "t" at the moment, trying on: cluster "new": request: THROTTLING_QUOTA_EXCEEDED`},
		{kerr.TopicAuthorizationFailed, `cannot create topic "t": TOPIC_AUTHORIZATION_FAILED: Not authorized to access topics: [Topic authorization failed.]: allow our user to (Create for a new topic, Alter to add partitions), or make it by hand with 3 partitions`},
		{kerr.InvalidReplicationFactor, "set the flow's replication_factor to what the target can hold; before Kafka 2.4 there is no default"},
		{kerr.PolicyViolation, "make it by hand with 3 partitions, or mend the cause"},
	} {
		if got := Unmade("new", `create topic "t"`, "with 3 partitions", c.err).Error(); !strings.Contains(got, c.want) || !strings.HasPrefix(got, `cannot create topic "t"`) {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}
