package lane

import "github.com/kferry/kferry/offsets"

// Doubt is a stretch that was carried, of whose records it is not known exactly
// where they are on the target: a crash came between their acks and the storing
// of the map, or the map was lost. Reading both sides again can settle it.
type Doubt struct {
	offsets.Piece
	Producer int64
	Epoch    int16
	Sequence int32 // of the first record after the stretch
}

// doubtLocked takes note of a doubt that ends at the position.
func (l *Lane) doubtLocked() {
	holes := l.offsets.Holes()
	if len(holes) == 0 {
		return
	}
	if h := holes[len(holes)-1]; h.Source+offsets.Source(h.SourceLen) == l.pos.Source {
		l.told = false
		l.doubt = &Doubt{h, l.pos.Producer, l.pos.Epoch, l.pos.Sequence}
	}
}

// Doubt returns the doubt with which the lane has begun, once. Settle is to be
// called with it.
func (l *Lane) Doubt() (d Doubt, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.doubt == nil || l.told {
		return d, false
	}
	l.told = true
	return *l.doubt, true
}

// InDoubt tells that the lane has a doubt that is not settled yet. A map that is
// stored now has a hole there which nobody would look into after a crash.
func (l *Lane) InDoubt() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.doubt != nil
}

// Settle takes what was found of d, ascending and up to its end; what is before
// the first piece stays unknown, all of it if there is none. It returns an error,
// and the map does not change, if the pieces do not fit in.
func (l *Lane) Settle(d Doubt, found []offsets.Piece) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.moves.Add(1)
	if l.doubt != nil && *l.doubt == d {
		l.doubt = nil
	}
	if len(found) == 0 {
		return nil
	}
	rest := d.Piece
	rest.SourceLen, rest.TargetLen = int64(found[0].Source-d.Source), int64(found[0].Target-d.Target)
	for _, f := range found {
		rest.Records -= f.Records
	}
	rest.Records = max(0, rest.Records)
	if rest.SourceLen > 0 && rest.TargetLen > 0 {
		found = append([]offsets.Piece{rest}, found...)
	}
	return l.offsets.Fill(d.Piece, found...)
}

// Late is the stretch of the target's log between what was looked at before the lane
// started and its first batch. Somebody else wrote there: others, or an earlier send of
// ours that came late. A target that had forgotten the producer stored that a second time.
type Late struct {
	From, To offsets.Target
	Producer int64
	Epoch    int16
}

// lateLocked looks, at the first batch after a start, whether there is such a stretch.
func (l *Lane) lateLocked(base offsets.Target) {
	if l.newest == noTime && l.blind && base != offsets.UnknownTarget && base > l.reach {
		l.late = &Late{l.reach, base, l.pos.Producer, l.pos.Epoch}
	}
}

// Late returns the stretch once, if there is one.
func (l *Lane) Late() (late Late, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.late != nil {
		late, ok = *l.late, true
		l.late = nil
	}
	return late, ok
}
