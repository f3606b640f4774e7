package poolsvc

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"charmer/workerproc"
)

// alone asks for a worker of its own.
func alone(req Request) Request {
	req.Fresh = true
	return req
}

func TestFreshCallRunsInAWorkerOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1))
		for i := range 3 {
			r := execute(p, alone(echo)).must(t)
			equal(t, "worker", r.Worker.ID, uint64(i+2))
			equal(t, "calls of it", fmt.Sprint(f.worker(r.Worker.ID).seen()), "[echo]")
			if synctest.Wait(); !f.worker(r.Worker.ID).dead() {
				t.Error("the worker lives on")
			}
		}
		equal(t, "calls of the pool's worker", len(f.worker(1).seen()), 0)
		equal(t, "exits", p.Stats().Counts.Exits[ExitFresh], 3)
		wantCounts(t, p, "idle 1")
	})
}

func TestFreshCommandIsFreshWhateverTheRequestSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.isolation = map[string]string{"echo": workerproc.IsolationFresh, "sleep": workerproc.IsolationShared}
		p := warmPool(t, f, workers(1))
		equal(t, "worker", execute(p, echo).must(t).Worker.ID, 2)
		equal(t, "worker", execute(p, sleeper(0)).must(t).Worker.ID, 1)
		equal(t, "worker", execute(p, alone(sleeper(0))).must(t).Worker.ID, 3)
	})
}

func TestFreshCommandIsFreshBeforeAnybodyKnowsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = startsIn(time.Second)
		f.isolation = map[string]string{"echo": workerproc.IsolationFresh}
		p := newPool(t, f, lazy, workers(1))
		call, session := execute(p, echo), execute(p, in("u1", echo))
		advance(2 * time.Second)
		_, err := session.wait()
		equal(t, "error of the session", err, ErrNotShared)
		r := call.must(t)
		equal(t, "calls", fmt.Sprint(f.worker(r.Worker.ID).seen()), "[echo]")
		equal(t, "exits", p.Stats().Counts.Exits[ExitFresh], 1)
		equal(t, "session", *execute(p, in("u1", sleeper(0))).must(t).Session, SessionRef{"u1", "new"})
	})
}

func TestFreshCallTakesNoLeaseAndNoSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.isolation = map[string]string{"echo": workerproc.IsolationFresh}
		p := warmPool(t, f)
		l := lend(t, p)
		for _, req := range []Request{on(l, echo), in("u1", echo), alone(on(l, sleeper(0))), alone(in("u1", sleeper(0)))} {
			_, err := execute(p, req).wait()
			equal(t, "error", err, ErrNotShared)
		}
		equal(t, "sessions", len(p.Stats().Sessions), 0)
	})
}

func TestFreshCallTakesASpareAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1), spares(1))
		f.replan(startsIn(time.Second))
		equal(t, "worker", execute(p, alone(echo)).must(t).Worker.ID, 2)
		call := execute(p, alone(echo)) // the next spare is on its way
		advance(time.Second)
		equal(t, "worker", call.must(t).Worker.ID, 3)
		advance(time.Second)
		wantSpares(t, p, 1)
	})
}

func TestFreshCallsAreNoMoreThanWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, spares(1))
		first, second := execute(p, alone(sleeper(time.Second))), execute(p, alone(sleeper(2*time.Second)))
		third, fourth := execute(p, alone(sleeper(time.Second))), execute(p, echo)
		wantCounts(t, p, "busy 2")
		equal(t, "queue", p.Stats().Queue.Length, 2)
		advance(time.Second)
		first.must(t)
		wantCounts(t, p, "busy 2")
		advance(time.Second)
		second.must(t)
		equal(t, "worker of the pool", fourth.must(t).Worker.ID <= 2, true)
		third.must(t)
	})
}

func TestFreshCallsAreNoMoreThanWorkersEvenIfThoseThatStandByDie(t *testing.T) {
	for _, change := range []func(*Config){func(*Config) {}, lazy} {
		synctest.Test(t, func(t *testing.T) {
			f := newFactory()
			p := warmPool(t, f, workers(2), change)
			execute(p, echo).must(t)
			advance(10 * time.Second) // from now on a death is no failed start
			first := execute(p, alone(sleeper(3*time.Second)))
			for _, m := range p.Stats().Members {
				if m.State == StateBusy && m.Running == nil {
					f.worker(m.ID).crash()
				}
			}
			synctest.Wait()
			second, third := execute(p, alone(sleeper(3*time.Second))), execute(p, echo)
			equal(t, "queue", p.Stats().Queue.Length, 1)
			advance(3 * time.Second)
			first.must(t)
			second.must(t)
			third.must(t)
			if c := p.Stats().Workers; c.Idle != c.Size {
				t.Errorf("workers: %s", counts(c))
			}
		})
	}
}

