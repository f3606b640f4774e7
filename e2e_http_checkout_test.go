package main

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"charmer/api/client"
)

func TestCheckoutWithEveryWorkerLeasedTimesOut(t *testing.T) {
	s := serveCalls(t)
	s.full(2)
	leases := []client.CheckoutReply{s.lease(), s.lease()}
	if leases[0].Worker.PID == leases[1].Worker.PID {
		t.Fatalf("both leases have worker %d", leases[0].Worker.PID)
	}

	began := time.Now()
	r := s.post("/checkout", `{"type":"anonymous","timeout_ms":200}`)
	took := time.Since(began)

	r.wantProblem(t, http.StatusServiceUnavailable, "checkout_timeout")
	if took < 200*time.Millisecond || r.problem.WaitedMs == nil || *r.problem.WaitedMs < 200 {
		t.Errorf("waited %v by its own account, %s by ours, want at least 200 ms", r.problem.WaitedMs, took)
	}
	if after, err := strconv.Atoi(r.header.Get("Retry-After")); err != nil || after < 1 || !r.problem.Retryable {
		t.Errorf("Retry-After is %q, retryable %v", r.header.Get("Retry-After"), r.problem.Retryable)
	}
	if h := s.health(); h.Queue.Length != 0 || h.Workers.Leased != 2 || h.State != client.HealthStateReady {
		t.Errorf("after the timeout: state %s, queue %+v, workers %+v", h.State, h.Queue, h.Workers)
	}
	s.post("/checkout", `{"type":"anonymous","timeout_ms":0}`).wantProblem(t, http.StatusServiceUnavailable, "checkout_timeout")
	s.execute("ping", `{}`, waitingFor(50)).wantProblem(t, http.StatusServiceUnavailable, "checkout_timeout", false)

	s.release(leases[0])
	s.full(2)
	if got := s.lease(waiting(0)); got.Worker != leases[0].Worker {
		t.Errorf("got worker %+v, want %+v: the waiters that gave up left nothing behind", got.Worker, leases[0].Worker)
	}
}

func TestAReleasedWorkerGoesToOneOfTheWaitersTheOldest(t *testing.T) {
	s := serveCalls(t, "--workers=1")
	holder := s.lease()
	type grant struct {
		waiter int
		lease  client.CheckoutReply
	}
	const waiters = 5
	granted := make(chan grant, waiters)
	for n := range waiters {
		go func() { // ends with its lease, or with the service
			lease, problem := s.checkout()
			if lease.LeaseID == "" {
				t.Errorf("waiter %d: %+v", n, problem)
			}
			granted <- grant{n, lease}
		}()
		s.queued(int64(n + 1)) // before the next one joins
	}
	for n := range waiters {
		s.release(holder)
		got := <-granted
		if got.waiter != n || got.lease.Worker != holder.Worker {
			t.Errorf("the worker went to waiter %d as %+v, want waiter %d", got.waiter, got.lease.Worker, n)
		}
		h := s.health()
		if left := int64(waiters - 1 - n); h.Queue.Length != left || h.Workers.Leased != 1 || len(granted) > 0 {
			t.Errorf("queue %d, leased %d, further grants %d; want %d, 1, 0", h.Queue.Length, h.Workers.Leased, len(granted), left)
		}
		holder = got.lease
	}
	s.release(holder)
	if c := s.stats(); c.Leases.Active != 0 || c.Leases.Granted != waiters+1 || c.Leases.Released != waiters+1 {
		t.Errorf("leases %+v", c.Leases)
	}
}

func TestAWaiterWhoseClientLeavesIsGoneAtOnce(t *testing.T) {
	s := serveCalls(t, "--workers=1")
	holder := s.lease()
	for _, body := range []struct{ path, text string }{
		{"/checkout", `{"type":"anonymous","timeout_ms":600000}`},
		{"/execute", `{"command":"ping","timeout_ms":600000,"checkout_timeout_ms":600000}`},
	} {
		leave := s.abandon(http.MethodPost, body.path, body.text)
		s.queued(1)
		next := make(chan answer, 1)
		go func() { next <- s.execute("ping", `{"n":7}`) }()
		s.queued(2)
		leave()
		s.queued(1)
		s.release(holder)
		(<-next).wantResult(t, "7")
		s.eventually("the worker is idle", func() bool { return s.health().Workers.Idle == 1 })
		holder = s.lease()
	}
	s.eventually("both are counted", func() bool { return s.stats().Checkouts["canceled"] == 2 })
}

func TestALeaseAnswersFromItsWorkerAlone(t *testing.T) {
	s := serveCalls(t)
	s.full(2)
	lease := s.lease()
	for range 5 {
		on := s.execute("ping", `{}`, onLease(lease.LeaseID))
		off := s.execute("ping", `{}`)
		if on.Worker != lease.Worker || off.Worker.PID == lease.Worker.PID {
			t.Errorf("on the lease %+v, off it %+v, leased is %+v", on.Worker, off.Worker, lease.Worker)
		}
	}
	for _, w := range s.workers() {
		if leased := w.PID == lease.Worker.PID; leased != (w.State == client.WorkerStateLeased) || leased != (w.LeaseExpiresAt != nil) {
			t.Errorf("worker %+v, leased is %d", w, lease.Worker.PID)
		}
	}
}

