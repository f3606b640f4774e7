package poolsvc

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// elastic is a pool of least to most workers.
func elastic(least, most int) func(*Config) {
	return func(c *Config) { c.MinWorkers, c.Workers = least, most }
}

// burst begins n calls that take d each.
func burst(p *Pool, n int, d time.Duration) (calls []*pending[Result]) {
	for range n {
		calls = append(calls, execute(p, sleeper(d)))
	}
	return calls
}

// size is how many workers the pool has, those that leave not counted.
func size(p *Pool) int {
	c := p.Stats().Workers
	return c.Size - c.Stopping
}

func TestPoolStartsWithItsLeast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, newFactory(), elastic(2, 8))
		advance(time.Hour)
		wantCounts(t, p, "idle 2")
		s := p.Stats()
		equal(t, "limits", s.Limits, Limits{MinWorkers: 2, Workers: 8, Sessions: 256, Leases: 8})
		equal(t, "target", s.Target, 2)
	})
}

func TestPoolGrowsByDoublingWhileRequestsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, elastic(1, 100))
		f.replan(startsIn(2 * time.Second))
		burst(p, 13, time.Minute)
		advance(scaleWait - 1)
		equal(t, "workers before anybody has waited too long", size(p), 1)
		advance(1)
		for _, want := range []int{2, 4, 8, 13, 13, 13} { // as many as wait, and no more
			equal(t, "workers", size(p), want)
			advance(scaleWait)
		}
		burst(p, 4, time.Minute)
		advance(scaleWait)
		equal(t, "workers after another burst, for which it begins with one", size(p), 14)
		advance(2 * scaleWait)
		equal(t, "workers", size(p), 17)
		advance(2 * time.Second)
		equal(t, "busy workers", p.Stats().Workers.Busy, 17)
		equal(t, "target", p.Stats().Target, 17)
	})
}

func TestPoolGrowsToItsMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, elastic(1, 5))
		calls := burst(p, 50, 100*ms)
		advance(time.Second)
		equal(t, "workers", size(p), 5)
		equal(t, "attempts", len(f.starts()), 5)
		advance(time.Second)
		for _, c := range calls {
			c.must(t)
		}
	})
}

func TestShortWaitsStartNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), elastic(1, 8))
		stop := clients(t, p, 3, sleeper(10*ms)) // each waits for two others
		advance(10 * time.Second)
		equal(t, "workers", size(p), 1)
		stop()
	})
}

func TestWhoeverLeavesTheQueueStartsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), elastic(1, 8))
		burst(p, 1, time.Second)
		for range 10 {
			_, err := checkout(p, CheckoutRequest{Timeout: new(scaleWait - ms)}).wait()
			refused(t, err, ErrCheckoutTimeout)
		}
		equal(t, "workers", size(p), 1)
		advance(time.Second)
	})
}

func TestPoolShrinksOneWorkerATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, elastic(2, 8))
		burst(p, 8, time.Second)
		advance(2 * time.Second)
		wantCounts(t, p, "idle 8")
		advance(58 * time.Second)
		for want := 8; want > 2; want-- {
			equal(t, "workers", size(p), want)
			advance(2 * time.Second)
			equal(t, "workers", size(p), want-1)
			equal(t, "target", p.Stats().Target, want-1)
			advance(58 * time.Second)
		}
		advance(time.Hour)
		wantCounts(t, p, "idle 2")
		equal(t, "exits", exits(p, ExitIdle), 6)
	})
}

func TestUsedWorkersStayAndTheRestGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), elastic(1, 4))
		burst(p, 4, time.Second)
		advance(time.Second)
		stop := clients(t, p, 2, sleeper(10*ms))
		advance(10 * time.Minute)
		equal(t, "workers", size(p), 2)
		stop()
	})
}

func TestSawtoothLoadDoesNotMakeThePoolFlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, elastic(1, 8))
		for range 60 { // of 30 seconds each
			calls := burst(p, 8, time.Second)
			advance(30 * time.Second)
			for _, c := range calls {
				c.must(t)
			}
		}
		equal(t, "workers started", len(f.started()), 8)
		equal(t, "exits", exits(p, ExitIdle), 0)
	})
}

