package poolsvc

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"charmer/workerproc"
)

func TestSessionIsCreatedByItsFirstCallAndKeepsItsWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		first := execute(p, in("u1", echo)).must(t)
		equal(t, "session", *first.Session, SessionRef{"u1", "new"})
		for range 4 {
			r := execute(p, in("u1", echo)).must(t)
			equal(t, "session", *r.Session, SessionRef{"u1", "resumed"})
			equal(t, "worker", r.Worker, first.Worker)
		}
		info, err := p.Session("u1")
		if err != nil || info.Calls != 5 || info.State != StateIdle || *info.Worker != first.Worker {
			t.Errorf("session = %+v, %v", info, err)
		}
		equal(t, "states that the worker saw", fmt.Sprint(f.worker(first.Worker.ID).seen()),
			"[echo new echo resumed echo resumed echo resumed echo resumed]")
		wantCounts(t, p, "idle 2") // a session is not the pool's
	})
}

func TestSessionsNeverShareAWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = startsIn(300 * ms)
		p := newPool(t, f, func(c *Config) { c.StartParallelism = 4 })
		var calls []*pending[Result]
		for i := range 50 {
			calls = append(calls, execute(p, in(fmt.Sprint("u", i), echo)))
		}
		advance(300 * ms * 13) // 52 starts, 4 at a time
		owner := map[uint64]string{}
		for _, c := range calls {
			r := c.must(t)
			if other := owner[r.Worker.ID]; other != "" {
				t.Errorf("worker %d serves %s and %s", r.Worker.ID, other, r.Session.ID)
			}
			owner[r.Worker.ID] = r.Session.ID
		}
		equal(t, "sessions", len(p.Stats().Sessions), 50)
		equal(t, "starts at a time", f.maxStarting, 2+4) // of the pool, and of sessions
		wantCounts(t, p, "idle 2")
	})
}

func TestFirstCallsOfASessionStartOneWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		f.replan(startsIn(time.Second))
		var calls []*pending[Result]
		for range 20 {
			calls = append(calls, execute(p, in("u1", echo)))
		}
		info, _ := p.Session("u1")
		if info.State != StateStarting || info.Waiting != 20 || info.Worker != nil {
			t.Errorf("while starting: %+v", info)
		}
		advance(time.Second)
		fresh := 0
		for _, c := range calls {
			r := c.must(t)
			equal(t, "worker", r.Worker.ID, uint64(3))
			if r.Session.State == "new" {
				fresh++
			}
		}
		equal(t, "calls told that the session is new", fresh, 1)
		equal(t, "workers", len(f.started()), 3)
	})
}

func TestCallsOfASessionRunOneByOneInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		var calls []*pending[Result]
		for range 20 {
			calls = append(calls, execute(p, in("u1", sleeper(10*ms))))
		}
		advance(200 * ms)
		for i, c := range calls {
			equal(t, "queue time", c.must(t).Queue, time.Duration(i)*10*ms)
		}
	})
}

func TestBusySessionRefusesAfterTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory())
		slow := execute(p, in("u1", sleeper(time.Second)))
		req := in("u1", echo)
		req.CheckoutTimeout = new(50 * ms)
		late := execute(p, req)
		_, err := late.wait()
		equal(t, "Waited", refused(t, err, ErrSessionBusy).Waited, 50*ms)
		equal(t, "time it took", late.took, 50*ms)
		info, _ := p.Session("u1")
		equal(t, "waiting", info.Waiting, 0)
		advance(time.Second)
		slow.must(t)
	})
}

func TestStartingSessionIsNotCalledBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		f.replan(startsIn(time.Second))
		req := in("u1", echo)
		req.CheckoutTimeout = new(50 * ms)
		_, err := execute(p, req).wait()
		refused(t, err, ErrCheckoutTimeout)
		advance(time.Second)
		equal(t, "state", execute(p, req).must(t).Session.State, "new") // nobody has been told yet
	})
}

func TestQueueOfASessionIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), func(c *Config) { c.MaxQueue = 2 })
		execute(p, in("u1", sleeper(time.Second)))
		execute(p, in("u1", echo))
		execute(p, in("u1", echo))
		_, err := execute(p, in("u1", echo)).wait()
		refused(t, err, ErrQueueFull)
		execute(p, in("u2", echo)).must(t)
		advance(time.Second)
	})
}

