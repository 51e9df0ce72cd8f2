package budget

import (
	"math/bits"
	"slices"
	"sync"
)

// What is kept of free buffers, in bytes. Few are free while records flow, and an
// idle process should be small.
const keptRooms = 32 << 20

// rooms are buffers that nobody uses, the one that was given back first at the
// front. Fresh memory has to be cleared, which costs half as much as filling it.
var rooms struct {
	sync.Mutex
	free  [][]byte
	bytes int
}

// Room gives an empty buffer with room for n bytes, which holds what was in it before.
func Room(n int) []byte {
	if n < leastRoom {
		return make([]byte, 0, n)
	}
	if b := used(n); b != nil {
		return b
	}
	step := 1 << max(bits.Len(uint(n))-4, 0) // so that it fits for others a little larger, too
	return make([]byte, 0, (n+step-1)/step*step)
}

// used finds the smallest free buffer that is no more than twice as large; nil: there is none.
func used(n int) []byte {
	rooms.Lock()
	defer rooms.Unlock()
	best := -1
	for i, b := range rooms.free {
		if cap(b) >= n && cap(b)/2 <= n && (best < 0 || cap(b) < cap(rooms.free[best])) {
			best = i
		}
	}
	if best < 0 {
		return nil
	}
	b := rooms.free[best]
	rooms.free = slices.Delete(rooms.free, best, best+1)
	rooms.bytes -= cap(b)
	return b
}

// GiveBack takes a buffer, of Room or not, that nobody reads or writes any more.
func GiveBack(b []byte) {
	if cap(b) < leastRoom {
		return
	}
	garble(b[:cap(b)])
	rooms.Lock()
	defer rooms.Unlock()
	rooms.free = append(rooms.free, b[:0])
	for rooms.bytes += cap(b); rooms.bytes > keptRooms; {
		rooms.bytes -= cap(rooms.free[0])
		rooms.free = slices.Delete(rooms.free, 0, 1)
	}
}
