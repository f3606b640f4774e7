package poolsvc

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// sharing is a factory whose command "many" may run n times in a worker.
func sharing(n int) *factory {
	f := newFactory()
	f.concurrency = map[string]int{"many": n}
	return f
}

func many(d time.Duration) Request { return Request{Command: "many", Args: []byte(d.String())} }

// running returns how many calls each worker runs, the fewest first.
func running(p *Pool) string {
	synctest.Wait()
	var out []int
	for _, m := range p.Stats().Members {
		out = append(out, len(m.Running))
	}
	slices.Sort(out)
	return fmt.Sprint(out)
}

func TestCallsShareTheWorkersEvenly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, sharing(3))
		var calls []*pending[Result]
		for _, want := range []string{"[0 1]", "[1 1]", "", "[2 2]", "", "[3 3]", "[3 3]"} {
			calls = append(calls, execute(p, many(time.Second)))
			if want != "" {
				equal(t, fmt.Sprint("running with ", len(calls)), running(p), want)
			}
		}
		wantCounts(t, p, "busy 2")
		equal(t, "waiting", p.Stats().Queue.Length, 1)
		advance(time.Second)
		for _, c := range calls[:6] {
			equal(t, "wait", c.must(t).Queue, 0)
		}
		advance(time.Second)
		equal(t, "wait of the last", calls[6].must(t).Queue, time.Second)
		wantCounts(t, p, "idle 2")
	})
}

func TestACallThatWantsAWorkerForItselfIsNotPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, sharing(3), workers(1))
		first := execute(p, many(time.Second))
		alone := execute(p, sleeper(time.Second))
		second := execute(p, many(time.Second)) // there would be room
		equal(t, "running", running(p), "[1]")
		advance(time.Second)
		first.must(t)
		equal(t, "running", running(p), "[1]")
		equal(t, "settled", second.settled(), false)
		advance(time.Second)
		equal(t, "wait of the one alone", alone.must(t).Queue, time.Second)
		advance(time.Second)
		equal(t, "wait of the second", second.must(t).Queue, 2*time.Second)
	})
}

func TestALeaseThatMayNotBeGrantedHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, sharing(3), half)
		lend(t, p)
		lend(t, p)
		lease := checkout(p, CheckoutRequest{})
		for range 4 {
			execute(p, many(time.Second))
		}
		equal(t, "running", running(p), "[0 0 2 2]")
		equal(t, "settled", lease.settled(), false)
		advance(time.Second)
		wantCounts(t, p, "idle 2, leased 2")
	})
}

func TestTheDeathOfASharedWorkerEndsAllItsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := sharing(3)
		p := warmPool(t, f, workers(1))
		calls := []*pending[Result]{execute(p, many(time.Minute)), execute(p, many(time.Minute))}
		equal(t, "running", running(p), "[2]")
		advance(time.Second)
		f.worker(1).crash()
		for _, c := range calls {
			_, err := c.wait()
			if !crashed(t, err).Started {
				t.Error("it had started")
			}
		}
		equal(t, "busy", p.Stats().Counts.Busy, time.Second)
		wantCounts(t, p, "idle 1")
		execute(p, many(0)).must(t)
	})
}

func TestASharedWorkerThatIsToBeReplacedTakesNoMoreCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, sharing(3), workers(1))
		calls := []*pending[Result]{execute(p, many(time.Second)), execute(p, many(2*time.Second))}
		recycle(t, p, 1)
		calls = append(calls, execute(p, many(time.Second)))
		equal(t, "running", running(p), "[1 2]")
		advance(2 * time.Second)
		for _, c := range calls {
			c.must(t)
		}
		wantCounts(t, p, "idle 1")
		equal(t, "exits", p.Stats().Counts.Exits[ExitRecycle], 1)
	})
}

func TestOneCallOfManyIsCancelledAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, sharing(2), workers(1))
		first := execute(p, withID("first", many(time.Second)))
		second := execute(p, withID("second", many(time.Second)))
		third := execute(p, withID("third", many(time.Second)))
		advance(100 * ms)
		step, err := p.Cancel(t.Context(), "first")
		equal(t, "step", fmt.Sprint(step, err), "cancelled<nil>")
		first.wait()
		equal(t, "running", running(p), "[2]") // the third has its place
		advance(time.Second)
		second.must(t)
		equal(t, "wait of the third", third.must(t).Queue, 100*ms)
	})
}
