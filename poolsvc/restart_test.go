package poolsvc

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// gaps returns the times between attempts to start.
func gaps(attempts []time.Time) []time.Duration {
	var out []time.Duration
	for i := 1; i < len(attempts); i++ {
		out = append(out, attempts[i].Sub(attempts[i-1]))
	}
	return out
}

// wantBackoff checks that delays grow as they should, from the first.
func wantBackoff(t *testing.T, delays []time.Duration) {
	t.Helper()
	if len(delays) < 3 {
		t.Fatalf("delays: %v", delays)
	}
	want := backoffInitial
	for i, got := range delays {
		if got < want*8/10 || got > want*12/10 {
			t.Fatalf("delay %d = %s, want %s, give or take a fifth", i+1, got, want)
		}
		want = min(2*want, backoffMax)
	}
}

func TestDeadIdleWorkerIsReplacedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		for range 3 {
			advance(minTrial)
			started := f.started()
			started[len(started)-1].crash()
			wantCounts(t, p, "idle 2")
		}
		equal(t, "workers started", len(f.started()), 5)
		equal(t, "crashes", p.Stats().Counts.Exits[ExitCrash], 3)
		equal(t, "failures", p.Stats().Starts.Failures, 0)
	})
}

func TestWorkerThatDiesInACallIsReplacedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		for range 5 {
			_, err := execute(p, Request{Command: "crash"}).wait()
			crashed(t, err)
			wantCounts(t, p, "idle 2")
		}
		equal(t, "workers started", len(f.started()), 7)
	})
}

func TestBackoffGrowsWithJitterUpToItsCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = failing
		p := newPool(t, f, workers(1))
		advance(5 * time.Minute)
		delays := gaps(f.starts())
		if len(delays) < 12 {
			t.Fatalf("delays: %v", delays)
		}
		wantBackoff(t, delays)
		round := 0
		for _, d := range delays {
			if d%(100*ms) == 0 {
				round++
			}
		}
		if round > 2 {
			t.Errorf("no jitter in %v", delays)
		}
		s := p.Stats().Starts
		if s.Failures != len(delays)+1 || s.Backoff <= 0 || s.Last != startFailure {
			t.Errorf("stats: %+v", s)
		}
	})
}

func TestWorkersThatFailTogetherCauseOneProbeAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = func(int) (time.Duration, error) { return 10 * ms, startFailure }
		newPool(t, f, workers(8))
		advance(10 * ms)
		f.mu.Lock()
		f.maxStarting = 0
		f.mu.Unlock()
		advance(time.Minute)
		equal(t, "starts at a time", f.maxStarting, 1)
		delays := gaps(f.starts()[7:])
		for i := range delays {
			delays[i] -= 10 * ms
		}
		wantBackoff(t, delays)
	})
}

func TestStartsThatHaveNotBegunHeedTheBackoffToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = func(int) (time.Duration, error) { return time.Second, startFailure }
		newPool(t, f, workers(20), func(c *Config) { c.StartParallelism = 2 })
		advance(20 * time.Second) // two, and then probes with 0.1, 0.2, ... 3.2 s between them
		if n := len(f.starts()); n > 10 {
			t.Errorf("%d attempts", n)
		}
	})
}

func TestAtMostStartParallelismWorkersStartAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = startsIn(time.Second)
		p := newPool(t, f, workers(9), func(c *Config) { c.StartParallelism = 3 })
		wantCounts(t, p, "starting 9") // those that wait for their turn among them
		advance(time.Second)
		wantCounts(t, p, "starting 6, idle 3")
		advance(2 * time.Second)
		wantCounts(t, p, "idle 9")
		equal(t, "starts at a time", f.maxStarting, 3)
	})
}

func TestProbeThatRunsGivesHope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = failing
		p := newPool(t, f, workers(1))
		f.replan(startsIn(time.Second))
		advance(125 * ms) // the backoff is over, and the probe runs
		call := execute(p, echo)
		wantCounts(t, p, "starting 1")
		advance(time.Second)
		call.must(t)
		equal(t, "failures", p.Stats().Starts.Failures, 0)
	})
}

