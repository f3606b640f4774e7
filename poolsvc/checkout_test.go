package poolsvc

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestCheckoutTimesOutExactlyAfterItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(1))
		held := lend(t, p)

		late := checkout(p, CheckoutRequest{Timeout: new(50 * ms)})
		advance(50*ms - 1)
		if late.settled() {
			t.Fatal("settled before its timeout")
		}
		equal(t, "queue length", p.Stats().Queue.Length, 1)
		advance(1)
		_, err := late.wait()
		r := refused(t, err, ErrCheckoutTimeout)
		equal(t, "time it took", late.took, 50*ms)
		equal(t, "Waited", r.Waited, 50*ms)
		equal(t, "queue length after the timeout", p.Stats().Queue.Length, 0)
		equal(t, "timeouts counted", p.Stats().Counts.Checkouts["timeout"], 1)

		if err := p.Release(held.ID); err != nil {
			t.Fatal(err)
		}
		wantCounts(t, p, "idle 1")
	})
}

func TestCheckoutWaitsForTheConfiguredTimeoutUnlessToldOtherwise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(1))
		lend(t, p)
		late := checkout(p, CheckoutRequest{})
		_, err := late.wait()
		refused(t, err, ErrCheckoutTimeout)
		equal(t, "time it took", late.took, 5*time.Second)
	})
}

func TestCheckoutWithTimeoutZeroNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(1))
		now := CheckoutRequest{Timeout: new(time.Duration(0))}
		checkout(p, now).must(t)
		second := checkout(p, now)
		_, err := second.wait()
		refused(t, err, ErrCheckoutTimeout)
		equal(t, "time it took", second.took, 0)
		equal(t, "queue length", p.Stats().Queue.Length, 0)
	})
}

func TestCheckoutTimeoutBeforeTheFirstWorkerSaysStarting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = startsIn(time.Second)
		p := newPool(t, f)
		_, err := checkout(p, CheckoutRequest{Timeout: new(50 * ms)}).wait()
		refused(t, err, ErrStarting)
		advance(time.Second)
		lend(t, p)
	})
}

func TestWaitersAreServedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1))
		first := execute(p, sleeper(10*ms))
		var calls []*pending[Result]
		for i := range 20 {
			req := sleeper(10 * ms)
			req.RequestID = string(rune('a' + i))
			calls = append(calls, execute(p, req))
		}
		equal(t, "queue length", p.Stats().Queue.Length, 20)
		advance(5 * ms)
		equal(t, "oldest wait", p.Stats().Queue.OldestWait, 5*ms)
		advance(205 * ms)
		first.must(t)
		var got []string
		for _, c := range f.started()[0].received()[1:] {
			got = append(got, c.RequestID)
		}
		if !slices.IsSorted(got) || len(got) != 20 {
			t.Errorf("order of calls: %v", got)
		}
		for i, c := range calls {
			equal(t, "queue time", c.must(t).Queue, time.Duration(i+1)*10*ms)
		}
	})
}

func TestReleasedWorkerGoesToTheOldestWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(1))
		held := lend(t, p)
		first, second := checkout(p, CheckoutRequest{}), checkout(p, CheckoutRequest{})
		_ = p.Release(held.ID)
		lease := first.must(t)
		if second.settled() {
			t.Error("both waiters have the only worker")
		}
		_ = p.Release(lease.ID)
		second.must(t)
	})
}

func TestIdleWorkersAreHandedOutLastInFirstOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(3))
		a, b, c := lend(t, p), lend(t, p), lend(t, p)
		for _, l := range []LeaseInfo{b, c, a} {
			_ = p.Release(l.ID)
		}
		for _, want := range []LeaseInfo{a, c, b} {
			equal(t, "worker", lend(t, p).Worker.ID, want.Worker.ID)
		}
	})
}

func TestCancelledWaitEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(1))
		held := lend(t, p)
		ctx, cancel := context.WithCancel(t.Context())
		leaver := begin(func() (LeaseInfo, error) { return p.Checkout(ctx, CheckoutRequest{}) })
		synctest.Wait()
		next := checkout(p, CheckoutRequest{})
		advance(10 * ms)
		cancel()
		_, err := leaver.wait()
		equal(t, "error", err, error(ErrClientGone))
		equal(t, "time it took", leaver.took, 10*ms)
		equal(t, "queue length", p.Stats().Queue.Length, 1)
		equal(t, "canceled counted", p.Stats().Counts.Checkouts["canceled"], 1)
		_ = p.Release(held.ID)
		next.must(t)
	})
}

func TestCancelledCheckoutGivesTheWorkerBack(t *testing.T) {
	for range 200 { // both orders of the crossing
		synctest.Test(t, func(t *testing.T) {
			p := warmPool(t, newFactory(), workers(1))
			held := lend(t, p)
			ctx, cancel := context.WithCancel(t.Context())
			leaver := begin(func() (LeaseInfo, error) { return p.Checkout(ctx, CheckoutRequest{}) })
			synctest.Wait()
			go cancel()
			_ = p.Release(held.ID)
			if l, err := leaver.wait(); err == nil {
				_ = p.Release(l.ID)
			}
			wantCounts(t, p, "idle 1")
			lend(t, p)
		})
	}
}

func TestGrantThatCrossesATimeoutIsPassedOn(t *testing.T) {
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			p := warmPool(t, newFactory(), workers(1))
			held := lend(t, p)
			late := checkout(p, CheckoutRequest{Timeout: new(50 * ms)})
			next := checkout(p, CheckoutRequest{})
			time.Sleep(50 * ms) // the timer of late fires at the same moment
			_ = p.Release(held.ID)
			if l, err := late.wait(); err == nil {
				_ = p.Release(l.ID)
			}
			next.must(t)
			wantCounts(t, p, "leased 1")
		})
	}
}

func TestGrantThatCrossesTheEndOfAWaitLeavesNoTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1))
		execute(p, in("u1", sleeper(0))).must(t)
		ctx, cancel := context.WithCancel(t.Context())
		crossed := func(take *member, q *queue) bool { // grants a waiter that is about to leave
			p.mu.Lock()
			p.handOutLocked(take, false)
			p.removeIdleLocked(take)
			take.uses = 0
			w := q.push(t.Context(), want{})
			p.offerLocked(take)
			p.mu.Unlock()
			_, err := p.await(ctx, w, time.Hour)
			if err == nil {
				p.mu.Lock()
				p.offerLocked(take)
				p.mu.Unlock()
			}
			return err == ErrClientGone
		}
		cancel()
		pooled, own := p.members[1], p.sessions["u1"].m
		for !crossed(pooled, &p.queue) { // the select takes either way
		}
		equal(t, "uses of a worker that was not used", pooled.uses, 0)
		own.session.fresh = true
		for !crossed(own, &own.session.queue) {
			own.session.fresh = true
		}
		equal(t, "fresh", own.session.fresh, true)
		wantCounts(t, p, "idle 1")
	})
}

func TestFullQueueRefusesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(1), func(c *Config) { c.MaxQueue = 3 })
		lend(t, p)
		for range 3 {
			checkout(p, CheckoutRequest{})
		}
		fourth := checkout(p, CheckoutRequest{})
		_, err := fourth.wait()
		r := refused(t, err, ErrQueueFull)
		equal(t, "time it took", fourth.took, 0)
		equal(t, "queue length told", r.QueueLength, 3)
		equal(t, "queue length", p.Stats().Queue.Length, 3)
	})
}

func TestQueueOfLengthZeroStillServesFromIdleWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(1), func(c *Config) { c.MaxQueue = 0 })
		l := lend(t, p)
		_, err := checkout(p, CheckoutRequest{}).wait()
		refused(t, err, ErrQueueFull)
		_ = p.Release(l.ID)
		lend(t, p)
	})
}

func TestSickIdleWorkerIsNotHandedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		for range 5 {
			advance(minTrial)
			newest := p.idle[len(p.idle)-1].worker.(*fakeWorker)
			newest.sicken() // dying, and nobody has noticed yet
			r := execute(p, echo).must(t)
			if r.Worker.ID == newest.id {
				t.Errorf("call went to the dying worker %d", newest.id)
			}
			newest.crash()
			wantCounts(t, p, "idle 2")
		}
	})
}

func half(c *Config) { c.Workers, c.LeaseShare = 4, 0.5 }

func TestLeasesHoldOnlyTheirShareOfTheWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), half)
		equal(t, "limit", p.Stats().Limits.Leases, 2)
		a, _ := lend(t, p), lend(t, p)
		third := checkout(p, CheckoutRequest{})
		wantCounts(t, p, "idle 2, leased 2")
		execute(p, echo).must(t) // is not held up by the lease that waits
		slow := execute(p, sleeper(time.Second))
		wantCounts(t, p, "idle 1, busy 1, leased 2")
		if third.settled() {
			t.Error("a third lease was granted")
		}
		_ = p.Release(a.ID)
		third.must(t)
		advance(time.Second)
		slow.must(t)
	})
}

func TestCallsPassALeaseThatItsShareHoldsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(2), func(c *Config) { c.LeaseShare = 0.5 })
		lend(t, p)
		busy := execute(p, sleeper(100*ms))
		lease := checkout(p, CheckoutRequest{})
		call := execute(p, echo) // behind the lease, but able to use the busy worker
		advance(100 * ms)
		busy.must(t)
		equal(t, "queue time", call.must(t).Queue, 100*ms)
		if lease.settled() {
			t.Error("the lease exceeded its share")
		}
	})
}

func TestAtLeastOneWorkerCanBeLeased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), func(c *Config) { c.LeaseShare = 0.1 })
		equal(t, "limit", p.Stats().Limits.Leases, 1)
		lend(t, p)
	})
}

func TestWaitingLeaseTakesAnIdleWorkerWhenALeasedOneDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, half)
		a, _ := lend(t, p), lend(t, p)
		third := checkout(p, CheckoutRequest{})
		f.replan(startsIn(time.Minute)) // the replacement does not help
		f.worker(a.Worker.ID).crash()
		third.must(t)
		wantCounts(t, p, "starting 1, idle 1, leased 2")
	})
}

func TestWaitersNeedNotWaitForTheEndOfABrokenWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1))
		l := lend(t, p)
		next := checkout(p, CheckoutRequest{})
		f.worker(l.Worker.ID).sicken() // and will have to be killed
		_ = p.Release(l.ID)
		equal(t, "worker", next.must(t).Worker.ID, 2)
		wantCounts(t, p, "leased 1, stopping 1")
	})
}

func TestWaitingLeaseTakesAnIdleWorkerWhenALeasedOneComesBackBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, half)
		a, _ := lend(t, p), lend(t, p)
		third := checkout(p, CheckoutRequest{})
		f.replan(startsIn(time.Minute)) // the replacement does not help
		f.worker(a.Worker.ID).sicken()
		_ = p.Release(a.ID)
		third.must(t)
	})
}

func TestWaitingLeaseTakesAnIdleWorkerWhenABusyLeaseExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), half)
		a := checkout(p, CheckoutRequest{TTL: new(time.Second)}).must(t)
		lend(t, p)
		execute(p, on(a, Request{Command: "defy", Args: []byte("10s")}))
		third := checkout(p, CheckoutRequest{})
		advance(time.Second)
		third.must(t)
		wantCounts(t, p, "idle 2, leased 2")
		advance(10 * time.Second)
	})
}

func TestWaitingLeaseTakesAnIdleWorkerWhenABusyLeaseIsReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), half)
		a, _ := lend(t, p), lend(t, p)
		execute(p, on(a, sleeper(10*time.Second)))
		third := checkout(p, CheckoutRequest{})
		_ = p.Release(a.ID)
		third.must(t)
		advance(10 * time.Second)
	})
}