func TestClientThatLeavesWhileItsSessionStartsDoesNotStopTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		f.replan(startsIn(time.Second))
		ctx, cancel := context.WithCancel(t.Context())
		leaver := begin(func() (Result, error) { return p.Execute(ctx, in("u1", echo)) })
		synctest.Wait()
		cancel()
		_, err := leaver.wait()
		equal(t, "error", err, error(ErrClientGone))
		equal(t, "time it took", leaver.took, 0)
		advance(time.Second)
		r := execute(p, in("u1", echo)).must(t)
		equal(t, "queue time", r.Queue, 0)
		equal(t, "state", r.Session.State, "new")
		equal(t, "state", execute(p, in("u1", echo)).must(t).Session.State, "resumed")
		equal(t, "workers", len(f.started()), 3)
	})
}

func TestIdleSessionExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, func(c *Config) { c.SessionIdle = time.Minute })
		execute(p, in("u1", echo)).must(t)
		for range 3 { // use keeps it
			advance(59 * time.Second)
			execute(p, in("u1", echo)).must(t)
		}
		info, _ := p.Session("u1")
		equal(t, "end", info.ExpiresAt, time.Now().Add(time.Minute))
		advance(time.Minute - 1)
		equal(t, "sessions", len(p.Stats().Sessions), 1)
		advance(1)
		equal(t, "sessions", len(p.Stats().Sessions), 0)
		equal(t, "expired counted", p.Stats().Counts.SessionsExpired, 1)
		equal(t, "exits for sessions", p.Stats().Counts.Exits[ExitSession], 1)
		if !f.worker(3).dead() {
			t.Error("the worker of the session lives on")
		}
		_, err := p.Session("u1")
		equal(t, "error", err, error(ErrSessionNotFound))
		equal(t, "state", execute(p, in("u1", echo)).must(t).Session.State, "new")
	})
}

func TestShortTimesOfSessionsAreKeptExactly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), func(c *Config) { c.SessionIdle, c.SessionLifetime = 30*ms, 100*ms })
		advance(321 * ms) // in the middle of the janitor's sleep
		for range 3 {
			execute(p, in("u1", echo)).must(t)
			advance(29 * ms)
		}
		equal(t, "sessions before the end of the lifetime", len(p.Stats().Sessions), 1)
		call := execute(p, in("u1", sleeper(12*ms)))
		advance(13 * ms)
		call.must(t)
		equal(t, "sessions after it", len(p.Stats().Sessions), 0)
		execute(p, in("u1", echo)).must(t)
		advance(30*ms - 1)
		equal(t, "sessions before the end of the idle time", len(p.Stats().Sessions), 1)
		advance(1)
		equal(t, "sessions after it", len(p.Stats().Sessions), 0)
	})
}

func TestBusySessionIsNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), func(c *Config) { c.SessionIdle = time.Second })
		long := execute(p, in("u1", sleeper(10*time.Second)))
		advance(10 * time.Second)
		long.must(t)
		l := checkout(p, CheckoutRequest{SessionID: "u1"}).must(t)
		advance(30 * time.Second)
		equal(t, "state", execute(p, on(l, echo)).must(t).Session.State, "resumed")
		info, _ := p.Session("u1")
		equal(t, "last use", info.LastUsedAt, time.Now())
		_ = p.Release(l.ID)
		advance(time.Second)
		equal(t, "sessions", len(p.Stats().Sessions), 0)
	})
}

func TestSessionEndsWithItsLifetimeEvenIfUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), func(c *Config) { c.SessionLifetime = 10 * time.Second })
		for range 9 {
			execute(p, in("u1", echo)).must(t)
			advance(time.Second)
		}
		last := execute(p, in("u1", sleeper(5*time.Second)))
		waiter := execute(p, in("u1", echo))
		advance(time.Second)
		_, err := waiter.wait()
		equal(t, "error of who waited", err, error(ErrSessionNotFound))
		equal(t, "sessions", len(p.Stats().Sessions), 0)
		_, err = last.wait()
		cancelled(t, err, errSessionEnded, workerproc.StepCancelled)
		equal(t, "exits for sessions", p.Stats().Counts.Exits[ExitSession], 1)
	})
}

func TestSessionsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, func(c *Config) { c.MaxSessions = 2 })
		execute(p, in("u1", echo)).must(t)
		execute(p, in("u2", echo)).must(t)
		_, err := execute(p, in("u3", echo)).wait()
		refused(t, err, ErrSessionLimit)
		equal(t, "workers", len(f.started()), 4)
		execute(p, in("u1", echo)).must(t)
		if err := p.EndSession("u2"); err != nil {
			t.Fatal(err)
		}
		execute(p, in("u3", echo)).must(t)
	})
}

