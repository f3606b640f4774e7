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

func TestLeaseKeepsItsWorkerOverAllCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory())
		l := lend(t, p)
		if l.Session != nil || l.Waited != 0 || !l.ExpiresAt.Equal(time.Now().Add(time.Minute)) {
			t.Errorf("lease = %+v", l)
		}
		for range 3 {
			equal(t, "worker", execute(p, on(l, echo)).must(t).Worker, l.Worker)
			wantCounts(t, p, "idle 1, leased 1")
		}
		if err := p.Release(l.ID); err != nil {
			t.Error(err)
		}
		wantCounts(t, p, "idle 2")
	})
}

func TestNoWorkerIsLeasedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(5))
		seen := map[uint64]bool{}
		for range 5 {
			l := lend(t, p)
			if seen[l.Worker.ID] {
				t.Errorf("worker %d is leased twice", l.Worker.ID)
			}
			seen[l.Worker.ID] = true
		}
		wantCounts(t, p, "leased 5")
	})
}

func TestLeaseExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory())
		l := checkout(p, CheckoutRequest{TTL: new(1500 * ms)}).must(t)
		advance(1500*ms - 1)
		wantCounts(t, p, "idle 1, leased 1")
		advance(1)
		wantCounts(t, p, "idle 2")
		equal(t, "expired counted", p.Stats().Counts.LeasesExpired, 1)
		equal(t, "active leases", p.Stats().Counts.LeasesActive, 0)

		_, err := execute(p, on(l, echo)).wait()
		gone(t, err, ErrLeaseExpired)
		_, err = p.Renew(l.ID, nil)
		gone(t, err, ErrLeaseExpired)
		if g := gone(t, p.Release(l.ID), ErrLeaseExpired); g.Exit != nil || g.Reason == "" {
			t.Errorf("release after expiry: %+v", g)
		}
	})
}

func TestLeaseIsOverAtItsVeryEndEvenBeforeTheJanitorLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory())
		for range 50 {
			l := checkout(p, CheckoutRequest{TTL: new(10 * ms)}).must(t)
			time.Sleep(10 * ms) // the janitor's timer fires at the same moment
			_, err := p.Renew(l.ID, nil)
			gone(t, err, ErrLeaseExpired)
			wantCounts(t, p, "idle 2")
		}
		equal(t, "expired counted", p.Stats().Counts.LeasesExpired, 50)
	})
}

func TestRenewedLeaseLivesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory())
		l := checkout(p, CheckoutRequest{TTL: new(time.Second)}).must(t)
		for range 5 {
			advance(900 * ms)
			end, err := p.Renew(l.ID, new(time.Second))
			if err != nil || !end.Equal(time.Now().Add(time.Second)) {
				t.Fatalf("renew: %v, %v", end, err)
			}
		}
		if end, _ := p.Renew(l.ID, nil); !end.Equal(time.Now().Add(time.Minute)) {
			t.Errorf("renewed without a time, the lease ends at %v", end)
		}
		_, _ = p.Renew(l.ID, new(100*ms)) // it can be shortened, too
		advance(100 * ms)
		wantCounts(t, p, "idle 2")
	})
}

func TestReleasingTwiceIsNoError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory())
		l := lend(t, p)
		for range 3 {
			if err := p.Release(l.ID); err != nil {
				t.Error(err)
			}
			wantCounts(t, p, "idle 2")
		}
		equal(t, "released counted", p.Stats().Counts.LeasesReleased, 1)
		_, err := execute(p, on(l, echo)).wait()
		gone(t, err, ErrLeaseExpired)
	})
}

func TestUnknownLeaseIsNotFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory())
		_, renew := p.Renew("nobody", nil)
		_, exec := p.Execute(t.Context(), Request{Command: "echo", LeaseID: "nobody"})
		for _, err := range []error{renew, exec, p.Release("nobody")} {
			equal(t, "error", err, error(ErrLeaseNotFound))
		}
	})
}

func TestReleaseDuringACallTakesEffectAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(1))
		l := lend(t, p)
		call := execute(p, on(l, sleeper(time.Second)))
		next := checkout(p, CheckoutRequest{})
		advance(100 * ms)
		if err := p.Release(l.ID); err != nil {
			t.Fatal(err)
		}
		wantCounts(t, p, "busy 1")
		_, err := execute(p, on(l, echo)).wait()
		gone(t, err, ErrLeaseExpired)
		if next.settled() {
			t.Fatal("the worker was handed on in the middle of a call")
		}
		advance(900 * ms)
		call.must(t)
		next.must(t)
	})
}

func TestExpiryEndsTheCallOnALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(1))
		l := checkout(p, CheckoutRequest{TTL: new(100 * ms)}).must(t)
		call := execute(p, on(l, sleeper(time.Second)))
		next := checkout(p, CheckoutRequest{})
		_, err := call.wait()
		cancelled(t, err, errLeaseOver, workerproc.StepCancelled)
		equal(t, "time it ran", call.took, 100*ms)
		gone(t, p.Release(l.ID), ErrLeaseExpired)
		equal(t, "wait of the next", next.must(t).Waited, 100*ms)
	})
}

func TestSecondCallOnALeaseIsRefusedAsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		l := lend(t, p)
		first := execute(p, on(l, sleeper(time.Second)))
		_, err := execute(p, on(l, echo)).wait()
		refused(t, err, ErrLeaseBusy)
		if _, err := p.Renew(l.ID, nil); err != nil {
			t.Errorf("renew during a call: %v", err)
		}
		advance(time.Second)
		first.must(t)
		execute(p, on(l, echo)).must(t)
		equal(t, "calls", len(f.worker(l.Worker.ID).seen()), 2)
	})
}

