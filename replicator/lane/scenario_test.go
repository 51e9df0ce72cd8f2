package lane

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/budget"
)

// The scenarios of testdata, as text. To accept new output:
// go test ./replicator/lane -rewrite, then read the diff.
//
//	start source= target= seq= skip=   Start
//	put first= counts=(a,b) next=      Put: batches of a, b records from first on; also skipped=, gen= (default: the lane's)
//	fetch                              Fetch
//	send used=                         Next, then Send of that many batches as one, or Again
//	ack base= | unknown                Ack
//	fail, shut, rewind, shed, drop, share bytes=, set state=
//
// Each record is one byte. Every answer ends with the lane as it stands then.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &scenario{l: New(ID{"t", 0}, "t"), b: budget.New(math.MaxInt64)}
		s.l.OnReady(func(*Lane) { s.told = append(s.told, "ready") })
		s.l.OnRoom(func(*Lane) { s.told = append(s.told, "room") })
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.t, s.d, s.told = t, d, nil
			out := s.run()
			if len(s.told) > 0 {
				out += "told " + strings.Join(s.told, ", ") + "\n"
			}
			return out + s.state()
		})
	})
}

type scenario struct {
	t    *testing.T
	d    *datadriven.TestData
	l    *Lane
	b    *budget.Budget
	told []string
}

func (s *scenario) arg(key string, otherwise int64) int64 {
	for _, a := range s.d.CmdArgs {
		if a.Key == key && len(a.Vals) == 1 {
			n, err := strconv.ParseInt(a.Vals[0], 10, 64)
			if err != nil {
				s.d.Fatalf(s.t, "%s: %v", key, err)
			}
			return n
		}
	}
	return otherwise
}

func (s *scenario) run() (out string) {
	defer func() {
		if p := recover(); p != nil {
			out = fmt.Sprintf("panic: %v\n", p)
			// A panic leaves the lock held; it is a broken invariant, not an answer.
			s.l.mu.TryLock()
			s.l.mu.Unlock()
		}
	}()
	switch s.d.Cmd {
	case "start":
		s.l.Start(Plan{Position: Position{
			Source: offsets.Source(s.arg("source", 0)), Target: offsets.Target(s.arg("target", 0)),
			Producer: 7, Epoch: 1, Sequence: int32(s.arg("seq", 0)),
		}, Skip: s.arg("skip", 0)}, 0, nil)
	case "put":
		return s.put()
	case "fetch":
		_, from, _, skip, ask := s.l.Fetch()
		return fmt.Sprintf("from=%d skip=%d room=%v\n", from, skip, ask > 0)
	case "send":
		return s.send(int(s.arg("used", 1)))
	case "ack":
		base := s.arg("base", int64(offsets.UnknownTarget))
		settled, err := s.l.Ack(offsets.Target(base), 0)
		if err != nil {
			return fmt.Sprintf("%v\n", err) + s.settled(settled)
		}
		return s.settled(settled)
	case "fail":
		return s.settled(s.l.Fail())
	case "shut":
		return s.settled(s.l.Shut())
	case "rewind":
		s.l.Rewind()
	case "shed":
		s.l.Shed()
	case "drop":
		s.l.Drop()
	case "share":
		s.l.Share(s.arg("bytes", 0))
	case "waiting":
		s.l.Set(Waiting, "no leader")
	default:
		s.d.Fatalf(s.t, "no command %q", s.d.Cmd)
	}
	return ""
}

func (s *scenario) put() string {
	first := s.arg("first", 0)
	next := first
	var items []Item
	for _, a := range s.d.CmdArgs {
		if a.Key != "counts" {
			continue
		}
		for _, v := range a.Vals {
			n, err := strconv.ParseInt(v, 10, 32)
			if err != nil {
				s.d.Fatalf(s.t, "counts: %v", err)
			}
			s.b.Adjust(n)
			items = append(items, Item{
				Bytes: make([]byte, n), First: offsets.Source(next), Next: offsets.Source(next + n),
				Records: int32(n), Time: next, Hold: s.b.Hold(n),
			})
			next += n
		}
	}
	gen := uint64(s.arg("gen", int64(s.l.gen)))
	if s.l.Put(gen, items, offsets.Source(s.arg("next", next)), s.arg("skipped", 0), 0, 0) {
		return ""
	}
	for _, it := range items {
		it.Hold.Release()
	}
	return "void "
}

func (s *scenario) send(used int) string {
	w, ok := s.l.Next(0)
	if !ok {
		return "wait "
	}
	if w.Again {
		return fmt.Sprintf("again seq=%d records=%d ok=%v ", w.Items[0].seq, w.Items[0].Records, s.l.Again(w.Gen))
	}
	it := w.Items[0]
	if used > 1 {
		it = Item{First: it.First, Time: it.Time, Path: Merged}
		for _, x := range w.Items[:used] {
			it.Records += x.Records
			it.Bytes = append(it.Bytes, x.Bytes...)
		}
		it.Hold = w.Items[0].Hold.Split(int64(len(it.Bytes)))
	}
	c, ok := s.l.Send(w.Gen, it, used)
	return fmt.Sprintf("seq=%d records=%d ok=%v ", c.Sequence, it.Records, ok)
}

func (s *scenario) settled(yes bool) string {
	if yes {
		return "settled "
	}
	return ""
}

func (s *scenario) state() string {
	l := s.l
	flags := ""
	for _, f := range []struct {
		on   bool
		name string
	}{{l.probe, " probe"}, {l.shut, " shut"}, {l.state != Running, " " + l.state.String()}} {
		if f.on {
			flags += f.name
		}
	}
	return fmt.Sprintf("source=%d target=%d seq=%d | sent=%d seq=%d | fetched=%d skip=%d | waiting=%d flight=%d out=%d back=%d held=%d budget=%d gen=%d%s\n",
		l.pos.Source, l.pos.Target, l.pos.Sequence, l.sent, l.seq, l.fetched, l.skip,
		len(l.waiting), len(l.flight), l.out, l.back, l.bytes, s.b.Used(), l.gen, flags)
}
