package poolsvc

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// wantHealth checks the state, and that the reason contains each of the words.
func wantHealth(t *testing.T, p *Pool, want HealthState, words ...string) {
	t.Helper()
	synctest.Wait()
	state, reason := p.Stats().Health()
	equal(t, "health", state, want)
	if (len(words) == 0) != (reason == "") {
		t.Errorf("reason: %q", reason)
	}
	for _, word := range words {
		if !strings.Contains(reason, word) {
			t.Errorf("reason %q does not mention %q", reason, word)
		}
	}
}

func TestHealthFollowsThePool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = startsIn(time.Second)
		p := newPool(t, f)
		wantHealth(t, p, HealthStarting, "0 of 2")
		refused(t, p.Stats().NotReady(0), ErrStarting)
		advance(time.Second)
		wantHealth(t, p, HealthReady)
		equal(t, "error when ready", p.Stats().NotReady(2), nil)

		lend(t, p)
		lend(t, p)
		wantHealth(t, p, HealthReady) // busy is not sick
		equal(t, "error when busy", p.Stats().NotReady(0), nil)
		refused(t, p.Stats().NotReady(1), ErrCheckoutTimeout)

		f.replan(failing)
		f.started()[0].crash()
		synctest.Wait()
		wantHealth(t, p, HealthDegraded, "1 failed start", "import app", "No module named 'dspy'", "exited with code 1")
		equal(t, "error when degraded", p.Stats().NotReady(0), nil)
		f.started()[1].crash()
		wantHealth(t, p, HealthFailed, "No module named 'dspy'")
		if r := refused(t, p.Stats().NotReady(0), ErrCrashLooping); r.Start != startFailure {
			t.Errorf("evidence: %+v", r.Start)
		}

		f.replan(startsIn(0))
		advance(time.Minute)
		wantHealth(t, p, HealthReady)
		p.Leave()
		wantHealth(t, p, HealthDraining, "shutting down")
		refused(t, p.Stats().NotReady(0), ErrDraining)
	})
}

func TestPoolThatCannotStartIsNotReadyWhateverItsMinimum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		f.plan = func(int) (time.Duration, error) { return 100 * ms, startFailure }
		p := newPool(t, f, func(c *Config) { c.MinReady = 0 })
		equal(t, "ready at the start", p.Stats().Ready, true)
		advance(100 * ms)
		wantHealth(t, p, HealthFailed, "failed start")
		equal(t, "ready in a crash loop", p.Stats().Ready, false)
	})
}

func TestHealthOfALazyPoolIsReadyWithoutWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := newPool(t, f, lazy)
		wantHealth(t, p, HealthReady)
		equal(t, "error", p.Stats().NotReady(0), nil)
		f.replan(failing)
		_, _ = execute(p, echo).wait()
		wantHealth(t, p, HealthFailed, "dspy")
	})
}

func TestReadinessForIdleWorkersDoesNotTellOfOldFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory()
		p := warmPool(t, f)
		f.replan(failing)
		_, err := execute(p, in("u1", echo)).wait()
		refused(t, err, ErrCrashLooping)
		r := refused(t, p.Stats().NotReady(3), ErrCheckoutTimeout)
		if r.Start != nil {
			t.Errorf("evidence of something else: %+v", r.Start)
		}
	})
}
