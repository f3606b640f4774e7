package poolsvc

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"charmer/workerproc"
)

func spares(n int) func(*Config) { return func(c *Config) { c.Spares = n } }

// setMethod changes how workers tell that they were started.
func (f *factory) setMethod(method string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.method = method
}

// wantSpares checks how many spares wait for an owner.
func wantSpares(t testing.TB, p *Pool, want int) {
	t.Helper()
	synctest.Wait()
	equal(t, "spares", p.Stats().Workers.Spare, want)
}

func TestSparesStartWhenThePoolIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = startsIn(time.Second)
		p := newPool(t, f, spares(2))
		wantCounts(t, p, "starting 2")
		equal(t, "starts", len(f.starts()), 2)
		advance(time.Second)
		wantCounts(t, p, "idle 2")
		equal(t, "starts", len(f.starts()), 4)
		wantSpares(t, p, 0)
		advance(time.Second)
		wantSpares(t, p, 2)
		equal(t, "size", p.Stats().Workers.Size, 2)
	})
}

func TestLazyPoolHasSparesAfterItsFirstUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := newPool(t, f, lazy, spares(1))
		advance(time.Minute)
		equal(t, "starts", len(f.starts()), 0)
		execute(p, echo).must(t)
		wantSpares(t, p, 1)
		f.replan(startsIn(time.Second))
		execute(p, sleeper(10*time.Second))
		busy := execute(p, echo) // more than the pool has: the spare joins it
		busy.must(t)
		wantCounts(t, p, "idle 1, busy 1")
	})
}

func TestCrashedWorkersPlaceIsTakenByASpareAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1), spares(1))
		f.replan(startsIn(time.Second))
		_, err := execute(p, Request{Command: "crash"}).wait()
		crashed(t, err)
		wantCounts(t, p, "idle 1")
		equal(t, "worker", execute(p, echo).must(t).Worker.ID, 2)
		wantSpares(t, p, 0)
		advance(time.Second)
		wantSpares(t, p, 1)
	})
}

func TestSpareThatStartsIsTakenToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1), spares(1))
		f.replan(startsIn(time.Second))
		_, _ = execute(p, in("u1", echo)).wait() // takes the spare
		advance(700 * ms)
		call := execute(p, in("u2", echo)) // the next one is 300 ms away
		advance(300 * ms)
		equal(t, "session", *call.must(t).Session, SessionRef{"u2", "new"})
		_ = p.EndSession("u2")
		advance(time.Second)
		wantSpares(t, p, 1)
		equal(t, "workers started", len(f.started()), 4)
	})
}

func TestSessionTakesASpareAtOnce(t *testing.T) {
	for _, hooks := range [][]string{nil, bothHooks} {
		synctest.Test(t, func(t *testing.T) {
			f := newFactory()
			f.hooks = hooks
			p := warmPool(t, f, workers(1), spares(1))
			f.replan(startsIn(time.Second))
			r := execute(p, in("u1", echo)).must(t)
			equal(t, "session", *r.Session, SessionRef{"u1", "new"})
			equal(t, "worker", r.Worker.ID, 2)
			want := "[echo new]"
			if hooks != nil {
				want = "[session_start new echo new]"
			}
			equal(t, "calls", fmt.Sprint(f.worker(2).seen()), want)
			equal(t, "sessions created", p.Stats().Counts.SessionsCreated, 1)
			wantCounts(t, p, "idle 1")
		})
	}
}

// A session never begins in a worker that has run anything.
func TestSessionBeginsInAPristineWorker(t *testing.T) {
	for n := range 3 {
		synctest.Test(t, func(t *testing.T) {
			f := newFactory()
			p := warmPool(t, f, spares(n))
			for i := range 5 {
				execute(p, echo).must(t)
				l := lend(t, p)
				execute(p, on(l, echo)).must(t)
				release(t, p, l)
				r := execute(p, in(fmt.Sprint("u", i), echo)).must(t)
				equal(t, "calls", fmt.Sprint(f.worker(r.Worker.ID).seen()), "[echo new]")
			}
		})
	}
}

func TestStartHookThatFailsInASpareEndsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.hooks = bothHooks
		f.hook = func(*fakeWorker, *workerproc.Call) error {
			return &workerproc.CommandError{Kind: workerproc.KindException}
		}
		p := warmPool(t, f, workers(1), spares(1))
		_, err := execute(p, in("u1", echo)).wait()
		var failed *CallError
		if failed, _ = err.(*CallError); failed == nil || failed.Command != hookSessionStart {
			t.Fatalf("got %v", err)
		}
		wantSpares(t, p, 1)
		s := p.Stats()
		equal(t, "sessions", len(s.Sessions), 0)
		equal(t, "sessions created", s.Counts.SessionsCreated, 0)
		equal(t, "exits", s.Counts.Exits[ExitSession], 1)
	})
}

// startHook has how be the app's session_start hook.
func startHook(how func(w *fakeWorker, c *workerproc.Call) error) func(*fakeWorker, *workerproc.Call) error {
	return func(w *fakeWorker, c *workerproc.Call) error {
		if c.Command != hookSessionStart {
			return nil
		}
		return how(w, c)
	}
}

func TestSpareThatDiesInTheStartHookAnswersWithTheCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.hooks = bothHooks
		f.hook = startHook(func(w *fakeWorker, _ *workerproc.Call) error {
			w.crash()
			<-w.done
			return &workerproc.CrashError{Exit: w.exit, Started: true}
		})
		p := warmPool(t, f, workers(1), spares(1))
		_, err := execute(p, in("u1", echo)).wait()
		crashed(t, err)
		wantSpares(t, p, 1)
		s := p.Stats()
		equal(t, "sessions lost", s.Counts.SessionsLost, 0)
		equal(t, "failed starts", s.Starts.Failures, 0)
	})
}

// The hook has returned, but its worker is gone before anybody has learned of either.
func TestSpareThatDiesRightAfterTheStartHookLosesTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.hooks = bothHooks
		f.hook = startHook(func(w *fakeWorker, _ *workerproc.Call) error {
			w.crash()
			time.Sleep(ms) // until the pool has seen it
			return nil
		})
		p := warmPool(t, f, workers(1), spares(1))
		_, err := execute(p, in("u1", echo)).wait()
		gone(t, err, ErrSessionLost)
		wantSpares(t, p, 1)
		s := p.Stats()
		equal(t, "sessions created", s.Counts.SessionsCreated, 1)
		equal(t, "sessions lost", s.Counts.SessionsLost, 1)
	})
}

func TestSessionThatEndsWhileItsSpareRunsTheHookStopsTheWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.hooks = bothHooks
		f.hook = startHook(func(w *fakeWorker, c *workerproc.Call) error { return w.take(context.Background(), c, time.Second) })
		p := warmPool(t, f, workers(1), spares(1))
		call := execute(p, in("u1", echo))
		equal(t, "state", p.Stats().Sessions[0].State, StateStarting)
		if err := p.EndSession("u1"); err != nil {
			t.Fatal(err)
		}
		_, err := call.wait()
		equal(t, "error", err, ErrSessionNotFound)
		advance(time.Second)
		if !f.worker(2).dead() {
			t.Error("the worker lives on")
		}
		wantSpares(t, p, 1)
		equal(t, "sessions created", p.Stats().Counts.SessionsCreated, 0)
	})
}

func TestSessionThatEndsWhileItsSpareStartsGivesTheStartUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1), spares(1))
		f.replan(startsIn(time.Second))
		execute(p, in("u1", echo)).must(t)
		execute(p, in("u2", echo)) // takes the one that starts
		_ = p.EndSession("u2")
		wantSpares(t, p, 0)
		advance(time.Second)
		wantSpares(t, p, 1)
		s := p.Stats()
		equal(t, "failed starts", s.Counts.Starts["failed"], 0)
		equal(t, "starts", len(f.starts()), 4)
	})
}

func TestCloseWhileASpareRunsTheHookLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.hooks = bothHooks
		f.hook = startHook(func(w *fakeWorker, c *workerproc.Call) error { return w.take(context.Background(), c, time.Second) })
		p := warmPool(t, f, workers(1), spares(2)) // newPool closes it
		execute(p, in("u1", echo))
		equal(t, "state", p.Stats().Sessions[0].State, StateStarting)
	})
}

