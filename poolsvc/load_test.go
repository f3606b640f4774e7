package poolsvc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// client makes calls one after the other until ctx ends, and reports each error.
func client(ctx context.Context, p *Pool, req Request, report func(error)) {
	for ctx.Err() == nil {
		_, err := p.Execute(context.Background(), req)
		report(err)
		if err != nil {
			time.Sleep(ms) // as a client that is refused would
		}
	}
}

func TestCallsOnDifferentWorkersOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory())
		a, b := execute(p, sleeper(500*ms)), execute(p, sleeper(500*ms))
		advance(500 * ms)
		a.must(t)
		b.must(t)
	})
}

func TestKillsUnderLoadFailOnlyTheCallsThatRan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = startsIn(3 * ms)
		p := newPool(t, f, workers(4))
		advance(3 * ms)
		ctx, cancel := context.WithCancel(t.Context())
		var ok, failed atomic.Int64
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				client(ctx, p, sleeper(7*ms), func(err error) {
					if err == nil {
						ok.Add(1)
						return
					}
					failed.Add(1)
					equal(t, "started", crashed(t, err).Started, true)
				})
			})
		}
		kills := 0
		for range 100 {
			advance(20*ms + 1)
			for _, m := range p.Stats().Members {
				if m.Running != nil {
					f.worker(m.ID).crash()
					kills++
					break
				}
			}
		}
		cancel()
		wg.Wait()
		equal(t, "failed calls", failed.Load(), int64(kills))
		if kills < 90 || ok.Load() < 500 {
			t.Errorf("%d kills, %d calls answered", kills, ok.Load())
		}
		advance(time.Second)
		wantCounts(t, p, "idle 4")
	})
}

func TestHalfOfTheWorkersKilledAtOnceComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = startsIn(3 * ms)
		p := newPool(t, f, workers(8))
		advance(minTrial + 3*ms)
		for _, w := range f.started()[:4] {
			w.crash()
		}
		wantCounts(t, p, "starting 4, idle 4")
		advance(3 * ms)
		wantCounts(t, p, "idle 8")
	})
}

func TestDrainUnderLoadFailsNothingThatWasAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory(), workers(4))
		ctx, cancel := context.WithCancel(t.Context())
		var ok, draining atomic.Int64
		var leaving atomic.Bool
		var wg sync.WaitGroup
		for i := range 20 {
			req := sleeper(7 * ms)
			if i%4 == 0 {
				req = in(fmt.Sprint("u", i), req)
			}
			wg.Go(func() {
				client(ctx, p, req, func(err error) {
					switch {
					case err == nil:
						ok.Add(1)
					case errors.Is(err, ErrDraining) && leaving.Load():
						draining.Add(1)
					default:
						t.Errorf("got error %v; leaving: %v", err, leaving.Load())
					}
				})
			})
		}
		advance(100 * ms)
		p.Leave()
		leaving.Store(true)
		before := ok.Load()
		advance(100 * ms) // readiness is gone, and nothing is refused
		if p.Stats().Ready || draining.Load() > 0 || ok.Load() == before {
			t.Errorf("after leaving: ready %v, %d refused, %d answered", p.Stats().Ready, draining.Load(), ok.Load()-before)
		}
		equal(t, "left", p.Drain(t.Context()), 0)
		cancel()
		wg.Wait()
		if draining.Load() == 0 {
			t.Error("nobody was refused")
		}
	})
}

func TestSessionsAndOtherCallsDoNotDisturbEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, newFactory())
		held := execute(p, in("u0", sleeper(time.Hour)))
		lend(t, p)
		for i := range 20 {
			r := execute(p, in(fmt.Sprint("u", 1+i%5), echo)).must(t)
			equal(t, "session", r.Session.ID, fmt.Sprint("u", 1+i%5))
			if other := execute(p, echo).must(t); other.Session != nil || other.Worker.ID == r.Worker.ID {
				t.Errorf("a call outside of sessions: %+v", other)
			}
		}
		for i := range 5 {
			info, err := p.Session(fmt.Sprint("u", 1+i))
			if err != nil || info.Calls != 4 {
				t.Errorf("session: %+v, %v", info, err)
			}
		}
		p.Close(context.Background())
		_, err := held.wait()
		crashed(t, err)
	})
}

func TestThousandSessionsComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, func(c *Config) { c.MaxSessions, c.SessionIdle = 1000, time.Minute })
		for i := range 1000 {
			execute(p, in(fmt.Sprint("u", i), echo)).must(t)
		}
		_, err := execute(p, in("one more", echo)).wait()
		refused(t, err, ErrSessionLimit)
		equal(t, "members", len(p.Stats().Members), 1002)
		advance(time.Minute)
		s := p.Stats()
		equal(t, "sessions", len(s.Sessions), 0)
		equal(t, "members", len(s.Members), 2)
		equal(t, "expired counted", s.Counts.SessionsExpired, 1000)
	})
}
