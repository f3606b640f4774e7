package poolsvc

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// stackOf begins to take a stack.
func stackOf(p *Pool, id uint64) *pending[StackInfo] {
	out := begin(func() (StackInfo, error) { return p.Stack(id) })
	synctest.Wait()
	return out
}

func TestStackSaysWhatAWorkerDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1))
		info := stackOf(p, 1).must(t)
		equal(t, "stack of an idle worker", info.Stack, "in read")
		equal(t, "state", info.State, StateIdle)
		equal(t, "worker", info.Worker, WorkerRef{ID: 1, PID: 1001, Generation: 1})
		if info.Running != nil {
			t.Errorf("an idle worker runs %v", info.Running)
		}

		req := sleeper(time.Second)
		req.RequestID = "r1"
		call := execute(p, req)
		advance(100 * ms)
		info = stackOf(p, 1).must(t)
		equal(t, "stack of a busy worker", info.Stack, "in sleep")
		equal(t, "taken at", info.TakenAt, time.Now())
		equal(t, "running", info.Running[0], RunningCall{RequestID: "r1", Command: "sleep", Since: time.Now().Add(-100 * ms)})
		advance(time.Second)
		call.must(t)
	})
}

func TestStacksOfOneWorkerAtTheSameTimeAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.stackTime = 100 * ms
		p := warmPool(t, f)
		first, second, other := stackOf(p, 1), stackOf(p, 1), stackOf(p, 2)
		advance(100 * ms)
		equal(t, "the second", second.must(t).TakenAt, first.must(t).TakenAt)
		other.must(t)
		equal(t, "stacks taken", f.stacks.Load(), 2)
		third := stackOf(p, 1)
		advance(100 * ms)
		third.must(t)
		equal(t, "stacks taken", f.stacks.Load(), 3)
	})
}

func TestStackHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.stackTime = time.Hour
		p := warmPool(t, f, workers(1))
		stack := stackOf(p, 1)
		execute(p, echo).must(t)
		equal(t, "members", len(p.Stats().Members), 1)
		advance(time.Hour)
		stack.must(t)
	})
}

func TestStackOfAStartingWorkerComesFromTheSpawner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = startsIn(time.Second)
		p := newPool(t, f, workers(1), func(c *Config) {
			c.StartingStack = func(id uint64) string {
				if id != 1 {
					t.Errorf("asked for the stack of %d", id)
				}
				return "in import"
			}
		})
		advance(100 * ms)
		info := stackOf(p, 1).must(t)
		equal(t, "stack", info.Stack, "in import")
		equal(t, "state", info.State, StateStarting)
		equal(t, "stage", info.Stage, "import app")
	})
}

func TestStackOfAWorkerThatBecomesReadyMeanwhileIsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = startsIn(time.Second)
		p := newPool(t, f, workers(1), func(c *Config) {
			c.StartingStack = func(uint64) string { time.Sleep(2 * time.Second); return "" }
		})
		advance(100 * ms)
		stack := stackOf(p, 1)
		advance(2 * time.Second)
		info := stack.must(t)
		equal(t, "stack", info.Stack, "in read")
		equal(t, "state", info.State, StateIdle)
		equal(t, "stage", info.Stage, "")
		equal(t, "taken at", info.TakenAt, time.Now())
	})
}

func TestStackThatCannotBeHadSaysWhyNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.noStacks = true
		f.plan = startsIn(time.Second)
		p := newPool(t, f, workers(1))
		advance(100 * ms)
		if _, err := stackOf(p, 9).wait(); err != ErrWorkerNotFound {
			t.Errorf("worker 9: %v", err)
		}
		_, err := stackOf(p, 1).wait()
		refused(t, err, ErrNoStack)
		advance(time.Second)
		var later *RefusedError
		if _, err := stackOf(p, 1).wait(); !errors.Is(err, ErrNoStack) || errors.As(err, &later) {
			t.Errorf("worker 1: %v, want ErrNoStack for good", err)
		}
		f.stackTime = 100 * ms
		stack := stackOf(p, 1)
		f.worker(1).crash()
		advance(100 * ms)
		if _, err := stack.wait(); err != ErrWorkerNotFound {
			t.Errorf("worker that died: %v", err)
		}
	})
}

