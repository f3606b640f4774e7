package poolsvc

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"charmer/workerproc"
)

func TestExecuteReturnsTheResultAndTheTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1))
		execute(p, sleeper(100*ms))
		req := sleeper(250 * ms)
		req.RequestID, req.Traceparent = "r-1", "00-trace"
		call := execute(p, req)
		advance(350 * ms)
		r := call.must(t)
		equal(t, "result", string(r.Result), `"slept"`)
		equal(t, "worker", r.Worker, WorkerRef{ID: 1, PID: 1001, Generation: 1})
		equal(t, "queue time", r.Queue, 100*ms)
		equal(t, "run time", r.Run, 250*ms)
		if r.Session != nil {
			t.Errorf("session %+v", r.Session)
		}
		sent := f.worker(1).received()[1]
		if sent.RequestID != "r-1" || sent.Traceparent != "00-trace" || sent.SessionID != "" || sent.SessionState != "" || sent.Hook {
			t.Errorf("call sent: %+v", sent)
		}
	})
}

func TestUnknownCommandTouchesNoWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1))
		lend(t, p)
		unknown := execute(p, Request{Command: "nonesuch"})
		_, err := unknown.wait()
		equal(t, "error", err, error(ErrUnknownCommand))
		equal(t, "time it took", unknown.took, 0)
		_, err = execute(p, in("u1", Request{Command: "nonesuch"})).wait()
		equal(t, "error", err, error(ErrUnknownCommand))
		equal(t, "workers started", len(f.started()), 1) // and no session
	})
}

func TestAnyCommandMayExistBeforeTheFirstWorkerIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = startsIn(time.Second)
		p := newPool(t, f)
		call := execute(p, echo)
		advance(time.Second)
		equal(t, "queue time", call.must(t).Queue, time.Second)
	})
}

func TestTimeoutIsThatOfTheRequestElseOfTheCommandElseConfigured(t *testing.T) {
	for name, row := range map[string]struct {
		command map[string]time.Duration
		request *time.Duration
		want    time.Duration
	}{
		"configured":       {nil, nil, 30 * time.Second},
		"command":          {map[string]time.Duration{"sleep": 1500 * ms}, nil, 1500 * ms},
		"request":          {nil, new(200 * ms), 200 * ms},
		"request, shorter": {map[string]time.Duration{"sleep": 1500 * ms}, new(200 * ms), 200 * ms},
		"request, longer":  {map[string]time.Duration{"sleep": 1500 * ms}, new(time.Minute), time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFactory()
				f.timeouts = row.command
				p := warmPool(t, f)
				req := sleeper(time.Hour)
				req.Timeout = row.request
				call := execute(p, req)
				_, err := call.wait()
				var timeout *workerproc.TimeoutError
				if !errors.As(err, &timeout) || timeout.Stack == "" {
					t.Errorf("got error %v, want a TimeoutError with a stack", err)
				}
				equal(t, "time it took", call.took, row.want)
				wantCounts(t, p, "idle 2")
				equal(t, "exits by timeout", p.Stats().Counts.Exits[ExitTimeout], 1)
				equal(t, "timeouts counted", p.Stats().Counts.Executions["timeout"], 1)
			})
		})
	}
}

func TestTimeoutCoversTheWaitToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(1))
		execute(p, sleeper(600*ms))
		req := sleeper(time.Hour)
		req.Timeout = new(time.Second)
		call := execute(p, req)
		_, err := call.wait()
		var timeout *workerproc.TimeoutError
		if !errors.As(err, &timeout) {
			t.Errorf("got error %v, want a TimeoutError", err)
		}
		equal(t, "time it took", call.took, time.Second)
	})
}

func TestDeadlineThatPassesWhileWaitingIsARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1))
		execute(p, sleeper(time.Second))
		req := echo
		req.Timeout = new(100 * ms)
		call := execute(p, req)
		_, err := call.wait()
		equal(t, "Waited", refused(t, err, ErrCheckoutTimeout).Waited, 100*ms)
		equal(t, "time it took", call.took, 100*ms)
		advance(time.Second)
		equal(t, "calls", len(f.worker(1).seen()), 1)
	})
}

