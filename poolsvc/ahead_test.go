package poolsvc

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"charmer/workerproc"
)

const us = time.Microsecond

// prefetching is a warm pool of n workers that sends so many calls ahead, and believes that sleepers take 100 us.
func prefetching(t testing.TB, f *factory, n, prefetch int, changes ...func(*Config)) *Pool {
	t.Helper()
	p := warmPool(t, f, append(changes, workers(n), func(c *Config) { c.Prefetch = prefetch })...)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paces["sleep"] = &pace{calls: paceCalls, mean: 100 * us}
	return p
}

func TestCallsOfAFastCommandAreSentAheadInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := prefetching(t, f, 1, 2)
		var calls []*pending[Result]
		for range 5 {
			calls = append(calls, execute(p, sleeper(100*us)))
		}
		equal(t, "sent ahead", f.ahead.Load(), 2)
		equal(t, "waiting in the queue", p.Stats().Queue.Length, 2)
		equal(t, "running", running(p), "[1]")
		advance(100 * us)
		equal(t, "sent ahead then", f.ahead.Load(), 3)
		advance(400 * us)
		for i, c := range calls {
			r := c.must(t)
			equal(t, "time in queue and line", r.Queue, time.Duration(i)*100*us)
			equal(t, "time of its own", r.Run, 100*us)
		}
		equal(t, "counted", p.Stats().Counts.Ahead, 4)
		wantCounts(t, p, "idle 1")
	})
}

func TestALineIsNoLongerThanItMayTake(t *testing.T) {
	for name, row := range map[string]struct {
		known *pace
		ahead int64
	}{
		"fast":        {&pace{calls: paceCalls, mean: 10 * us}, 4},
		"half budget": {&pace{calls: paceCalls, mean: aheadBudget / 2}, 1},
		"slow":        {&pace{calls: paceCalls, mean: aheadBudget}, 0},
		"new":         {&pace{calls: paceCalls - 1, mean: us}, 0},
		"unknown":     {nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFactory()
				p := prefetching(t, f, 1, 4)
				delete(p.paces, "sleep")
				if row.known != nil {
					p.paces["sleep"] = row.known
				}
				for range 6 {
					execute(p, sleeper(10*us))
				}
				equal(t, "sent ahead", f.ahead.Load(), row.ahead)
				advance(time.Second)
				wantCounts(t, p, "idle 1")
			})
		})
	}
}

func TestNobodyIsSentBehindASlowCommandNorASlowOneBehindOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := prefetching(t, f, 1, 4)
		slow := execute(p, Request{Command: "defy", Args: []byte("1ms")})
		fast := execute(p, sleeper(us))
		equal(t, "sent ahead of the slow one's end", f.ahead.Load(), 0)
		advance(ms)
		slow.must(t)
		behind := execute(p, Request{Command: "defy", Args: []byte("1ms")})
		equal(t, "slow ones sent ahead", f.ahead.Load(), 0)
		advance(5 * ms)
		fast.must(t)
		behind.must(t)
	})
}

func TestALineThatDoesNotMoveIsDissolved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := prefetching(t, f, 2, 2)
		slow := execute(p, sleeper(time.Second)) // against all experience
		other := execute(p, sleeper(5*ms))
		var calls []*pending[Result]
		for range 5 {
			calls = append(calls, execute(p, sleeper(100*us)))
		}
		equal(t, "sent ahead", f.ahead.Load(), 4)
		advance(2*aheadLook + ms)
		other.must(t)
		for _, c := range calls {
			equal(t, "answered by", c.must(t).Worker, other.value.Worker)
		}
		equal(t, "settled", slow.settled(), false)
		advance(time.Second)
		slow.must(t)
		c := p.Stats().Counts
		equal(t, "executions", c.Executions["ok"], 7)
		equal(t, "withdrawn is some", c.Withdrawn > 0, true)
	})
}

