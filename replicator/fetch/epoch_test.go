package fetch

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/replicator/lane"
)

// known is a lane that read the offset before from under the first epoch, and is
// fetched under it.
func (w *world) known(n int32, epoch lane.Leader) *lane.Lane {
	l := lane.New(lane.ID{Topic: "a", Partition: n}, "a")
	l.Start(lane.Plan{Position: lane.Position{Source: 1, Leader: lane.LeaderOf(0)}}, 0, nil)
	w.f.Add(Source{Lane: l, TopicID: w.fake.TopicInfo("a").TopicID, Epoch: epoch})
	return l
}

// epochs tells how partition n of topic a was named by the requests since the last call:
// "current/last fetched", the session's first with a star.
func (w *world) epochs(n int32) (said []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.requests {
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				if p.Partition == n {
					s := fmt.Sprint(p.CurrentLeaderEpoch, "/", p.LastFetchedEpoch)
					if r.SessionEpoch == 0 {
						s += "*"
					}
					said = append(said, s)
				}
			}
		}
	}
	w.requests = nil
	return said
}

// A broker is asked to compare its log with what was read until it has done so
// once under an epoch, and after each break.
func TestFetcherHasLogsCompared(t *testing.T) {
	fetching(t, func(t *testing.T, w *world) {
		w.write("a", 0, "0")
		w.write("a", 1, "0")
		l := w.known(0, lane.LeaderOf(0))
		w.settle()
		want(t, w.epochs(0), "0/0*", "0/-1")
		w.settle()
		want(t, w.epochs(0)) // nothing is new
		w.write("a", 0, "1")
		w.settle()
		want(t, take(t, l), "1")
		want(t, w.epochs(0), "0/-1")

		w.answer(func(_ *kmsg.FetchRequest, resp *kmsg.FetchResponse) error {
			resp.ErrorCode = kerr.FetchSessionIDNotFound.Code
			return nil
		})
		w.settle()
		want(t, w.epochs(0), "0/0*", "0/-1")

		late := w.known(1, lane.LeaderOf(0)) // joins a session
		w.settle()
		want(t, w.epochs(1), "0/0", "0/-1")
		w.wantFailed(l, "")
		w.wantFailed(late, "")
	})
}

// Where the metadata does not tell the epoch, another leader would not be
// noticed: each request has the logs compared.
func TestFetcherHasLogsComparedEachTime(t *testing.T) {
	fetching(t, func(t *testing.T, w *world) {
		w.write("a", 0, "0")
		l := w.known(0, 0)
		w.settle()
		w.write("a", 0, "1")
		w.settle()
		want(t, take(t, l), "1")
		want(t, w.epochs(0), "-1/0*", "-1/0")
	})
}

// A broker that throttles answers with nothing, whatever the logs are.
func TestFetcherThrottledWhileComparing(t *testing.T) {
	fetching(t, func(t *testing.T, w *world) {
		w.write("a", 0, "0")
		for range 2 {
			w.answer(func(_ *kmsg.FetchRequest, resp *kmsg.FetchResponse) error {
				resp.ThrottleMillis, resp.SessionID = 1, 77
				return nil
			})
		}
		w.answer(func(_ *kmsg.FetchRequest, resp *kmsg.FetchResponse) error {
			w.part(resp, "a", 0, 0, nil)
			resp.Topics[0].Partitions[0].DivergingEpoch.EndOffset = 0
			return nil
		})
		l := w.known(0, lane.LeaderOf(0))
		w.settle()
		want(t, w.epochs(0), "0/0*") // and what the session was not told otherwise it keeps
		w.wantFailed(l, "resume: the source's log was truncated: up to offset 0 it is the one that was read, to offset 1")
	})
}

// Leadership that went away and came back between two fetches may have cut the log.
func TestFetcherNoticesEachElection(t *testing.T) {
	fetching(t, func(t *testing.T, w *world) {
		w.write("a", 0, "0")
		l := w.known(0, lane.LeaderOf(0))
		w.settle()
		w.epochs(0)
		cl, err := w.cl.NewClient()
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		if _, err := kadm.NewClient(cl).ElectLeaders(t.Context(), kadm.ElectPreferredReplica, kadm.TopicsSet{"a": {0: {}}}); err != nil {
			t.Fatal(err)
		}
		w.settle()
		w.wantFailed(l, "rehome: FENCED_LEADER_EPOCH")
		w.f.Add(Source{Lane: l, TopicID: w.fake.TopicInfo("a").TopicID, Epoch: lane.LeaderOf(1)})
		w.settle()
		want(t, w.epochs(0), "1/0", "1/-1")
	})
}