func TestDeadlineThatPassesAsTheWorkerComesNeverStartsPython(t *testing.T) {
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			f := newFactory()
			p := warmPool(t, f, workers(1))
			execute(p, sleeper(100*ms)) // ends as the time of the next runs out
			req := echo
			req.Timeout = new(100 * ms)
			_, err := execute(p, req).wait()
			refused(t, err, ErrCheckoutTimeout)
			wantCounts(t, p, "idle 1")
			equal(t, "calls", len(f.worker(1).seen()), 1)
		})
	}
}

func TestTimeoutZeroIsRefusedEvenWithAnIdleWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		f.replan(startsIn(time.Second))
		l := lend(t, p)
		for _, req := range []Request{echo, on(l, echo), in("u1", echo)} {
			req.Timeout = new(time.Duration(0))
			_, err := execute(p, req).wait()
			refused(t, err, ErrCheckoutTimeout)
		}
		for _, w := range f.started() {
			equal(t, "calls", len(w.seen()), 0)
		}
		execute(p, on(l, echo)).must(t)
		wantCounts(t, p, "idle 1, leased 1")
	})
}

func TestSessionThatAnExpiredRequestOpenedIsStillNewToTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		f.replan(startsIn(time.Second))
		req := in("u1", echo)
		req.Timeout = new(time.Duration(0))
		for range 3 { // the first opens it, the others find it idle
			_, err := execute(p, req).wait()
			refused(t, err, ErrCheckoutTimeout)
			advance(time.Second)
		}
		equal(t, "state", execute(p, in("u1", echo)).must(t).Session.State, "new")
	})
}

func TestCheckoutTimeoutBoundsTheWaitAndNotTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(1))
		req := sleeper(time.Second)
		req.CheckoutTimeout = new(50 * ms)
		running := execute(p, req)
		late := execute(p, req)
		_, err := late.wait()
		refused(t, err, ErrCheckoutTimeout)
		equal(t, "time it took", late.took, 50*ms)
		advance(time.Second)
		running.must(t)
	})
}

func TestClientThatLeavesEndsItsWaitAndItsCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(1))
		ctx, cancel := context.WithCancel(t.Context())
		running := begin(func() (Result, error) { return p.Execute(ctx, sleeper(time.Second)) })
		synctest.Wait()
		waiting := begin(func() (Result, error) { return p.Execute(ctx, echo) })
		advance(100 * ms)
		cancel()
		_, err := waiting.wait()
		equal(t, "error", err, error(ErrClientGone))
		equal(t, "time it took", waiting.took, 100*ms)
		_, err = running.wait()
		cancelled(t, err, context.Canceled, workerproc.StepCancelled)
		equal(t, "time it ran", running.took, 100*ms)
		execute(p, echo).must(t)
		equal(t, "cancels", p.Stats().Counts.Cancels["cancelled"], 1)
	})
}

func TestExceptionKeepsTheWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1))
		_, err := execute(p, Request{Command: "raise"}).wait()
		var failed *workerproc.CommandError
		if !errors.As(err, &failed) || failed.Type != "ValueError" {
			t.Errorf("got error %v, want the ValueError", err)
		}
		execute(p, echo).must(t)
		equal(t, "workers started", len(f.started()), 1)
		c := p.Stats().Counts.Executions
		if c["app_error"] != 1 || c["ok"] != 1 {
			t.Errorf("executions: %v", c)
		}
	})
}

func TestCallThatExitsHasItsAnswerAndItsWorkerIsReplacedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.deathLag = 10 * time.Second // it hangs in its exit handlers
		p := warmPool(t, f, workers(1))
		call := execute(p, Request{Command: "exit"})
		_, err := call.wait()
		var failed *workerproc.CommandError
		if !errors.As(err, &failed) || failed.Type != "SystemExit" {
			t.Errorf("got error %v, want SystemExit", err)
		}
		equal(t, "time it took", call.took, 0)
		equal(t, "worker", execute(p, echo).must(t).Worker.ID, 2)
		wantCounts(t, p, "idle 1, stopping 1")
		advance(10 * time.Second)
		equal(t, "exits on request", p.Stats().Counts.Exits[ExitExiting], 1)
	})
}

