package web

import (
	"fmt"
	"strings"
	"time"
)

// The worlds that the page is looked at in.

var worldTime = time.Date(2026, 11, 26, 10, 15, 30, 0, time.UTC)

func at[T any](v T) *T { return &v }

// aFlow is one with n lanes that run and have caught up.
func aFlow(n int) Flow {
	return Flow{
		Name: "cloudkarafka-aiven", Source: "cloudkarafka", Target: "aiven", Engine: "kferry", Leads: true, Slots: 8, Partitions: at(n),
		Lanes:   map[string]int{"running": n, "waiting": 0, "paused": 0, "stopped": 0, "starting": 0},
		Records: 48_211_930, Bytes: 61_234_567_890, RecordsPerSecond: 1843.2, BytesPerSecond: 2_311_000, LagRecords: at(int64(0)), LagSeconds: at(0.0), ETASeconds: at(0.0),
		Groups: FlowGroups{Partitions: map[string]int{"exact": 11, "gap": 1}}, Switch: Switch{Safe: true, Reasons: []string{}},
	}
}

func aStatus(flows ...Flow) Status {
	return Status{
		Version: "v0.6.0", Instance: "ferry-1", StartedAt: worldTime.Add(-75 * time.Minute), Now: worldTime, Healthy: true, Problems: []Problem{},
		Clusters: []Cluster{
			{Alias: "aiven", Up: true, Since: at(worldTime.Add(-75 * time.Minute))}, {Alias: "cloudkarafka", Up: true, Since: at(worldTime.Add(-75 * time.Minute))},
		},
		Memory: Memory{Used: 3 << 20, Limit: 256 << 20}, Flows: flows,
	}
}

var someTopics = []string{"pizza-orders", "pizza-deliveries", "pizza-payments", "clicks"}

// healthy has caught up with everything.
func healthy() *source {
	const partitions = 3
	s := &source{histories: map[string][]Point{}, seen: View{Status: aStatus(aFlow(partitions * len(someTopics)))}}
	for n, topic := range someTopics {
		s.seen.Topics = append(s.seen.Topics, Topic{Flow: "cloudkarafka-aiven", Topic: topic, TargetTopic: topic, Lanes: map[string]int{"running": partitions},
			LagRecords: at(int64(0)), LagSeconds: at(0.0), RecordsPerSecond: 460.8 / float64(n+1)})
		for p := range partitions {
			s.seen.Lanes = append(s.seen.Lanes, Lane{Flow: "cloudkarafka-aiven", Topic: topic, TargetTopic: topic, Partition: int32(p), State: "running",
				SourceOffset: 4_017_660 + int64(p*977), TargetOffset: 4_017_001, LagRecords: at(int64(0)), LagSeconds: at(0.0), Records: 4_017_660, Bytes: 5_102_880_657,
				RecordsPerSecond: 153.6 / float64(n+1)})
		}
		for i := range 361 {
			lag := int64(0)
			if i < 120+40*n {
				lag = int64(120+40*n-i) * int64(2100/(n+1))
			} else if i%17 == n {
				lag = int64(40 + 7*n)
			}
			s.histories[topic] = append(s.histories[topic], Point{worldTime.Unix() - 3600 + int64(i)*10, lag})
		}
	}
	for _, g := range []string{"billing", "kitchen-display", "fraud"} {
		s.seen.Groups = append(s.seen.Groups, Group{Flow: "cloudkarafka-aiven", Group: g, TargetGroup: g, Partitions: 4, Lag: at(int64(0)), Verdicts: map[string]int{"exact": 4}, At: worldTime})
	}
	for i, text := range []string{"connected (cluster cloudkarafka)", "connected (cluster aiven)", "slots owned (slots 8, of 8)", "created the topic on the target", "lanes added (new 12, all 12)"} {
		e := Event{Seq: uint64(i + 1), At: worldTime.Add(-75*time.Minute + time.Duration(i)*370*time.Millisecond), Level: "info", Text: text}
		if i >= 2 {
			e.Flow = "cloudkarafka-aiven"
		}
		if i == 3 {
			e.Topic = "pizza-orders"
		}
		s.events = append(s.events, e)
	}
	return s
}