func TestWorkerThatStandsByIsRecycledAfterTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1))
		call := execute(p, alone(sleeper(time.Second)))
		recycle(t, p, 1)
		wantCounts(t, p, "idle 1, busy 1")
		advance(time.Second)
		call.must(t)
		wantCounts(t, p, "idle 1")
		equal(t, "exits", p.Stats().Counts.Exits[ExitRecycle], 1)
	})
}

func TestFreshCallThatFailsLeavesThePoolAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1))
		for command, reason := range map[string]ExitReason{"crash": ExitCrash, "garble": ExitProtocol, "exit": ExitExiting, "raise": ExitFresh} {
			_, err := execute(p, alone(Request{Command: command})).wait()
			if _, ok := err.(*CallError); !ok {
				t.Errorf("%s: got %v", command, err)
			}
			wantCounts(t, p, "idle 1")
			equal(t, command, p.Stats().Counts.Exits[reason], 1)
		}
		_, err := execute(p, alone(Request{Command: "sleep", Args: []byte("10s"), Timeout: new(time.Second)})).wait()
		if outcome(err) != "timeout" {
			t.Errorf("got %v", err)
		}
		equal(t, "worker", execute(p, echo).must(t).Worker.ID, 1)
		equal(t, "failed starts", p.Stats().Starts.Failures, 0)
	})
}

func TestFreshCallWhoseWorkerCannotStartIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1))
		f.replan(failing)
		_, err := execute(p, alone(echo)).wait()
		equal(t, "evidence", refused(t, err, ErrCrashLooping).Start, startFailure)
		wantCounts(t, p, "idle 1")
		equal(t, "worker", execute(p, echo).must(t).Worker.ID, 1)
		equal(t, "failed starts of the pool", p.Stats().Starts.Failures, 0)
		equal(t, "failed starts", p.Stats().Counts.Starts["failed"], 1)
	})
}

func TestFreshCallWhoseWorkerDiesAsItComesUpHasNotStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1))
		f.stillborn = true
		_, err := execute(p, alone(echo)).wait()
		equal(t, "started", crashed(t, err).Started, false)
		equal(t, "workers tried", len(f.started()), 1+maxAttempts)
		wantCounts(t, p, "idle 1")
	})
}

func TestFreshCallIsRefusedWhenItsTimeIsUpBeforeItsWorkerIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1))
		f.replan(startsIn(time.Minute))
		call := execute(p, alone(echo))
		advance(29 * time.Second)
		wantCounts(t, p, "busy 1")
		advance(time.Second)
		_, err := call.wait()
		refused(t, err, ErrCheckoutTimeout)
		wantCounts(t, p, "idle 1")
		equal(t, "workers", len(p.Stats().Members), 1)
	})
}

func TestClientThatLeavesFreesWhatItsFreshCallHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1))
		f.replan(startsIn(time.Second))
		ctx, cancel := context.WithCancel(t.Context())
		starting := begin(func() (Result, error) { return p.Execute(ctx, alone(echo)) })
		synctest.Wait()
		queued := begin(func() (Result, error) { return p.Execute(ctx, alone(echo)) })
		synctest.Wait()
		wantCounts(t, p, "busy 1")
		cancel()
		for _, call := range []*pending[Result]{starting, queued} {
			_, err := call.wait()
			equal(t, "error", err, ErrClientGone)
		}
		wantCounts(t, p, "idle 1")
		equal(t, "workers", len(p.Stats().Members), 1)
		equal(t, "worker", execute(p, echo).must(t).Worker.ID, 1)
	})
}

// The grant and the end of the wait come together, in either order.
func TestFreshWorkerThatComesTooLateIsStopped(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			f := newFactory()
			p := warmPool(t, f, workers(1))
			f.replan(startsIn(time.Second))
			_, _ = execute(p, alone(Request{Command: "echo", Timeout: new(time.Second)})).wait() // answered or refused, by chance
			wantCounts(t, p, "idle 1")
			equal(t, "workers", len(p.Stats().Members), 1)
		})
	}
}

func TestDrainWaitsForAFreshCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1))
		f.replan(startsIn(time.Second))
		call, queued := execute(p, alone(sleeper(time.Second))), execute(p, alone(echo))
		drain := begin(func() (int, error) { return p.Drain(t.Context()), nil })
		advance(3 * time.Second)
		call.must(t)
		queued.must(t)
		equal(t, "left", drain.must(t), 0)
	})
}

func TestCloseAnswersFreshCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(2))
		running := execute(p, alone(sleeper(10*time.Second)))
		f.replan(startsIn(time.Second))
		starting := execute(p, alone(echo))
		p.Close(context.Background())
		_, err := running.wait()
		crashed(t, err)
		_, err = starting.wait()
		refused(t, err, ErrDraining)
	})
}