func TestStackThatIsBeingTakenOutlivesThePool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.stackTime = time.Second
		p := openPool(f)
		synctest.Wait()
		stack := stackOf(p, 1)
		p.Close(context.Background())
		advance(time.Second)
		if _, err := stack.wait(); err != ErrWorkerNotFound {
			t.Errorf("got %v", err)
		}
	})
}

func TestUsagesMeasureTheWorkersThatAreUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(9))
		infos := p.Stats().Members
		f.deathLag = time.Second
		f.worker(3).crash()
		advance(time.Second)
		f.replan(startsIn(time.Hour))
		usages := p.Usages(append(infos, WorkerInfo{WorkerRef: WorkerRef{ID: 99}}))
		equal(t, "measured", len(usages), 8)
		for id, usage := range usages {
			equal(t, "bytes", usage.RSS, int64(id))
		}
	})
}

func TestWorkerIsFoundByItsID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory())
		info, err := p.Worker(2)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "pid", info.PID, 1002)
		equal(t, "start method", info.StartMethod, "exec")
		if _, err := p.Worker(3); err != ErrWorkerNotFound {
			t.Errorf("worker 3: %v", err)
		}
	})
}

func TestStartsAreCountedByMethodAndPhase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = func(attempt int) (time.Duration, error) {
			if attempt == 1 {
				return 0, startFailure
			}
			return 400 * ms, nil
		}
		p := newPool(t, f, workers(1))
		advance(time.Second)
		c := p.Stats().Counts
		equal(t, "ok", c.StartsBy[Start{"exec", "ok"}], 1)
		equal(t, "failed", c.StartsBy[Start{"exec", "failed"}], 1)
		equal(t, "failed of both", c.Starts["failed"], 1)
		equal(t, "rows", len(c.StartsBy), 4)
		equal(t, "phases", len(c.StartTime), 8)
		equal(t, "spawn", c.StartTime[StartPhase{"exec", "spawn"}].Sum, 200*ms)
		equal(t, "import", c.StartTime[StartPhase{"exec", "import"}].Sum, 100*ms)
		equal(t, "handshake", c.StartTime[StartPhase{"exec", "handshake"}].Sum, 100*ms)
		equal(t, "total", c.StartTime[StartPhase{"exec", "total"}].Sum, 400*ms)
		equal(t, "forks", c.StartTime[StartPhase{"fork", "total"}].Count, 0)
	})
}

func TestStartWithoutAnImportHasNoTimeForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(1))
		c := p.Stats().Counts
		equal(t, "total", c.StartTime[StartPhase{"exec", "total"}].Count, 1)
		equal(t, "import", c.StartTime[StartPhase{"exec", "import"}].Count, 0)
	})
}

// doLook looks at a worker that was there at some time, in each way that there is.
func (m *model) doLook(t *rapid.T) {
	id := rapid.Uint64Range(1, 20).Draw(t, "worker")
	info, err := m.p.Worker(id)
	stack, stackErr := m.p.Stack(id)
	switch {
	case err != nil && stackErr == nil:
		t.Errorf("worker %d is not there and has the stack %q", id, stack.Stack)
	case stackErr == nil && (stack.Running != nil) != (info.Running != nil):
		t.Errorf("worker %d runs %v and %v", id, info.Running, stack.Running)
	}
	for other := range m.p.Usages([]WorkerInfo{info}) {
		if other != id || info.StartMethod == "" {
			t.Errorf("worker %d was measured for %d, which is %s", other, id, info.State)
		}
	}
}