// lagging catches up with a backlog.
func lagging() *source {
	s := healthy()
	f := &s.seen.Status.Flows[0]
	f.LagRecords, f.LagSeconds, f.ETASeconds = at(int64(412_877)), at(1934.0), at(224.0)
	f.Groups = FlowGroups{Partitions: map[string]int{"exact": 7, "not_mirrored_yet": 5}, Unsynced: 5}
	f.Switch = Switch{Reasons: []string{"412,877 records are not on the target yet; the oldest is 32m14s old",
		`2 consumer groups would not go on in the right place, in 5 partitions: "billing", "fraud"`}}
	for i := range s.seen.Topics {
		s.seen.Topics[i].LagRecords, s.seen.Topics[i].LagSeconds = at(int64(309_000/(i*i+1))), at(1934.0/float64(i+1))
		h := s.histories[s.seen.Topics[i].Topic]
		for j := range h {
			h[j][1] = int64((1500-2*j)*(300-j/2)/(i*i+1)) + int64(j%7*500)
		}
	}
	for i := range s.seen.Lanes {
		s.seen.Lanes[i].LagRecords, s.seen.Lanes[i].LagSeconds = at(int64(103_000/(i+1))), at(1934.0/float64(i+1))
	}
	for i, n := range []int{3, 0, 2} {
		s.seen.Groups[i].Unsynced, s.seen.Groups[i].Lag = n, at(int64(n*1200))
		if n > 0 {
			s.seen.Groups[i].Verdicts = map[string]int{"exact": 4 - n, "not_mirrored_yet": n}
			s.seen.Groups[i].Reason = "not mirrored yet: committed at the end of what is mirrored, and grows as it does"
		}
	}
	return s
}

// stopped has lanes that cannot go on, a cluster that is away and what was lost.
func stopped() *source {
	const why = `target topic "pizza-payments" refused the batch at source offset 4018637 (500 records, 1204411 bytes): the record is larger than max.message.bytes of the topic; ` +
		"raise it to 2097152, or set on_refused: dead_letter to go on without such records"
	const away = `waiting for the source: cluster "cloudkarafka": connect rocket-02.example:9094: nothing listens there; is the broker running, and is the port right? (connection refused)`
	s := lagging()
	st := &s.seen.Status
	st.Healthy = false
	st.Clusters[1] = Cluster{Alias: "cloudkarafka", Since: at(worldTime.Add(-95 * time.Second)), Error: away[len("waiting for the source: "):]}
	f := &st.Flows[0]
	f.Lanes = map[string]int{"running": 5, "waiting": 3, "paused": 3, "stopped": 1, "starting": 0}
	f.StaleLanes, f.LostOffsets, f.ETASeconds = 3, 12, nil
	f.Switch.Reasons = append([]string{`cluster "cloudkarafka" does not answer`, `1 lane is stopped: "pizza-payments" partition 1`,
		`3 lanes are waiting: "clicks" partition 0, "clicks" partition 1, "clicks" partition 2`,
		`3 lanes are paused: "pizza-deliveries" partition 0, "pizza-deliveries" partition 1, "pizza-deliveries" partition 2`}, f.Switch.Reasons...)
	st.Problems = []Problem{
		{Severity: "error", Text: `cluster "cloudkarafka" does not answer: connect rocket-02.example:9094: nothing listens there; is the broker running, and is the port right?`},
		{Severity: "error", Flow: f.Name, Topic: "pizza-payments", Partition: at(int32(1)), Text: "stopped: " + why},
		{Severity: "warning", Flow: f.Name, Topic: "pizza-deliveries", Text: "paused by ann@laptop at 2026-11-26T10:02:11Z"},
		{Severity: "warning", Flow: f.Name, Text: "12 offsets were removed by the source before they could be carried"},
	}
	for i := range s.seen.Lanes {
		l := &s.seen.Lanes[i]
		switch {
		case l.Topic == "pizza-payments" && l.Partition == 1:
			l.State, l.Reason = "stopped", why
		case l.Topic == "clicks":
			l.State, l.Reason, l.LagStale = "waiting", away, true
		case l.Topic == "pizza-deliveries":
			l.State, l.Reason = "paused", "paused by ann@laptop at 2026-11-26T10:02:11Z"
		}
	}
	s.seen.Topics[1].Lanes = map[string]int{"paused": 3}
	s.seen.Topics[2].Lanes = map[string]int{"running": 2, "stopped": 1}
	s.seen.Topics[3].Lanes = map[string]int{"waiting": 3}
	s.events = append(s.events,
		Event{Seq: 6, At: worldTime.Add(-13 * time.Minute), Level: "info", Flow: f.Name, Topic: "pizza-deliveries", Text: "paused (by ann@laptop, since 2026-11-26T10:02:11Z)"},
		Event{Seq: 7, At: worldTime.Add(-94 * time.Second), Level: "warn", Flow: f.Name, Text: "not served at the moment, trying on: " + away[len("waiting for the source: "):]},
		Event{Seq: 8, At: worldTime.Add(-61 * time.Second), Level: "error", Flow: f.Name, Topic: "pizza-payments", Partition: at(int32(1)), Text: "lane stopped: " + why})
	return s
}

