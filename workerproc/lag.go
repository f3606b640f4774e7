package workerproc

import (
	"context"
	"time"
)

// A process that was stopped, or got no processor, finds that its timers have run out when it goes on, before it has read
// what came meanwhile. So a timer that runs much too late leaves the readers some time to catch up.
const (
	maxLag   = 100 * time.Millisecond // by which a timer may be late in a process that runs
	lagGrace = 500 * time.Millisecond
)

// catchUp waits for done, if due is so long ago that this process must have been held up, for a while.
func catchUp(due time.Time, done <-chan struct{}) {
	if time.Since(due) <= maxLag {
		return
	}
	select {
	case <-done:
	case <-time.After(lagGrace):
	}
}

// catchUpWith is catchUp for the deadline of ctx.
func catchUpWith(ctx context.Context, done <-chan struct{}) {
	if due, ok := ctx.Deadline(); ok && context.Cause(ctx) == context.DeadlineExceeded {
		catchUp(due, done)
	}
}
