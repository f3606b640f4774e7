package main

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"charmer/api/client"
)

// remembering is an app whose commands overlap, and keep state between calls.
const remembering = meeting + `
import charmer

@command
def meet(dir: str, me: str, other: str) -> int:
    """Take half a second, in which the other one must have come too."""
    began = time.monotonic()
    come(dir, me)
    wait_for(dir, other)
    time.sleep(max(0, 0.5 - (time.monotonic() - began)))
    return os.getpid()

kept = []

@command
def keep(value: str) -> list:
    kept.append(value)
    return [charmer.current().session_id, os.getpid(), kept]
`

// TestCommandsOnTwoWorkersOverlap shows it by a rendezvous: one after the other, the first would wait for the second
// until its timeout.
func TestCommandsOnTwoWorkersOverlap(t *testing.T) {
	s := serve(t, remembering)
	s.full(2)
	for round := range 3 {
		dir := t.TempDir()
		var calls sync.WaitGroup
		left := s.inBackground(&calls, "meet", fmt.Sprintf(`{"dir":%q,"me":"left","other":"right"}`, dir))
		right := s.inBackground(&calls, "meet", fmt.Sprintf(`{"dir":%q,"me":"right","other":"left"}`, dir))
		calls.Wait()
		left.wantResult(t, strconv.FormatInt(left.Worker.PID, 10))
		right.wantResult(t, strconv.FormatInt(right.Worker.PID, 10))
		if left.Worker.PID == right.Worker.PID {
			t.Errorf("round %d: both ran on worker %d", round, left.Worker.PID)
		}
	}
	s.whole()
}

func TestFiftySessionsAtOnceKeepTheirState(t *testing.T) {
	const sessions, calls = 50, 3
	s := serve(t, remembering)
	s.full(2)
	pool := s.pidsOfWorkers()
	var clients sync.WaitGroup
	pids := make([]int64, sessions)
	for i := range sessions {
		clients.Go(func() {
			id, state := fmt.Sprintf("s-%d", i), client.SessionRefStateNew
			for call := range calls {
				a := s.execute("keep", fmt.Sprintf(`{"value":"%d.%d"}`, i, call), inSession(id), patiently)
				if call == 0 {
					pids[i] = a.Worker.PID
				}
				kept := ""
				for before := range call {
					kept += fmt.Sprintf(`"%d.%d",`, i, before)
				}
				a.wantResult(t, fmt.Sprintf(`["%s",%d,[%s"%d.%d"]]`, id, pids[i], kept, i, call))
				if a.Session == nil || a.Session.State != state || a.Session.ID != id || a.Worker.PID != pids[i] {
					t.Errorf("call %d of %s: session %s on worker %d, want %s on %d", call, id, asJSON(a.Session), a.Worker.PID, state, pids[i])
				}
				state = client.SessionRefStateResumed
			}
		})
	}
	clients.Wait()
	all := append(pool, pids...)
	slices.Sort(all)
	if distinct := len(slices.Compact(all)); distinct != 2+sessions {
		t.Errorf("%d processes for 2 workers and %d sessions", distinct, sessions)
	}
	if live := s.stats().Sessions; live.Live != sessions || live.Lost != 0 {
		t.Errorf("sessions: %+v, want %d live", live, sessions)
	}
	s.whole()
}

// wantLost fails the test unless the session says, to whoever asks, that it was lost to SIGKILL.
func (s *instance) wantLost(id string) {
	s.t.Helper()
	for range 2 {
		a := s.execute("keep", `{"value":"late"}`, inSession(id))
		a.wantProblem(s.t, http.StatusGone, "session_lost", false)
		a.wantSignal(s.t, syscall.SIGKILL)
		wantPart(s.t, "detail", a.Problem.Detail, "killed by signal 9 (SIGKILL)")
		r, err := s.GetSessionWithResponse(s.t.Context(), id)
		if err != nil {
			s.t.Fatal(err)
		}
		if p := r.ApplicationProblemJSON410; p == nil || p.Code != "session_lost" || p.Exit == nil || *p.Exit.Signal != int64(syscall.SIGKILL) {
			s.t.Errorf("GET of a lost session: %d %s", r.StatusCode(), r.Body)
		}
	}
}

