package poolsvc

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"charmer/workerproc"
)

func TestStatsDescribeEveryWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = startsIn(100 * ms)
		p := newPool(t, f, workers(3))
		start := time.Now()
		advance(50 * ms)
		for _, m := range p.Stats().Members {
			if m.State != StateStarting || m.Stage != "import app" || m.ReadyAfter != 0 || m.PID != 1000+int(m.ID) || !m.StartedAt.Equal(start) {
				t.Errorf("while starting: %+v", m)
			}
		}
		advance(50 * ms)
		lease := checkout(p, CheckoutRequest{TTL: new(time.Hour)}).must(t)
		req := sleeper(time.Second)
		req.RequestID = "r-1"
		busy := execute(p, req)
		session := execute(p, in("u1", echo))
		advance(100 * ms)
		session.must(t)

		s := p.Stats()
		equal(t, "counts", s.Workers, WorkerCounts{Size: 3, Idle: 1, Busy: 1, Leased: 1})
		equal(t, "members", len(s.Members), 4)
		for i, m := range s.Members {
			equal(t, "id", m.ID, uint64(i+1))
			equal(t, "time to ready", m.ReadyAfter, 100*ms)
			equal(t, "leased", m.LeaseExpiresAt.Equal(lease.ExpiresAt), m.ID == lease.Worker.ID)
			switch {
			case m.SessionID != "":
				equal(t, "session", m.SessionID, "u1")
				equal(t, "calls", m.Calls, 1)
			case m.State == StateBusy:
				equal(t, "running", m.Running[0], RunningCall{"r-1", "sleep", start.Add(100 * ms)})
			default:
				if m.Running != nil {
					t.Errorf("worker %d runs %+v", m.ID, m.Running)
				}
			}
		}
		equal(t, "uptime", s.Uptime, 200*ms)
		equal(t, "busy time of calls that run", s.Counts.Busy, 100*ms)
		advance(900 * ms)
		busy.must(t)
		equal(t, "busy time", p.Stats().Counts.Busy, time.Second)
	})
}

func TestSessionsAreListedOldestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory())
		for i := range 20 {
			execute(p, in(fmt.Sprint("u", i), echo)).must(t)
			advance(ms)
		}
		_ = p.EndSession("u7")
		list := p.Stats().Sessions
		equal(t, "sessions", len(list), 19)
		if !slices.IsSortedFunc(list, func(a, b SessionInfo) int { return a.CreatedAt.Compare(b.CreatedAt) }) {
			t.Errorf("not in order: %+v", list)
		}
		for _, s := range list {
			if s.ID == "u7" {
				t.Error("the ended session is listed")
			}
		}
	})
}

func TestReadyNeedsMinReadyWorkersButNotIdleOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = func(n int) (time.Duration, error) { return time.Duration(n) * time.Second, nil }
		p := newPool(t, f, workers(3), func(c *Config) { c.MinReady = 2 })
		equal(t, "ready at the start", p.Stats().Ready, false)
		advance(time.Second)
		equal(t, "ready with one worker", p.Stats().Ready, false)
		equal(t, "ever ready", p.Stats().EverReady, true)
		advance(time.Second)
		equal(t, "ready with two", p.Stats().Ready, true)
		lend(t, p)
		execute(p, sleeper(time.Second))
		wantCounts(t, p, "starting 1, busy 1, leased 1")
		equal(t, "ready with two that work", p.Stats().Ready, true)
		f.plan = startsIn(time.Minute)
		f.started()[0].crash()
		synctest.Wait()
		equal(t, "ready with one again", p.Stats().Ready, false)
		advance(time.Second)
	})
}

func TestStatesSumToTheSizeAtEveryMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan, f.deathLag = startsIn(7*ms), 3*ms
		p := newPool(t, f, workers(5))
		for i := range 400 {
			switch i % 5 {
			case 0:
				execute(p, Request{Command: "crash"})
			case 1:
				checkout(p, CheckoutRequest{TTL: new(10 * ms), Timeout: new(5 * ms)})
			case 2:
				execute(p, in(fmt.Sprint("u", i%3), sleeper(4*ms)))
			case 3:
				execute(p, sleeper(6*ms))
			default:
				if m := p.Stats().Members; len(m) > 0 {
					_ = p.Recycle(m[i%len(m)].ID)
				}
			}
			advance(ms)
			c := p.Stats().Workers
			if sum := c.Starting + c.Idle + c.Busy + c.Leased + c.Stopping; sum != c.Size {
				t.Fatalf("states sum to %d: %+v", sum, c)
			}
		}
		advance(time.Minute)
		wantCounts(t, p, "idle 5")
	})
}

func TestCountersAreThereFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newPool(t, newFactory(), lazy).Stats().Counts
		for what, got := range map[string]int{"checkouts": len(c.Checkouts), "executions": len(c.Executions), "starts": len(c.Starts),
			"exits": len(c.Exits), "reloads": len(c.Reloads), "waits": len(c.QueueWait), "runs": len(c.RunTime)} {
			want := map[string]int{"checkouts": 11, "executions": 7, "starts": 2, "exits": 18, "reloads": 2, "waits": 3, "runs": 7}[what]
			equal(t, what, got, want)
		}
	})
}

