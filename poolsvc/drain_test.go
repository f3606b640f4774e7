package poolsvc

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"charmer/workerproc"
)

// drain begins to drain, and waits at most limit.
func drain(p *Pool, limit time.Duration) *pending[int] {
	out := begin(func() (int, error) {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		return p.Drain(ctx), nil
	})
	synctest.Wait()
	return out
}

func TestLeavingPoolIsNotReadyButServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory())
		p.Leave()
		s := p.Stats()
		if s.Ready || !s.Leaving || s.Draining {
			t.Errorf("ready %v, leaving %v, draining %v", s.Ready, s.Leaving, s.Draining)
		}
		execute(p, echo).must(t)
		lend(t, p)
	})
}

func TestDrainRefusesNewWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory())
		execute(p, in("u1", echo)).must(t)
		l := lend(t, p)
		equal(t, "left", p.Drain(t.Context()), 0)
		for _, req := range []Request{echo, in("u1", echo), in("u2", echo), on(l, echo)} {
			_, err := execute(p, req).wait()
			refused(t, err, ErrDraining)
		}
		for _, req := range []CheckoutRequest{{}, {SessionID: "u1"}} {
			_, err := checkout(p, req).wait()
			refused(t, err, ErrDraining)
		}
		if s := p.Stats(); s.Ready || !s.Draining || !s.Leaving {
			t.Errorf("ready %v, leaving %v, draining %v", s.Ready, s.Leaving, s.Draining)
		}
		if _, err := p.Renew(l.ID, nil); err != nil {
			t.Errorf("renew: %v", err)
		}
		if err := p.Release(l.ID); err != nil {
			t.Errorf("release: %v", err)
		}
	})
}

func TestDrainWaitsForWhatRunsAndWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(1))
		running, waiting := execute(p, sleeper(time.Second)), execute(p, sleeper(time.Second))
		d := drain(p, time.Minute)
		equal(t, "left", mustSettle(t, d, 2*time.Second), 0)
		running.must(t)
		waiting.must(t)
	})
}

// mustSettle checks that d settles after exactly that time.
func mustSettle[T any](t *testing.T, d *pending[T], after time.Duration) T {
	t.Helper()
	value, err := d.wait()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "time it took", d.took, after)
	return value
}

func TestDrainIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(1))
		running, waiting := execute(p, sleeper(10*time.Second)), execute(p, sleeper(time.Second))
		equal(t, "left", mustSettle(t, drain(p, time.Second), time.Second), 2)
		equal(t, "left", mustSettle(t, drain(p, time.Second), time.Second), 2) // may be asked again
		equal(t, "left", mustSettle(t, drain(p, time.Minute), 8*time.Second), 0)
		running.must(t)
		_, err := waiting.wait() // its checkout timeout came first
		refused(t, err, ErrCheckoutTimeout)
	})
}

func TestDrainDoesNotWaitForLeasesAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory())
		lend(t, p)
		l := lend(t, p)
		call := execute(p, on(l, sleeper(time.Second)))
		equal(t, "left", mustSettle(t, drain(p, time.Minute), time.Second), 0)
		call.must(t)
	})
}

func TestDrainStillStartsWhatQueuedRequestsNeed(t *testing.T) {
	for name, change := range map[string]func(*Config){"eager": workers(1), "lazy": lazy} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFactory()
				f.plan = startsIn(time.Second)
				p := newPool(t, f, change)
				call := execute(p, echo)
				d := drain(p, time.Minute)
				equal(t, "left", mustSettle(t, d, time.Second), 0)
				call.must(t)
			})
		})
	}
}

func TestDrainReplacesAWorkerThatDiesIfOthersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1))
		running, waiting := execute(p, sleeper(time.Second)), execute(p, echo)
		d := drain(p, time.Minute)
		f.worker(1).crash()
		_, err := running.wait()
		crashed(t, err)
		waiting.must(t)
		equal(t, "left", mustSettle(t, d, 0), 0)

		f.worker(2).crash()
		advance(time.Minute)
		equal(t, "attempts", len(f.starts()), 2) // nobody waits: nothing is started any more
	})
}

