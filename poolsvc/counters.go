package poolsvc

import (
	"errors"
	"maps"
	"time"

	"charmer/workerproc"
)

// Counts are totals since the start.
type Counts struct {
	Checkouts  map[string]int64 // by outcome
	Executions map[string]int64 // by outcome
	Starts     map[string]int64 // by result
	Reloads    map[string]int64 // by result
	Exits      map[ExitReason]int64
	QueueWait  map[string]Histogram // by outcome
	Cancels    map[string]int64     // calls that were ended early, by the step that it took
	RunTime    map[string]Histogram // by outcome
	StartsBy   map[Start]int64
	StartTime  map[StartPhase]Histogram

	LeasesActive                                                  int
	LeasesGranted, LeasesReleased, LeasesExpired, LeasesLost      int64
	SessionsCreated, SessionsEnded, SessionsExpired, SessionsLost int64
	Waited                                                        int64         // checkouts that had to wait at all
	Ahead, Withdrawn                                              int64         // calls sent ahead to a busy worker, and of them taken back
	Busy                                                          time.Duration // spent by workers in calls
	ServiceTime                                                   time.Duration // moving average of the run time
}

// counters are the totals that a pool keeps. Pool.mu guards them.
type counters struct {
	checkouts, executions, reloads, cancels map[string]int64
	starts                                  map[Start]int64
	exits                                   map[ExitReason]int64
	queueWait, runTime                      map[string]*histogram
	startTime                               map[StartPhase]*histogram

	leasesGranted, leasesReleased, leasesExpired, leasesLost      int64
	sessionsCreated, sessionsEnded, sessionsExpired, sessionsLost int64
	waited                                                        int64
	ahead, withdrawn                                              int64
	busy                                                          time.Duration
	serviceTime                                                   time.Duration
}

// The closed sets of names. All are there from the start, so that rates work from the first event.
var (
	checkoutOutcomes  = []string{"ok", "timeout", "canceled", "queue_full", "draining", "starting", "crash_looping", "session_busy", "session_limit", "session_lost", "failed"}
	executionOutcomes = []string{"ok", "app_error", "invalid_args", "timeout", "cancelled", "crash", "protocol"}
	waitOutcomes      = []string{"ok", "timeout", "canceled"}
)

func newCounters() counters {
	c := counters{checkouts: map[string]int64{}, executions: map[string]int64{}, cancels: map[string]int64{}, reloads: map[string]int64{}, starts: map[Start]int64{}, exits: map[ExitReason]int64{},
		queueWait: map[string]*histogram{}, runTime: map[string]*histogram{}, startTime: map[StartPhase]*histogram{}}
	for _, name := range checkoutOutcomes {
		c.checkouts[name] = 0
	}
	for _, step := range []workerproc.Step{StepDequeued, workerproc.StepCancelled, workerproc.StepKilled} {
		c.cancels[string(step)] = 0
	}
	for _, name := range executionOutcomes {
		c.executions[name] = 0
		c.runTime[name] = &histogram{}
	}
	c.prepareStarts()
	for _, name := range startResults {
		c.reloads[name] = 0
	}
	for _, reason := range exitReasons {
		c.exits[reason] = 0
	}
	for _, name := range waitOutcomes {
		c.queueWait[name] = &histogram{}
	}
	return c
}

// checkout counts one attempt to get a worker.
func (c *counters) checkout(err error, waited time.Duration) {
	name := checkoutOutcome(err)
	c.checkouts[name]++
	if waited > 0 {
		c.waited++
	}
	if h, ok := c.queueWait[name]; ok {
		h.observe(waited)
	}
}

func checkoutOutcome(err error) string {
	for _, row := range []struct {
		err  error
		name string
	}{
		{ErrClientGone, "canceled"}, {ErrCheckoutTimeout, "timeout"}, {ErrQueueFull, "queue_full"}, {ErrDraining, "draining"},
		{ErrStarting, "starting"}, {ErrCrashLooping, "crash_looping"}, {ErrSessionBusy, "session_busy"},
		{ErrSessionLimit, "session_limit"}, {ErrSessionLost, "session_lost"},
	} {
		if errors.Is(err, row.err) {
			return row.name
		}
	}
	if err == nil {
		return "ok"
	}
	return "failed"
}

// execution counts one call, and moves the average of the service time by a tenth.
func (c *counters) execution(outcome string, run time.Duration) {
	c.executions[outcome]++
	c.runTime[outcome].observe(run)
	if c.serviceTime == 0 {
		c.serviceTime = run
	}
	c.serviceTime += (run - c.serviceTime) / 10
}

func (c *counters) snapshot() Counts {
	out := Counts{
		Checkouts: maps.Clone(c.checkouts), Executions: maps.Clone(c.executions), Reloads: maps.Clone(c.reloads), Exits: maps.Clone(c.exits), Cancels: maps.Clone(c.cancels),
		QueueWait: map[string]Histogram{}, RunTime: map[string]Histogram{},
		LeasesGranted: c.leasesGranted, LeasesReleased: c.leasesReleased, LeasesExpired: c.leasesExpired, LeasesLost: c.leasesLost,
		SessionsCreated: c.sessionsCreated, SessionsEnded: c.sessionsEnded, SessionsExpired: c.sessionsExpired, SessionsLost: c.sessionsLost,
		Waited: c.waited, Ahead: c.ahead, Withdrawn: c.withdrawn, Busy: c.busy, ServiceTime: c.serviceTime,
	}
	c.snapshotStarts(&out)
	for name, h := range c.queueWait {
		out.QueueWait[name] = h.snapshot()
	}
	for name, h := range c.runTime {
		out.RunTime[name] = h.snapshot()
	}
	return out
}