func TestLeaseWhoseWorkerDiedSaysHow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		l := lend(t, p)
		f.worker(l.Worker.ID).crash()
		wantCounts(t, p, "idle 2") // it has been replaced
		_, renew := p.Renew(l.ID, nil)
		_, exec := p.Execute(t.Context(), on(l, echo))
		for _, err := range []error{renew, exec} {
			if g := gone(t, err, ErrLeaseExpired); g.Exit == nil || g.Exit.Code != 3 {
				t.Errorf("no evidence in %+v", g)
			}
		}
		for range 2 {
			if err := p.Release(l.ID); err != nil {
				t.Errorf("release: %v", err)
			}
		}
		equal(t, "lost counted", p.Stats().Counts.LeasesLost, 1)
		equal(t, "released counted", p.Stats().Counts.LeasesReleased, 0)
	})
}

func TestCallThatKillsTheWorkerOfALeaseEndsTheLease(t *testing.T) {
	for _, command := range []string{"crash", "garble"} {
		t.Run(command, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := warmPool(t, newFactory())
				l := lend(t, p)
				_, err := execute(p, on(l, Request{Command: command})).wait()
				var failed *CallError
				if !errors.As(err, &failed) || failed.Worker != l.Worker {
					t.Fatalf("got error %v, want a CallError of worker %d", err, l.Worker.ID)
				}
				synctest.Wait()
				_, err = execute(p, on(l, echo)).wait()
				if g := gone(t, err, ErrLeaseExpired); g.Exit == nil {
					t.Errorf("no evidence in %+v", g)
				}
				wantCounts(t, p, "idle 2")
			})
		})
	}
}

func TestCallThatRunsOutOfTimeEndsTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory())
		l := lend(t, p)
		req := on(l, sleeper(time.Hour))
		req.Timeout = new(time.Second)
		_, err := execute(p, req).wait()
		var timeout *workerproc.TimeoutError
		if !errors.As(err, &timeout) {
			t.Fatalf("got error %v, want a TimeoutError", err)
		}
		synctest.Wait()
		if g := gone(t, func() error { _, err := p.Renew(l.ID, nil); return err }(), ErrLeaseExpired); g.Exit.Cause != workerproc.CauseTimeout {
			t.Errorf("cause %q", g.Exit.Cause)
		}
	})
}

func TestExceptionLeavesTheLeaseAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory())
		l := lend(t, p)
		_, err := execute(p, on(l, Request{Command: "raise"})).wait()
		var failed *workerproc.CommandError
		if !errors.As(err, &failed) {
			t.Fatalf("got error %v, want a CommandError", err)
		}
		equal(t, "worker", execute(p, on(l, echo)).must(t).Worker, l.Worker)
	})
}

// A lease that was granted to a client that had left would hold a worker for its whole time.
func TestLeaseOfAClientThatLeftIsNotGranted(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			p := warmPool(t, newFactory(), workers(1))
			held := lend(t, p)
			ctx, cancel := context.WithCancel(t.Context())
			leaver := begin(func() (LeaseInfo, error) { return p.Checkout(ctx, CheckoutRequest{}) })
			synctest.Wait()
			cancel()
			_ = p.Release(held.ID)
			_, err := leaver.wait()
			equal(t, "error", err, error(ErrClientGone))
			wantCounts(t, p, "idle 1")
			equal(t, "leases granted", p.Stats().Counts.LeasesGranted, 1)
		})
	}
}

func TestShortTimesOfLeasesAreKeptExactly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(1))
		advance(321 * ms) // in the middle of the janitor's sleep
		checkout(p, CheckoutRequest{TTL: new(30 * ms)}).must(t)
		advance(30*ms - 1)
		wantCounts(t, p, "leased 1")
		advance(1)
		wantCounts(t, p, "idle 1")
		l := lend(t, p)
		if _, err := p.Renew(l.ID, new(30*ms)); err != nil {
			t.Fatal(err)
		}
		advance(30*ms - 1)
		wantCounts(t, p, "leased 1")
		advance(1)
		wantCounts(t, p, "idle 1")
	})
}

func TestEndedLeasesAreRememberedUpToABound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(1))
		var first, second LeaseInfo
		for i := range maxTombs + 1 {
			l, err := p.Checkout(t.Context(), CheckoutRequest{})
			if err != nil {
				t.Fatal(err)
			}
			_ = p.Release(l.ID)
			switch i {
			case 0:
				first = l
			case 1:
				second = l
			}
		}
		equal(t, "release of the oldest", p.Release(first.ID), error(ErrLeaseNotFound))
		equal(t, "release of the next", p.Release(second.ID), nil)
	})
}

func TestTombsForgetTheOldestAlone(t *testing.T) {
	ts := newTombs()
	ts.put("again", &GoneError{})
	ts.remove("again")
	for i := range maxTombs - 1 {
		ts.put(fmt.Sprint(i), &GoneError{})
	}
	ts.put("again", &GoneError{})
	ts.put("newest", &GoneError{})
	if ts.get("again") == nil || ts.get("newest") == nil || ts.get("0") != nil || ts.get("1") == nil {
		t.Error("not the oldest was forgotten")
	}
	equal(t, "rows", len(ts.rows), maxTombs)
	equal(t, "order", len(ts.order), maxTombs)
}
