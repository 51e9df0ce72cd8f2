package ferrytest

import (
	"context"
	"testing"
)

// Live is writing that goes on beside a test.
type Live struct {
	cancel context.CancelFunc
	done   chan struct{}
	wrote  int64 // records; read only after done
	err    error
}

// InBackground runs write until Stop is called, at the latest at the end of the test.
func InBackground(t testing.TB, write func(ctx context.Context) (int64, error)) *Live {
	ctx, cancel := context.WithCancel(context.Background())
	l := &Live{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		l.wrote, l.err = write(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-l.done
	})
	return l
}

// Stop ends the writing and returns how many records were written.
func (l *Live) Stop(t testing.TB) int64 {
	t.Helper()
	l.cancel()
	<-l.done
	if l.err != nil {
		t.Fatalf("the writing beside the test failed: %v", l.err)
	}
	return l.wrote
}