func TestGrowthPostponesShrinking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), elastic(1, 10))
		burst(p, 3, time.Second)
		advance(45 * time.Second)
		burst(p, 1, time.Hour)
		burst(p, 5, 2*time.Minute)
		advance(time.Second)
		equal(t, "workers", size(p), 6)
		advance(40 * time.Second)
		equal(t, "workers", size(p), 6)
		advance(time.Hour)
	})
}

func TestPoolDoesNotGrowDuringTheBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, elastic(1, 8), func(c *Config) { c.CheckoutTimeout = time.Minute })
		advance(minTrial)
		f.replan(failing)
		calls := burst(p, 6, 20*time.Second)
		advance(4 * time.Second)
		if n := len(f.starts()); n > 8 {
			t.Errorf("%d attempts in 4 s", n)
		}
		equal(t, "target", p.Stats().Target, 2)
		f.replan(startsIn(0))
		advance(10 * time.Second) // the probe comes up, answers nobody yet, and has lived long enough
		equal(t, "workers", size(p), 6)
		advance(time.Minute)
		for _, c := range calls {
			c.must(t)
		}
	})
}

func TestPoolKeepsItsWorkersWhileOthersFailToStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, elastic(1, 4))
		burst(p, 4, time.Second)
		advance(2 * time.Second)
		f.replan(failing)
		_ = p.Recycle(1)
		advance(time.Hour)
		wantCounts(t, p, "idle 4")
	})
}

func TestLeasesBeyondTheirShareStartNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, elastic(1, 8), func(c *Config) { c.LeaseShare = 0.25 })
		a := lend(t, p)
		b := checkout(p, CheckoutRequest{})
		c := checkout(p, CheckoutRequest{Timeout: new(10 * time.Second)})
		advance(scaleWait)
		b.must(t)
		advance(time.Second)
		equal(t, "workers", size(p), 2)
		call := execute(p, sleeper(time.Second)) // is held up by nobody
		advance(scaleWait)
		equal(t, "workers", size(p), 3)
		_ = p.Release(a.ID)
		c.must(t)
		advance(time.Second)
		call.must(t)
	})
}

func TestShrinkingLeavesLeasedAndBusyWorkersAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), elastic(1, 4))
		l := checkout(p, CheckoutRequest{TTL: new(time.Hour)}).must(t)
		call := begin(func() (Result, error) {
			return p.Execute(context.Background(), Request{Command: "sleep", Args: []byte("50m"), Timeout: new(time.Hour)})
		})
		advance(scaleWait)
		burst(p, 2, time.Second)
		advance(30 * time.Minute)
		wantCounts(t, p, "busy 1, leased 1")
		equal(t, "worker", execute(p, on(l, echo)).must(t).Worker, l.Worker)
		advance(20 * time.Minute)
		call.must(t)
		advance(time.Hour)
		wantCounts(t, p, "idle 1")
	})
}

func TestLazyPoolShrinksToNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, newFactory(), lazy, workers(3))
		burst(p, 3, time.Second)
		advance(62 * time.Second)
		wantCounts(t, p, "idle 2")
		advance(2 * time.Minute)
		wantCounts(t, p, "")
		execute(p, echo).must(t)
		wantCounts(t, p, "idle 1")
	})
}

func TestPoolThatDrainsStartsWorkersForThoseWhoWaitAndStopsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, elastic(1, 8))
		calls := burst(p, 3, 2*time.Second)
		done := begin(func() (int, error) { return p.Drain(context.Background()), nil })
		advance(10 * time.Second)
		for _, c := range calls {
			c.must(t)
		}
		equal(t, "left", done.must(t), 0)
		equal(t, "workers started", len(f.started()), 3)
		advance(time.Hour)
		equal(t, "exits", exits(p, ExitIdle), 0)
	})
}

func TestAWorkerThatDiesInAGrownPoolIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, elastic(1, 4))
		burst(p, 4, time.Second)
		advance(2 * time.Second)
		f.worker(2).crash()
		wantCounts(t, p, "idle 4")
	})
}
