package mm2

import (
	"encoding/json"
	"strconv"
	"strings"
)

// TaskStatus is what Kafka Connect keeps of a task, in Names.ConnectStatus. The key
// is status-task-CONNECTOR-N, the value {"state":"RUNNING","trace":null,...}.
type TaskStatus struct {
	Connector string
	Task      int
	State     string // RUNNING, PAUSED, FAILED, RESTARTING, UNASSIGNED, DESTROYED; "": there is no such task any more
}

// DecodeTaskStatus reads a record of that topic; false for one about anything else,
// or that cannot be read.
func DecodeTaskStatus(key, value []byte) (s TaskStatus, ok bool) {
	name, ok := strings.CutPrefix(string(key), "status-task-")
	i := strings.LastIndexByte(name, '-')
	if !ok || i < 0 {
		return s, false
	}
	n, err := strconv.Atoi(name[i+1:])
	if err != nil {
		return s, false
	}
	s.Connector, s.Task = name[:i], n
	if value == nil {
		return s, true
	}
	var fields struct {
		State string `json:"state"`
	}
	if json.Unmarshal(value, &fields) != nil || fields.State == "" {
		return s, false
	}
	s.State = fields.State
	return s, true
}

// Working tells that the task may write records.
func (s TaskStatus) Working() bool {
	switch s.State {
	case "", "UNASSIGNED", "FAILED", "PAUSED", "STOPPED", "DESTROYED":
		return false
	}
	return true
}
