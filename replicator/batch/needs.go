package batch

import "encoding/binary"

// Needs is the length in bytes of the batch that p begins with, which may be
// more than p has, or 0 if p is too short to tell. It is for a reader that got
// ErrShort at the start of a response and has to ask for more.
func Needs(p []byte) int {
	if len(p) < framing {
		return 0
	}
	return max(0, int(int32(binary.BigEndian.Uint32(p[posLength:])))+framing)
}
