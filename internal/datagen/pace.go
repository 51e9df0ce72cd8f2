package datagen

import (
	"math"
	"time"
)

// pace says when records are due: number k (from 0) at start + k/rate.
type pace struct {
	rate  float64 // records a second; 0 = all at once
	start time.Time
}

// due is how many records may have been made by now, when sent have been. After a stall it does not catch up on
// more than one second's worth: a burst would be another load than the one asked for.
func (p *pace) due(now time.Time, sent int64) int64 {
	if p.rate == 0 {
		return math.MaxInt64
	}
	due := p.at(now)
	most := sent + max(1, int64(p.rate))
	if due > most {
		p.start = p.start.Add(p.span(due - most))
		due = most
	}
	return due
}

// wait is how long it takes until the next record is due, when sent have been; 0 or less means now.
func (p *pace) wait(now time.Time, sent int64) time.Duration {
	if p.rate == 0 {
		return 0
	}
	return p.start.Add(p.span(sent)).Sub(now)
}

func (p *pace) at(now time.Time) int64 {
	if now.Before(p.start) {
		return 0
	}
	return int64(now.Sub(p.start).Seconds()*p.rate) + 1
}

// span is the time that n records take. A rate of one in centuries must not overflow into the past.
func (p *pace) span(n int64) time.Duration {
	const most = 1000 * time.Hour
	if s := float64(n) / p.rate; s < most.Seconds() {
		return time.Duration(s * float64(time.Second))
	}
	return most
}
