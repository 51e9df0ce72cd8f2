package replicator

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/replicator/fetch"
	"github.com/kferry/kferry/replicator/lane"
	"github.com/kferry/kferry/replicator/recode"
)

// A batch that the target calls corrupt is fetched again so many times before
// the damage must be on the source's disk.
const corruptAfter = 5

// A lane that cannot send keeps what is in flight for so long, to send the same bytes
// again. Then it lets go of it: others need the memory.
const keepFor = 5 * time.Second

// What the helm does about lanes that failed: a fetcher or producer has let go
// of the lane and says why.

// failing counts failures that follow each other without progress, and says how
// long to wait.
func (m *member) failing() time.Duration {
	if at := m.lane.Snapshot().Source; at != m.failedAt {
		m.tries, m.failedAt = 0, at
	}
	m.tries++
	return backoff(m.tries - 1)
}

// ail reports what keeps a lane waiting, and returns it in words. A connection
// that fails is the broker's outage, which its next answer ends; an error code is
// the topic's, which ends when the lanes that had it get on.
func (h *helm) ail(m *member, alias, at string, cause error) (why error) {
	var code *kerr.Error
	if errors.As(cause, &code) {
		at = fmt.Sprintf("%s topic %s", alias, m.lane.Topic)
		h.ailing[m] = at
	}
	why = kafka.Explain(alias, cause)
	h.f.outages.report(at, "not served at the moment, trying on", why)
	return why
}

// heal ends the outages of lanes that got on, or no longer try.
func (h *helm) heal() {
	still := map[string]bool{}
	var over []string
	for m, at := range h.ailing {
		if s := m.lane.Snapshot(); s.State == lane.Paused || shown(s) == lane.Running && (s.Source != m.failedAt || s.Held == 0) {
			delete(h.ailing, m)
			over = append(over, at)
		} else {
			still[at] = true
		}
	}
	for _, at := range over {
		if !still[at] {
			h.f.outages.over(at)
		}
	}
}

// fetchFailed: the lane has left its fetcher. What it holds can still be sent.
func (h *helm) fetchFailed(l *lane.Lane, v kafka.Verdict, cause error, at string) {
	m := h.f.lanes[l.ID]
	if m == nil || m.lane != l || m.fetcher == nil {
		return // it was taken from the fetcher meanwhile, on purpose
	}
	m.fetcher = nil
	var large *recode.TooLargeError
	switch {
	case v == kafka.Retry || v == kafka.Rehome:
		why := h.ail(m, h.f.source.Alias(), at, cause)
		l.Note("waiting for the source: " + why.Error())
		m.homeSource, m.due = true, time.Now().Add(m.failing())
		h.pending[m] = true
		h.f.askRefresh()
	case v == kafka.Resume:
		m.uncounted = fetch.UncountedGap(cause)
		h.drain(m, func() { h.again(m, 0) })
	case errors.As(cause, &large) && !large.Unpacked:
		h.f.signs.target.Add(1)
		h.f.catalog.Reread(l.Topic)
		h.halt(m, fmt.Errorf("the record at source offset %d is %d bytes as a batch, the target topic %q takes %d: raise max.message.bytes on it; "+
			"or set on_refused: dead_letter to go on without such records",
			large.Offset, large.Size, l.TargetTopic, large.Limit))
	default:
		h.f.signs.source.Add(1)
		h.halt(m, fmt.Errorf("reading from the source: %w", kafka.Explain(h.f.source.Alias(), cause)))
	}
}