func TestRenewingMovesTheEndOfALease(t *testing.T) {
	s := serveCalls(t)
	before := time.Now()
	lease := s.lease()
	if lease.ExpiresAt.Before(before.Add(10 * time.Minute)) {
		t.Errorf("expires at %s, want the configured 10 minutes after %s", lease.ExpiresAt, before)
	}
	for _, tt := range []struct {
		body string
		want time.Duration
	}{{`{"ttl_ms":3600000}`, time.Hour}, {`{"ttl_ms":60000.5}`, time.Minute}, {`{}`, 10 * time.Minute}, {``, 10 * time.Minute}} {
		before := time.Now()
		var header []string
		if tt.body != "" {
			header = []string{"Content-Type", "application/json"}
		}
		if r := s.raw(http.MethodPost, "/checkout/"+lease.LeaseID+"/renew", tt.body, header...); r.status != http.StatusOK {
			t.Fatalf("renew %s: %d %s", tt.body, r.status, r.body)
		}
		after := time.Now()
		for _, w := range s.workers() {
			if w.PID == lease.Worker.PID && (w.LeaseExpiresAt.Before(before.Add(tt.want)) || w.LeaseExpiresAt.After(after.Add(tt.want+time.Millisecond))) {
				t.Errorf("renewed by %s between %s and %s, it ends at %s", tt.want, before, after, w.LeaseExpiresAt)
			}
		}
	}
}

func TestALeaseThatWasGivenBackIsOver(t *testing.T) {
	s := serveCalls(t)
	lease := s.lease()
	s.release(lease)
	s.release(lease) // idempotent
	a := s.execute("ping", `{}`, onLease(lease.LeaseID))
	a.wantProblem(t, http.StatusGone, "lease_expired", false)
	if a.Problem.Retryable {
		t.Error("a lease that is over is said to be retryable")
	}
	s.raw(http.MethodPost, "/checkout/"+lease.LeaseID+"/renew", "").wantProblem(t, http.StatusGone, "lease_expired")

	s.execute("ping", `{}`, onLease("never")).wantProblem(t, http.StatusNotFound, "lease_not_found", false)
	s.raw(http.MethodPost, "/checkout/never/renew", "").wantProblem(t, http.StatusNotFound, "lease_not_found")
	s.raw(http.MethodDelete, "/checkout/never", "").wantProblem(t, http.StatusNotFound, "lease_not_found")
}

func TestALeaseThatExpiresFreesItsWorker(t *testing.T) {
	s := serveCalls(t, "--workers=1")
	began := time.Now()
	lease := s.lease(lasting(50))
	a := s.execute("ping", `{"n":3}`) // waits for the expiry
	a.wantResult(t, "3")
	if took := time.Since(began); took < 50*time.Millisecond {
		t.Errorf("the lease ended after %s, before its 50 ms", took)
	}
	if a.Worker != lease.Worker {
		t.Errorf("answered by %+v, want the worker of the lease, %+v", a.Worker, lease.Worker)
	}
	s.execute("ping", `{}`, onLease(lease.LeaseID)).wantProblem(t, http.StatusGone, "lease_expired", false)
	s.raw(http.MethodPost, "/checkout/"+lease.LeaseID+"/renew", "").wantProblem(t, http.StatusGone, "lease_expired")
	s.raw(http.MethodDelete, "/checkout/"+lease.LeaseID, "").wantProblem(t, http.StatusGone, "lease_expired")
	if got := s.stats().Leases; got.Expired != 1 || got.Released != 0 || got.Active != 0 {
		t.Errorf("leases %+v", got)
	}
}

func TestALeaseRunsOneCallAtATimeAndItsReleaseLetsThatFinish(t *testing.T) {
	for _, end := range []string{"released", "expired"} {
		t.Run(end, func(t *testing.T) {
			s := serveCalls(t, "--workers=1")
			g := newGates(s)
			lease := s.lease()
			running := g.hold("a", onLease(lease.LeaseID))
			s.execute("ping", `{}`, onLease(lease.LeaseID)).wantProblem(t, http.StatusConflict, "lease_busy", false)

			if end == "released" {
				s.release(lease)
			} else if r := s.post("/checkout/"+lease.LeaseID+"/renew", `{"ttl_ms":1}`); r.status != http.StatusOK {
				t.Fatalf("renew: %d %s", r.status, r.body)
			}
			s.eventually("the lease is over", func() bool { return s.stats().Leases.Active == 0 })
			s.execute("ping", `{}`, onLease(lease.LeaseID)).wantProblem(t, http.StatusGone, "lease_expired", false)
			if end == "released" {
				s.execute("ping", `{}`, waitingFor(20)).wantProblem(t, http.StatusServiceUnavailable, "checkout_timeout", false)
				g.open("a")
			}
			a := <-running
			if end == "released" {
				a.wantResult(t, `"a"`)
			} else {
				a.wantProblem(t, http.StatusConflict, "cancelled", true)
				a.Worker = a.ranOn(t)
			}
			next := s.execute("ping", `{}`, waitingFor(minutes))
			next.wantResult(t, "0")
			if next.Worker == a.Worker {
				t.Errorf("next call by %+v, which ran a call of the lease", next.Worker)
			}
		})
	}
}