func TestRecoveryEndsTheCrashLoopAndTheCaution(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = failing
		p := newPool(t, f, workers(4))
		advance(10 * time.Second)
		f.replan(startsIn(50 * ms))
		advance(20 * time.Second)
		wantCounts(t, p, "idle 4")
		s := p.Stats()
		if s.Starts.Failures != 0 || s.Starts.Backoff != 0 || s.Starts.Last != nil || !s.Ready {
			t.Errorf("after recovery: %+v, ready %v", s.Starts, s.Ready)
		}
		execute(p, echo).must(t)

		f.replan(failing) // the next trouble begins at the bottom
		n := len(f.starts())
		for _, w := range f.started() {
			w.crash()
		}
		advance(10 * time.Second)
		wantBackoff(t, gaps(slices.Compact(f.starts()[n:]))) // some may have been tried at once
	})
}

// failTheFirst has the first n starts fail, and the others take d.
func failTheFirst(n int, d time.Duration) *factory {
	f := newFactory()
	f.plan = func(attempt int) (time.Duration, error) {
		if attempt <= n {
			return ms, startFailure
		}
		return d, nil
	}
	return f
}

func TestWorkersFollowTheProbeOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := failTheFirst(4, 50*ms)
		p := newPool(t, f, workers(4))
		advance(ms)
		n := len(f.starts())
		advance(120*ms + 4*50*ms)
		wantCounts(t, p, "idle 4")
		for i, gap := range gaps(f.starts()[n:]) {
			equal(t, fmt.Sprint("time between starts ", i), gap, 50*ms)
		}
	})
}

func TestAnsweredCallEndsTheCaution(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := failTheFirst(4, 500*ms)
		p := newPool(t, f, workers(4))
		call := execute(p, echo)
		_, err := call.wait()
		refused(t, err, ErrCrashLooping)
		advance(620 * ms) // the probe is up, and the next one starts
		wantCounts(t, p, "starting 1, idle 1")
		execute(p, echo).must(t)
		equal(t, "failures", p.Stats().Starts.Failures, 0)
		wantCounts(t, p, "starting 3, idle 1")
	})
}

func TestBackoffIsNotCutShortByOldWorkers(t *testing.T) {
	for name, load := range map[string]bool{"that rest": false, "that answer": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFactory()
				p := warmPool(t, f)
				advance(time.Minute)
				f.replan(failing)
				n := len(f.starts())
				f.started()[1].crash()
				for range 30 {
					advance(time.Second)
					if load {
						execute(p, echo).must(t)
					}
				}
				wantBackoff(t, gaps(f.starts()[n:]))
				if s := p.Stats().Starts; s.Failures < 5 {
					t.Errorf("failures forgotten: %+v", s)
				}
				f.replan(startsIn(0))
				advance(time.Minute)
				wantCounts(t, p, "idle 2")
				equal(t, "failures", p.Stats().Starts.Failures, 0)
			})
		})
	}
}

func TestSlowStartFinishesForTheNextCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = startsIn(10 * time.Second)
		p := newPool(t, f, workers(1))
		for range 3 {
			_, err := checkout(p, CheckoutRequest{Timeout: new(time.Second)}).wait()
			refused(t, err, ErrStarting)
		}
		equal(t, "stage", p.Stats().Members[0].Stage, "import app")
		advance(7 * time.Second)
		lend(t, p)
		equal(t, "attempts", len(f.starts()), 1)
	})
}

func TestErrorThatIsNoStartErrorIsStillEvidence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = func(int) (time.Duration, error) { return 0, errors.New("too many open files") }
		p := warmPool(t, f)
		equal(t, "detail", p.Stats().Starts.Last.Detail, "too many open files")
	})
}
