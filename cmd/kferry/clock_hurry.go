//go:build hurry

package main

import (
	"context"
	"time"

	"github.com/kferry/kferry/internal/aiven"
)

// aivenClock waits a five-hundredth of the time. No release is built with this tag: it lets tests run the whole program
// against a fake of Aiven that needs no minutes.
var aivenClock aiven.Clock = hurried{}

type hurried struct{ aiven.SystemClock }

func (h hurried) Sleep(ctx context.Context, d time.Duration) error {
	return h.SystemClock.Sleep(ctx, d/500)
}
