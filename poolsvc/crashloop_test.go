package poolsvc

import (
	"testing"
	"testing/synctest"
	"time"

	"charmer/workerproc"
)

// startFailure is the evidence of a worker that cannot start.
var startFailure = &workerproc.StartError{Stage: "import app", Detail: "ModuleNotFoundError: No module named 'dspy'",
	Exit: workerproc.Exit{Cause: workerproc.CauseCrash, Reason: "exited with code 1", Code: 1, StderrTail: []string{"no dspy"}}}

func failing(int) (time.Duration, error) { return 0, startFailure }

func TestCrashLoopRefusesAtOnceAndSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = func(int) (time.Duration, error) { return 100 * ms, startFailure }
		p := newPool(t, f)
		waiting := []*pending[Result]{execute(p, echo), execute(p, echo)}
		advance(100 * ms)
		for _, w := range waiting {
			_, err := w.wait()
			if r := refused(t, err, ErrCrashLooping); r.Start != startFailure {
				t.Errorf("evidence: %+v", r.Start)
			}
			equal(t, "time it took", w.took, 100*ms)
		}
		for _, req := range []Request{echo, in("u1", echo)} {
			late := execute(p, req)
			_, err := late.wait()
			r := refused(t, err, ErrCrashLooping)
			if r.Start == nil || r.Detail == "" || len(r.Start.Exit.StderrTail) == 0 {
				t.Errorf("refusal: %+v", r)
			}
			equal(t, "time it took", late.took, 0)
		}
		_, err := checkout(p, CheckoutRequest{}).wait()
		refused(t, err, ErrCrashLooping)
		_, _, err = p.Commands()
		refused(t, err, ErrCrashLooping)
		equal(t, "ready", p.Stats().Ready, false)
		equal(t, "attempts", len(f.starts()), 2)
	})
}

func TestWorkerThatDiesBeforeItsFirstUseIsAFailedStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1))
		f.started()[0].crash()
		wantCounts(t, p, "")
		s := p.Stats().Starts
		if s.Failures != 1 || s.Last.Exit.Code != 3 || s.Last.Stage != "ready" {
			t.Errorf("stats: %+v", s)
		}
		advance(125 * ms)
		wantCounts(t, p, "idle 1")
	})
}

func TestWorkersThatAreReadyAndThenDieAreACrashLoop(t *testing.T) {
	for _, life := range []time.Duration{ms, 10 * ms, minTrial - 10*ms} {
		t.Run(life.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFactory()
				f.plan = func(int) (time.Duration, error) {
					time.AfterFunc(life, func() { // it is ready now
						for _, w := range f.started() {
							w.crash()
						}
					})
					return 0, nil
				}
				p := newPool(t, f, workers(1))
				advance(5 * time.Minute)
				if n := len(f.starts()); n < 12 || n > 22 { // 100 ms, doubled up to 30 s
					t.Errorf("%d starts in five minutes", n)
				}
				if p.Stats().Workers.Size > 0 {
					advance(life)
				}
				_, err := execute(p, echo).wait()
				if r := refused(t, err, ErrCrashLooping); r.Start == nil || r.Start.Exit.Code != 3 {
					t.Errorf("evidence: %+v", r.Start)
				}
			})
		})
	}
}

func TestOneLivingWorkerKeepsThePoolServing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		advance(minTrial)
		f.replan(failing)
		f.started()[0].crash()
		synctest.Wait()
		slow := execute(p, sleeper(time.Second))
		next := execute(p, echo) // waits, and is not refused
		advance(time.Second)
		slow.must(t)
		equal(t, "queue time", next.must(t).Queue, time.Second)
		equal(t, "ready", p.Stats().Ready, true)
	})
}

func TestThoseWhoWaitAreRefusedWhenTheLastWorkerDiesInACrashLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		advance(minTrial)
		f.replan(failing)
		f.started()[0].crash()
		advance(2 * time.Second) // the next attempt is a while away
		running := execute(p, sleeper(time.Minute))
		waiting := execute(p, echo)
		f.started()[1].crash()
		_, err := running.wait()
		crashed(t, err)
		_, err = waiting.wait()
		refused(t, err, ErrCrashLooping)
		equal(t, "time it took", waiting.took, 0)
	})
}

func TestThoseWhoWaitAreRefusedWhenQueuedStartsGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = func(int) (time.Duration, error) { return 100 * ms, startFailure }
		p := newPool(t, f, workers(4), func(c *Config) { c.StartParallelism = 1 })
		wantCounts(t, p, "starting 4")
		waiting := execute(p, echo)
		_, err := waiting.wait()
		refused(t, err, ErrCrashLooping)
		if waiting.took > 200*ms { // one more may have begun as the first one failed
			t.Errorf("refused after %s", waiting.took)
		}
	})
}

func TestSessionsThatStartDoNotHoldUpThePool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, func(c *Config) { c.StartParallelism, c.CheckoutTimeout = 1, time.Hour })
		f.replan(startsIn(time.Minute))
		for _, id := range []string{"u1", "u2", "u3"} {
			execute(p, in(id, echo))
		}
		advance(0)
		equal(t, "attempts", len(f.starts()), 2+1)
		if err := p.Recycle(1); err != nil {
			t.Fatal(err)
		}
		advance(0)
		equal(t, "attempts", len(f.starts()), 2+1+1)
		advance(time.Minute)
		wantCounts(t, p, "idle 2")
	})
}

func TestOneDeathOfEachReadyWorkerIsNoCrashLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		f.worker(1).crash()
		f.worker(2).crash()
		wantCounts(t, p, "")
		waiting := execute(p, echo)
		advance(backoffInitial * 2)
		waiting.must(t)
		if n := p.Stats().Counts.Checkouts["crash_looping"]; n != 0 {
			t.Errorf("%d refused", n)
		}
	})
}

func TestProbesThatDieOfTheirFirstCallAreACrashLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, allDie := dieUnseen(1 << 30)
		f.plan = failing
		p := newPool(t, f, workers(1), allDie)
		synctest.Wait()
		f.replan(startsIn(0))
		for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); advance(20 * ms) {
			if _, err := execute(p, echo).wait(); err == nil {
				t.Fatal("a doomed worker answered")
			}
		}
		if n := len(f.starts()); n < 12 || n > 25 {
			t.Errorf("%d starts in five minutes", n)
		}
	})
}

func TestTheAppIsImportedAnewForAProbeWhenNoWorkerIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = func(attempt int) (time.Duration, error) {
			if attempt >= 3 && attempt <= 6 {
				return 0, startFailure
			}
			return 0, nil
		}
		p := warmPool(t, f)
		advance(minTrial)
		f.started()[1].crash() // two failed starts with a worker up, and then none up
		advance(time.Second)
		equal(t, "renewals with a worker up", f.renewed(), 0)
		equal(t, "failures", p.Stats().Starts.Failures >= 2, true)
		f.started()[0].crash()
		advance(2 * backoffMax)
		wantCounts(t, p, "idle 2")
		if f.renewed() == 0 {
			t.Error("the app was not imported anew for any probe without a worker up")
		}
	})
}