// reopened opens a lost session by a checkout, which must find it new and empty, and in a process of its own.
func (s *instance) reopened(id string, before int64) {
	s.t.Helper()
	lease := s.lease(forSession(id), waiting(minutes))
	if lease.Session == nil || lease.Session.State != client.SessionRefStateNew || lease.Worker.PID == before {
		s.t.Errorf("reopened: session %s on worker %d, want a new one, not on %d", asJSON(lease.Session), lease.Worker.PID, before)
	}
	s.execute("keep", `{"value":"again"}`, onLease(lease.LeaseID)).wantResult(s.t, fmt.Sprintf(`[%q,%d,["again"]]`, id, lease.Worker.PID))
	s.release(lease)
	a := s.execute("keep", `{"value":"and again"}`, inSession(id))
	a.wantResult(s.t, fmt.Sprintf(`[%q,%d,["again","and again"]]`, id, lease.Worker.PID))
	if a.Session == nil || a.Session.State != client.SessionRefStateResumed {
		s.t.Errorf("session %s, want it resumed", asJSON(a.Session))
	}
}

func TestASessionWhoseIdleWorkerIsKilledIsLostUntilItIsOpenedAgain(t *testing.T) {
	s := serve(t, remembering)
	s.full(2)
	a := s.execute("keep", `{"value":"one"}`, inSession("u1"), patiently)
	other := s.execute("keep", `{"value":"two"}`, inSession("u2"), patiently)
	s.kill(int(a.Worker.PID), syscall.SIGKILL)
	s.gone(a.Worker.PID)
	s.wantLost("u1")
	s.execute("keep", `{"value":"three"}`, inSession("u2")).wantResult(t, fmt.Sprintf(`["u2",%d,["two","three"]]`, other.Worker.PID))
	s.reopened("u1", a.Worker.PID)
	if got := s.stats().Sessions; got.Lost != 1 || got.Live != 2 || got.Created != 3 {
		t.Errorf("sessions: %+v, want 3 created, 1 lost, 2 live", got)
	}
	s.whole()
}

func TestASessionKilledInMidCallIsLostUntilItIsOpenedAgain(t *testing.T) {
	s := serve(t, remembering)
	s.full(2)
	dir := t.TempDir()
	var calls sync.WaitGroup
	running := s.inBackground(&calls, "stay", fmt.Sprintf(`{"dir":%q,"name":"running"}`, dir), inSession("u1"))
	pid := s.arrived(dir, "running")
	queued := s.inBackground(&calls, "keep", `{"value":"queued"}`, inSession("u1"))
	s.eventually("a call waits for the session", func() bool {
		r, err := s.GetSessionWithResponse(t.Context(), "u1")
		return err == nil && r.JSON200 != nil && r.JSON200.Waiting == 1
	})
	s.kill(pid, syscall.SIGKILL)
	calls.Wait()
	running.wantProblem(t, http.StatusBadGateway, "worker_crashed", true)
	running.wantSignal(t, syscall.SIGKILL)
	wantLine(t, "stderr_tail", running.Problem.StderrTail, "running stays")
	queued.wantProblem(t, http.StatusGone, "session_lost", false)
	s.wantLost("u1")
	s.reopened("u1", int64(pid))
	s.whole()
}

func TestALostSessionThatIsDeletedMayBeginAnew(t *testing.T) {
	s := serve(t, remembering)
	a := s.execute("keep", `{"value":"one"}`, inSession("u1"), patiently)
	s.kill(int(a.Worker.PID), syscall.SIGKILL)
	s.gone(a.Worker.PID)
	s.wantLost("u1")
	if r, err := s.EndSessionWithResponse(t.Context(), "u1"); err != nil || r.StatusCode() != http.StatusNoContent {
		t.Fatalf("delete of a lost session: %v %s", err, r.Body)
	}
	again := s.execute("keep", `{"value":"two"}`, inSession("u1"), patiently)
	again.wantResult(t, fmt.Sprintf(`["u1",%d,["two"]]`, again.Worker.PID))
	if again.Session == nil || again.Session.State != client.SessionRefStateNew {
		t.Errorf("session %s, want it new", asJSON(again.Session))
	}
}

func TestALeaseWhoseWorkerIsKilledIsOver(t *testing.T) {
	s := serve(t, remembering)
	s.full(2)
	lease := s.lease()
	s.execute("ping", `{"n":1}`, onLease(lease.LeaseID)).wantResult(t, "1")
	s.kill(int(lease.Worker.PID), syscall.SIGKILL)
	s.gone(lease.Worker.PID)
	a := s.execute("ping", `{"n":2}`, onLease(lease.LeaseID))
	a.wantProblem(t, http.StatusGone, "lease_expired", false)
	a.wantSignal(t, syscall.SIGKILL)
	s.release(lease)
	s.whole()
}
