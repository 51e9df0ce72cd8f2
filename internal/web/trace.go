package web

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// TracePath is where one record is looked for.
const TracePath = "/api/v1/trace"

// Trace is the answer of TracePath. Fields may be added, and keep their meaning.
type Trace struct {
	Flow         string `json:"flow"` // "": no flow carries the topic
	Topic        string `json:"topic"`
	TargetTopic  string `json:"target_topic"`
	Partition    int32  `json:"partition"`
	Offset       int64  `json:"offset"`        // on the source
	Where        string `json:"where"`         // docs/api.md lists them
	TargetOffset *int64 `json:"target_offset"` // there it is, or not before it; nil: it is not on the target, or nobody knows
	Exact        bool   `json:"exact"`         // it is at TargetOffset
	State        string `json:"state"`         // of the lane; "" where there is none
	Reason       string `json:"reason"`
	Text         string `json:"text"` // the answer in words
}

func trace(s Source) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q, err := readLookup(r.URL.RawQuery)
		if err == nil && q.Reverse {
			err = errors.New("reverse does not go with a trace: translate the offset first")
		}
		if err != nil {
			answer(w, http.StatusBadRequest, Failure{err.Error()})
			return
		}
		found := s.Trace(q)
		if len(found) == 1 {
			answer(w, http.StatusOK, found[0])
			return
		}
		var flows []string
		for _, t := range found {
			flows = append(flows, t.Flow)
		}
		answer(w, http.StatusBadRequest, Failure{fmt.Sprintf("several flows carry topic %q: say which, flow is one of %s", q.Topic, strings.Join(flows, ", "))})
	}
}
