package replicator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/kferry/kferry/replicator/catalog"
	"github.com/kferry/kferry/replicator/policy"
)

// Carrier is somebody else who carries flows: Aiven's MirrorMaker 2. It is asked
// from several goroutines.
type Carrier interface {
	// Flows are those that it has, enabled or not. An error with a method
	// RetryAfter says how long to wait, at least, before it is asked again.
	Flows(ctx context.Context) ([]Carried, error)
}

// Carried is a flow that a Carrier has.
type Carried struct {
	Source, Target  string // aliases
	Enabled         bool
	Progress        float64 // of all topics, 0 to 1; -1: not told
	Identity        bool    // topics keep their names
	Topics, Exclude []string
}

func (c *Carried) String() string { return c.Source + " -> " + c.Target }

// heardFlow is one with its patterns read: bar asks for each partition.
type heardFlow struct {
	Carried
	filter policy.Filter
	vague  bool // a pattern cannot be read here, so it may mean anything
}

func heardFlows(flows []Carried) []heardFlow {
	out := make([]heardFlow, len(flows))
	for i, c := range flows {
		filter, err := policy.NewFilter(c.Topics, c.Exclude)
		out[i] = heardFlow{c, filter, err != nil}
	}
	return out
}

// copies tells whether c writes topic of the source, under that name, to the target.
func (c *heardFlow) copies(topic, target string) bool {
	if name := c.Source + "." + topic; !c.Identity && target != name || c.Identity && target != topic {
		return false
	}
	return c.vague || c.filter.Match(topic)
}

const (
	// The carrier is asked so often; less while it does not answer.
	carrierEvery, carrierMost = 30 * time.Second, 5 * time.Minute
	// One answer takes no longer, or there is none.
	carrierWithin = 10 * time.Second
	// What it said is believed for so long.
	carrierHolds = 2 * time.Minute
)

// carrierWatch asks a Carrier, and knows what it said last.
type carrierWatch struct {
	carrier Carrier
	out     *outages
	asked   chan struct{} // closed after the first try

	mu    sync.Mutex
	flows []heardFlow
	at    time.Time // when it said so; zero: never
	err   error     // why it has not said anything since; nil: it has
}

func newCarrierWatch(c Carrier, out *outages) *carrierWatch {
	return &carrierWatch{carrier: c, out: out, asked: make(chan struct{})}
}

// run asks until ctx ends.
func (w *carrierWatch) run(ctx context.Context) {
	for wait, first := carrierEvery, true; ctx.Err() == nil; first = false {
		err := w.ask(ctx)
		if first {
			close(w.asked)
		}
		pause := carrierEvery
		if err != nil {
			var after interface{ RetryAfter() time.Duration }
			if pause = wait; errors.As(err, &after) {
				pause = max(wait, after.RetryAfter())
			}
			wait = min(2*wait, carrierMost)
		} else {
			wait = carrierEvery
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// ask asks once.
func (w *carrierWatch) ask(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, carrierWithin)
	defer cancel()
	at := time.Now()
	flows, err := w.carrier.Flows(within)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err = err; err != nil {
		w.out.report("aiven", "cannot ask what Aiven's MirrorMaker 2 carries; what kferry carries goes on", err)
		return err
	}
	w.out.over("aiven")
	w.flows, w.at = heardFlows(flows), at
	return nil
}

// wait waits until it was asked once.
func (w *carrierWatch) wait(ctx context.Context) {
	select {
	case <-w.asked:
	case <-ctx.Done():
	}
}

// flow is what the carrier said last of the flow between two clusters; nil: it has
// none. An error says why nothing is known at now.
func (w *carrierWatch) flow(source, target string, now time.Time) (*Carried, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.err != nil && now.Sub(w.at) >= carrierHolds:
		return nil, w.err
	case w.at.IsZero():
		return nil, errNotAsked
	}
	for i := range w.flows {
		if c := w.flows[i]; c.Source == source && c.Target == target {
			return &c.Carried, nil
		}
	}
	return nil, nil
}

// heard is when the carrier last answered, ms since 1970; 0: never.
func (w *carrierWatch) heard() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.at.IsZero() {
		return 0
	}
	return w.at.UnixMilli()
}

var errNotAsked = errors.New("it was not asked yet")

// enabled are the flows between two clusters that the carrier carried when it was
// last heard: a lock stays shut while nobody tells that it is open.
func (w *carrierWatch) enabled(source, target string) (out []heardFlow) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.flows {
		if c.Enabled && c.Source == source && c.Target == target {
			out = append(out, c)
		}
	}
	return out
}

// barred keeps the lanes of view from running whose topic somebody else carries:
// each record would be twice.
func (f *flow) barred(view catalog.View) catalog.View {
	if f.carrier == nil {
		return view
	}
	view = maps.Clone(view)
	enabled := f.carrier.enabled(f.cfg.Source, f.cfg.Target)
	for id, place := range view {
		for i := range enabled {
			if c := &enabled[i]; c.copies(id.Topic, place.TargetTopic) {
				place.Problem = carriedError(&c.Carried, id.Topic)
				view[id] = place
			}
		}
	}
	return view
}

func carriedError(c *Carried, topic string) error {
	return fmt.Errorf("Aiven's MirrorMaker 2 carries topic %q in its flow %s, which is enabled, and each record would be twice: "+ //nolint:staticcheck // it is a name
		"\"kferry aiven handover\" moves the flow to one of the two; or disable it there, or leave the topic out", topic, c)
}

// stands is nil if the carrier says, now, that it carries nothing that f would take
// over.
func (f *flow) stands(ctx context.Context) error {
	if f.carrier == nil {
		return errNoCarrier
	}
	if err := f.carrier.ask(ctx); err != nil {
		return &awayError{fmt.Errorf("cannot tell whether Aiven's MirrorMaker 2 has stopped: %w", err)}
	}
	for _, c := range f.carrier.enabled(f.cfg.Source, f.cfg.Target) {
		if view := f.view.Load(); view != nil {
			for id, place := range *view {
				if c.copies(id.Topic, place.TargetTopic) {
					return carriedError(&c.Carried, id.Topic)
				}
			}
		}
	}
	return nil
}

var errNoCarrier = errors.New("takeover: aiven needs to ask Aiven whether its MirrorMaker 2 has stopped: set the environment variable AIVEN_TOKEN, or aiven.token_file")
