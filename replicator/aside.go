package replicator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/deadletter"
	"github.com/kferry/kferry/replicator/lane"
	"github.com/kferry/kferry/replicator/produce"
)

// A flow with this on_refused sets aside the records that the target will never take.
const onRefusedDeadLetter = "dead_letter"

// What was set aside is said once in so long for each lane and cause.
const asideEvery = time.Minute

// aside is a run of records that the target refused for good, on its way to the
// dead letter topic.
type aside struct {
	at      lane.Position  // where the lane stands; nothing to carry is between that and first
	first   offsets.Source // of the records
	next    offsets.Source // where the source goes on after them
	letters []*kgo.Record
	cause   error
	kept    bool // the dead letter topic has them
}

// setsAside tells whether records refused for this cause are set aside. Causes
// that are about the target rather than about single records are not among them:
// every record would follow.
func (f *flow) setsAside(cause error) bool {
	return f.cfg.OnRefused == onRefusedDeadLetter && aboutRecords(cause)
}

func aboutRecords(cause error) bool {
	return kafka.TooLarge(cause) || errors.Is(cause, kerr.InvalidTimestamp) || errors.Is(cause, kerr.InvalidRecord) || errors.Is(cause, kerr.PolicyViolation)
}

// setAside has the records at the front of it set aside if it is sure that they
// are refused; else it has the lane come back with a batch that tells more.
func (h *helm) setAside(m *member, it lane.Item, cause error) {
	bad := refusedRecords(it, cause)
	switch {
	case it.Records == 1:
		bad = []int32{0}
	case h.sendsFirst(m, it, bad):
		return
	case len(bad) == 0 || bad[0] > 0:
		h.narrow(m, len(it.Bytes)/2)
		return
	}
	n := 1
	for n < len(bad) && bad[n] == int32(n) {
		n++
	}
	letters, err := deadletter.Letters(bytes.Clone(it.Bytes), n, deadletter.Origin{Lane: m.lane.ID, TargetTopic: m.lane.TargetTopic, First: it.First, Reason: cause.Error()})
	if err != nil {
		h.resume(m, fmt.Errorf("to be set aside: %w", err))
		return
	}
	a := &aside{at: m.lane.Snapshot().Position, first: it.First, next: it.Next, letters: letters, cause: cause}
	if n < int(it.Records) {
		a.next = it.First + offsets.Source(n)
	}
	if !kafka.TooLarge(cause) {
		m.limit = 0 // it was to find the record
	}
	m.cut, m.aside = 0, a
	m.unfetch()
	h.again(m, 0)
}

// sendsFirst has the lane come back with the records of it that are before the first of
// bad, which the target refuses; false if there are none, or that was tried.
func (h *helm) sendsFirst(m *member, it lane.Item, bad []int32) bool {
	if len(bad) == 0 || bad[0] == 0 || m.cut == it.First+offsets.Source(bad[0]) {
		return false
	}
	m.cut = it.First + offsets.Source(bad[0])
	m.unfetch()
	h.again(m, 0)
	return true
}

// refusedRecords are the places in the batch that the target names, ascending;
// none if it names none or the places say nothing about source offsets.
func refusedRecords(it lane.Item, cause error) []int32 {
	var r *produce.RefusedError
	if !errors.As(cause, &r) || it.Runs != nil || r.Records[0] < 0 || r.Records[len(r.Records)-1] >= it.Records {
		return nil
	}
	return r.Records
}

// narrow has the lane come back with batches of several records cut to bytes.
func (h *helm) narrow(m *member, bytes int) {
	m.limit = max(bytes, 1)
	m.unfetch()
	h.again(m, 0) // not resume, which takes the same offset again and again for a damaged batch
}

// setAside writes what is to be set aside and moves the plan behind it. By now
// all before it is acknowledged, and the target was asked and does not have it;
// save comes next. So a crash may leave a record in the dead letter topic twice
// but never loses one.
//
// What follows is no longer counted together with what came before: a new epoch
// begins, with sequence 0. The broker then refuses batches of the old one, be
// they late in some buffer or from another kferry, whose count would be wrong.
func (s *starter) setAside(ctx context.Context, j *job) error {
	if j.aside != nil && (j.stored.Position != j.aside.at || j.plan.Carried+j.plan.Skip+j.plan.Twice > 0) {
		j.aside = nil // the target has it after all: an earlier try was stored
	}
	if j.aside == nil {
		return nil
	}
	return s.keep(ctx, j)
}

func (s *starter) keep(ctx context.Context, j *job) error {
	a := j.aside
	if !a.kept {
		if err := s.f.letters.Write(ctx, a.letters); errors.Is(err, deadletter.ErrSettled) {
			return fmt.Errorf("target topic %q refused the record at source offset %d (%w), and it cannot be set aside: %w", j.place.TargetTopic, a.first, a.cause, err)
		} else if err != nil {
			return &awayError{err}
		}
		a.kept = true
	}
	p := &j.plan.Position
	if p.Source < a.next {
		p.Source, p.Leader = a.next, 0
	}
	return s.newEpoch(ctx, p)
}

// newEpoch begins to count anew: records of before and after are not counted
// together.
func (s *starter) newEpoch(ctx context.Context, p *lane.Position) error {
	p.Sequence = 0
	if p.Epoch < math.MaxInt16 {
		p.Epoch++
		return nil
	}
	fresh, err := s.f.newProducer(ctx)
	if err != nil {
		return &awayError{err}
	}
	p.Producer, p.Epoch = fresh.ProducerID, fresh.ProducerEpoch
	return nil
}

// tally counts what was set aside of one lane for one cause since it was last said.
type tally struct {
	first   offsets.Source // of the records
	records int
	cause   error
	said    time.Time
}

// counted takes note of records that were set aside.
func (h *helm) counted(m *member, a *aside) {
	m.lane.Count(0, 0, int64(len(a.letters)))
	var code *kerr.Error
	_ = errors.As(a.cause, &code) // aboutRecords saw one
	key := told{m, code.Code}
	t := h.tallies[key]
	if t == nil {
		t = &tally{}
		h.tallies[key] = t
	}
	if t.records == 0 {
		t.first = a.first
	}
	t.records += len(a.letters)
	t.cause = a.cause
}

type told struct {
	m    *member
	code int16
}

// tell logs what was set aside, once a minute for each lane and cause.
func (h *helm) tell(now time.Time) {
	for key, t := range h.tallies {
		switch {
		case now.Sub(t.said) < asideEvery:
		case t.records == 0:
			delete(h.tallies, key)
		default:
			h.f.log.Warn("records that the target refuses were set aside", "topic", key.m.lane.Topic, "partition", key.m.lane.Partition,
				"source_offset", int64(t.first), "records", t.records, "dead_letter_topic", deadletter.Topic(h.f.cfg.Name), "reason", t.cause)
			t.records, t.said = 0, now
		}
	}
}