func TestLostSessionSaysSoUntilItIsOpenedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		r := execute(p, in("u1", echo)).must(t)
		f.worker(r.Worker.ID).crash()
		synctest.Wait()
		for range 2 {
			_, exec := execute(p, in("u1", echo)).wait()
			_, info := p.Session("u1")
			for _, err := range []error{exec, info} {
				if g := gone(t, err, ErrSessionLost); g.Exit == nil || g.Exit.Code != 3 {
					t.Errorf("no evidence in %+v", g)
				}
			}
			advance(time.Hour)
		}
		equal(t, "lost counted", p.Stats().Counts.SessionsLost, 1)
		equal(t, "workers", len(f.started()), 3) // a session's worker is not replaced

		l := checkout(p, CheckoutRequest{SessionID: "u1"}).must(t)
		equal(t, "session", *l.Session, SessionRef{"u1", "new"})
		_ = p.Release(l.ID)
		equal(t, "state", execute(p, in("u1", echo)).must(t).Session.State, "resumed")
		_ = p.EndSession("u1") // in good order: nothing was lost
		equal(t, "state", execute(p, in("u1", echo)).must(t).Session.State, "new")
	})
}

func TestEndingALostSessionForgetsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory())
		_, err := execute(p, in("u1", Request{Command: "crash"})).wait()
		crashed(t, err)
		synctest.Wait()
		_, err = execute(p, in("u1", echo)).wait()
		gone(t, err, ErrSessionLost)
		if err := p.EndSession("u1"); err != nil {
			t.Fatal(err)
		}
		equal(t, "second end", p.EndSession("u1"), error(ErrSessionNotFound))
		equal(t, "state", execute(p, in("u1", echo)).must(t).Session.State, "new")
	})
}

func TestReopeningThatIsRefusedLeavesTheSessionLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), func(c *Config) { c.MaxSessions = 1 })
		_, _ = execute(p, in("u1", Request{Command: "crash"})).wait()
		execute(p, in("u2", echo)).must(t)
		_, err := checkout(p, CheckoutRequest{SessionID: "u1"}).wait()
		refused(t, err, ErrSessionLimit)
		_ = p.EndSession("u2")
		_, err = execute(p, in("u1", echo)).wait()
		gone(t, err, ErrSessionLost)
	})
}

func TestSessionWhoseWorkerIsDyingIsLostAndNotCrashed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.deathLag = 100 * ms
		p := warmPool(t, f)
		r := execute(p, in("u1", echo)).must(t)
		f.worker(r.Worker.ID).crash()
		_, err := execute(p, in("u1", echo)).wait() // no call may be sent any more
		if g := gone(t, err, ErrSessionLost); g.Exit == nil || g.Exit.Code != 3 {
			t.Errorf("no evidence in %+v", g)
		}
		equal(t, "executions", p.Stats().Counts.Executions["crash"], 0)
	})
}

func TestWaitersOfASessionThatDiesAreToldWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		running := execute(p, in("u1", sleeper(time.Second)))
		waiting := execute(p, in("u1", echo))
		f.worker(3).crash()
		_, err := running.wait()
		equal(t, "started", crashed(t, err).Started, true)
		_, err = waiting.wait()
		gone(t, err, ErrSessionLost)
	})
}

func TestTheStartHookHasTheRequestThatOpensTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.hooks = bothHooks
		p := warmPool(t, f)
		checkout(p, CheckoutRequest{SessionID: "u1", By: RequestRef{ID: "r1", Traceparent: "00-1-2-01"}}).must(t)
		req := in("u2", echo)
		req.RequestID = "r2"
		execute(p, req).must(t)
		for id, want := range map[uint64]RequestRef{3: {"r1", "00-1-2-01"}, 4: {"r2", ""}} {
			hook := f.worker(id).received()[0]
			if got := (RequestRef{hook.RequestID, hook.Traceparent}); !hook.Hook || got != want {
				t.Errorf("worker %d: hook %v, request %+v, want %+v", id, hook.Hook, got, want)
			}
		}
	})
}

func TestWhoOpensASessionMayWaitForItWithoutAQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, func(c *Config) { c.MaxQueue = 0 })
		f.replan(startsIn(time.Second))
		opener := execute(p, in("u1", echo))
		_, err := execute(p, in("u1", echo)).wait()
		refused(t, err, ErrQueueFull)
		advance(time.Second)
		opener.must(t)
	})
}