func TestSparesAreStoppedByCloseAndNotReplacedWhileDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1), spares(2))
		l := lend(t, p)
		call := execute(p, sleeper(10*time.Second))
		drain := begin(func() (int, error) { return p.Drain(t.Context()), nil })
		synctest.Wait()
		f.worker(l.Worker.ID).crash() // its place is taken by a spare, for the call that waits
		advance(time.Minute)
		call.must(t)
		drain.must(t)
		wantSpares(t, p, 1)
		equal(t, "workers started", len(f.started()), 3)
		p.Close(t.Context())
		equal(t, "stopped by Close", p.Stats().Counts.Exits[ExitShutdown], 2)
	})
}

func TestSparesThatCannotStartBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1), spares(2))
		f.replan(failing)
		f.worker(2).crash() // unused, which is a failed start
		advance(5 * time.Minute)
		wantBackoff(t, gaps(f.starts())[2:])
		state, _ := p.Stats().Health()
		equal(t, "health", state, HealthDegraded)
		execute(p, echo).must(t)
		wantSpares(t, p, 1)
		f.replan(startsIn(0))
		advance(time.Minute) // the next attempt, and the time in which it proves itself
		wantSpares(t, p, 2)
		state, _ = p.Stats().Health()
		equal(t, "health", state, HealthReady)
	})
}

func TestSpareServesWhileNothingCanStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1), spares(1))
		f.replan(failing)
		advance(time.Minute)
		_, err := execute(p, Request{Command: "crash"}).wait()
		crashed(t, err)
		execute(p, echo).must(t)
		_, err = execute(p, Request{Command: "crash"}).wait()
		crashed(t, err)
		_, err = execute(p, echo).wait()
		refused(t, err, ErrCrashLooping)
	})
}

func TestDeadSpareIsNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.deathLag = 3 * ms
		p := warmPool(t, f, workers(1), spares(2))
		advance(time.Minute)
		f.worker(2).crash() // it is dying, and the pool has not heard of it
		equal(t, "worker", execute(p, in("u1", echo)).must(t).Worker.ID, 3)
		advance(3 * ms)
		wantSpares(t, p, 2)
		equal(t, "failed starts", p.Stats().Starts.Failures, 0) // it had lived for a while
	})
}

func TestSparesThatAreTooManyLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, spares(AutomaticSpares))
		equal(t, "workers", len(p.Stats().Members), 2)
		f.setMethod("fork")
		recycle(t, p, 1)
		wantSpares(t, p, 2)
		f.setMethod("exec")
		execute(p, in("u1", echo)).must(t) // takes a spare, and what is started for the next one cannot be forked
		wantSpares(t, p, 0)
		wantCounts(t, p, "idle 2")
		equal(t, "exits", p.Stats().Counts.Exits[ExitSpare], 2)
	})
}

func TestSpareCannotBeRecycled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(1), spares(1))
		equal(t, "error", p.Recycle(2), ErrNotRecyclable)
		equal(t, "error", p.Recycle(3), ErrWorkerNotFound)
	})
}

func TestReplacementOfARecycledWorkerIsASpare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1), spares(1))
		f.replan(startsIn(time.Second))
		recycle(t, p, 1)
		wantCounts(t, p, "idle 1")
		equal(t, "worker", execute(p, echo).must(t).Worker.ID, 2)
		equal(t, "exits", p.Stats().Counts.Exits[ExitRecycle], 1)
	})
}

func TestSparesComeBackWithTheZygote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		state := workerproc.ZygoteRestarting
		p := warmPool(t, f, workers(1), func(c *Config) {
			c.Spares = AutomaticSpares
			c.Zygote = func(int) workerproc.ZygoteStatus { return workerproc.ZygoteStatus{State: state} }
		})
		equal(t, "spares", p.Stats().Workers.Spare, 0)
		p.mu.Lock()
		state = workerproc.ZygoteReady
		p.mu.Unlock()
		f.setMethod("fork")
		advance(tickInterval)
		equal(t, "spares", p.Stats().Workers.Spare, forkedSpares)
	})
}
