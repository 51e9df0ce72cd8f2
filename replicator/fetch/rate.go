package fetch

import (
	"context"
	"time"

	"golang.org/x/time/rate"
)

// Rate bounds the bytes of record batches that the fetchers of a flow bring in
// a second, together. A nil Rate bounds nothing. Safe for concurrent use.
type Rate struct {
	bucket *rate.Limiter
	// Bytes asked per response: at least so few that the fetchers of a dozen
	// idle brokers, each of which has paid for one, cannot bring a second's
	// worth at once; at most so many that one fetcher reaches the limit over a
	// round trip of half a second.
	least, most int32
}

// NewRate makes a Rate of so many bytes in a second; 0 makes none.
func NewRate(bytes int64) *Rate {
	if bytes <= 0 {
		return nil
	}
	half := max(bytes/2, 1)
	return &Rate{
		bucket: rate.NewLimiter(rate.Limit(bytes), int(half)), // half a second's worth is saved up
		least:  int32(max(min(bytes/16, leastBytes), 1)), most: int32(min(half, mostBytes)),
	}
}

// take hands n on in parts: the bucket refuses what is larger than its burst.
func (r *Rate) take(n int64, each func(n int) error) error {
	for burst := int64(r.bucket.Burst()); n > 0; n -= burst {
		if err := each(int(min(n, burst))); err != nil {
			return err
		}
	}
	return nil
}

// meter is one fetcher's account with a Rate.
type meter struct {
	*Rate
	paid int64 // bytes that were paid for and have not come yet; never below 0
}

// pay waits until size bytes may come.
func (m *meter) pay(ctx context.Context, size int64) error {
	if m.Rate == nil {
		return nil
	}
	err := m.take(size-m.paid, func(n int) error { return m.bucket.WaitN(ctx, n) })
	m.paid = size
	return err
}

// brought books n bytes that came. A response holds at least one batch, however
// large: what was not paid for is owed, and delays whoever pays next.
func (m *meter) brought(n int64) {
	if m.Rate == nil {
		return
	}
	m.paid -= n
	_ = m.take(-m.paid, func(n int) error {
		m.bucket.ReserveN(time.Now(), n)
		return nil
	})
	m.paid = max(m.paid, 0)
}
