package poolsvc

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func reuse(c *Config) { c.LeaseReuse = true }

func TestWorkerOfALeaseThatRanACallIsReplaced(t *testing.T) {
	for how, end := range map[string]func(p *Pool, l LeaseInfo){
		"release": func(p *Pool, l LeaseInfo) { release(t, p, l) },
		"expiry":  func(*Pool, LeaseInfo) { advance(time.Minute) },
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFactory()
			p := warmPool(t, f, workers(1))
			l := lend(t, p)
			execute(p, on(l, echo)).must(t)
			execute(p, on(l, Request{Command: "raise"}))
			end(p, l)
			wantCounts(t, p, "idle 1")
			equal(t, how+": worker", execute(p, echo).must(t).Worker.ID, 2)
			equal(t, how+": exits", p.Stats().Counts.Exits[ExitLease], 1)
			if !f.worker(1).dead() {
				t.Errorf("%s: the worker lives on", how)
			}
		})
	}
}

func TestWorkerOfALeaseThatRanNothingIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1))
		l := lend(t, p)
		release(t, p, l)
		l = lend(t, p)
		_, err := execute(p, on(l, Request{Command: "echo", Timeout: new(time.Duration)})).wait()
		refused(t, err, ErrCheckoutTimeout) // it never reached the worker
		release(t, p, l)
		equal(t, "worker", execute(p, echo).must(t).Worker.ID, 1)
		equal(t, "workers started", len(f.started()), 1)
	})
}

func TestWorkerOfALeaseIsKeptWithLeaseReuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1), reuse)
		l := lend(t, p)
		execute(p, on(l, echo)).must(t)
		release(t, p, l)
		equal(t, "worker", execute(p, echo).must(t).Worker.ID, 1)
		equal(t, "workers started", len(f.started()), 1)
	})
}

// A session is a process: a lease on one does not end it.
func TestWorkerOfASessionIsKeptAfterItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(1))
		l := checkout(p, CheckoutRequest{SessionID: "u1"}).must(t)
		execute(p, on(l, echo)).must(t)
		release(t, p, l)
		r := execute(p, in("u1", echo)).must(t)
		equal(t, "worker", r.Worker, l.Worker)
		equal(t, "session", *r.Session, SessionRef{"u1", "resumed"})
	})
}

func TestWaiterHasTheSpareAsSoonAsALeaseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1), spares(1))
		f.replan(startsIn(time.Second))
		l := lend(t, p)
		execute(p, on(l, echo)).must(t)
		next, last := checkout(p, CheckoutRequest{}), execute(p, echo)
		release(t, p, l)
		l = next.must(t)
		equal(t, "worker", l.Worker.ID, 2)
		execute(p, on(l, echo)).must(t)
		release(t, p, l) // the next spare is still on its way, and is taken all the same
		advance(time.Second)
		equal(t, "worker", last.must(t).Worker.ID, 3)
	})
}

func TestWaiterHasTheNewWorkerWhenALeaseEndsWithoutSpares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1))
		f.replan(startsIn(time.Second))
		l := lend(t, p)
		execute(p, on(l, echo)).must(t)
		call := execute(p, echo)
		release(t, p, l)
		wantCounts(t, p, "starting 1")
		advance(time.Second)
		equal(t, "worker", call.must(t).Worker.ID, 2)
	})
}

func TestLeaseThatEndsDuringItsCallIsReplacedAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1))
		l := lend(t, p)
		call := execute(p, on(l, sleeper(10*time.Second)))
		release(t, p, l)
		wantCounts(t, p, "busy 1")
		advance(10 * time.Second)
		equal(t, "worker", call.must(t).Worker.ID, 1)
		equal(t, "worker", execute(p, echo).must(t).Worker.ID, 2)
		equal(t, "exits", p.Stats().Counts.Exits[ExitLease], 1)
	})
}

// The worker is not kept even if nothing can be started in its place.
func TestWorkerOfALeaseIsNotKeptWhileNothingCanStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1))
		l := lend(t, p)
		execute(p, on(l, echo)).must(t)
		f.replan(failing)
		release(t, p, l)
		wantCounts(t, p, "")
		_, err := execute(p, echo).wait()
		refused(t, err, ErrCrashLooping)
		f.replan(startsIn(0))
		advance(time.Second)
		execute(p, echo).must(t)
	})
}

func TestLeasesThatEndTogetherAreReplacedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(4), spares(2))
		f.replan(startsIn(time.Second))
		for range 4 {
			execute(p, on(lend(t, p), echo)).must(t)
		}
		advance(time.Minute)
		wantCounts(t, p, "starting 2, idle 2")
		advance(2 * time.Second) // and the spares
		wantCounts(t, p, "idle 4")
		seen := map[uint64]bool{}
		for _, m := range p.Stats().Members {
			seen[m.ID] = true
		}
		equal(t, "workers", fmt.Sprint(seen[1], seen[2], seen[3], seen[4], len(seen)), "false false false false 6")
		equal(t, "exits", p.Stats().Counts.Exits[ExitLease], 4)
	})
}