func TestCloseStopsIdleAndLeasedWorkersInGoodOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		lend(t, p)
		p.Close(context.Background())
		for _, w := range f.started() {
			if w.exit.Cause != workerproc.CauseStopped || w.exit.Forced || w.stops != 1 {
				t.Errorf("worker %d: %+v after %d stops", w.id, w.exit, w.stops)
			}
		}
		equal(t, "exits by shutdown", p.Stats().Counts.Exits[ExitShutdown], 2)
	})
}

func TestCloseKillsBusyWorkers(t *testing.T) {
	for _, lag := range []time.Duration{0, 50 * ms} {
		for range 50 { // the watcher and the caller see the death in either order
			synctest.Test(t, func(t *testing.T) {
				f := newFactory()
				f.deathLag = lag
				p := warmPool(t, f)
				l := lend(t, p)
				a, b, c := execute(p, on(l, sleeper(time.Hour))), execute(p, sleeper(time.Hour)), execute(p, in("u1", sleeper(time.Hour)))
				began := time.Now()
				p.Close(context.Background())
				equal(t, "time to close", time.Since(began), lag)
				for _, call := range []*pending[Result]{a, b, c} {
					_, err := call.wait()
					equal(t, "started", crashed(t, err).Started, true)
				}
				equal(t, "exits by shutdown", p.Stats().Counts.Exits[ExitShutdown], 3)
			})
		}
	}
}

func TestCloseFailsWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(1))
		lend(t, p)
		execute(p, in("u1", sleeper(time.Hour)))
		a, b, c := execute(p, echo), checkout(p, CheckoutRequest{}), execute(p, in("u1", echo))
		p.Close(context.Background())
		_, errA := a.wait()
		_, errB := b.wait()
		_, errC := c.wait()
		for _, err := range []error{errA, errB, errC} {
			refused(t, err, ErrDraining)
		}
		_, err := execute(p, echo).wait()
		refused(t, err, ErrDraining)
	})
}

func TestCloseAgainDoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		execute(p, sleeper(time.Hour))
		closes := []*pending[int]{}
		for range 3 {
			closes = append(closes, begin(func() (int, error) { p.Close(context.Background()); return 0, nil }))
		}
		for _, c := range closes {
			_, _ = c.wait()
		}
		p.Close(context.Background())
		equal(t, "left", p.Drain(t.Context()), 0)
	})
}

func TestCloseGivesUpStartsThatRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = startsIn(time.Hour)
		p := newPool(t, f, workers(4), func(c *Config) { c.StartParallelism = 2 })
		call, session := execute(p, echo), execute(p, in("u1", echo))
		began := time.Now()
		p.Close(context.Background())
		equal(t, "time to close", time.Since(began), 0)
		_, err := call.wait()
		refused(t, err, ErrDraining)
		_, err = session.wait()
		refused(t, err, ErrDraining)
	})
}

func TestWorkerThatComesUpDuringCloseIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = startsIn(time.Second)
		p := newPool(t, f, func(c *Config) {
			spawn := c.Spawn
			c.Spawn = func(ctx context.Context, generation int, id uint64, progress func(int, string)) (Worker, error) {
				return spawn(context.WithoutCancel(ctx), generation, id, progress) // too far to be given up
			}
		})
		call := execute(p, in("u1", echo))
		began := time.Now()
		p.Close(context.Background())
		equal(t, "time to close", time.Since(began), time.Second)
		_, err := call.wait()
		refused(t, err, ErrDraining)
		equal(t, "exits by shutdown", p.Stats().Counts.Exits[ExitShutdown], 3)
	})
}

func TestCloseDuringTheBackoffEndsTheAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = failing
		p := newPool(t, f, workers(1))
		advance(time.Second)
		p.Close(context.Background())
		n := len(f.starts())
		advance(time.Hour)
		equal(t, "attempts", len(f.starts()), n)
	})
}

