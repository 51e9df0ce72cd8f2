package lane

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/kferry/kferry/offsets"
)

// at is stored progress: source 1000, target 2000, the next record has sequence 300.
var at = Position{Source: 1000, Target: 2000, Producer: 7, Epoch: 1, Sequence: 300}

func moved(change func(*Position)) Position {
	p := at
	change(&p)
	return p
}

func TestResume(t *testing.T) {
	const most = math.MaxInt32
	seqIs := func(seq int32) Position { return moved(func(p *Position) { p.Sequence = seq }) }
	for _, c := range []struct {
		name   string
		stored Position
		seen   Seen
		want   Plan
	}{
		{"nothing since", at, Seen{LogEnd: 1000, End: 2000, Known: true, Last: 299}, Plan{Position: at}},
		{"nothing since, foreign records", at, Seen{LogEnd: 5000, End: 2400, Known: true, Last: 299}, Plan{Position: at}},
		{"40 since", at, Seen{LogEnd: 5000, End: 2040, Known: true, Last: 339}, Plan{Position: at, Skip: 40}},
		{"40 since among foreign ones", at, Seen{LogEnd: 5000, End: 9999, Known: true, Last: 339}, Plan{Position: at, Skip: 40}},
		{"forgotten, nothing since", at, Seen{LogEnd: 5000, End: 2000, Last: 12345}, Plan{Position: at}},
		{"first record of all", Position{Producer: 7}, Seen{LogEnd: 1, End: 1, Known: true, Last: 0}, Plan{Position: Position{Producer: 7}, Skip: 1}},
		{"never written", Position{Producer: 7}, Seen{}, Plan{Position: Position{Producer: 7}}},
		{"source at its end", at, Seen{LogStart: 1000, LogEnd: 1000, End: 2000, Known: true, Last: 299}, Plan{Position: at}},
		{"target's log start has passed", at, Seen{LogEnd: 5000, Start: 2500, End: 2500, Known: true, Last: 339}, Plan{Position: at, Skip: 40}},

		{"wrap: nothing since", seqIs(0), Seen{LogEnd: 5000, End: 2000, Known: true, Last: most}, Plan{Position: seqIs(0)}},
		{"wrap: last before it", seqIs(most - 9), Seen{LogEnd: 5000, End: 2010, Known: true, Last: most}, Plan{Position: seqIs(most - 9), Skip: 10}},
		{"wrap: across it", seqIs(most - 9), Seen{LogEnd: 5000, End: 2015, Known: true, Last: 4}, Plan{Position: seqIs(most - 9), Skip: 15}},
		{"half the circle ahead", seqIs(0), Seen{LogEnd: 5000, End: 2000, Known: true, Last: most/2 - 1}, Plan{Position: seqIs(0), Skip: most / 2}},

		{
			"retention, nothing since", at, Seen{LogStart: 1100, LogEnd: 5000, End: 2000, Known: true, Last: 299},
			Plan{Position: moved(func(p *Position) { p.Source = 1100 }), Lost: 100},
		},
		{
			"retention, some written since", at, Seen{LogStart: 1100, LogEnd: 5000, End: 2040, Known: true, Last: 339},
			Plan{Position: at, Skip: 40, Search: true},
		},
		{
			"retention, all gone", at, Seen{LogStart: 5000, LogEnd: 5000, End: 2000, Known: true, Last: 299},
			Plan{Position: moved(func(p *Position) { p.Source = 5000 }), Lost: 4000},
		},
		{
			"retention and forgotten", at, Seen{LogStart: 1001, LogEnd: 5000, End: 2000},
			Plan{Position: moved(func(p *Position) { p.Source = 1001 }), Lost: 1},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Resume(Stand{Position: c.stored}, c.seen)
			c.want.Blind = !c.seen.Known || c.seen.Read
			if err != nil || got != c.want {
				t.Errorf("\n got %+v, %v\nwant %+v", got, err, c.want)
			}
		})
	}
}

