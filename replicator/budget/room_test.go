package budget

import (
	"sync"
	"testing"
	"unsafe"
)

// same tells whether two buffers are the same memory.
func same(a, b []byte) bool { return unsafe.SliceData(a) == unsafe.SliceData(b) }

// empty forgets all free buffers.
func empty(t *testing.T) {
	t.Helper()
	rooms.Lock()
	defer rooms.Unlock()
	rooms.free, rooms.bytes = nil, 0
}

func TestRoomIsUsedAgain(t *testing.T) {
	empty(t)
	a := Room(3 << 20)
	if len(a) != 0 || cap(a) < 3<<20 || cap(a) > 3<<20+3<<17 {
		t.Fatalf("%d of %d bytes for %d", len(a), cap(a), 3<<20)
	}
	GiveBack(a[:7])
	if b := Room(1 << 20); same(a, b) {
		t.Error("a buffer of three times the size was taken")
	}
	if b := Room(8 << 20); same(a, b) {
		t.Error("a buffer that is too small was taken")
	}
	b := Room(2 << 20)
	if !same(a, b) || len(b) != 0 {
		t.Error("the buffer was not used again")
	}
	if c := Room(2 << 20); same(a, c) {
		t.Error("the buffer was given out twice")
	}
}

func TestRoomTakesTheSmallest(t *testing.T) {
	empty(t)
	large, small := Room(2<<20), Room(3<<19)
	GiveBack(large)
	GiveBack(small)
	if b := Room(1 << 20); !same(b, small) {
		t.Error("the larger one was taken")
	}
}

func TestFreeRoomsAreBounded(t *testing.T) {
	empty(t)
	var all [][]byte
	for range 20 {
		all = append(all, Room(4<<20))
	}
	for _, b := range all {
		GiveBack(b)
	}
	if rooms.bytes > keptRooms || len(rooms.free) != keptRooms/(4<<20) || !same(rooms.free[len(rooms.free)-1], all[19]) {
		t.Errorf("%d buffers of %d bytes are kept", len(rooms.free), rooms.bytes)
	}
	sum := 0
	for _, b := range rooms.free {
		sum += cap(b)
	}
	if sum != rooms.bytes {
		t.Errorf("%d bytes are counted, there are %d", rooms.bytes, sum)
	}
}

func TestLentBufferComesBackWithTheLastReference(t *testing.T) {
	for name, spoil := range map[string]bool{"clean": false, "spoiled": true} {
		empty(t)
		b := New(1 << 20)
		b.Adjust(1 << 20)
		buffer := Room(1 << 20)
		h := b.Hold(1 << 20).Lend(buffer)
		h.Keep()
		if spoil {
			h.Spoil()
		}
		h.Release()
		if len(rooms.free) != 0 || b.Used() == 0 {
			t.Fatalf("%s: given back while it is in use", name)
		}
		h.Release()
		if got := len(rooms.free) == 1; got == spoil || b.Used() != 0 {
			t.Errorf("%s: given back: %v, %d bytes used", name, got, b.Used())
		}
	}
}

// No buffer is ever with two at a time.
func TestRoomsAtOnce(t *testing.T) {
	empty(t)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				b := Room(leastRoom + i*100)
				b = append(b, byte(g))
				if b[0] != byte(g) {
					t.Error("somebody else writes here")
				}
				GiveBack(b)
			}
		})
	}
	wg.Wait()
}
