package lane

// Times of what is measured are milliseconds since 1970, durations milliseconds.

// recentHalf is half of the time that Recent is about: like Kafka's own metrics
// it keeps two halves and forgets the older one as a whole.
const recentHalf = 30_000 // ms

// Recent is what a lane did in the last 30 to 60 seconds. Ages and latencies are
// those of batches, each measured at its first record.
type Recent struct {
	Since          int64 // when what is counted began
	Records, Bytes int64 // acknowledged
	Age            Spread
	Latency        Spread
}

// Spread is what was measured of one thing.
type Spread struct {
	Last          int64 // the newest; of all time, if Seen
	Seen          bool  // anything was ever measured
	Min, Max, Sum int64
	N             int64 // measured in the time that Recent is about; 0: Min, Max and Sum say nothing
}

// Add takes in a measurement. A record from the future has age 0.
func (s *Spread) Add(v int64) {
	v = max(v, 0)
	if s.N == 0 {
		s.Min, s.Max = v, v
	}
	s.Last, s.Seen = v, true
	s.Min, s.Max = min(s.Min, v), max(s.Max, v)
	s.Sum += v
	s.N++
}

// Merge takes in what was measured elsewhere. Of two newest ones the larger
// counts, since nobody knows which came later.
func (s *Spread) Merge(o Spread) {
	switch {
	case o.N == 0:
	case s.N == 0:
		s.Min, s.Max, s.Sum, s.N = o.Min, o.Max, o.Sum, o.N
	default:
		s.Min, s.Max, s.Sum, s.N = min(s.Min, o.Min), max(s.Max, o.Max), s.Sum+o.Sum, s.N+o.N
	}
	if o.Seen {
		s.Last, s.Seen = max(s.Last, o.Last), true
	}
}

// Merge takes in what another lane did.
func (r *Recent) Merge(o Recent) {
	if r.Since == 0 || o.Since != 0 && o.Since < r.Since {
		r.Since = o.Since
	}
	r.Records += o.Records
	r.Bytes += o.Bytes
	r.Age.Merge(o.Age)
	r.Latency.Merge(o.Latency)
}

// Rates are records and bytes per second up to now. Less than half a minute
// counts as that, or the first batch of a lane would look like a flood.
func (r Recent) Rates(now int64) (records, bytes float64) {
	if r.Since == 0 {
		return 0, 0
	}
	s := float64(max(now-r.Since, recentHalf)) / 1000
	return float64(r.Records) / s, float64(r.Bytes) / s
}

// Lately keeps a Recent.
type Lately struct{ now, before Recent }

// At is what is to be counted in at that time.
func (w *Lately) At(now int64) *Recent {
	if passed := now - w.now.Since; passed >= recentHalf {
		last := w.now
		w.now, w.before = Recent{Since: now}, Recent{}
		if passed < 2*recentHalf {
			w.now.Since, w.before = last.Since+recentHalf, last
		}
		w.now.Age.Last, w.now.Age.Seen = last.Age.Last, last.Age.Seen
		w.now.Latency.Last, w.now.Latency.Seen = last.Latency.Last, last.Latency.Seen
	}
	return &w.now
}

// Recent is all that was counted lately, as of now.
func (w *Lately) Recent(now int64) Recent {
	if w.now.Since == 0 {
		return Recent{}
	}
	out := *w.At(now)
	age, latency := out.Age.Last, out.Latency.Last // the newer ones
	if w.before.Since != 0 {
		out.Merge(w.before)
	}
	out.Age.Last, out.Latency.Last = age, latency
	return out
}

// Recent is what the lane did lately, as of now.
func (l *Lane) Recent(now int64) Recent {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.recent.Recent(now)
}
