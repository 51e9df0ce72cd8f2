package mm2

import "testing"

func TestDecodeTaskStatus(t *testing.T) {
	running := `{"state":"RUNNING","trace":null,"worker_id":"a->b","generation":3}`
	for _, x := range []struct {
		key, value string
		want       TaskStatus
		working    bool
	}{
		{"status-task-MirrorSourceConnector-0", running, TaskStatus{"MirrorSourceConnector", 0, "RUNNING"}, true},
		{"status-task-a-b-12", running, TaskStatus{"a-b", 12, "RUNNING"}, true},
		{"status-task-a-0", `{"state":"RESTARTING"}`, TaskStatus{"a", 0, "RESTARTING"}, true},
		{"status-task-a-0", `{"state":"something new"}`, TaskStatus{"a", 0, "something new"}, true},
		{"status-task-a-0", `{"state":"UNASSIGNED"}`, TaskStatus{"a", 0, "UNASSIGNED"}, false},
		{"status-task-a-0", `{"state":"FAILED","trace":"x"}`, TaskStatus{"a", 0, "FAILED"}, false},
		{"status-task-a-0", "", TaskStatus{"a", 0, ""}, false}, // a tombstone
	} {
		var value []byte
		if x.value != "" {
			value = []byte(x.value)
		}
		if got, ok := DecodeTaskStatus([]byte(x.key), value); !ok || got != x.want || got.Working() != x.working {
			t.Errorf("%s %s: %+v, %v, working %v", x.key, x.value, got, ok, got.Working())
		}
	}
	for key, value := range map[string]string{
		"status-connector-a": running, "status-topic-t:connector-a": running, "status-task-a": running, "status-task-a-b": running,
		"status-task-a-0": "{", "status-task-a-1": "{}", "": running,
	} {
		if got, ok := DecodeTaskStatus([]byte(key), []byte(value)); ok {
			t.Errorf("%s %s: %+v", key, value, got)
		}
	}
}
