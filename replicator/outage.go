package replicator

import (
	"cmp"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// An outage that lasts is said once a minute.
	outageEvery = time.Minute
	// What is mended within this is not worth a line: leaders move all the time.
	outageGrace = time.Second
)

// outages turns a storm of like errors into one line when it begins, one a
// minute while it lasts, and "recovered" at its end. Safe for concurrent use.
type outages struct {
	log   *slog.Logger
	grace time.Duration // an outage shorter than this is not said
	some  atomic.Bool   // fast path of over: there is nothing to end

	mu   sync.Mutex
	open map[string]*outage
}

type outage struct {
	key, msg    string
	began, said time.Time
	errors      int   // since the last line
	last        error // the latest
}

func newOutages(log *slog.Logger, grace time.Duration) *outages {
	return &outages{log: log, grace: grace, open: map[string]*outage{}}
}

// report says err under msg, unless that was said within the last minute for
// the same key.
func (o *outages) report(key, msg string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	out := o.open[key]
	if out == nil {
		out = &outage{key: key, began: now}
		o.open[key] = out
		o.some.Store(true)
	}
	out.errors++
	out.msg, out.last = msg, err
	if now.Sub(out.began) < o.grace || now.Sub(out.said) < outageEvery {
		return
	}
	o.log.Warn(msg, "at", key, "err", err, "since", out.began.UTC().Format(time.RFC3339), "errors", out.errors)
	out.said, out.errors = now, 0
}

// why is the latest error of the outage that began first; nil when there is none.
func (o *outages) why() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	var first *outage
	for _, out := range o.open {
		if first == nil || out.began.Before(first.began) {
			first = out
		}
	}
	if first == nil {
		return nil
	}
	return first.last
}

// errors are the latest errors of all outages that last.
func (o *outages) errors() (errs []error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, out := range o.open {
		errs = append(errs, out.last)
	}
	return errs
}

// has tells that there is an outage of key, however short.
func (o *outages) has(key string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.open[key] != nil
}

// lasting are the outages that are not mended within the grace, the first one first.
func (o *outages) lasting(now time.Time) (out []outage) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, x := range o.open {
		if now.Sub(x.began) >= o.grace {
			out = append(out, *x)
		}
	}
	slices.SortFunc(out, func(a, b outage) int { return cmp.Or(a.began.Compare(b.began), cmp.Compare(a.key, b.key)) })
	return out
}

// over ends the outage of key, if there is one.
func (o *outages) over(key string) {
	if !o.some.Load() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if out := o.open[key]; out != nil {
		delete(o.open, key)
		o.some.Store(len(o.open) > 0)
		if out.said.IsZero() {
			return
		}
		o.log.Info("recovered", "at", key, "after", time.Since(out.began).Round(time.Millisecond).String())
	}
}