func TestACallThatIsWithdrawnWaitsBeforeThoseWhoCameLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := prefetching(t, f, 1, 1)
		running := sleeper(20 * ms)
		running.RequestID = "running"
		slow := execute(p, running)
		first := execute(p, sleeper(0))
		second := execute(p, Request{Command: "defy", Args: []byte("1ms")})
		advance(10 * ms)
		equal(t, "waiting", p.Stats().Queue.Length, 2)
		info, err := p.Execution("running")
		if err != nil || info.Worker == nil {
			t.Errorf("the one that runs is shown as %+v, %v", info, err)
		}
		advance(10 * ms)
		slow.must(t)
		equal(t, "time of the first in queue and line", first.must(t).Queue, 20*ms)
		advance(ms)
		second.must(t)
	})
}

func TestTheDeathOfAWorkerIsUnseenByThoseInItsLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := prefetching(t, f, 1, 3)
		running := execute(p, sleeper(ms))
		var behind []*pending[Result]
		for range 3 {
			behind = append(behind, execute(p, sleeper(100*us)))
		}
		equal(t, "sent ahead", f.ahead.Load(), 3)
		f.worker(1).crash()
		_, err := running.wait()
		equal(t, "started", crashed(t, err).Started, true)
		advance(ms)
		for _, c := range behind {
			equal(t, "worker", c.must(t).Worker.ID, 2)
		}
		equal(t, "crashes", p.Stats().Counts.Executions["crash"], 1)
	})
}

func TestACallInLineIsEndedWithoutHavingBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := prefetching(t, f, 1, 4)
		running := execute(p, sleeper(3*ms))
		ctx, leave := context.WithCancel(context.Background())
		gone := begin(func() (Result, error) { return p.Execute(ctx, sleeper(us)) })
		synctest.Wait()
		late := sleeper(us)
		late.Timeout = new(ms)
		expired := execute(p, late)
		named := sleeper(us)
		named.RequestID = "named"
		deleted, last := execute(p, named), execute(p, sleeper(us))
		equal(t, "sent ahead", f.ahead.Load(), 4)

		leave()
		if _, err := gone.wait(); err != ErrClientGone {
			t.Errorf("who left got %v", err)
		}
		step, err := p.Cancel(t.Context(), "named")
		if err != nil || step != StepDequeued {
			t.Errorf("the deletion got %q, %v", step, err)
		}
		_, err = deleted.wait()
		cancelled(t, err, ErrCancelled, StepDequeued)
		advance(ms)
		_, err = expired.wait()
		refused(t, err, ErrCheckoutTimeout)
		advance(2*ms + us)
		running.must(t)
		last.must(t)
		equal(t, "calls that have run", len(f.worker(1).seen()), 2)
		wantCounts(t, p, "idle 1")
	})
}

func TestWhatMayNotWaitInALineIsNotSentAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, change := range map[string]func(*Request){
			"it does not wait":   func(r *Request) { r.CheckoutTimeout = new(time.Duration(0)) },
			"it is large":        func(r *Request) { r.Command, r.Args = "echo", make([]byte, 3001) },
			"it says more":       func(r *Request) { r.Events = NewFeed() },
			"it is a fresh call": func(r *Request) { r.Fresh = true },
		} {
			f := newFactory()
			p := prefetching(t, f, 1, 4)
			p.paces["echo"] = &pace{calls: paceCalls}
			first := execute(p, sleeper(100*us))
			req := sleeper(us)
			change(&req)
			second := execute(p, req)
			equal(t, name+": sent ahead", f.ahead.Load(), 0)
			advance(time.Second)
			first.must(t)
			if _, err := second.wait(); name == "it does not wait" {
				refused(t, err, ErrCheckoutTimeout)
			} else if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			p.Close(t.Context())
		}
	})
}

func TestWithoutPrefetchNothingIsSentAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := prefetching(t, f, 1, 0)
		for range 3 {
			execute(p, sleeper(us))
		}
		equal(t, "sent ahead", f.ahead.Load(), 0)
		advance(time.Second)
	})
}

func TestACallForALeaseIsNotPassedByLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := prefetching(t, newFactory(), 1, 4)
		first := execute(p, sleeper(100*us))
		second := execute(p, sleeper(100*us))
		lease := checkout(p, CheckoutRequest{})
		third := execute(p, sleeper(100*us))
		advance(200 * us)
		first.must(t)
		second.must(t)
		lease.must(t)
		equal(t, "settled", third.settled(), false)
		release(t, p, lease.value)
		advance(time.Second)
		third.must(t)
	})
}

func TestADrainWaitsForCallsThatAreWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := prefetching(t, newFactory(), 1, 4)
		slow := execute(p, sleeper(50*ms))
		behind := execute(p, sleeper(us))
		drained := begin(func() (int, error) { return p.Drain(t.Context()), nil })
		advance(20 * ms)
		equal(t, "withdrawn", p.Stats().Counts.Withdrawn, 1)
		advance(40 * ms)
		slow.must(t)
		behind.must(t)
		equal(t, "left", drained.must(t), 0)
	})
}

func TestClosingEndsCallsThatAreWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := prefetching(t, newFactory(), 1, 4)
		execute(p, sleeper(time.Hour))
		behind := execute(p, sleeper(us))
		advance(20 * ms)
		p.Close(t.Context())
		_, err := behind.wait()
		refused(t, err, ErrDraining)
	})
}

func TestAFreshCommandOfWhichNothingWasKnownHasNoLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.isolation = map[string]string{"echo": workerproc.IsolationFresh}
		p := newPool(t, f, lazy, workers(1), func(c *Config) { c.Prefetch = 4 })
		execute(p, echo).must(t)
		synctest.Wait()
		p.mu.Lock()
		for _, m := range p.members {
			equal(t, "users", m.inUse, 0)
		}
		equal(t, "that others may join", len(p.joinable), 0)
		equal(t, "paces", len(p.paces), 0)
		p.mu.Unlock()
		next := execute(p, sleeper(us))
		advance(us)
		next.must(t)
	})
}

func TestACallThatIsCancelledInLineLeavesItsPlaceToThoseBehindIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := prefetching(t, f, 1, 2)
		running := execute(p, sleeper(3*ms))
		gone := sleeper(us)
		gone.RequestID = "gone"
		execute(p, gone)
		second, third := execute(p, sleeper(us)), execute(p, sleeper(us))
		equal(t, "sent ahead", f.ahead.Load(), 2)
		if _, err := p.Cancel(t.Context(), "gone"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		equal(t, "sent ahead to a line that has not moved", f.ahead.Load(), 2)
		equal(t, "waiting", p.Stats().Queue.Length, 2)
		advance(3*ms + 2*us)
		running.must(t)
		second.must(t)
		third.must(t)
	})
}

func TestAProcessorStaysAwakeForTheAnswerToALoneQuickCall(t *testing.T) {
	for name, row := range map[string]struct {
		known  *pace
		others int
		want   time.Duration
	}{
		"quick":           {&pace{calls: paceCalls, mean: awakeFor}, 0, awakeFor},
		"not so quick":    {&pace{calls: paceCalls, mean: awakeFor + 1}, 0, 0},
		"new":             {&pace{calls: paceCalls - 1, mean: us}, 0, 0},
		"unknown":         {nil, 0, 0},
		"one call of two": {&pace{calls: paceCalls, mean: us}, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFactory()
				p := warmPool(t, f, workers(2))
				for range row.others {
					execute(p, sleeper(time.Second))
				}
				if row.known != nil {
					p.paces["echo"] = row.known
				}
				on := execute(p, echo).must(t).Worker.ID
				calls := f.worker(on).received()
				equal(t, "time awake", calls[len(calls)-1].Awake, row.want)
				advance(time.Second)
			})
		})
	}
}
