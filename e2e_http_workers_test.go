package main

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"charmer/api/client"
)

// stack asks for the stack of a worker, which must be had.
func (s *instance) stack(id int64) client.WorkerStack {
	s.t.Helper()
	r, err := s.GetWorkerStackWithResponse(s.t.Context(), id)
	if err != nil || r.JSON200 == nil {
		s.t.Fatalf("stack of worker %d: %v %s", id, err, r.Body)
	}
	return *r.JSON200
}

// worker looks at one worker.
func (s *instance) worker(id int64) client.Worker {
	s.t.Helper()
	r, err := s.GetWorkerWithResponse(s.t.Context(), id)
	if err != nil || r.JSON200 == nil {
		s.t.Fatalf("worker %d: %v %s", id, err, r.Body)
	}
	return *r.JSON200
}

func TestStackShowsWhereACallIsAndLeavesItAlone(t *testing.T) {
	s := serveCalls(t, "--workers=1")
	s.full(1)
	w := s.workers()[0]
	if idle := s.stack(w.ID); idle.State != "idle" || idle.Running != nil || strings.Contains(idle.Stack, "in hold") {
		t.Errorf("of an idle worker: %+v", idle)
	}
	g := newGates(s)
	running := g.hold("a")
	for range 3 {
		got := s.stack(w.ID)
		if got.State != "busy" || !strings.Contains(got.Stack, "in hold") || len(got.Running) != 1 || got.Running[0].Command != "hold" || got.Worker.PID != w.PID {
			t.Errorf("of a busy worker: %+v", got)
		}
	}
	g.open("a")
	a := <-running
	a.wantResult(t, `"a"`)
	if a.Worker.PID != w.PID {
		t.Errorf("the call ended on worker %+v, not on %+v", a.Worker, w)
	}
	s.execute("ping", `{}`).wantResult(t, "0")
}

func TestStackShowsAnImportThatHangs(t *testing.T) {
	s := serve(t, "import time\n\ndef load_model():\n    time.sleep(600)\n\nload_model()\n", "--start-timeout=5m", "--workers=1", "--min-ready=0")
	s.eventually("the stack shows it", func() bool {
		workers := s.workers()
		if len(workers) != 1 || workers[0].State != "starting" {
			t.Fatalf("workers %+v, want one that starts", workers)
		}
		r := s.raw(http.MethodGet, fmt.Sprintf("/workers/%d/stack", workers[0].ID), "")
		if r.status != http.StatusOK { // it has not said yet that it can
			r.wantProblem(t, http.StatusConflict, "stack_unavailable")
		}
		return strings.Contains(string(r.body), "in load_model")
	})
}

func TestWorkerInAnotherLanguageNeedNotGiveAStack(t *testing.T) {
	s := serve(t, "", "--worker-command=python3 "+scriptFile(t, "worker.py", oddWorker), "--workers=1").ready()
	r := s.raw(http.MethodGet, fmt.Sprintf("/workers/%d/stack", s.workers()[0].ID), "")
	r.wantProblem(t, http.StatusConflict, "stack_unavailable")
	if r.problem.Retryable {
		t.Errorf("a retry does not help: %s", r.body)
	}
}

func TestWorkersTellWhatTheyTakeAndWhomTheyReplace(t *testing.T) {
	s := serveCalls(t, "--workers=1")
	s.full(1)
	first := s.worker(s.workers()[0].ID)
	if first.Replaces != nil || first.AgeMs <= 0 {
		t.Errorf("the first worker: %+v", first)
	}
	if u := first.Usage; runtime.GOOS == "linux" && (u == nil || u.RssBytes < u.PssBytes || u.RssBytes < u.PrivateBytes || u.PssBytes <= 0 || u.PrivateBytes <= 0) {
		t.Errorf("usage %+v", u)
	}
	for _, path := range []string{"/workers?usage=true", "/workers?usage=false", "/workers"} {
		if got := strings.Contains(string(s.raw(http.MethodGet, path, "").body), `"private_bytes"`); got != (path == "/workers?usage=true") {
			t.Errorf("%s measures: %v", path, got)
		}
	}
	s.execute("ping", `{}`).wantResult(t, "0")
	s.execute("leave", `{"code":3}`).wantProblem(t, 502, "worker_crashed", true)
	s.full(1)
	second := s.worker(s.workers()[0].ID)
	if r := second.Replaces; r == nil || r.ID != first.ID || r.PID != first.PID || r.ExitReason != "crash" || r.Detail != "exited with code 3" || r.At.Before(first.StartedAt) {
		t.Errorf("the second worker replaces %s, want %+v", asJSON(r), first)
	}
	s.recycleAndAwait(second)

	s.execute("ping", `{}`, inSession("u1")).wantResult(t, "0")
	s.execute("leave", `{}`, inSession("u1")).wantProblem(t, 502, "worker_crashed", true)
	lease := s.lease(func(r *client.CheckoutRequest) { r.Type, r.SessionID = client.CheckoutRequestTypeSession, new("u1") })
	if r := s.worker(lease.Worker.ID).Replaces; r == nil || r.ExitReason != "crash" {
		t.Errorf("the session that was opened again replaces %s", asJSON(r))
	}
	s.release(lease)
}

// recycleAndAwait recycles a worker, and waits until the one that replaces it says so.
func (s *instance) recycleAndAwait(w client.Worker) {
	s.t.Helper()
	s.raw(http.MethodPost, fmt.Sprintf("/workers/%d/recycle", w.ID), "")
	s.eventually("the next worker replaces the one that was recycled", func() bool {
		now := s.workers()
		r := now[len(now)-1].Replaces
		return r != nil && r.ID == w.ID && r.ExitReason == "recycle"
	})
	s.full(1)
}