// empty has only just begun.
func empty() *source {
	f := aFlow(0)
	f.Records, f.Bytes, f.RecordsPerSecond, f.BytesPerSecond, f.Partitions = 0, 0, 0, 0, nil
	f.LagRecords, f.LagSeconds, f.ETASeconds = nil, nil, nil
	f.Groups.Partitions = map[string]int{}
	f.Switch = Switch{Reasons: []string{"the flow is still starting"}}
	s := &source{seen: View{Status: aStatus(f)}}
	s.seen.Status.StartedAt = worldTime.Add(-2 * time.Second)
	for i := range s.seen.Status.Clusters {
		s.seen.Status.Clusters[i] = Cluster{Alias: s.seen.Status.Clusters[i].Alias}
	}
	return s
}

// evil is a name that wants to be markup, script and another line.
const evil = "\"><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">'\n\r\x00\x1b[31m\u202egnp\xff{{.}}</title>`${1}"

// hostile has evil wherever a name can come from outside.
func hostile() *source {
	s := stopped()
	st := &s.seen.Status
	st.Instance, st.Version = evil, evil
	for i := range st.Clusters {
		st.Clusters[i].Alias, st.Clusters[i].Error = evil, evil
	}
	f := &st.Flows[0]
	f.Name, f.Source, f.Target, f.Paused = evil, evil, evil, &Paused{By: evil, Since: worldTime}
	f.Groups.Partitions = map[string]int{evil: 1}
	f.Switch.Reasons = []string{evil}
	for i := range st.Problems {
		st.Problems[i].Flow, st.Problems[i].Topic, st.Problems[i].Text = evil, evil, evil
	}
	for i := range s.seen.Topics {
		t := &s.seen.Topics[i]
		s.histories[evil] = s.histories[t.Topic]
		t.Flow, t.Topic, t.TargetTopic = evil, evil, evil+"2"
	}
	for i := range s.seen.Lanes {
		l := &s.seen.Lanes[i]
		l.Flow, l.Topic, l.TargetTopic, l.Reason = evil, evil, evil, evil
	}
	for i := range s.seen.Groups {
		g := &s.seen.Groups[i]
		g.Flow, g.Group, g.TargetGroup, g.Reason, g.Verdicts = evil, evil, evil+"2", evil, map[string]int{evil: 2}
	}
	for i := range s.events {
		s.events[i].Flow, s.events[i].Topic, s.events[i].Text = evil, evil, evil
	}
	return s
}

// large has n lanes in topics of ten partitions each.
func large(n int) *source {
	s := &source{histories: map[string][]Point{}, seen: View{Status: aStatus(aFlow(n))}}
	for i := range n {
		topic := fmt.Sprintf("team-%02d.orders-%04d", i/10%37, i/10)
		if i%10 == 0 {
			s.seen.Topics = append(s.seen.Topics, Topic{Flow: "cloudkarafka-aiven", Topic: topic, TargetTopic: topic, Lanes: map[string]int{"running": 10}, LagRecords: at(int64(i % 977))})
			if i < 5000 {
				s.histories[topic] = healthy().histories[someTopics[i/10%4]]
			}
		}
		s.seen.Lanes = append(s.seen.Lanes, Lane{Flow: "cloudkarafka-aiven", Topic: topic, TargetTopic: topic, Partition: int32(i % 10), State: "running",
			SourceOffset: int64(i) * 7919 % 1_000_003, LagRecords: at(int64(i * 31 % 997)), LagSeconds: at(float64(i % 61)), Records: int64(i) * 12, RecordsPerSecond: float64(i % 100)})
		if i%500 == 3 {
			s.seen.Lanes[i].State, s.seen.Lanes[i].Reason = "stopped", "somebody took "+strings.Repeat("away ", i%5)
		}
	}
	return s
}
