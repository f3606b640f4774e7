package main

import (
	"net/http"
	"testing"

	"charmer/api/client"
)

// isolated counts its calls in the module, where a guest's state stays as long as its process.
const isolated = `
import os
from charmer import command

CALLS = []

@command
def count() -> int:
    CALLS.append(1)
    return len(CALLS)

@command(isolation="fresh")
def count_alone() -> int:
    CALLS.append(1)
    return len(CALLS)

@command(isolation="fresh")
def die_alone() -> None:
    os._exit(7)
`

func alone(r *client.ExecuteRequest) { r.Isolation = new(client.IsolationFresh) }

func TestTheNextHolderSeesNothingOfALease(t *testing.T) {
	for _, spares := range []string{"--spares=0", "--spares=1"} {
		s := serve(t, isolated, "--workers=1", spares)
		for range 3 {
			lease := s.lease(waiting(minutes))
			s.execute("count", `{}`, onLease(lease.LeaseID)).wantResult(t, "1")
			s.execute("count", `{}`, onLease(lease.LeaseID)).wantResult(t, "2")
			s.release(lease)
			s.gone(lease.Worker.PID)
		}
		s.execute("count", `{}`, patiently).wantResult(t, "1")
		lease := s.lease(waiting(minutes), lasting(1)) // which ends by itself, and has run nothing
		s.execute("count", `{}`, patiently).wantResult(t, "2")
		if exits := s.stats().WorkerExits; exits["lease"] != 3 || lease.Worker.ID == 0 {
			t.Errorf("exits %v, want 3 after leases", exits)
		}
	}
}

func TestTheNextHolderSeesWhatALeaseLeftWithLeaseReuse(t *testing.T) {
	s := serve(t, isolated, "--workers=1", "--lease-reuse")
	lease := s.lease(waiting(minutes))
	s.execute("count", `{}`, onLease(lease.LeaseID)).wantResult(t, "1")
	s.release(lease)
	s.execute("count", `{}`).wantResult(t, "2")
}

func TestAFreshCallLeavesNothingBehind(t *testing.T) {
	s := serve(t, isolated, "--workers=1", "--spares=1")
	s.full(1)
	s.execute("count", `{}`).wantResult(t, "1")
	for range 3 {
		a := s.execute("count_alone", `{}`, patiently)
		a.wantResult(t, "1")
		s.gone(a.Worker.PID)
		s.execute("count", `{}`, alone, patiently).wantResult(t, "1")
	}
	s.execute("count", `{}`).wantResult(t, "2") // the worker of the pool has run none of them
	a := s.execute("die_alone", `{}`, patiently)
	a.wantProblem(t, http.StatusBadGateway, "worker_crashed", true)
	a.wantExitCode(t, 7)
	s.execute("count", `{}`).wantResult(t, "3")
	if h := s.health(); h.Workers.Size != 1 || h.State != client.HealthStateReady {
		t.Errorf("health %+v", h)
	}
	if exits := s.stats().WorkerExits; exits["fresh"] != 6 || exits["crash"] != 1 {
		t.Errorf("exits %v, want 6 after fresh calls and a crash", exits)
	}
}

func TestAFreshCallTakesNoLeaseAndNoSession(t *testing.T) {
	s := serve(t, isolated)
	s.full(2)
	lease := s.lease()
	for _, a := range []answer{
		s.execute("count", `{}`, alone, onLease(lease.LeaseID)), s.execute("count", `{}`, alone, inSession("u1")),
		s.execute("count_alone", `{}`, onLease(lease.LeaseID)), s.execute("count_alone", `{}`, inSession("u1")),
	} {
		a.wantProblem(t, http.StatusBadRequest, "invalid_request", false)
	}
	r, err := s.ListCommandsWithResponse(t.Context())
	if err != nil || r.JSON200 == nil {
		t.Fatalf("commands: %v", err)
	}
	for _, c := range r.JSON200.Commands {
		if want := map[bool]client.CommandIsolation{true: "fresh", false: "shared"}[c.Name != "count"]; c.Isolation != want {
			t.Errorf("isolation of %s is %s, want %s", c.Name, c.Isolation, want)
		}
	}
}

func TestSparesAreKeptWhereWorkersAreForked(t *testing.T) {
	s := serve(t, isolated, "--spares=-1")
	s.full(2)
	want := map[string]int64{"fork": 2, "exec": 0}[startMethod]
	s.eventually("the spares are there", func() bool { return s.health().Workers.Spare == want })
	s.execute("count", `{}`, inSession("u1")).wantResult(t, "1")
	s.eventually("the next spare is there", func() bool { return s.health().Workers.Spare == want })
	if h := s.health(); h.Workers.Size != 2 || h.Sessions != 1 {
		t.Errorf("health %+v: spares are none of the pool", h)
	}
}
