package batch

import "testing"

// A batch that passes whole makes no garbage here, whatever its size.
func TestAllocs(t *testing.T) {
	const batches = 64
	var raw []byte
	for i := range uint64(batches) {
		raw = append(raw, build(1<<10, i)...)
	}
	n := testing.AllocsPerRun(10, func() {
		for rest := raw; len(rest) > 0; {
			v, after, err := Next(rest)
			if err != nil {
				t.Fatal(err)
			}
			v.Stamp(1, 2, 3)
			v.Intact()
			rest = after
		}
	})
	if n > 0 {
		t.Errorf("%v allocations for %d batches, want none", n, batches)
	}
}
