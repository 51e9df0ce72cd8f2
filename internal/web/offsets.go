package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// OffsetsPath is where consumer groups are on both sides.
const OffsetsPath = "/api/v1/offsets"

// TranslatePath is where one offset is looked up.
const TranslatePath = "/api/v1/translate"

// Offsets is the answer of OffsetsPath; docs/api.md describes it.
type Offsets struct {
	Offsets []Offset `json:"offsets"`
}

// Offset is where a consumer group is in one partition. Fields may be added,
// and keep their meaning.
type Offset struct {
	Flow         string    `json:"flow"`
	Group        string    `json:"group"`
	TargetGroup  string    `json:"target_group"`
	Topic        string    `json:"topic"` // "" where the verdict is about the whole group
	TargetTopic  string    `json:"target_topic"`
	Partition    int32     `json:"partition"`     // -1 where Topic is ""
	SourceOffset *int64    `json:"source_offset"` // nil: it has none, or it may not be read
	TargetOffset *int64    `json:"target_offset"` // where a consumer would begin now; nil: by its auto.offset.reset
	Verdict      string    `json:"verdict"`       // docs/offsets.md
	Reason       string    `json:"reason"`
	RecordsAgain *int64    `json:"records_again"` // at most so many are read again after switching; nil: not known
	LagRecords   *int64    `json:"lag_records"`   // what it would still have to read; nil: not known
	At           time.Time `json:"at"`            // when both sides were asked
}

// Lookup asks for what one offset is on the other side.
type Lookup struct {
	Flow      string // "": any flow
	Topic     string // on the source; with Reverse on the target
	Partition int32
	Offset    int64 // on the source; with Reverse on the target
	Reverse   bool
}

// Translation is the answer of TranslatePath. Fields may be added, and keep
// their meaning.
type Translation struct {
	Flow         string `json:"flow"`
	Topic        string `json:"topic"`
	TargetTopic  string `json:"target_topic"`
	Partition    int32  `json:"partition"`
	SourceOffset int64  `json:"source_offset"`
	TargetOffset int64  `json:"target_offset"`
	Found        string `json:"found"`         // exact, gap, floor, before or beyond: docs/offsets.md
	RecordsAgain int64  `json:"records_again"` // at most so many lie between the answer and the exact place
	Text         string `json:"text"`
}

func offsets(s Source) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q, err := readQuery(r.URL.RawQuery)
		if err != nil {
			answer(w, http.StatusBadRequest, Failure{err.Error()})
			return
		}
		flow, group, topic := q.Get("flow"), q.Get("group"), q.Get("topic")
		rows := slices.DeleteFunc(s.Offsets(), func(o Offset) bool {
			return flow != "" && o.Flow != flow || group != "" && o.Group != group || topic != "" && o.Topic != topic
		})
		if rows == nil {
			rows = []Offset{} // [] and not null
		}
		answer(w, http.StatusOK, Offsets{rows})
	}
}

func translate(s Source) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q, err := readLookup(r.URL.RawQuery)
		if err != nil {
			answer(w, http.StatusBadRequest, Failure{err.Error()})
			return
		}
		switch found := s.Translate(q); len(found) {
		case 0:
			answer(w, http.StatusNotFound, Failure{fmt.Sprintf("no lane of this kferry has partition %d of topic %q: the topic is carried by no flow here, "+
				"another replica has the partition, or the lane has not started yet", q.Partition, q.Topic)})
		case 1:
			answer(w, http.StatusOK, found[0])
		default:
			var flows []string
			for _, t := range found {
				flows = append(flows, t.Flow)
			}
			answer(w, http.StatusBadRequest, Failure{fmt.Sprintf("several flows have partition %d of topic %q: say which, flow is one of %s",
				q.Partition, q.Topic, strings.Join(flows, ", "))})
		}
	}
}

// readQuery parses strictly: a parameter that was lost would widen what is asked for.
func readQuery(raw string) (url.Values, error) {
	q, err := url.ParseQuery(raw)
	if err != nil {
		return nil, fmt.Errorf("the query cannot be read: %w", err)
	}
	return q, nil
}

func readLookup(raw string) (l Lookup, err error) {
	q, err := readQuery(raw)
	if err != nil {
		return l, err
	}
	l.Flow, l.Topic = q.Get("flow"), q.Get("topic")
	if l.Topic == "" {
		return l, errors.New("topic is missing: topic, partition and offset say what is looked for")
	}
	partition, err := readNumber(q, "partition", 31)
	if err != nil {
		return l, err
	}
	l.Partition = int32(partition)
	if l.Offset, err = readNumber(q, "offset", 63); err != nil {
		return l, err
	}
	if reverse := q.Get("reverse"); reverse != "" {
		if l.Reverse, err = strconv.ParseBool(reverse); err != nil {
			return l, fmt.Errorf("reverse is %q: must be true or false", reverse)
		}
	}
	return l, nil
}

// readNumber reads a parameter that must be there, of so many bits (63 at most).
func readNumber(q url.Values, name string, bits int) (int64, error) {
	n, err := strconv.ParseUint(q.Get(name), 10, bits)
	if err != nil {
		return 0, fmt.Errorf("%s is %q: must be a number from 0 to %d", name, q.Get(name), uint64(1)<<bits-1)
	}
	return int64(n), nil
}
