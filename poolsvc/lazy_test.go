package poolsvc

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestLazyPoolStartsNothingWithoutDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := newPool(t, f, lazy)
		advance(time.Hour)
		equal(t, "attempts", len(f.starts()), 0)
		s := p.Stats()
		if !s.Ready || s.EverReady || !s.Lazy {
			t.Errorf("ready %v, ever ready %v, lazy %v", s.Ready, s.EverReady, s.Lazy)
		}
	})
}

func TestLazyPoolReusesTheWorkerItHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = startsIn(100 * ms)
		p := newPool(t, f, lazy, workers(4))
		first := execute(p, echo)
		advance(100 * ms)
		equal(t, "queue time", first.must(t).Queue, 100*ms)
		for range 5 {
			equal(t, "worker", execute(p, echo).must(t).Worker.ID, 1)
		}
		equal(t, "attempts", len(f.starts()), 1)
	})
}

func TestLazyPoolStartsOneWorkerForEachWaiterUpToItsSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = startsIn(100 * ms)
		p := newPool(t, f, lazy, workers(4))
		var calls []*pending[Result]
		for i := range 10 {
			calls = append(calls, execute(p, sleeper(10*ms)))
			equal(t, "attempts", len(f.starts()), min(i+1, 4))
		}
		advance(130 * ms)
		for _, c := range calls {
			c.must(t)
		}
		equal(t, "attempts", len(f.starts()), 4)
		wantCounts(t, p, "idle 4")
	})
}

func TestWaitersThatComeAndGoShareOneStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = startsIn(10 * time.Second)
		p := newPool(t, f, lazy, workers(4))
		for range 5 {
			ctx, cancel := context.WithCancel(t.Context())
			leaver := begin(func() (LeaseInfo, error) { return p.Checkout(ctx, CheckoutRequest{}) })
			advance(100 * ms)
			cancel()
			_, err := leaver.wait()
			equal(t, "error", err, error(ErrClientGone))
			_, err = checkout(p, CheckoutRequest{Timeout: new(100 * ms)}).wait()
			refused(t, err, ErrStarting)
		}
		equal(t, "attempts", len(f.starts()), 1)
		advance(9 * time.Second)
		lend(t, p)
	})
}

func TestLazyPoolStartsNothingForALeaseThatItsShareHoldsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := newPool(t, f, lazy, workers(4), func(c *Config) { c.LeaseShare = 0.25 })
		l := lend(t, p)
		execute(p, on(l, sleeper(time.Minute)))
		next := checkout(p, CheckoutRequest{})
		advance(time.Second)
		equal(t, "attempts", len(f.starts()), 1)
		_ = p.Release(l.ID) // its call goes on, but its share is free
		next.must(t)
		equal(t, "attempts", len(f.starts()), 2)
		advance(time.Minute)
	})
}

func TestLazyPoolCountsStartsThatRunAlready(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, lazy, workers(4))
		slow := execute(p, sleeper(time.Second))
		f.replan(startsIn(10 * time.Second))
		waiter := execute(p, echo)
		equal(t, "attempts", len(f.starts()), 2)
		advance(time.Second) // the busy worker comes free first
		slow.must(t)
		waiter.must(t)
		a, b := lend(t, p), checkout(p, CheckoutRequest{Timeout: new(time.Minute)})
		equal(t, "attempts", len(f.starts()), 2) // the start that runs is for b
		advance(9 * time.Second)
		if b.must(t).Worker == a.Worker {
			t.Error("one worker for two")
		}
	})
}

func TestLazyPoolDoesNotReplaceADeadWorkerBeforeItIsNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := newPool(t, f, lazy)
		execute(p, echo).must(t)
		f.worker(1).crash()
		advance(time.Minute)
		equal(t, "attempts", len(f.starts()), 1)
		execute(p, echo).must(t)
		equal(t, "attempts", len(f.starts()), 2)
	})
}

func TestLazyPoolReplacesAWorkerThatDiesWhileOthersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := newPool(t, f, lazy, workers(1))
		l := lend(t, p)
		waiter := checkout(p, CheckoutRequest{})
		f.worker(l.Worker.ID).crash()
		equal(t, "worker", waiter.must(t).Worker.ID, 2)
	})
}

func TestLazyPoolThatCannotStartRefusesAndTriesAgainOnDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = failing
		p := newPool(t, f, lazy)
		_, err := execute(p, echo).wait()
		refused(t, err, ErrCrashLooping)
		_, err = execute(p, echo).wait() // the backoff runs
		refused(t, err, ErrCrashLooping)
		equal(t, "attempts", len(f.starts()), 1)
		advance(time.Hour)
		equal(t, "attempts", len(f.starts()), 1)
		f.replan(startsIn(0))
		execute(p, echo).must(t)
	})
}

func TestLazyPoolStopsARecycledWorkerWithoutReplacement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := newPool(t, f, lazy)
		execute(p, echo).must(t)
		_ = p.Recycle(1)
		wantCounts(t, p, "")
		equal(t, "attempts", len(f.starts()), 1)
		equal(t, "worker", execute(p, echo).must(t).Worker.ID, 2)
	})
}
