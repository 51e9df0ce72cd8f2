package web

import "net/http"

// LanesPath is where the lanes are.
const LanesPath = "/api/v1/lanes"

// Lanes is the answer of LanesPath; docs/api.md describes it.
type Lanes struct {
	Lanes []Lane `json:"lanes"`
}

// Lane is one lane of a running process. Fields may be added, and keep their meaning.
type Lane struct {
	Flow         string   `json:"flow"`
	Topic        string   `json:"topic"`
	TargetTopic  string   `json:"target_topic"`
	Partition    int32    `json:"partition"`
	State        string   `json:"state"`
	Reason       string   `json:"reason"`
	SourceOffset int64    `json:"source_offset"` // the target has everything below
	TargetOffset int64    `json:"target_offset"`
	LagRecords   *int64   `json:"lag_records"` // nil: the source's end is not known yet
	LagSeconds   *float64 `json:"lag_seconds"` // nil where LagRecords is
	Records      int64    `json:"records"`     // carried since the start
	Bytes        int64    `json:"bytes"`
}

func lanes(s Source) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		all := s.Lanes()
		if all == nil {
			all = []Lane{} // [] and not null
		}
		answer(w, http.StatusOK, Lanes{all})
	}
}
