package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fate is what becomes of a key of MirrorMaker 2's in kferry.
type Fate string

// The fates.
const (
	Used        Fate = "used"                // the note names the keys of ours that it sets
	Assumed     Fate = "not given"           // the key is not in the file, and what that leads to is worth knowing
	Replaced    Fate = "otherwise in kferry" // kferry does it otherwise, or always
	Ignored     Fate = "no effect"           // MirrorMaker 2 ignores it without a word, and so does kferry
	Unavailable Fate = "not available"       // it has an effect there that it does not have here
	Unknown     Fate = "unknown"             // neither MirrorMaker 2 nor Connect has it
)

// Note says what became of one key of a file for MirrorMaker 2. It never has a value that may be secret.
type Note struct {
	Line int    // 0 = the key is not in the file
	Key  string // as in the file
	Fate Fate
	Text string // one line; why, and what to write instead
}

// Warns reports whether somebody should look at it: the key does not do what it seems to.
func (n Note) Warns() bool {
	return n.Fate == Ignored || n.Fate == Unavailable || n.Fate == Unknown
}

// String gives "line 12: A->B.transforms: not available: ...".
func (n Note) String() string {
	place := ""
	if n.Line > 0 {
		place = fmt.Sprintf("line %d: ", n.Line)
	}
	return fmt.Sprintf("%s%s: %s: %s", place, n.Key, n.Fate, n.Text)
}

func sortNotes(notes []Note) []Note {
	slices.SortStableFunc(notes, func(a, b Note) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), strings.Compare(a.Key, b.Key))
	})
	return slices.Compact(notes)
}
