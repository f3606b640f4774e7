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

func withID(id string, req Request) Request {
	req.RequestID = id
	return req
}

func TestACallThatWaitsIsTakenOffTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(1))
		first := execute(p, sleeper(time.Second))
		waiting := execute(p, withID("w", echo))
		advance(100 * ms)
		step, err := p.Cancel(t.Context(), "w")
		equal(t, "step", fmt.Sprint(step, err), "dequeued<nil>")
		_, err = waiting.wait()
		cancelled(t, err, ErrCancelled, StepDequeued)
		equal(t, "cancels", p.Stats().Counts.Cancels["dequeued"], 1)
		advance(time.Second)
		first.must(t)
	})
}

func TestACallThatDoesNotObeyIsKilledAndItsWorkerReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1))
		call := execute(p, withID("x", Request{Command: "defy", Args: []byte("1h")}))
		advance(100 * ms)
		step, err := p.Cancel(t.Context(), "x")
		equal(t, "step", fmt.Sprint(step, err), "killed<nil>")
		_, err = call.wait()
		cancelled(t, err, ErrCancelled, workerproc.StepKilled)
		execute(p, echo).must(t)
		c := p.Stats().Counts
		equal(t, "exits", c.Exits[ExitCancelled], 1)
		equal(t, "cancels", c.Cancels["killed"], 1)
		equal(t, "executions", c.Executions["cancelled"], 1)
	})
}

func TestACallInASessionIsCancelledAndTheSessionLivesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(1))
		call := execute(p, withID("x", in("u1", sleeper(time.Hour))))
		_, _ = p.Cancel(t.Context(), "x")
		_, err := call.wait()
		cancelled(t, err, ErrCancelled, workerproc.StepCancelled)
		equal(t, "state", execute(p, in("u1", echo)).must(t).Session.State, "resumed")
	})
}

func TestWhatIsUnknownOrOverCannotBeCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(1))
		execute(p, withID("over", echo)).must(t)
		for _, id := range []string{"over", "never"} {
			if _, err := p.Cancel(t.Context(), id); !errors.Is(err, ErrExecutionNotFound) {
				t.Errorf("cancel of %s: %v", id, err)
			}
		}
	})
}

func TestACallMayBeAskedToFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(1))
		ctx, leave := context.WithCancel(t.Context())
		req := withID("x", sleeper(time.Second))
		req.Finish = true
		call := begin(func() (Result, error) { return p.Execute(ctx, req) })
		second := begin(func() (Result, error) { return p.Execute(ctx, req) })
		synctest.Wait()
		leave()
		advance(2 * time.Second)
		call.must(t)
		second.must(t)
	})
}

func TestExecutionsTellWhatWaitsAndRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(1))
		began := time.Now()
		running := execute(p, withID("r", sleeper(time.Second)))
		advance(100 * ms)
		waiting := execute(p, withID("w", echo))
		var all []string
		for _, x := range p.Executions() {
			all = append(all, fmt.Sprint(x.RequestID, " ", x.Command, " ", x.Worker != nil, " ", x.Since.Sub(began), " ", x.Deadline.Sub(began)))
		}
		equal(t, "executions", fmt.Sprint(all), "[r sleep true 0s 30s w echo false 100ms 30.1s]")
		info, err := p.Execution("r")
		equal(t, "the one", fmt.Sprint(info.Worker.ID, info.Began.Equal(began), err), "1 true <nil>")
		advance(time.Second)
		running.must(t)
		waiting.must(t)
		equal(t, "executions left", len(p.Executions()), 0)
	})
}

// TestACancelMeetsTheEndOfItsCall has both at the same moment, in every order that the scheduler makes of it.
func TestACancelMeetsTheEndOfItsCall(t *testing.T) {
	for what, meet := range map[string]func(f *factory, p *Pool){
		"completion": func(*factory, *Pool) {},
		"crash":      func(f *factory, _ *Pool) { f.last().crash() },
		"expiry":     func(_ *factory, p *Pool) { p.sweep(time.Now().Add(time.Hour)) },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFactory()
				p := warmPool(t, f, workers(1), func(c *Config) { c.LeaseReuse = true })
				for range 1000 {
					l := lend(t, p)
					call := execute(p, withID("x", on(l, sleeper(time.Second))))
					synctest.Wait()
					time.Sleep(time.Second - 1)
					cancel := begin(func() (string, error) { step, err := p.Cancel(context.Background(), "x"); return string(step), err })
					meeting := begin(func() (int, error) { time.Sleep(time.Nanosecond); meet(f, p); return 0, nil })
					_, err := call.wait()
					_, _ = meeting.wait()
					step, cancelErr := cancel.wait()
					var c *CancelledError
					switch {
					case cancelErr != nil && !errors.Is(cancelErr, ErrExecutionNotFound):
						t.Fatal(cancelErr)
					case errors.As(err, &c) && string(c.Step) != step:
						t.Fatalf("the call ended %v, its cancel with %s", err, step)
					}
					_ = p.Release(l.ID)
					execute(p, echo).must(t) // is never hit
				}
			})
		})
	}
}
