package poolsvc

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestReloadReplacesSparesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(2), spares(2))
		f.replan(startsIn(time.Second))
		busy := execute(p, sleeper(5*time.Second))
		reloading(p)
		advance(time.Second)
		for _, m := range p.Stats().Members {
			if m.State == StateSpare {
				t.Errorf("spare %d of generation %d", m.ID, m.Generation)
			}
		}
		advance(time.Minute)
		busy.must(t)
		advance(time.Second)
		wantSpares(t, p, 2)
		wantGenerations(t, p, 2, 2, 2, 2)
		wantCounts(t, p, "idle 2")
		equal(t, "generations retired", len(f.retiredGenerations()), 1)
		equal(t, "exits by reload", p.Stats().Counts.Exits[ExitReload], 4)
	})
}

func TestReloadGivesUpSparesThatStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = func(attempt int) (time.Duration, error) {
			if attempt == 2 || attempt == 3 {
				return time.Hour, nil // the spares of the old code
			}
			return 0, nil
		}
		p := newPool(t, f, workers(1), spares(2), func(c *Config) { c.StartParallelism = 2 })
		synctest.Wait()
		wantCounts(t, p, "idle 1")
		reloading(p).must(t)
		synctest.Wait()
		wantCounts(t, p, "idle 1")
		wantSpares(t, p, 2)
		wantGenerations(t, p, 2, 2, 2)
		equal(t, "generations retired", len(f.retiredGenerations()), 1)
	})
}

func TestSessionsAndFreshCallsAfterAReloadRunTheNewCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1), spares(2))
		f.replan(startsIn(time.Second))
		held := checkout(p, CheckoutRequest{}).must(t) // so that the old worker of the pool cannot leave
		reloading(p)
		advance(time.Second)
		session := execute(p, in("s", echo))
		fresh := execute(p, Request{Command: "echo", Fresh: true})
		advance(time.Minute)
		equal(t, "generation of the session", session.must(t).Worker.Generation, 2)
		equal(t, "generation of the fresh call", fresh.must(t).Worker.Generation, 2)
		equal(t, "generation of the lease", held.Worker.Generation, 1)
	})
}

func TestAFreshCallUnderWayAtAReloadEndsInItsOwnGeneration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1))
		f.replan(startsIn(time.Second))
		fresh := execute(p, Request{Command: "echo", Fresh: true})
		advance(time.Second / 2)
		reloading(p)
		advance(time.Second / 2)
		equal(t, "generation of the call that had its turn", fresh.must(t).Worker.Generation, 1)
		advance(time.Minute)
		wantGenerations(t, p, 2)
	})
}

func TestAWorkerThatNoLeaseTookAfterAllIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(1))
		p.mu.Lock()
		m := p.takeIdleLocked(want{lease: true}) // for one who turns out to be gone
		p.mu.Unlock()
		reloading(p).must(t)
		wantGenerations(t, p, 1, 2)
		p.mu.Lock()
		m.uses--
		p.offerLocked(m)
		p.mu.Unlock()
		wantGenerations(t, p, 2)
	})
}
