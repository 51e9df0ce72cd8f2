package kafka

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

var rewrite = flag.Bool("rewrite", false, "write testdata/verdicts.txt anew")

const verdictsFile = "testdata/verdicts.txt"

// verdicts writes down every code that kerr knows with its two verdicts.
func verdicts() string {
	var b strings.Builder
	b.WriteString("# code name produce fetch; - = no answer to this request, which stops the lane\n")
	for code := int16(-1); code < 1000; code++ {
		e := kerr.TypedErrorForCode(code)
		if code != 0 && e.Code != code {
			continue
		}
		name := "NONE"
		if e != nil {
			name = e.Message
		}
		fmt.Fprintf(&b, "%d %s %s %s\n", code, name, cell(ProduceVerdict(code)), cell(FetchVerdict(code)))
	}
	return b.String()
}

func cell(v Verdict, reason string) string {
	if strings.Contains(reason, "no answer to this request") {
		return "-"
	}
	return v.String()
}

// Every code has a verdict that somebody has looked at: a kgo upgrade that
// brings new codes fails here until they are added to the file.
func TestVerdicts(t *testing.T) {
	got := verdicts()
	if *rewrite {
		if err := os.WriteFile(verdictsFile, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(verdictsFile)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("verdicts differ from %s; look at each, then run with -rewrite:\n%s", verdictsFile, diff(string(want), got))
	}
}

// diff lists the lines that only one side has.
func diff(want, got string) string {
	var b strings.Builder
	for _, side := range []struct{ sign, a, b string }{{"-", want, got}, {"+", got, want}} {
		for l := range strings.Lines(side.a) {
			if !strings.Contains(side.b, l) {
				b.WriteString(side.sign + l)
			}
		}
	}
	return b.String()
}

func TestVerdictReasons(t *testing.T) {
	for code := int16(-1); code < 1000; code++ {
		for name, f := range map[string]func(int16) (Verdict, string){"produce": ProduceVerdict, "fetch": FetchVerdict} {
			v, reason := f(code)
			known := code == 0 || kerr.TypedErrorForCode(code).Code == code
			if reason == "" || v.String() == "" {
				t.Errorf("%s %d: no reason", name, code)
			}
			if !known && (v != Stop || reason != fmt.Sprintf("unknown error code %d", code)) {
				t.Errorf("%s %d: %v, %q for a code nobody knows", name, code, v, reason)
			}
			if v == Keep && code != 0 && code != kerr.DuplicateSequenceNumber.Code {
				t.Errorf("%s %d: an error is taken for success", name, code)
			}
		}
	}
}

// What the design demands by name, apart from the file, which one flag rewrites.
func TestVerdictsThatMatter(t *testing.T) {
	for _, tc := range []struct {
		err            *kerr.Error
		produce, fetch Verdict
	}{
		{kerr.DuplicateSequenceNumber, Keep, Stop},
		{kerr.NotEnoughReplicasAfterAppend, Retry, Stop},
		{kerr.RequestTimedOut, Retry, Retry},
		{kerr.NotLeaderForPartition, Rehome, Rehome},
		{kerr.FencedLeaderEpoch, Rehome, Rehome},
		{kerr.UnknownTopicID, Rehome, Rehome},
		{kerr.KafkaStorageError, Rehome, Rehome},
		{kerr.OutOfOrderSequenceNumber, Resume, Stop},
		{kerr.UnknownProducerID, Resume, Stop},
		{kerr.InvalidProducerEpoch, Resume, Stop},
		{kerr.CorruptMessage, Resume, Retry},
		{kerr.OffsetOutOfRange, Stop, Resume},
		{kerr.FetchSessionIDNotFound, Stop, Retry},
		{kerr.MessageTooLarge, Refuse, Stop},
		{kerr.InvalidTimestamp, Refuse, Stop},
		{kerr.InvalidRecord, Refuse, Stop},
		{kerr.PolicyViolation, Refuse, Stop},
		{kerr.TopicAuthorizationFailed, Stop, Stop},
		{kerr.ClusterAuthorizationFailed, Stop, Stop},
	} {
		if v, reason := ProduceVerdict(tc.err.Code); v != tc.produce {
			t.Errorf("produce %s: %v (%s), want %v", tc.err.Message, v, reason, tc.produce)
		}
		if v, reason := FetchVerdict(tc.err.Code); v != tc.fetch {
			t.Errorf("fetch %s: %v (%s), want %v", tc.err.Message, v, reason, tc.fetch)
		}
	}
}

func TestTwoVerdictsOnOneCode(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a code with two verdicts went unnoticed")
		}
	}()
	r := ruling{Retry, "one", []*kerr.Error{kerr.CorruptMessage}}
	index([]ruling{r}, []ruling{r})
}
