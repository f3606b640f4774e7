package poolsvc

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"charmer/workerproc"
)

var bothHooks = []string{hookSessionStart, hookSessionEnd}

// trace returns what a session's worker was asked to do, in order.
func trace(f *factory, id uint64) string { return fmt.Sprint(f.worker(id).seen()) }

func TestEndedSessionStopsItsWorkerAndFreesItsName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		r := execute(p, in("u1", echo)).must(t)
		if err := p.EndSession("u1"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !f.worker(r.Worker.ID).dead() {
			t.Error("the worker lives on")
		}
		_, err := p.Session("u1")
		equal(t, "session", err, error(ErrSessionNotFound))
		equal(t, "second end", p.EndSession("u1"), error(ErrSessionNotFound))
		again := execute(p, in("u1", echo)).must(t)
		if again.Session.State != "new" || again.Worker.ID == r.Worker.ID {
			t.Errorf("after the end: %+v on worker %d", again.Session, again.Worker.ID)
		}
		equal(t, "ended counted", p.Stats().Counts.SessionsEnded, 1)
		equal(t, "lost counted", p.Stats().Counts.SessionsLost, 0)
	})
}

func TestEndOfABusySessionEndsItsCallAndRefusesWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		running := execute(p, in("u1", sleeper(time.Second)))
		w1, w2 := execute(p, in("u1", echo)), checkout(p, CheckoutRequest{SessionID: "u1"})
		if err := p.EndSession("u1"); err != nil {
			t.Fatal(err)
		}
		_, err1 := w1.wait()
		_, err2 := w2.wait()
		for _, err := range []error{err1, err2} {
			equal(t, "error of who waited", err, error(ErrSessionNotFound))
		}
		fresh := execute(p, in("u1", echo)).must(t) // the name is free already
		equal(t, "worker of the new session", fresh.Worker.ID, 4)
		_, err := running.wait()
		cancelled(t, err, errSessionEnded, workerproc.StepCancelled)
		if !f.worker(3).dead() || f.worker(4).dead() {
			t.Error("the wrong worker was stopped")
		}
	})
}

func TestEndOfAStartingSessionGivesItsStartUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		f.replan(startsIn(time.Second))
		waiter := execute(p, in("u1", echo))
		if err := p.EndSession("u1"); err != nil {
			t.Fatal(err)
		}
		_, err := waiter.wait()
		equal(t, "error", err, error(ErrSessionNotFound))
		equal(t, "sessions", len(p.Stats().Sessions), 0)
		synctest.Wait()
		equal(t, "workers", len(p.Stats().Members), 2)
		advance(time.Second)
		equal(t, "workers started", len(f.started()), 2)
		if c := p.Stats().Counts; c.SessionsCreated != 0 || c.SessionsEnded != 0 || c.Starts["failed"] != 0 {
			t.Errorf("counts: %+v", c)
		}
	})
}

func TestSessionsThatCameAndWentInTheQueueStartNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, func(c *Config) { c.MaxSessions = 3 })
		f.replan(startsIn(time.Second))
		nowait := time.Duration(0)
		for i := range 100 {
			req := in(fmt.Sprint("g", i), echo)
			req.CheckoutTimeout = &nowait
			_, err := execute(p, req).wait()
			refused(t, err, ErrCheckoutTimeout)
			if err := p.EndSession(req.SessionID); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		equal(t, "workers", len(p.Stats().Members), 2)
		waiting := execute(p, in("u1", echo))
		advance(time.Second)
		waiting.must(t)
	})
}

func TestEndDuringTheStartHookWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := slowStartHook(time.Second)
		p := warmPool(t, f)
		execute(p, in("u1", echo))
		advance(500 * ms)
		if err := p.EndSession("u1"); err != nil {
			t.Fatal(err)
		}
		advance(499 * ms)
		equal(t, "hooks", trace(f, 3), "[session_start new]")
		advance(ms)
		equal(t, "hooks", trace(f, 3), "[session_start new session_end resumed]")
	})
}

func TestEndOfALeasedSessionEndsTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		l := checkout(p, CheckoutRequest{SessionID: "u1"}).must(t)
		equal(t, "session", *l.Session, SessionRef{"u1", "new"})
		if err := p.EndSession("u1"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		_, err := execute(p, on(l, echo)).wait()
		gone(t, err, ErrLeaseExpired)
		if !f.worker(l.Worker.ID).dead() {
			t.Error("the worker lives on")
		}
	})
}

func TestEndOfALeasedSessionEndsTheRunningCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		l := checkout(p, CheckoutRequest{SessionID: "u1"}).must(t)
		call := execute(p, on(l, sleeper(time.Second)))
		_ = p.EndSession("u1")
		_, err := call.wait()
		cancelled(t, err, errSessionEnded, workerproc.StepCancelled)
		synctest.Wait()
		if !f.worker(l.Worker.ID).dead() {
			t.Error("the worker lives on")
		}
	})
}

func TestSessionLeasesDoNotUseUpTheShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(1))
		for i := range 3 {
			checkout(p, CheckoutRequest{SessionID: fmt.Sprint("u", i)}).must(t)
		}
		lend(t, p)
		wantCounts(t, p, "leased 1")
	})
}

