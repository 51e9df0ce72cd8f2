package web

import (
	"net/http"
	"time"
)

// Paths of what the whole process tells; docs/api.md describes their answers.
const (
	StatusPath = "/api/v1/status"
	TopicsPath = "/api/v1/topics"
	EventsPath = "/api/v1/events"
)

// View is a process at one moment. Whoever gets one must not change it.
type View struct {
	Status Status
	Topics []Topic // sorted by flow as configured, and topic
	Lanes  []Lane  // sorted by flow as configured, topic and partition
	Groups []Group // sorted by flow as configured, and name
}

// Status is the answer of StatusPath. Fields may be added, and keep their meaning.
type Status struct {
	Version   string    `json:"version"`
	StartedAt time.Time `json:"started_at"`
	Now       time.Time `json:"now"`
	Instance  string    `json:"instance"`
	Healthy   bool      `json:"healthy"` // no problem is an error
	Problems  []Problem `json:"problems"`
	Clusters  []Cluster `json:"clusters"`
	Memory    Memory    `json:"memory"`
	Flows     []Flow    `json:"flows"`
}

// Problem is something that is not as it should be.
type Problem struct {
	Severity  string `json:"severity"` // error or warning
	Flow      string `json:"flow"`     // "" where it is about none, or several; so is Topic
	Topic     string `json:"topic"`
	Partition *int32 `json:"partition"` // nil where Topic is "", or it is about several
	Text      string `json:"text"`
}

// Cluster is how a cluster treats us.
type Cluster struct {
	Alias string     `json:"alias"`
	Up    bool       `json:"up"`    // it answered lately
	Error string     `json:"error"` // why it does not answer
	Since *time.Time `json:"since"` // when that began; nil: not known yet
}

// Memory is what records take, and may take.
type Memory struct {
	Used  int64 `json:"used_bytes"`
	Limit int64 `json:"limit_bytes"`
}

// Flow is one flow as far as this process has it.
type Flow struct {
	Name               string         `json:"name"`
	Source             string         `json:"source"`
	Target             string         `json:"target"`
	Engine             string         `json:"engine"` // kferry, or aiven: then nothing is counted but lanes and lag
	Aiven              *AivenFlow     `json:"aiven"`  // with engine aiven; nil otherwise, and while Aiven has no such flow or does not say
	Leads              bool           `json:"leads"`
	Slots              int            `json:"slots"`
	Partitions         *int           `json:"partitions"` // over all replicas; nil: this one does not lead, or does not know yet
	Lanes              map[string]int `json:"lanes"`      // by state; all states are there
	Records            int64          `json:"records"`
	Bytes              int64          `json:"bytes"`
	RecordsPerSecond   float64        `json:"records_per_second"`
	BytesPerSecond     float64        `json:"bytes_per_second"`
	LagRecords         *int64         `json:"lag_records"`
	LagSeconds         *float64       `json:"lag_seconds"`
	StaleLanes         int            `json:"stale_lanes"`
	ETASeconds         *float64       `json:"eta_seconds"` // nil: the lag does not shrink, or nobody knows
	LostOffsets        int64          `json:"lost_offsets"`
	PossibleDuplicates int64          `json:"possible_duplicates"`
	DeadLetters        int64          `json:"dead_letters"`
	Groups             FlowGroups     `json:"groups"`
	Switch             Switch         `json:"switch"`
	Paused             *Paused        `json:"paused"` // nil: the flow as a whole is not
}

// AivenFlow is a flow as Aiven's API has it.
type AivenFlow struct {
	Enabled  bool     `json:"enabled"`
	Progress *float64 `json:"progress"` // 0 to 1; nil: it does not say
}

// FlowGroups counts partitions of consumer groups.
type FlowGroups struct {
	Partitions map[string]int `json:"partitions"` // by verdict
	Unsynced   int            `json:"unsynced"`   // those that would not go on in the right place
}

// Switch tells whether producers and consumers can go over to the target now.
type Switch struct {
	Safe    bool     `json:"safe"`
	Reasons []string `json:"reasons"` // why not; none if Safe
	Others  int      `json:"others"`  // partitions that this replica does not have: then the last reason says so
}