// produceFailed: the lane has left its producer, settled.
func (h *helm) produceFailed(l *lane.Lane, v kafka.Verdict, cause error, at string) {
	m := h.f.lanes[l.ID]
	if m == nil || m.lane != l {
		l.Drop() // it was forgotten meanwhile
		return
	}
	m.producer = nil
	switch v {
	case kafka.Retry, kafka.Rehome:
		reason := "waiting for the target: " + h.ail(m, h.f.target.Alias(), at, cause).Error()
		wait, now := m.failing(), time.Now()
		if m.tries == 1 {
			m.waits = now.Round(0)
		}
		h.f.askRefresh()
		if !m.keeps(now) {
			h.letGo(m, reason, wait)
			return
		}
		m.due = now.Add(wait)
		l.Set(lane.Waiting, reason)
		l.Shed()
		m.homeTarget = true
		h.pending[m] = true
	case kafka.Resume:
		h.f.log.Debug("asking the target what it has", "topic", l.Topic, "partition", l.Partition, "source_offset", int64(l.Snapshot().Source), "err", cause)
		h.resume(m, cause)
	case kafka.Refuse:
		h.f.signs.target.Add(1)
		h.refused(m, cause)
	default:
		h.f.signs.target.Add(1)
		if errors.As(cause, new(*lane.LostTargetError)) {
			h.abandon(m, fmt.Errorf("%w; %s", cause, forgetRemedy))
			return
		}
		h.abandon(m, fmt.Errorf("writing to the target: %w", kafka.Explain(h.f.target.Alias(), cause)))
	}
}

// keeps tells whether a lane that waits for the target may send again what it has in
// flight. Not if the target may have stored it and forgotten that: then its log tells.
func (m *member) keeps(now time.Time) bool {
	return now.Round(0).Sub(m.waits) < keepFor && m.lane.Rewindable(now.UnixMilli())
}

// letGo has a lane that cannot send find its place anew. It holds nothing meanwhile.
func (h *helm) letGo(m *member, reason string, after time.Duration) {
	m.unfetch()
	m.lane.Drop()
	m.lane.Set(lane.Starting, reason)
	h.again(m, after)
}

// abandon stops a lane that has left its producer.
func (h *helm) abandon(m *member, why error) {
	m.unfetch()
	h.stop(m, why)
}

// resume drops what the lane holds and finds its place anew.
func (h *helm) resume(m *member, cause error) {
	m.unfetch()
	m.outOfOrder = errors.Is(cause, kerr.OutOfOrderSequenceNumber)
	pos := m.lane.Snapshot().Source
	if pos != m.corruptAt {
		m.corrupt, m.corruptAt = 0, pos
	}
	if m.corrupt++; m.corrupt > corruptAfter {
		m.corrupt = 0
		why := "if its checksum is wrong, the source's log is damaged there"
		if !errors.Is(cause, kerr.CorruptMessage) {
			why = "the target's log shows that it is the next one, and its leader does not take it for that"
		}
		h.stop(m, fmt.Errorf("the batch at source offset %d was refused %d times, fetched anew each time: %s: %w", pos, corruptAfter, why, cause))
		return
	}
	if wait := m.failing(); m.tries > 1 {
		h.again(m, wait)
	} else {
		h.again(m, 0) // to ask the target costs little
	}
}

// refused: the target will never take the oldest batch as it is. A batch that
// is too large is cut smaller; single records are set aside if the flow says so;
// all else a person must mend.
func (h *helm) refused(m *member, cause error) {
	it := m.lane.Oldest()
	h.f.catalog.Reread(m.lane.Topic)
	switch {
	case kafka.TooLarge(cause) && it.Records > 1:
		h.f.log.Info("the target takes smaller batches than its settings say; cutting them", "topic", m.lane.Topic, "partition", m.lane.Partition,
			"source_offset", int64(it.First), "bytes", len(it.Bytes)/2)
		h.narrow(m, len(it.Bytes)/2)
	case h.f.setsAside(cause):
		h.setAside(m, it, cause)
	case h.sendsFirst(m, it, refusedRecords(it, cause)):
	default:
		why := fmt.Errorf("target topic %q refused the batch at source offset %d (%d records, %d bytes): %w", m.lane.TargetTopic, it.First, it.Records, len(it.Bytes), cause)
		if aboutRecords(cause) {
			why = fmt.Errorf("%w; or set on_refused: dead_letter to go on without such records", why)
		}
		h.abandon(m, why)
	}
}