func TestSessionHooksRunOnceBeforeAndAfterAllCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.hooks = bothHooks
		p := warmPool(t, f)
		for range 2 {
			execute(p, in("u1", echo)).must(t)
		}
		_ = p.EndSession("u1")
		synctest.Wait()
		equal(t, "calls", trace(f, 3), "[session_start new echo new echo resumed session_end resumed]")
		equal(t, "calls of a pooled worker", trace(f, 1), "[]")
		for _, c := range f.worker(3).received() {
			if c.SessionID != "u1" || c.Hook != (c.Command != "echo") {
				t.Errorf("call %+v", c)
			}
		}
	})
}

// slowStartHook has the start hook of sessions take d.
func slowStartHook(d time.Duration) *factory {
	f := newFactory()
	f.hooks = bothHooks
	f.hook = func(w *fakeWorker, c *workerproc.Call) error {
		if c.Command == hookSessionStart {
			return w.take(context.Background(), c, d)
		}
		return nil
	}
	return f
}

func TestStartHookThatFailsRefusesTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.hooks = bothHooks
		f.hook = func(_ *fakeWorker, c *workerproc.Call) error {
			if c.Command == hookSessionStart {
				return &workerproc.CommandError{Kind: workerproc.KindException, Type: "ValueError"}
			}
			return nil
		}
		p := warmPool(t, f)
		f.replan(startsIn(time.Second))
		calls := []*pending[Result]{execute(p, in("u1", echo)), execute(p, in("u1", echo))}
		advance(time.Second)
		for _, c := range calls {
			_, err := c.wait()
			var call *CallError
			var failed *workerproc.CommandError
			if !errors.As(err, &call) || !errors.As(err, &failed) || call.Command != hookSessionStart {
				t.Errorf("got error %v, want a CallError of the hook", err)
			}
		}
		_, err := p.Session("u1")
		equal(t, "session", err, error(ErrSessionNotFound))
		equal(t, "calls", trace(f, 3), "[session_start new]") // what never began has no end
		if !f.worker(3).dead() {
			t.Error("the worker lives on")
		}
		equal(t, "failures of the pool", p.Stats().Starts.Failures, 0)
	})
}

func TestStartHookThatKillsItsWorkerIsACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.hooks = bothHooks
		f.hook = func(w *fakeWorker, c *workerproc.Call) error {
			w.crash()
			<-w.done
			return &workerproc.CrashError{Exit: w.exit, Started: true}
		}
		p := warmPool(t, f)
		_, err := execute(p, in("u1", echo)).wait()
		equal(t, "exit code", crashed(t, err).Exit.Code, 3)
		synctest.Wait()
		equal(t, "crashes", p.Stats().Counts.Exits[ExitCrash], 1)
		_, err = p.Session("u1")
		equal(t, "session", err, error(ErrSessionNotFound))
	})
}

func TestStartHookIsBoundedByTheStartTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, slowStartHook(time.Hour), func(c *Config) { c.StartTimeout, c.CheckoutTimeout = 3*time.Second, time.Minute })
		call := execute(p, in("u1", echo))
		_, err := call.wait()
		var timeout *workerproc.TimeoutError
		if !errors.As(err, &timeout) {
			t.Errorf("got error %v, want a TimeoutError", err)
		}
		equal(t, "time it took", call.took, 3*time.Second)
	})
}

func TestSessionThatCannotStartIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		f.replan(failing)
		_, err := execute(p, in("u1", echo)).wait()
		if r := refused(t, err, ErrCrashLooping); r.Start != startFailure {
			t.Errorf("evidence: %+v", r.Start)
		}
		f.replan(startsIn(0))
		execute(p, in("u1", echo)).must(t)
		equal(t, "failures of the pool", p.Stats().Starts.Failures, 0)
		wantCounts(t, p, "idle 2")
	})
}

func TestEndHookThatHangsIsBoundedByTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.hooks = []string{hookSessionEnd}
		f.hook = func(w *fakeWorker, c *workerproc.Call) error { return w.take(context.Background(), c, time.Hour) }
		p := warmPool(t, f)
		execute(p, in("u1", echo)).must(t)
		_ = p.EndSession("u1")
		advance(2 * time.Second)
		if !f.worker(3).dead() {
			t.Error("the worker outlives the grace")
		}
		equal(t, "exits for sessions", p.Stats().Counts.Exits[ExitSession], 1)
	})
}

func TestLeaseGrantedAsItsSessionEndsIsOverWithTheNextRelease(t *testing.T) {
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			f := newFactory()
			p := warmPool(t, f)
			execute(p, in("u1", sleeper(50*ms)))
			waiter := begin(func() (LeaseInfo, error) { return p.Checkout(context.Background(), CheckoutRequest{SessionID: "u1"}) })
			time.Sleep(50 * ms) // the call ends, and the waiter is granted, at this moment
			if err := p.EndSession("u1"); err != nil {
				t.Fatal(err)
			}
			if l, err := waiter.wait(); err == nil {
				_ = p.Release(l.ID)
			} else {
				equal(t, "error", err, error(ErrSessionNotFound))
			}
			synctest.Wait()
			if !f.worker(3).dead() {
				t.Error("the worker lives on")
			}
		})
	}
}
