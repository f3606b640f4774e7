package poolsvc

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"charmer/workerproc"
)

// broadcasting begins a broadcast of a command.
func broadcasting(p *Pool, req Request) *pending[BroadcastInfo] {
	b := begin(func() (BroadcastInfo, error) { return p.Broadcast(p.ctx, req) })
	synctest.Wait()
	return b
}

// statuses tells what a broadcast came to, worker by worker.
func statuses(b BroadcastInfo) string {
	var out []string
	for _, r := range b.Results {
		out = append(out, fmt.Sprint(r.Worker.ID, " ", r.Status))
	}
	return fmt.Sprint(out, " kept ", b.Kept)
}

func TestABroadcastRunsInEveryWorkerThatIsThereAndThatComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(2), func(c *Config) { c.Spares = 1 })
		execute(p, in("before", echo)).must(t)
		synctest.Wait()
		b := broadcasting(p, withID("b", echo)).must(t)
		equal(t, "results", statuses(b), "[1 ok 2 ok 4 ok] kept true")
		f.worker(1).crash()
		execute(p, in("after", echo)).must(t)
		synctest.Wait()
		for _, w := range f.started() {
			first, want := w.received(), 1
			if w.id == 3 { // of the session that was there
				want = 0
			}
			got := 0
			for i, c := range first {
				if c.RequestID == "b" {
					got++
					equal(t, fmt.Sprint("place in worker ", w.id), i, 0)
				}
			}
			equal(t, fmt.Sprint("broadcasts in worker ", w.id), got, want)
		}
		equal(t, "applied", int(p.Broadcasts()[0].Applied), len(f.started())-1)
		if err := p.RemoveBroadcast(b.ID); err != nil {
			t.Error(err)
		}
		if err := p.RemoveBroadcast(b.ID); !errors.Is(err, ErrBroadcastNotFound) {
			t.Errorf("the second time: %v", err)
		}
		f.worker(2).crash()
		advance(time.Minute)
		equal(t, "calls of the last", len(f.last().seen()), 0)
	})
}

func TestABusyWorkerRunsABroadcastBeforeItsNextCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1))
		first := execute(p, sleeper(time.Second))
		limited := withID("b", echo)
		limited.Timeout = new(100 * ms)
		b := broadcasting(p, limited)
		next := execute(p, withID("n", echo))
		advance(100 * ms)
		equal(t, "results", statuses(b.must(t)), "[1 pending] kept true")
		advance(time.Second)
		first.must(t)
		next.must(t)
		equal(t, "calls", fmt.Sprint(f.worker(1).received()[1].RequestID, f.worker(1).received()[2].RequestID), "bn")
		equal(t, "applied", p.Broadcasts()[0].Applied, 1)
	})
}

func TestABroadcastThatFailsIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(2))
		b := broadcasting(p, Request{Command: "raise"}).must(t)
		equal(t, "kept", b.Kept, false)
		var failed *workerproc.CommandError
		if r := b.Results[0]; r.Status != BroadcastFailed || !errors.As(r.Err, &failed) {
			t.Errorf("result %+v", r)
		}
		equal(t, "broadcasts", len(p.Broadcasts()), 0)
		wantCounts(t, p, "idle 2")
		if _, err := broadcasting(p, Request{Command: "no such"}).wait(); !errors.Is(err, ErrUnknownCommand) {
			t.Errorf("got %v", err)
		}
	})
}

func TestAWorkerThatFailsInABroadcastDoesNotStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.offers = func(generation int) []string { return []string{fmt.Sprint("only", generation)} }
		p := warmPool(t, f, workers(1))
		equal(t, "kept", broadcasting(p, Request{Command: "only1"}).must(t).Kept, true)
		_, err := reloading(p).wait() // to code that does not have it
		var failed *ReloadError
		if !errors.As(err, &failed) || failed.Start.Stage != "broadcast only1" {
			t.Errorf("reload: %v", err)
		}
		execute(p, Request{Command: "only1"}).must(t)
		wantCounts(t, p, "idle 1")
	})
}

func TestABroadcastWaitsForCallsThatShareAWorkerAndLetsNoneJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, sharing(3), workers(1))
		first := execute(p, many(time.Second))
		b := broadcasting(p, withID("b", echo))
		second := execute(p, many(0))
		equal(t, "settled", b.settled() || second.settled(), false)
		advance(time.Second)
		first.must(t)
		second.must(t)
		equal(t, "results", statuses(b.must(t)), "[1 ok] kept true")
	})
}

func TestABroadcastDoesNotWaitForAWorkerThatDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1))
		execute(p, sleeper(time.Minute))
		b := broadcasting(p, withID("b", echo))
		f.worker(1).crash()
		equal(t, "results", statuses(b.must(t)), "[] kept true")
		synctest.Wait()
		equal(t, "calls of the next", fmt.Sprint(f.last().seen()), "[echo]")
	})
}