// Paused is by whose wish a flow rests.
type Paused struct {
	By    string    `json:"by"`
	Since time.Time `json:"since"`
}

// Topics is the answer of TopicsPath.
type Topics struct {
	Topics []Topic `json:"topics"`
}

// Topic is a topic of a flow, as far as this process has it.
type Topic struct {
	Flow             string         `json:"flow"`
	Topic            string         `json:"topic"`
	TargetTopic      string         `json:"target_topic"`
	Lanes            map[string]int `json:"lanes"` // by state; those without are left out
	LagRecords       *int64         `json:"lag_records"`
	LagSeconds       *float64       `json:"lag_seconds"`
	RecordsPerSecond float64        `json:"records_per_second"`
	BytesPerSecond   float64        `json:"bytes_per_second"`
	History          []Point        `json:"history"` // of TopicsPath alone
}

// Point is a lag at one moment: Unix time in seconds, and source offsets.
type Point [2]int64

// Group is a consumer group over the partitions that this process has.
type Group struct {
	Flow, Group, TargetGroup string
	Partitions, Unsynced     int
	Lag                      *int64
	Verdicts                 map[string]int
	Reason                   string // of the first partition that is not synced
	At                       time.Time
}

// Events is the answer of EventsPath.
type Events struct {
	Events []Event `json:"events"` // the oldest first
	Next   uint64  `json:"next"`   // to be given as after
}

// Event is something that happened.
type Event struct {
	Seq       uint64    `json:"seq"`
	At        time.Time `json:"at"`
	Level     string    `json:"level"` // info, warn or error
	Flow      string    `json:"flow"`
	Topic     string    `json:"topic"`
	Partition *int32    `json:"partition"`
	Text      string    `json:"text"`
}

func (s *site) status(w http.ResponseWriter, r *http.Request) {
	if _, err := readQuery(r.URL.RawQuery); err != nil {
		answer(w, http.StatusBadRequest, Failure{err.Error()})
		return
	}
	s.json(w, r, StatusPath, func() any { return s.view().Status })
}

func (s *site) topics(w http.ResponseWriter, r *http.Request) {
	q, err := readQuery(r.URL.RawQuery)
	if err != nil {
		answer(w, http.StatusBadRequest, Failure{err.Error()})
		return
	}
	flow := q.Get("flow")
	s.json(w, r, TopicsPath+"\x00"+flow, func() any {
		out := Topics{[]Topic{}}
		for _, t := range s.view().Topics {
			if flow == "" || t.Flow == flow {
				t.History = s.source.History(t.Flow, t.Topic)
				out.Topics = append(out.Topics, t)
			}
		}
		return out
	})
}

// eventsMost is the most that one answer of EventsPath has.
const eventsMost = 1000

func (s *site) events(w http.ResponseWriter, r *http.Request) {
	q, err := readQuery(r.URL.RawQuery)
	var after, limit int64
	if err == nil {
		after, err = readUpTo(q, "after", 0, 0, 1<<53)
	}
	if err == nil {
		limit, err = readUpTo(q, "limit", eventsMost, 1, eventsMost)
	}
	if err != nil {
		answer(w, http.StatusBadRequest, Failure{err.Error()})
		return
	}
	answer(w, http.StatusOK, chooseEvents(s.source.Events(uint64(after)), uint64(after), q.Get("flow"), int(limit)))
}

// chooseEvents are those of a flow: from the start of all where somebody reads on,
// else the newest.
func chooseEvents(all []Event, after uint64, flow string, limit int) Events {
	out := Events{[]Event{}, after}
	if len(all) > 0 {
		out.Next = all[len(all)-1].Seq
	}
	for _, e := range all {
		if flow == "" || e.Flow == flow {
			out.Events = append(out.Events, e)
		}
	}
	switch n := len(out.Events); {
	case n <= limit:
	case after == 0:
		out.Events = out.Events[n-limit:]
	default:
		out.Events = out.Events[:limit]
		out.Next = out.Events[limit-1].Seq
	}
	return out
}