func TestCallThatHasBegunIsNeverTriedAgain(t *testing.T) {
	for _, command := range []string{"crash", "garble"} {
		t.Run(command, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFactory()
				p := warmPool(t, f)
				_, err := execute(p, Request{Command: command}).wait()
				var call *CallError
				if !errors.As(err, &call) || call.Command != command {
					t.Errorf("got error %v, want a CallError", err)
				}
				wantCounts(t, p, "idle 2")
				total := 0
				for _, w := range f.started() {
					total += len(w.seen())
				}
				equal(t, "calls sent", total, 1)
			})
		})
	}
}

// dieUnseen has the first n workers die between the moment that they are handed out and that of the call.
func dieUnseen(n int) (*factory, func(*Config)) {
	f := newFactory()
	return f, func(c *Config) {
		spawn := c.Spawn
		c.Spawn = func(ctx context.Context, generation int, id uint64, progress func(int, string)) (Worker, error) {
			w, err := spawn(ctx, generation, id, progress)
			if err != nil || id > uint64(n) {
				return w, err
			}
			return &doomed{w.(*fakeWorker)}, nil
		}
	}
}

// doomed is healthy until it is called.
type doomed struct{ *fakeWorker }

func (d *doomed) Call(ctx context.Context, c *workerproc.Call) (workerproc.Reply, error) {
	d.crash()
	return d.fakeWorker.Call(ctx, c)
}

func TestCallThatNeverBeganIsTriedOnAnotherWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, twoDie := dieUnseen(2)
		p := warmPool(t, f, workers(1), twoDie)
		equal(t, "worker", execute(p, echo).must(t).Worker.ID, 3)
		c := p.Stats().Counts
		if c.Executions["crash"] != 2 || c.Executions["ok"] != 1 {
			t.Errorf("executions: %v", c.Executions)
		}
	})
}

func TestCallThatNeverBeganIsTriedAtMostThreeTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, allDie := dieUnseen(100)
		p := warmPool(t, f, workers(1), allDie)
		_, err := execute(p, echo).wait()
		equal(t, "started", crashed(t, err).Started, false)
		equal(t, "executions", p.Stats().Counts.Executions["crash"], 3)
	})
}

func TestCallOnALeaseOrInASessionIsNeverTriedElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, allDie := dieUnseen(100)
		p := warmPool(t, f, workers(1), allDie)
		_, err := execute(p, on(lend(t, p), echo)).wait()
		lost := gone(t, err, ErrLeaseExpired)
		_, err = execute(p, in("u1", echo)).wait()
		for _, g := range []*GoneError{lost, gone(t, err, ErrSessionLost)} {
			if g.Exit == nil || g.Exit.Code != 3 {
				t.Errorf("exit: %+v", g.Exit)
			}
		}
		equal(t, "executions", p.Stats().Counts.Executions["crash"], 2)
	})
}

func TestRetriesEndAtTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, allDie := dieUnseen(100)
		f.plan = startsIn(time.Second)
		p := newPool(t, f, workers(1), allDie)
		advance(time.Second)
		req := echo
		req.Timeout = new(1500 * ms)
		call := execute(p, req)
		_, err := call.wait() // the second worker comes after 1 s, the third would after 2 s
		refused(t, err, ErrCheckoutTimeout)
		equal(t, "time it took", call.took, 1500*ms)
	})
}

func TestMixedCallsOfManyClientsAllGetTheirOwnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory())
		var bad, good []*pending[Result]
		for i := range 6 {
			if i%2 == 1 {
				bad = append(bad, execute(p, Request{Command: "raise"}))
			} else {
				good = append(good, execute(p, Request{Command: "echo", Args: []byte{byte('0' + i)}}))
			}
		}
		for i, c := range good {
			equal(t, "result", string(c.must(t).Result), string(rune('0'+2*i)))
		}
		for _, c := range bad {
			if _, err := c.wait(); err == nil {
				t.Error("no error")
			}
		}
		wantCounts(t, p, "idle 2")
	})
}
