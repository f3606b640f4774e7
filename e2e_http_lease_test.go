package main

import (
	"net/http"
	"testing"

	"charmer/api/client"
)

func TestCheckoutOfASessionOpensItOrAttachesToIt(t *testing.T) {
	s := serveCalls(t)
	first := s.lease(forSession("u1"))
	if first.Type != client.CheckoutReplyTypeSession || first.Session == nil || *first.Session != (client.SessionRef{ID: "u1", State: "new"}) {
		t.Fatalf("first checkout: %+v", first)
	}
	on := s.execute("count", `{}`, onLease(first.LeaseID))
	on.wantResult(t, "1")
	if on.Worker != first.Worker || on.Session == nil || *on.Session != (client.SessionRef{ID: "u1", State: "resumed"}) {
		t.Errorf("on the lease: %+v in %+v, want %+v", on.Worker, on.Session, first.Worker)
	}
	a := s.execute("count", `{}`, inSession("u1"), waitingFor(50))
	a.wantProblem(t, http.StatusConflict, "session_busy", false)
	if a.Problem.WaitedMs == nil || *a.Problem.WaitedMs < 50 || a.header.Get("Retry-After") == "" {
		t.Errorf("waited %v, Retry-After %q", a.Problem.WaitedMs, a.header.Get("Retry-After"))
	}
	if _, problem := s.checkout(forSession("u1"), waiting(0)); problem.Code != "session_busy" {
		t.Errorf("a second lease on the session: %+v", problem)
	}
	s.execute("count", `{}`).wantResult(t, "1") // others are free
	s.release(first)

	second := s.lease(forSession("u1"))
	if second.Worker != first.Worker || second.LeaseID == first.LeaseID || second.Session.State != "resumed" {
		t.Errorf("second checkout: %+v, want the worker %+v resumed", second, first.Worker)
	}
	s.release(second)
	s.execute("count", `{}`, inSession("u1")).wantResult(t, "2")
	if h := s.health(); h.Workers.Leased != 0 || h.Workers.Size != 2 || h.Sessions != 1 {
		t.Errorf("health %+v: the worker of a session is none of the pool", h)
	}
}

func TestAWaiterForASessionGetsItWhenTheLeaseIsGivenBack(t *testing.T) {
	s := serveCalls(t)
	lease := s.lease(forSession("u1"))
	next := make(chan answer, 1)
	go func() { next <- s.execute("count", `{}`, inSession("u1")) }()
	s.eventually("a request waits for the session", func() bool {
		r, err := s.GetSessionWithResponse(t.Context(), "u1")
		return err == nil && r.JSON200 != nil && r.JSON200.Waiting == 1 && r.JSON200.State == client.SessionStateLeased
	})
	s.release(lease)
	a := <-next
	a.wantResult(t, "1")
	if a.Worker != lease.Worker {
		t.Errorf("answered by %+v, want %+v", a.Worker, lease.Worker)
	}
}

func TestLeasesHoldOnlyTheirShareOfTheWorkers(t *testing.T) {
	s := serveCalls(t, "--lease-share=0.5")
	s.full(2)
	lease := s.lease()
	if _, problem := s.checkout(waiting(50)); problem.Code != "checkout_timeout" {
		t.Errorf("a lease beyond the share: %+v", problem)
	}
	s.execute("ping", `{"n":1}`).wantResult(t, "1") // calls have the rest
	next := make(chan client.CheckoutReply, 1)
	go func() { next <- s.lease() }()
	s.queued(1)
	s.execute("ping", `{"n":2}`).wantResult(t, "2") // and are not held up by a lease that waits for its share
	s.release(lease)
	s.release(<-next)
}
