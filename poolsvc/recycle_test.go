package poolsvc

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestRecycledWorkerStopsOnlyAfterItsReplacementIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		f.replan(startsIn(500 * ms))
		for range 3 { // asking again changes nothing
			if err := p.Recycle(1); err != nil {
				t.Fatal(err)
			}
		}
		wantCounts(t, p, "starting 1, idle 2")
		advance(500*ms - 1)
		wantCounts(t, p, "starting 1, idle 2")
		advance(1)
		wantCounts(t, p, "idle 2")
		if !f.worker(1).dead() || f.worker(2).dead() {
			t.Error("the wrong worker was stopped")
		}
		equal(t, "workers started", len(f.started()), 3)
		equal(t, "exits by recycling", p.Stats().Counts.Exits[ExitRecycle], 1)
		equal(t, "starts that failed", p.Stats().Starts.Failures, 0)
	})
}

func TestRecycledBusyWorkerStopsAfterItsCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1))
		call := execute(p, sleeper(time.Second))
		_ = p.Recycle(1)
		wantCounts(t, p, "idle 1, busy 1")
		execute(p, echo).must(t)
		advance(time.Second)
		equal(t, "worker", call.must(t).Worker.ID, 1)
		wantCounts(t, p, "idle 1")
		if !f.worker(1).dead() {
			t.Error("the worker lives on")
		}
	})
}

func TestRecycledWorkerStopsAfterItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1))
		l := lend(t, p)
		_ = p.Recycle(l.Worker.ID)
		wantCounts(t, p, "idle 1, leased 1")
		equal(t, "worker", execute(p, on(l, echo)).must(t).Worker, l.Worker)
		_ = p.Release(l.ID)
		wantCounts(t, p, "idle 1")
		if !f.worker(l.Worker.ID).dead() {
			t.Error("the worker lives on")
		}
	})
}

func TestReplacementOfALeasedWorkerServesTheLeaseThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.deathLag = time.Second
		p := warmPool(t, f, workers(1))
		l := lend(t, p)
		next := checkout(p, CheckoutRequest{})
		_ = p.Recycle(l.Worker.ID)
		wantCounts(t, p, "idle 1, leased 1")
		_ = p.Release(l.ID)
		equal(t, "worker", next.must(t).Worker.ID, 2)
	})
}

func TestRecycledWorkerStopsAfterItsCallEvenIfOthersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		var calls []*pending[Result]
		for range 40 {
			calls = append(calls, execute(p, sleeper(100*ms)))
		}
		_ = p.Recycle(1)
		advance(100 * ms)
		if !f.worker(1).dead() {
			t.Error("the queue keeps the worker alive")
		}
		advance(2 * time.Second)
		for _, c := range calls {
			c.must(t)
		}
	})
}

func TestFailingReplacementKeepsTheOldWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		f.replan(failing)
		_ = p.Recycle(1)
		for range 60 {
			advance(time.Second)
			a, b := execute(p, sleeper(ms)), execute(p, sleeper(ms))
			wantCounts(t, p, "busy 2")
			advance(ms)
			a.must(t)
			b.must(t)
		}
		equal(t, "ready", p.Stats().Ready, true)
		f.replan(startsIn(0))
		advance(time.Minute)
		wantCounts(t, p, "idle 2")
		if !f.worker(1).dead() {
			t.Error("the old worker was not replaced in the end")
		}
	})
}

func TestRecyclingAllAtOnceNeverCostsCapacity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(5), func(c *Config) { c.StartParallelism = 2 })
		f.replan(startsIn(100 * ms))
		for id := range uint64(5) {
			_ = p.Recycle(id + 1)
		}
		for range 500 {
			if c := p.Stats().Workers; c.Idle+c.Busy < 5 {
				t.Fatalf("capacity fell: %+v", c)
			}
			execute(p, sleeper(3*ms))
			advance(ms)
		}
		advance(time.Second)
		wantCounts(t, p, "idle 5")
		for id := range uint64(5) {
			if !f.worker(id + 1).dead() {
				t.Errorf("worker %d lives on", id+1)
			}
		}
		equal(t, "workers started", len(f.started()), 10)
	})
}

func TestRecycledWorkerThatDiesIsReplacedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		advance(minTrial)
		f.replan(startsIn(time.Second))
		_ = p.Recycle(1)
		f.worker(1).crash()
		advance(time.Second)
		wantCounts(t, p, "idle 2")
		equal(t, "workers started", len(f.started()), 3)
	})
}

func TestStartingWorkerCanBeRecycled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = startsIn(time.Second)
		p := newPool(t, f, workers(1))
		if err := p.Recycle(1); err != nil {
			t.Fatal(err)
		}
		advance(time.Second)
		wantCounts(t, p, "idle 1")
		equal(t, "worker", lend(t, p).Worker.ID, 2)
	})
}

func TestOnlyWorkersOfThePoolCanBeRecycled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory())
		r := execute(p, in("u1", echo)).must(t)
		equal(t, "error for a session's", p.Recycle(r.Worker.ID), error(ErrNotRecyclable))
		equal(t, "error for nobody's", p.Recycle(99), error(ErrWorkerNotFound))
		p.Drain(t.Context())
		refused(t, p.Recycle(1), ErrDraining)
	})
}