func TestEveryOutcomeHasItsCounter(t *testing.T) {
	for err, want := range map[error]string{
		nil: "ok", ErrClientGone: "canceled", errors.New("other"): "failed",
		&RefusedError{Err: ErrCheckoutTimeout}: "timeout", &RefusedError{Err: ErrQueueFull}: "queue_full",
		&RefusedError{Err: ErrDraining}: "draining", &RefusedError{Err: ErrStarting}: "starting",
		&RefusedError{Err: ErrCrashLooping}: "crash_looping", &RefusedError{Err: ErrSessionBusy}: "session_busy",
		&RefusedError{Err: ErrSessionLimit}: "session_limit", &GoneError{Err: ErrSessionLost}: "session_lost",
	} {
		equal(t, fmt.Sprint("outcome of ", err), checkoutOutcome(err), want)
	}
	for err, want := range map[error]string{
		nil: "ok", &workerproc.TimeoutError{}: "timeout", &workerproc.ProtocolError{}: "protocol", &workerproc.CrashError{}: "crash",
		&workerproc.CommandError{Kind: workerproc.KindException}:      "app_error",
		&workerproc.CommandError{Kind: workerproc.KindBadResult}:      "app_error",
		&workerproc.CommandError{Kind: workerproc.KindInvalidArgs}:    "invalid_args",
		&workerproc.CommandError{Kind: workerproc.KindUnknownCommand}: "invalid_args",
		&workerproc.TooLargeError{}:                                   "invalid_args",
	} {
		equal(t, fmt.Sprint("outcome of ", err), outcome(err), want)
	}
}

func TestQueueWaitsAreMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(1))
		execute(p, sleeper(200*ms))
		execute(p, echo)
		req := echo
		req.CheckoutTimeout = new(50 * ms)
		execute(p, req)
		advance(200 * ms)
		c := p.Stats().Counts
		if ok := c.QueueWait["ok"]; ok.Count != 2 || ok.Sum != 200*ms || ok.Buckets[0.0001] != 1 || ok.Buckets[0.1] != 1 || ok.Buckets[0.25] != 2 {
			t.Errorf("waits that ended well: %+v", ok)
		}
		if late := c.QueueWait["timeout"]; late.Count != 1 || late.Sum != 50*ms {
			t.Errorf("waits that timed out: %+v", late)
		}
		if run := c.RunTime["ok"]; run.Count != 2 || run.Sum != 200*ms {
			t.Errorf("runs: %+v", run)
		}
		equal(t, "checkouts that waited", c.Waited, 2)
	})
}

func TestHistogramBucketsAreCumulative(t *testing.T) {
	var h histogram
	for _, d := range []time.Duration{0, 100 * time.Microsecond, 101 * time.Microsecond, time.Second, 31 * time.Second} {
		h.observe(d)
	}
	s := h.snapshot()
	equal(t, "count", s.Count, 5)
	for bound, want := range map[float64]uint64{0.0001: 2, 0.00025: 3, 0.5: 3, 1: 4, 30: 4} {
		equal(t, fmt.Sprint("at most ", bound, " s"), s.Buckets[bound], want)
	}
}

func TestRetryAfterGrowsWithTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(1), func(c *Config) { c.MaxQueue = 10 })
		first := execute(p, sleeper(3*time.Second))
		advance(3 * time.Second)
		first.must(t)
		lend(t, p)
		for range 10 {
			if _, err := checkout(p, CheckoutRequest{Timeout: new(ms)}).wait(); refused(t, err, ErrCheckoutTimeout).RetryAfter > 4500*ms {
				t.Error("too long for an empty queue:", err)
			}
		}
		for range 10 {
			checkout(p, CheckoutRequest{})
		}
		_, err := checkout(p, CheckoutRequest{}).wait()
		if after := refused(t, err, ErrQueueFull).RetryAfter; after < 30*time.Second || after > 45*time.Second {
			t.Errorf("with ten in front: %s", after)
		}
	})
}

func TestCommandsAreKnownOnceAWorkerIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = startsIn(time.Second)
		p := newPool(t, f)
		_, _, err := p.Commands()
		refused(t, err, ErrStarting)
		advance(time.Second)
		list, _, err := p.Commands()
		var names []string
		for _, c := range list {
			names = append(names, c.Name)
		}
		if want := slices.Sorted(slices.Values(commandNames)); err != nil || !slices.Equal(names, want) {
			t.Errorf("commands %v, %v; want %v", names, err, want)
		}
	})
}

func TestLiveMeansThatTheJanitorTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, newFactory())
		for range 100 {
			equal(t, "live", p.Live(), true)
			advance(1700 * ms)
		}
		p.cancel() // stops the janitor
		advance(2 * time.Second)
		equal(t, "live shortly after", p.Live(), true)
		advance(liveWithin)
		equal(t, "live without a janitor", p.Live(), false)
	})
}
