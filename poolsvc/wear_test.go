package poolsvc

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"charmer/workerproc"
)

func maxRequests(n int64) func(*Config)      { return func(c *Config) { c.MaxRequests = n } }
func maxAge(d time.Duration) func(*Config)   { return func(c *Config) { c.MaxAge = d } }
func maxMemory(bytes int64) func(*Config)    { return func(c *Config) { c.MaxMemory = bytes } }
func exits(p *Pool, reason ExitReason) int64 { return p.Stats().Counts.Exits[reason] }

// clients call without pause, each for itself, until stop is called, which returns how many calls there were. No call may
// fail.
func clients(t *testing.T, p *Pool, n int, req Request) (stop func() int) {
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	var wg sync.WaitGroup
	calls := 0
	for range n {
		wg.Go(func() {
			for ctx.Err() == nil {
				if _, err := p.Execute(context.Background(), req); err != nil {
					t.Errorf("a call fails: %v", err)
					return
				}
				mu.Lock()
				calls++
				mu.Unlock()
			}
		})
	}
	return func() int {
		cancel()
		wg.Wait()
		return calls
	}
}

// wantCapacity checks a pool whose workers are being replaced: nine of ten serve, and the others are not too many.
func wantCapacity(t *testing.T, p *Pool, size int) {
	t.Helper()
	c := p.Stats().Workers
	if up := c.Idle + c.Busy + c.Leased; up < size {
		t.Fatalf("capacity fell to %d of %d", up, size)
	}
	if tenth := (size + 9) / 10; c.Starting > tenth || c.Size-c.Stopping > size+tenth {
		t.Fatalf("more than a tenth of %d is being replaced: %+v", size, c)
	}
}

func TestAllWorkersReachTheirLimitUnderLoadAndNothingIsMissed(t *testing.T) {
	for _, tt := range []struct {
		size   int
		limit  func(*Config)
		reason ExitReason
	}{
		{1, maxRequests(20), ExitMaxRequests},
		{10, maxRequests(20), ExitMaxRequests},
		{25, maxRequests(20), ExitMaxRequests},
		{10, maxAge(2 * time.Second), ExitMaxAge},
		{25, maxAge(2 * time.Second), ExitMaxAge},
		{10, maxMemory(100), ExitMaxMemory},
	} {
		t.Run(fmt.Sprint(tt.reason, tt.size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFactory()
				f.usage = func(w *fakeWorker) (workerproc.Usage, error) {
					return workerproc.Usage{Private: 10 * int64(len(w.seen()))}, nil
				}
				p := warmPool(t, f, workers(tt.size), tt.limit)
				f.replan(startsIn(50 * ms))
				stop := clients(t, p, tt.size+2, sleeper(10*ms))
				for range 10_000 {
					wantCapacity(t, p, tt.size)
					advance(ms)
				}
				if calls := stop(); calls < tt.size*900 {
					t.Errorf("%d calls in 10 s, want about %d", calls, tt.size*1000)
				}
				advance(time.Second)
				if got := exits(p, tt.reason); got < int64(tt.size) {
					t.Errorf("%d were replaced, want each of %d at least once", got, tt.size)
				}
				for reason, n := range p.Stats().Counts.Exits {
					if reason != tt.reason && n > 0 {
						t.Errorf("%d ended for the reason %s", n, reason)
					}
				}
			})
		})
	}
}

func TestLimitsDifferByWorkerWithinBounds(t *testing.T) {
	p := &Pool{cfg: Config{MaxRequests: 1000, MaxAge: time.Hour, MaxMemory: 1 << 30}}
	now := time.Now()
	low, high := newBounds(), newBounds()
	for range 2000 {
		l := p.newLimits(now)
		for i, share := range []float64{float64(l.calls) / 1000, float64(l.until.Sub(now)) / float64(time.Hour), float64(l.memory) / (1 << 30)} {
			if share < 0.85-1e-6 || share > 1.15+1e-6 {
				t.Fatalf("limit %d is %f of the configured one", i, share)
			}
			low[i], high[i] = min(low[i], share), max(high[i], share)
		}
	}
	for i := range low {
		if low[i] > 0.87 || high[i] < 1.13 {
			t.Errorf("limit %d varies from %f to %f only", i, low[i], high[i])
		}
	}
	p.cfg = Config{MaxRequests: math.MaxInt64, MaxAge: math.MaxInt64, MaxMemory: math.MaxInt64}
	if l := p.newLimits(now); l.calls < 1<<62 || l.memory < 1<<62 || !l.until.After(now) {
		t.Errorf("the largest limits are %+v", l)
	}
	p.cfg = Config{MaxRequests: 1}
	for range 100 {
		equal(t, "the least limit", p.newLimits(now), limits{calls: 1})
	}
}

func newBounds() [3]float64 { return [3]float64{1, 1, 1} }

func TestWithoutLimitsNobodyIsReplacedOrMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.usage = func(*fakeWorker) (workerproc.Usage, error) {
			t.Error("a worker is measured")
			return workerproc.Usage{}, nil
		}
		p := warmPool(t, f, workers(1))
		for range 1000 {
			execute(p, echo).must(t)
		}
		advance(100 * time.Hour)
		equal(t, "workers started", len(f.started()), 1)
	})
}

func TestWorkerOverItsLimitServesUntilItsReplacementIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1), maxRequests(1))
		f.replan(startsIn(time.Second))
		for range 10 {
			equal(t, "worker", execute(p, echo).must(t).Worker.ID, 1)
		}
		wantCounts(t, p, "starting 1, idle 1")
		advance(time.Second)
		equal(t, "worker", execute(p, echo).must(t).Worker.ID, 2)
		equal(t, "exits", exits(p, ExitMaxRequests), 1)
	})
}

