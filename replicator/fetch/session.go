package fetch

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/replicator/lane"
)

// session is an incremental fetch session (KIP-227) with one broker: a request
// names only the partitions that changed since the last one, and a response
// only those with something new. With thousands of idle lanes this is the
// difference between a few bytes and a megabyte every half second.
//
// A broker may give no session (its cache is full): then each request is whole.
type session struct {
	id, epoch int32
	forget    []*cursor // in the session, and not wanted now
}

// reset makes the next request a whole one, which opens a new session.
func (s *session) reset() { s.id, s.epoch, s.forget = 0, 0, nil }

// whole tells that the next request names every partition.
func (s *session) whole() bool { return s.epoch == 0 }

// answered takes note of the session id of a good response.
func (s *session) answered(id int32) {
	if id == 0 {
		s.reset()
		return
	}
	s.id = id
	s.epoch++
	if s.epoch < 0 { // wraps to 1: 0 would open a new session
		s.epoch = 1
	}
}

// request builds the next request from the partitions that changed.
func (s *session) request(changed []*cursor) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.SessionID, req.SessionEpoch = s.id, s.epoch
	req.IsolationLevel = 1 // read committed: transactions as their readers saw them
	req.MinBytes = 1
	topics := map[string]int{}
	asked := map[lane.ID]bool{}
	for _, c := range changed {
		asked[c.lane.ID] = true
		i, ok := topics[c.lane.Topic]
		if !ok {
			i = len(req.Topics)
			topics[c.lane.Topic] = i
			t := kmsg.NewFetchRequestTopic()
			t.Topic, t.TopicID = c.lane.Topic, c.topicID
			req.Topics = append(req.Topics, t)
		}
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.CurrentLeaderEpoch = c.lane.Partition, c.Epoch.Epoch()
		p.FetchOffset, p.PartitionMaxBytes = int64(c.from), c.ask
		if !c.checked {
			p.LastFetchedEpoch = c.leader.Epoch() // has the broker compare its log with what we read
		}
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, p)
	}
	if !s.whole() {
		s.forgotten(req, asked)
	}
	s.forget = nil
	return req
}

// forgotten names what is in the session and not wanted now. A broker adds
// before it forgets, so what is asked for in the same request must not be named.
func (s *session) forgotten(req *kmsg.FetchRequest, asked map[lane.ID]bool) {
	topics := map[string]int{}
	for _, c := range s.forget {
		if asked[c.lane.ID] {
			continue
		}
		i, ok := topics[c.lane.Topic]
		if !ok {
			i = len(req.ForgottenTopics)
			topics[c.lane.Topic] = i
			t := kmsg.NewFetchRequestForgottenTopic()
			t.Topic, t.TopicID = c.lane.Topic, c.topicID
			req.ForgottenTopics = append(req.ForgottenTopics, t)
		}
		req.ForgottenTopics[i].Partitions = append(req.ForgottenTopics[i].Partitions, c.lane.Partition)
	}
}
