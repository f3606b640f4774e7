package poolsvc

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// reloading begins a reload.
func reloading(p *Pool) *pending[ReloadResult] {
	out := begin(func() (ReloadResult, error) { return p.Reload(context.Background()) })
	synctest.Wait()
	return out
}

// generations returns those of the pool's live workers, in order of their ids.
func generations(p *Pool) []int {
	var out []int
	for _, m := range p.Stats().Members {
		if m.SessionID == "" {
			out = append(out, m.Generation)
		}
	}
	return out
}

func wantGenerations(t testing.TB, p *Pool, want ...int) {
	t.Helper()
	synctest.Wait()
	if got := generations(p); !slices.Equal(got, want) {
		t.Errorf("generations of the workers: %d, want %d", got, want)
	}
}

func TestReloadReplacesOneWorkerAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(3))
		f.replan(startsIn(time.Second))
		r := reloading(p)
		advance(time.Second - 1)
		wantGenerations(t, p, 1, 1, 1)
		equal(t, "settled", r.settled(), false)
		advance(1)
		equal(t, "result", r.must(t), ReloadResult{Generation: 2, Previous: 1, Remaining: 3, Took: time.Second})
		wantCounts(t, p, "starting 1, idle 3")
		wantGenerations(t, p, 1, 1, 2, 2)
		advance(time.Second)
		wantCounts(t, p, "starting 1, idle 3")
		wantGenerations(t, p, 1, 2, 2, 2)
		equal(t, "rolling", p.Stats().Reload.Rolling, true)
		advance(time.Second)
		wantCounts(t, p, "idle 3")
		wantGenerations(t, p, 2, 2, 2)
		s := p.Stats()
		equal(t, "reload", s.Reload, ReloadStats{Generation: 2, Took: time.Second, At: s.Reload.At})
		equal(t, "generation", s.Generation, 2)
		equal(t, "exits by reload", s.Counts.Exits[ExitReload], 3)
		equal(t, "reloads", s.Counts.Reloads["ok"], 1)
		equal(t, "workers started", len(f.started()), 6)
		equal(t, "generations retired", len(f.retiredGenerations()), 1)
	})
}

func TestReloadUnderLoadRefusesNothingAndKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(4))
		f.replan(startsIn(50 * ms))
		var calls []*pending[Result]
		var r *pending[ReloadResult]
		for i := range 200 {
			calls = append(calls, execute(p, sleeper(10*ms)))
			if i == 50 {
				r = reloading(p)
			}
			if c := p.Stats().Workers; c.Idle+c.Busy < 4 {
				t.Fatalf("capacity fell: %+v", c)
			} else if c.Size-c.Stopping > 5 {
				t.Fatalf("too many workers: %+v", c)
			}
			time.Sleep(2 * ms)
		}
		advance(time.Second)
		r.must(t)
		end := time.Duration(0)
		for i, c := range calls {
			if c.must(t); time.Duration(i)*2*ms+c.took < end {
				t.Errorf("call %d overtook another", i)
			} else {
				end = time.Duration(i)*2*ms + c.took
			}
		}
		wantGenerations(t, p, 2, 2, 2, 2)
	})
}

func TestReloadThatFailsChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		f.replan(failing)
		_, err := reloading(p).wait()
		var failed *ReloadError
		if !errors.As(err, &failed) || failed.Start != startFailure || failed.Generation != 2 {
			t.Errorf("error %v, want a ReloadError with the evidence", err)
		}
		wantGenerations(t, p, 1, 1)
		execute(p, echo).must(t)
		s := p.Stats()
		state, _ := s.Health()
		equal(t, "state", state, HealthReady)
		equal(t, "failed starts in a row", s.Starts.Failures, 0)
		equal(t, "reloads that failed", s.Counts.Reloads["failed"], 1)
		equal(t, "starts that failed", s.Counts.Starts["failed"], 1)
		equal(t, "error of the last", s.Reload.Err, failed)
		if got := f.retiredGenerations(); !slices.Equal(got, []int{2}) {
			t.Errorf("retired generations %d, want 2", got)
		}
		f.replan(startsIn(0))
		equal(t, "generation of the next", reloading(p).must(t).Generation, 3)
		wantGenerations(t, p, 3, 3)
	})
}

func TestReloadMendsAPoolThatCannotStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = failing
		p := warmPool(t, f)
		advance(20 * time.Second) // far into the backoff
		_, err := execute(p, echo).wait()
		refused(t, err, ErrCrashLooping)
		f.replan(startsIn(0))
		reloading(p).must(t)
		wantGenerations(t, p, 2, 2)
		execute(p, echo).must(t)
		equal(t, "failures", p.Stats().Starts.Failures, 0)
	})
}

func TestReloadGivesUpStartsOfTheOldCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = startsIn(time.Hour)
		p := newPool(t, f, workers(3), func(c *Config) { c.StartParallelism = 2 })
		synctest.Wait()
		f.replan(startsIn(0))
		reloading(p).must(t)
		wantCounts(t, p, "idle 3")
		wantGenerations(t, p, 2, 2, 2)
		equal(t, "failed starts", p.Stats().Counts.Starts["failed"], 0)
		if got := f.retiredGenerations(); !slices.Equal(got, []int{1}) {
			t.Errorf("retired generations %d, want 1", got)
		}
	})
}

// A start that is given up may get its turn in the same moment.
func TestReloadEndsThoughGivenUpStartsGetTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory())
		gone, giveUp := context.WithCancel(t.Context())
		giveUp()
		p.mu.Lock()
		p.starts.failures, p.starts.retryAt, p.starts.last = 1, time.Now().Add(time.Second), startFailure
		p.mu.Unlock()
		for range 64 { // a select takes either
			_, err := p.spawn(&member{ctx: gone, slots: make(chan struct{}, 1)})
			equal(t, "why nothing started", err, context.Canceled)
		}
	})
}

func TestWorkerThatDiesDuringAReloadIsReplacedByTheNewCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(3))
		advance(minTrial)
		f.replan(startsIn(time.Second))
		reloading(p)
		advance(time.Second)
		wantGenerations(t, p, 1, 1, 2, 2)
		f.worker(3).crash()
		wantGenerations(t, p, 1, 2, 2, 2)
		advance(time.Second)
		advance(time.Second)
		wantGenerations(t, p, 2, 2, 2)
		equal(t, "workers started", len(f.started()), 6)
	})
}

func TestNewCodeThatDiesAtOnceDoesNotTakeTheOldWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(3))
		f.replan(startsIn(10 * ms))
		reloading(p)
		for range 2000 {
			advance(10 * ms)
			for _, w := range f.started() {
				if w.generation == 2 && !w.dead() {
					w.crash()
				}
			}
			if c := p.Stats().Workers; c.Idle < 2 {
				t.Fatalf("the old workers went: %+v", c)
			}
		}
		state, _ := p.Stats().Health()
		equal(t, "state", state, HealthDegraded)
		advance(time.Minute)
		wantGenerations(t, p, 2, 2, 2)
	})
}

func TestReloadLeavesSessionsOnTheirCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1))
		old := execute(p, in("old", echo)).must(t)
		call := execute(p, in("old", sleeper(time.Second)))
		reloading(p).must(t)
		equal(t, "generation of a new session", execute(p, in("new", echo)).must(t).Worker.Generation, 2)
		advance(time.Second)
		equal(t, "worker of the old session", call.must(t).Worker, old.Worker)
		equal(t, "worker of the old session", execute(p, in("old", echo)).must(t).Worker, old.Worker)
		f.worker(old.Worker.ID).crash()
		synctest.Wait()
		l := checkout(p, CheckoutRequest{SessionID: "old"}).must(t)
		equal(t, "generation of the session that begins anew", l.Worker.Generation, 2)
	})
}

func TestReloadLeavesLeasesTheirWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		l := lend(t, p)
		reloading(p).must(t)
		wantGenerations(t, p, 1, 2)
		wantCounts(t, p, "idle 1, leased 1")
		equal(t, "worker", execute(p, on(l, echo)).must(t).Worker, l.Worker)
		equal(t, "rolling", p.Stats().Reload.Rolling, true)
		release(t, p, l)
		wantGenerations(t, p, 2, 2)
		equal(t, "rolling", p.Stats().Reload.Rolling, false)
	})
}

func TestNewCommandIsOnlyGivenToNewWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := changing()
		p := warmPool(t, f, workers(4))
		after := Request{Command: "after"}
		_, err := execute(p, after).wait()
		equal(t, "error before", err, error(ErrUnknownCommand))
		f.replan(startsIn(time.Second))
		reloading(p)
		advance(time.Second)
		wantGenerations(t, p, 1, 1, 1, 2, 2)
		busy := execute(p, sleeper(300*ms)) // on the worker that was idle last, which is the new one
		var calls []*pending[Result]
		for range 3 {
			calls = append(calls, execute(p, after))
		}
		equal(t, "generation of another call", execute(p, echo).must(t).Worker.Generation, 1)
		equal(t, "queue", p.Stats().Queue.Length, 3)
		advance(300 * ms)
		equal(t, "generation", busy.must(t).Worker.Generation, 2)
		for _, c := range calls {
			equal(t, "generation", c.must(t).Worker.Generation, 2)
		}
	})
}

func TestOldCommandLivesOnWhereItIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, changing())
		before, after := Request{Command: "before"}, Request{Command: "after"}
		execute(p, in("u1", before)).must(t)
		l := lend(t, p)
		reloading(p).must(t)
		_, err := execute(p, before).wait()
		equal(t, "error in the pool", err, error(ErrUnknownCommand))
		execute(p, in("u1", before)).must(t)
		execute(p, on(l, before)).must(t)
		_, err = execute(p, in("u1", after)).wait()
		equal(t, "error in the session", err, error(ErrUnknownCommand))
		_, err = execute(p, on(l, after)).wait()
		equal(t, "error on the lease", err, error(ErrUnknownCommand))
		execute(p, in("u2", after)).must(t)
		commands, generation, err := p.Commands()
		if err != nil || generation != 2 || commands[0].Name != "after" {
			t.Errorf("commands %v of generation %d, %v", commands, generation, err)
		}
	})
}

func TestNewCommandOfALazyPoolStartsAWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := changing()
		p := warmPool(t, f, lazy)
		a, b := execute(p, sleeper(time.Second)), execute(p, sleeper(time.Second))
		reloading(p).must(t)
		f.last().crash() // the new worker
		advance(time.Second)
		a.must(t)
		b.must(t)
		advance(time.Minute)
		equal(t, "generation", execute(p, Request{Command: "after"}).must(t).Worker.Generation, 2)
	})
}

func TestOneReloadAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		f.replan(startsIn(time.Second))
		first := reloading(p)
		_, err := reloading(p).wait()
		refused(t, err, ErrReloadRunning)
		next := begin(func() (ReloadResult, error) { return p.ReloadNext(t.Context()) })
		ctx, cancel := context.WithCancel(t.Context())
		gone := begin(func() (ReloadResult, error) { return p.ReloadNext(ctx) })
		synctest.Wait()
		cancel()
		_, err = gone.wait()
		equal(t, "error of one who left", err, ErrClientGone)
		advance(time.Second)
		equal(t, "generation", first.must(t).Generation, 2)
		advance(time.Second)
		equal(t, "generation", next.must(t).Generation, 3)
		advance(10 * time.Second)
		wantGenerations(t, p, 3, 3)
		if got := f.retiredGenerations(); !slices.Equal(got, []int{1, 2}) {
			t.Errorf("retired generations %d, want 1 and 2", got)
		}
	})
}

func TestReloadEndsWithThePool(t *testing.T) {
	for name, end := range map[string]func(p *Pool){
		"drain": func(p *Pool) { p.Drain(context.Background()); advance(time.Second) },
		"close": func(p *Pool) { p.Close(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFactory()
				p := openPool(f)
				synctest.Wait()
				f.replan(startsIn(time.Second))
				r := reloading(p)
				end(p)
				_, err := r.wait()
				refused(t, err, ErrDraining)
				_, err = reloading(p).wait()
				refused(t, err, ErrDraining)
				if name == "drain" {
					wantGenerations(t, p, 1, 1)
					p.Close(context.Background())
				}
				wantNothingLeft(t, p, f)
			})
		})
	}
}

func TestLongCallDoesNotHoldUpAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(3))
		var calls []*pending[Result]
		for _, d := range []time.Duration{time.Hour, time.Minute, 2 * time.Minute} {
			req := sleeper(d)
			req.Timeout = new(2 * d)
			calls = append(calls, execute(p, req))
		}
		reloading(p).must(t)
		wantCounts(t, p, "idle 1, busy 3")
		advance(time.Minute)
		wantGenerations(t, p, 1, 1, 2, 2)
		advance(time.Minute)
		wantGenerations(t, p, 1, 2, 2, 2)
		advance(time.Hour)
		wantGenerations(t, p, 2, 2, 2)
		for _, c := range calls {
			equal(t, "generation", c.must(t).Worker.Generation, 1)
		}
	})
}
