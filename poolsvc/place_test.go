package poolsvc

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// replaces returns whom a worker replaces, or an Ended without an id.
func replaces(t *testing.T, p *Pool, id uint64) Ended {
	t.Helper()
	synctest.Wait()
	info, err := p.Worker(id)
	if err != nil {
		t.Fatal(err)
	}
	if info.Replaces == nil {
		return Ended{}
	}
	return *info.Replaces
}

func TestReplacementSaysHowTheOneBeforeEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		equal(t, "the first", replaces(t, p, 1), Ended{})
		advance(time.Minute)
		f.worker(1).crash()
		equal(t, "the third", replaces(t, p, 3), Ended{ID: 1, PID: 1001, Reason: ExitCrash, Detail: "exited with code 3", At: time.Now()})
		equal(t, "the second", replaces(t, p, 2), Ended{})
		advance(time.Minute)
		f.worker(3).crash()
		equal(t, "the fourth", replaces(t, p, 4).ID, 3)
	})
}

func TestReplacementsOfSeveralHaveOneEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(3))
		advance(time.Minute)
		f.worker(3).crash()
		advance(ms)
		f.worker(1).crash()
		f.worker(2).crash()
		synctest.Wait()
		seen := map[uint64]bool{}
		for _, m := range p.Stats().Members {
			seen[replaces(t, p, m.ID).ID] = true
		}
		equal(t, "replaced", len(seen), 3)
		equal(t, "the first of them", replaces(t, p, 4).ID, 3)
	})
}

func TestReplacementOfARecycledWorkerSaysSoOnceItHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		call := execute(p, sleeper(20*time.Second))
		busy := p.idle[0].id%2 + 1
		advance(10 * time.Second)
		if err := p.Recycle(busy); err != nil {
			t.Fatal(err)
		}
		equal(t, "as long as the other runs", replaces(t, p, 3), Ended{})
		f.worker(3).crash() // which is then the one before
		advance(5 * time.Second)
		equal(t, "the next", replaces(t, p, 4).ID, 3)
		advance(10 * time.Second)
		call.must(t)
		equal(t, "the next, when the other has ended", replaces(t, p, 4).ID, 3)
		equal(t, "places", len(p.places), 2)

		if err := p.Recycle(4); err != nil {
			t.Fatal(err)
		}
		got := replaces(t, p, 5)
		equal(t, "recycled", got.ID, 4)
		equal(t, "reason", got.Reason, ExitRecycle)
	})
}

func TestFailedStartsDoNotHideWhoWasThereBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1))
		advance(time.Minute)
		f.replan(func(attempt int) (time.Duration, error) {
			if attempt < 4 {
				return 0, startFailure
			}
			return 0, nil
		})
		f.worker(1).crash()
		advance(10 * time.Second)
		equal(t, "the one that came up", replaces(t, p, 4).ID, 1)
	})
}

func TestLazyPoolHasNoMorePlacesThanWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := newPool(t, f, lazy, workers(2))
		for range 20 {
			_, err := execute(p, Request{Command: "crash"}).wait()
			crashed(t, err)
			advance(time.Minute)
		}
		if n := len(p.places); n > 2 {
			t.Errorf("%d places", n)
		}
	})
}

func TestSessionThatIsOpenedAgainSaysHowItWasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f, workers(1))
		execute(p, in("u1", echo)).must(t)
		equal(t, "a new one", replaces(t, p, 2), Ended{})
		f.worker(2).crash()
		synctest.Wait()
		if _, err := execute(p, in("u1", echo)).wait(); !errors.Is(err, ErrSessionLost) {
			t.Fatal(err)
		}
		l := checkout(p, CheckoutRequest{SessionID: "u1"}).must(t)
		equal(t, "the one opened again", replaces(t, p, l.Worker.ID), Ended{ID: 2, PID: 1002, Reason: ExitCrash, Detail: "exited with code 3", At: time.Now()})
		f.worker(1).crash()
		synctest.Wait()
		for _, m := range p.Stats().Members {
			if m.SessionID == "" && m.Replaces.ID != 1 {
				t.Errorf("a worker of the pool replaces %v", m.Replaces)
			}
		}
	})
}

// checkPlacesLocked: each worker of the pool that is not being replaced has a place of its own, as long as there are any, and
// places are no more than the pool is large.
func (m *model) checkPlacesLocked(t *rapid.T) {
	p := m.p
	holds := map[uint64]int{}
	for _, at := range p.places {
		holds[at.id]++
	}
	for _, w := range p.members {
		wanted := w.session == nil && w.state != StateStopping && !w.retiring
		if n := holds[w.id]; n > 1 || (wanted && n == 0 && len(p.places) < p.cfg.Workers) || (n > 0 && w.session != nil) {
			t.Errorf("worker %d, %s, has %d places", w.id, w.state, n)
		}
		if before := w.replacesLocked(); before != nil && (before.ID == w.id || p.members[before.ID] != nil) {
			t.Errorf("worker %d replaces worker %d, which lives", w.id, before.ID)
		}
		if w.end.At != (time.Time{}) {
			t.Errorf("worker %d has ended and is a member", w.id)
		}
	}
	if n := len(p.places); n > p.cfg.Workers {
		t.Errorf("%d places for %d workers", n, p.cfg.Workers)
	}
}
