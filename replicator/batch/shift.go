package batch

import "math/bits"

// poly is the Castagnoli polynomial in the bit-reflected form that CRC-32C uses:
// bit 31 is the coefficient of x^0.
const poly = 0x82f63b78

// zeros[k] is x^(8<<k) mod poly: multiplying a raw CRC by it appends 1<<k zero
// bytes to the message. A shift by any length is then one multiplication for
// each bit that is set in the length, so its cost does not grow with the batch.
var zeros = func() (z [32]uint32) {
	z[0] = 1 << (31 - 8) // x^8, reflected
	for k := 1; k < len(z); k++ {
		z[k] = mul(z[k-1], z[k-1])
	}
	return z
}()

// shift returns the raw CRC of a message followed by n zero bytes, given the raw
// CRC of the message alone. Raw means zero start value and no final inversion;
// only there is the CRC linear.
func shift(crc uint32, n int) uint32 {
	for u := uint(n); u != 0; u &= u - 1 {
		crc = mul(crc, zeros[bits.TrailingZeros(u)])
	}
	return crc
}

// mul multiplies two bit-reflected polynomials mod poly.
func mul(a, b uint32) (p uint32) {
	for m := uint32(1 << 31); m != 0; m >>= 1 {
		if a&m != 0 {
			p ^= b
		}
		if b&1 != 0 {
			b = b>>1 ^ poly
		} else {
			b >>= 1
		}
	}
	return p
}