// Where going on would hide a hole it must not go on.
func TestResumeRefuses(t *testing.T) {
	var truncated *TruncatedError
	var lost *LostTargetError
	for _, c := range []struct {
		name string
		seen Seen
		as   any
		says string
	}{
		{"source ends below", Seen{LogEnd: 999, End: 2000, Known: true, Last: 299}, &truncated, "truncated to offset 999, below the 1000 that was carried"},
		{"source made anew and empty", Seen{End: 2000, Known: true, Last: 299}, &truncated, "below the 1000 that was carried"},
		{"truncated and grown again", Seen{LogEnd: 5000, Same: 990, End: 2000, Known: true, Last: 299}, &truncated, "the target keeps 10 offsets"},
		{"target ends below", Seen{LogEnd: 5000, End: 1999, Known: true, Last: 299}, &lost, "the target ends at offset 1999, below the stored 2000"},
		{"target made anew, id not known there", Seen{LogEnd: 5000}, &lost, "the target ends at offset 0"},
		{"target lost our last records", Seen{LogEnd: 5000, End: 2000, Known: true, Last: 298}, &lost, "last sequence of our producer is 298, before the stored 300"},
		{"the same, grown since by others", Seen{LogEnd: 5000, End: 9000, Known: true, Last: 0}, &lost, "last sequence of our producer is 0, before the stored 300"},
		{"half the circle behind", Seen{LogEnd: 5000, End: 2000, Known: true, Last: math.MaxInt32/2 + 300}, &lost, "before the stored 300"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Resume(Stand{Position: at}, c.seen)
			if !errors.As(err, c.as) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %T with %q", err, c.as, c.says)
			}
		})
	}
	if _, err := Resume(Stand{Position: at}, Seen{LogEnd: 5000, End: 2001}); !errors.Is(err, ErrForgotten) {
		t.Errorf("forgotten and grown: %v", err)
	}
}

// What this process sent, it knows where it ends, whatever has become of the source.
func TestResumeKnowsWhatWasSent(t *testing.T) {
	sent := []Sent{{300, 10, 1015, 3}, {310, 20, 1040, 3}, {330, 5, 1050, 4}}
	upTo := func(source offsets.Source, seq int32, leader Leader) Position {
		return moved(func(p *Position) { p.Source, p.Sequence, p.Leader = source, seq, leader })
	}
	for _, c := range []struct {
		name  string
		last  int32
		start offsets.Source // of the source's log
		want  Plan
	}{
		{"none stored", 299, 0, Plan{Position: at}},
		{"one stored", 309, 0, Plan{Position: upTo(1015, 310, 3), Carried: 10}},
		{"one stored and gone on the source", 309, 1012, Plan{Position: upTo(1015, 310, 3), Carried: 10}},
		{"one stored, more gone", 309, 1020, Plan{Position: upTo(1020, 310, 0), Carried: 10, Lost: 5}},
		{"all stored, all gone", 334, 1050, Plan{Position: upTo(1050, 335, 4), Carried: 35}},
		{"half of one stored: cut otherwise by another process", 315, 0, Plan{Position: upTo(1015, 310, 3), Carried: 10, Skip: 6}},
		{"the same, and gone", 315, 1020, Plan{Position: upTo(1015, 310, 3), Carried: 10, Skip: 6, Search: true}},
		{"another process went on", 350, 0, Plan{Position: upTo(1050, 335, 4), Carried: 35, Skip: 16}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Resume(Stand{at, sent, true}, Seen{LogStart: c.start, LogEnd: 5000, End: 3000, Known: true, Last: c.last})
			if err != nil || got != c.want {
				t.Errorf("\n got %+v, %v\nwant %+v", got, err, c.want)
			}
		})
	}
	var truncated *TruncatedError
	if _, err := Resume(Stand{at, sent, true}, Seen{LogEnd: 1030, End: 3000, Known: true, Last: 334}); !errors.As(err, &truncated) || truncated.Stored != 1050 {
		t.Errorf("the source lost what was sent: %v", err)
	}
}