func TestCloseDuringAStartHookStopsTheWorkerWithinTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := slowStartHook(time.Hour)
		p := warmPool(t, f)
		call := execute(p, in("u1", echo))
		began := time.Now()
		p.Close(context.Background())
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("closed after %s, with a grace of 2 s", took)
		}
		_, err := call.wait()
		refused(t, err, ErrDraining)
		equal(t, "hooks", trace(f, 3), "[session_start new]") // what never began has no end
	})
}

func TestNoCallIsSentToAWorkerThatCloseStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.hooks = []string{hookSessionEnd}
		f.hook = func(w *fakeWorker, c *workerproc.Call) error { return w.take(context.Background(), c, time.Second) }
		p := warmPool(t, f)
		l := lend(t, p)
		deadline := time.Now().Add(time.Minute)
		var holds []held // taken, and on the way to the call
		for _, req := range []Request{on(l, echo), in("u1", echo), echo} {
			h, err := p.hold(t.Context(), req, deadline)
			if err != nil {
				t.Fatal(err)
			}
			holds = append(holds, h)
		}
		closing := begin(func() (int, error) { p.Close(context.Background()); return 0, nil })
		advance(500 * ms)
		for _, h := range holds {
			if h.m.state == stateGone {
				p.giveBack(h)
				continue
			}
			_, err := p.call(context.Background(), h, echo, &execution{deadline: deadline})
			refused(t, err, ErrDraining)
		}
		_, _ = closing.wait()
		equal(t, "calls of the session", trace(f, 3), "[session_end resumed]")
	})
}

func TestCloseRunsTheEndHookOfEverySessionOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.hooks = []string{hookSessionEnd}
		f.hook = func(w *fakeWorker, c *workerproc.Call) error { return w.take(context.Background(), c, time.Second) }
		p := warmPool(t, f)
		execute(p, in("u1", echo)).must(t)
		l := checkout(p, CheckoutRequest{SessionID: "u2"}).must(t)
		closing := begin(func() (int, error) { p.Close(context.Background()); return 0, nil })
		advance(500 * ms)
		_ = p.Release(l.ID) // comes in the middle of it
		_, _ = closing.wait()
		equal(t, "time to close", closing.took, time.Second)
		equal(t, "calls of u1", trace(f, 3), "[echo new session_end resumed]")
		equal(t, "calls of u2", trace(f, 4), "[session_end resumed]")
	})
}

func TestLeaseThatEndsWhileItsWorkerStopsChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.deathLag = time.Second
		p := warmPool(t, f, workers(1))
		l := lend(t, p)
		closing := begin(func() (int, error) { p.Close(context.Background()); return 0, nil })
		advance(100 * ms)
		if err := p.Release(l.ID); err != nil {
			t.Errorf("release: %v", err)
		}
		wantCounts(t, p, "stopping 1")
		_, _ = closing.wait()
		equal(t, "exits by shutdown", p.Stats().Counts.Exits[ExitShutdown], 1)
		equal(t, "stops", f.worker(1).stops, 1)
	})
}

func TestWorkerThatDoesNotStopIsForcedAfterTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1))
		f.worker(1).sicken() // and never ends by itself
		began := time.Now()
		p.Close(context.Background())
		equal(t, "time to close", time.Since(began), 2*time.Second)
		equal(t, "forced", f.worker(1).exit.Forced, true)
	})
}

func TestCloseKillsWhenItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.hooks = bothHooks
		f.hook = func(w *fakeWorker, c *workerproc.Call) error {
			if c.Command == hookSessionEnd {
				return w.take(context.Background(), c, time.Hour)
			}
			return nil
		}
		p := newPool(t, f, func(c *Config) { c.StopGrace = time.Hour })
		execute(p, in("u1", echo)).must(t)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		begun := time.Now()
		p.Close(ctx)
		equal(t, "close took", time.Since(begun), time.Second)
	})
}
