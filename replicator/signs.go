package replicator

import (
	"errors"
	"sync/atomic"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/replicator/lane"
)

// signs are a flow's signs of life and trouble, for metrics. Times are
// milliseconds since 1970; 0: never.
type signs struct {
	progress, groups, heartbeat atomic.Int64
	source, target              atomic.Int64 // refusals for good
}

// rejection is what a cluster and we do not accept of each other.
type rejection struct {
	cluster string // alias
	kind    kafka.Rejection
}

// rejections adds those that hold up the flow now, or one of its lanes.
func (f *flow) rejections(out map[rejection]bool) {
	errs := f.outages.errors()
	for _, m := range f.members() {
		if err := m.halted.Load(); err != nil && m.lane.State() == lane.Stopped {
			errs = append(errs, *err)
		}
	}
	for _, err := range errs {
		if r, ok := rejectionIn(err, f.cfg.Target); ok {
			out[r] = true
		}
	}
}

// countRefusal counts a start that a side refused.
func (h *helm) countRefusal(err error) {
	r, ok := rejectionIn(err, h.f.cfg.Target)
	switch {
	case !ok:
	case r.cluster == h.f.cfg.Source:
		h.f.signs.source.Add(1)
	default:
		h.f.signs.target.Add(1)
	}
}

// rejectionIn finds one in err. Rights that are missed without naming a cluster
// are those on the target: there is more to do there than to read.
func rejectionIn(err error, target string) (r rejection, ok bool) {
	var e *kafka.Error
	switch {
	case errors.As(err, &e):
		return rejection{e.Cluster, e.Rejects}, e.Rejects != ""
	case kafka.Denied(err):
		return rejection{target, kafka.RejectsAuthorization}, true
	}
	return r, false
}