// A log without anything of ours settles the matter, unless part of it is gone.
func TestResumeAfterReading(t *testing.T) {
	sent := []Sent{{Sequence: 300, Records: 7, Next: 1007}}
	for _, c := range []struct {
		name  string
		stand Stand
		seen  Seen
		twice int64
	}{
		{"all was read", Stand{Position: at}, Seen{LogEnd: 5000, End: 2500}, 0},
		{"some was removed", Stand{Position: at}, Seen{LogEnd: 5000, Start: 2040, End: 2500}, 40},
		{"some was removed, the source has less", Stand{Position: at}, Seen{LogEnd: 1010, Start: 2040, End: 2500}, 10},
		{"some was removed, the source too", Stand{Position: at}, Seen{LogStart: 1005, LogEnd: 1010, Start: 2040, End: 2500}, 5},
		{"some was removed, this process sent less", Stand{at, sent, true}, Seen{LogEnd: 5000, Start: 2040, End: 2500}, 7},
		{"some was removed, this process sent nothing", Stand{at, nil, true}, Seen{LogEnd: 5000, Start: 2040, End: 2500}, 0},
	} {
		c.seen.Read = true
		got, err := Resume(c.stand, c.seen)
		if err != nil || got.Twice != c.twice || got.Skip+got.Carried != 0 || got.Target != 2500 || !got.Blind {
			t.Errorf("%s: %+v, %v; want %d twice", c.name, got, err, c.twice)
		}
	}
}

// Placed puts the position behind the records that were found, whatever of them is gone.
func TestPlaced(t *testing.T) {
	seen := Seen{LogStart: 1100, LogEnd: 5000, End: 2040, Known: true, Last: 339}
	p, err := Resume(Stand{Position: at}, seen)
	if err != nil || !p.Search {
		t.Fatalf("%+v, %v", p, err)
	}
	for _, c := range []struct {
		at           offsets.Source
		found, twice int64
		lost         int64
	}{
		{1100, 0, 0, 60},  // all 40 were among the 100 that are gone
		{1110, 10, 0, 70}, // 30 of them were
		{1140, 40, 3, 100},
	} {
		got := p.Placed(seen, c.at, c.found, c.twice)
		want := Plan{Position: moved(func(p *Position) { p.Source, p.Sequence = c.at, 340 }), Carried: 40, Lost: c.lost, Twice: c.twice}
		if got != want {
			t.Errorf("\n got %+v\nwant %+v", got, want)
		}
	}
}

func TestAdvance(t *testing.T) {
	for _, c := range []struct {
		seq  int32
		n    int64
		want int32
	}{
		{0, 0, 0}, {0, 5, 5}, {math.MaxInt32, 0, math.MaxInt32}, {math.MaxInt32, 1, 0}, {math.MaxInt32 - 1, 5, 3},
		{7, 1 << 31, 7}, {7, 3<<31 + 1, 8},
	} {
		if got := Advance(c.seq, c.n); got != c.want {
			t.Errorf("Advance(%d, %d) = %d, want %d", c.seq, c.n, got, c.want)
		}
	}
}

// written is the inverse of Advance for up to half the circle either way.
func TestWrittenInvertsAdvance(t *testing.T) {
	for _, seq := range []int32{0, 1, 1000, math.MaxInt32 / 2, math.MaxInt32 - 1, math.MaxInt32} {
		for _, n := range []int64{0, 1, 2, 999, math.MaxInt32 / 2, -1, -2, -999, -(math.MaxInt32 / 2)} {
			if got := written(seq, Advance(seq, n-1)); got != n {
				t.Errorf("from %d over %d: got %d", seq, n, got)
			}
		}
	}
}