func TestReplacementThatCannotStartCostsNoCapacityAndIsTriedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(20), maxRequests(5))
		f.replan(failing)
		stop := clients(t, p, 20, sleeper(10*ms))
		for range 600 {
			c := p.Stats().Workers
			if c.Idle+c.Busy != 20 {
				t.Fatalf("capacity fell: %+v", c)
			}
			advance(100 * ms)
		}
		if n := len(f.starts()) - 20; n > 15 {
			t.Errorf("%d attempts in a minute", n)
		}
		equal(t, "exits", exits(p, ExitMaxRequests), 0)
		f.replan(startsIn(10 * ms))
		advance(time.Minute)
		stop()
		for id := range uint64(20) {
			if !f.worker(id + 1).dead() {
				t.Errorf("worker %d was not replaced in the end", id+1)
			}
		}
	})
}

func TestLeasedWorkerIsReplacedWhenItComesBackAndHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, maxAge(10*time.Second), reuse)
		l := checkout(p, CheckoutRequest{TTL: new(time.Hour)}).must(t)
		advance(15 * time.Second)
		wantCounts(t, p, "idle 1, leased 1")
		equal(t, "exits", exits(p, ExitMaxAge), 1)
		equal(t, "worker", execute(p, on(l, echo)).must(t).Worker, l.Worker)
		f.replan(startsIn(time.Second))
		_ = p.Release(l.ID)
		wantCounts(t, p, "starting 1, idle 2")
		advance(time.Second)
		wantCounts(t, p, "idle 2")
		if !f.worker(l.Worker.ID).dead() {
			t.Error("the worker that was leased lives on")
		}
	})
}

func TestLeaseTakesAWorkerWhoseReplacementStartsAndTheNextOneUsesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(2), maxRequests(1))
		f.replan(startsIn(time.Second))
		first := execute(p, echo).must(t).Worker.ID
		l := lend(t, p)
		equal(t, "leased", l.Worker.ID, first)
		second := execute(p, echo).must(t).Worker.ID // its limit too
		wantCounts(t, p, "starting 1, idle 1, leased 1")
		advance(time.Second)
		wantCounts(t, p, "idle 1, leased 1")
		if !f.worker(second).dead() || f.worker(first).dead() {
			t.Error("the wrong worker was replaced")
		}
		_ = p.Release(l.ID)
		advance(time.Second)
		wantCounts(t, p, "idle 2")
		if !f.worker(first).dead() {
			t.Error("the worker that was leased lives on")
		}
		equal(t, "workers started", len(f.started()), 4)
	})
}

func TestSessionsAreNotReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.usage = func(*fakeWorker) (workerproc.Usage, error) { return workerproc.Usage{Private: 1000}, nil }
		p := warmPool(t, f, workers(1), maxRequests(2), maxAge(5*time.Second), maxMemory(100))
		worker := execute(p, in("u1", echo)).must(t).Worker
		for range 100 {
			advance(time.Second)
			equal(t, "worker", execute(p, in("u1", echo)).must(t).Worker, worker)
		}
	})
}

func TestRequestedReplacementIsNotCountedAmongTheTenth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(3), maxRequests(1))
		f.replan(startsIn(time.Second))
		worn := execute(p, echo).must(t).Worker.ID
		_ = p.Recycle(worn%3 + 1)
		wantCounts(t, p, "starting 2, idle 3")
		advance(time.Second)
		wantCounts(t, p, "idle 3")
		equal(t, "for the limit", exits(p, ExitMaxRequests), 1)
		equal(t, "on request", exits(p, ExitRecycle), 1)
	})
}

func TestMemoryIsMeasuredAfterCallsOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		looks := map[uint64]int{}
		var mu sync.Mutex
		f.usage = func(w *fakeWorker) (workerproc.Usage, error) {
			mu.Lock()
			defer mu.Unlock()
			looks[w.id]++
			return workerproc.Usage{Private: 50}, nil
		}
		seen := func(id uint64) int {
			mu.Lock()
			defer mu.Unlock()
			return looks[id]
		}
		p := warmPool(t, f, maxMemory(100))
		advance(10 * time.Second)
		equal(t, "looks at an unused worker", seen(1), 1)
		used := execute(p, echo).must(t).Worker.ID
		for range 500 { // 5 s
			equal(t, "worker", execute(p, echo).must(t).Worker.ID, used)
			advance(10 * ms)
		}
		advance(10 * time.Second)
		equal(t, "looks at a worker that was used for 5 s", seen(used), 1+5)
		equal(t, "looks at an unused worker", seen(3-used), 1)
	})
}

func TestMemoryThatCannotBeMeasuredReplacesNobody(t *testing.T) {
	for _, err := range []error{errors.ErrUnsupported, os.ErrPermission, os.ErrProcessDone} {
		synctest.Test(t, func(t *testing.T) {
			f := newFactory()
			f.usage = func(*fakeWorker) (workerproc.Usage, error) { return workerproc.Usage{}, err }
			p := warmPool(t, f, maxMemory(100))
			for range 10 {
				execute(p, echo).must(t)
				advance(time.Second)
			}
			equal(t, "workers started", len(f.started()), 2)
		})
	}
}

func TestWorkerThatIsTooLargeUnusedIsNotReplacedAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.usage = func(*fakeWorker) (workerproc.Usage, error) { return workerproc.Usage{Private: 1000}, nil }
		p := warmPool(t, f, maxMemory(100))
		advance(2 * time.Second)
		for range 100 {
			execute(p, echo).must(t)
			advance(time.Second)
		}
		equal(t, "workers started", len(f.started()), 2)
	})
}