func TestSnapshot(t *testing.T) {
	l := New(ID{"t", 3}, "x.t")
	if s := l.Snapshot(); s.State != Starting || s.Lag != -1 || s.End != -1 || s.Oldest != 0 {
		t.Errorf("new: %+v", s)
	}
	l.Start(Plan{Position: at}, 0, nil)
	l.Seen(900, 1100, 0, nil)
	gen, _, _, _, _ := l.Fetch()
	l.Put(gen, []Item{
		{Bytes: make([]byte, 10), First: 1000, Next: 1020, Records: 20, Time: 77},
		{Bytes: make([]byte, 30), First: 1020, Next: 1021, Records: 1, Time: 88, Path: Recoded},
	}, 1021, 0, 0, 0)
	if s := l.Snapshot(); s.State != Running || s.Lag != 100 || s.Held != 40 || s.Oldest != 77 || s.LogStart != 900 {
		t.Errorf("with batches: %+v", s)
	}
	for i, want := range []struct {
		bytes   int
		records int32
		first   offsets.Source
	}{{10, 20, 1000}, {30, 1, 1020}} {
		w, _ := l.Next(0)
		l.Send(w.Gen, w.Items[0], 1)
		if it := l.Oldest(); len(it.Bytes) != want.bytes || it.Records != want.records || it.First != want.first {
			t.Errorf("oldest in flight: %d bytes, %d records at %d, want %+v", len(it.Bytes), it.Records, it.First, want)
		}
		l.Ack(offsets.Target(2000+20*i), 0)
	}
	l.Count(5, 6, 7)
	l.Note("why")
	s := l.Snapshot()
	want := Stats{Records: 21, Bytes: 40, Batches: [Paths]int64{Whole: 1, Recoded: 1}, Last: 88, Lost: 5, Twice: 6, Aside: 7}
	if s.Stats != want || s.Lag != 79 || s.Held != 0 || s.Reason != "why" {
		t.Errorf("\n got %+v\nwant %+v", s, want)
	}
	if it := l.Oldest(); len(it.Bytes) != 0 || it.Records != 0 || it.First != 1021 {
		t.Errorf("nothing in flight: %+v", it)
	}
	l.Seen(0, 1000, 0, nil) // a leader that lags behind
	if s := l.Snapshot(); s.Lag != 0 {
		t.Errorf("lag %d", s.Lag)
	}
}

func TestNames(t *testing.T) {
	for s, want := range map[State]string{Starting: "starting", Running: "running", Waiting: "waiting", Stopped: "stopped", States: "?"} {
		if s.String() != want {
			t.Errorf("state %d is %q, want %q", s, s, want)
		}
	}
	for p, want := range map[Path]string{Whole: "whole", Merged: "merged", Recoded: "recoded", Paths: "?"} {
		if p.String() != want {
			t.Errorf("path %d is %q, want %q", p, p, want)
		}
	}
}

// The fetcher and the producer use a lane at the same time; run it with -race.
// The fetcher moves the end of the last batch that waits while the producer
// looks at it.
func TestBothSidesAtOnce(t *testing.T) {
	l := New(ID{"t", 0}, "t")
	ready := make(chan struct{}, 1)
	l.OnReady(func(*Lane) {
		select {
		case ready <- struct{}{}:
		default:
		}
	})
	l.Start(Plan{}, 0, nil)
	const batches = 2000
	go func() {
		next := offsets.Source(0)
		for range batches {
			gen, _, _, _, _ := l.Fetch()
			l.Put(gen, []Item{{Bytes: []byte{1}, First: next, Next: next + 1, Records: 1}}, next+1, 0, 0, 0)
			next += 2
			l.Put(gen, nil, next, 0, 0, 0) // a marker follows
		}
	}()
	target := offsets.Target(0)
	for l.Snapshot().Source < 2*batches {
		w, ok := l.Next(0)
		if !ok {
			if l.Snapshot().Source < 2*batches-1 {
				<-ready
			}
			continue
		}
		it := w.Items[0]
		if c, ok := l.Send(w.Gen, it, 1); !ok || c.Sequence != int32(target) {
			t.Fatalf("sequence %d, want %d", c.Sequence, target)
		}
		l.Ack(target, 0)
		target++
	}
	if target != batches {
		t.Fatalf("%d batches, want %d", target, batches)
	}
}

// What Next showed must not change under the producer's hands: joining batches
// takes a while. Only -race can see this one fail.
func TestWindowStaysAsShown(t *testing.T) {
	l := New(ID{"t", 0}, "t")
	l.Start(Plan{}, 0, nil)
	gen, _, _, _, _ := l.Fetch()
	l.Put(gen, []Item{{Bytes: []byte{1}, First: 0, Next: 1, Records: 1}}, 1, 0, 0, 0)
	w, _ := l.Next(0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.Put(gen, nil, 2, 0, 0, 0) // a marker follows
	}()
	it := w.Items[0]
	<-done
	if _, ok := l.Send(w.Gen, it, 1); !ok {
		t.Fatal("the window was closed")
	}
	l.Ack(offsets.UnknownTarget, 0)
	if at := l.Snapshot().Source; at != 2 {
		t.Errorf("at %d, want 2: the end of the batch moved meanwhile", at)
	}
}
